"""PyYAML's safe loader, narrowed to what JSON can say: no aliases, no duplicate keys, bounded depth."""

from __future__ import annotations

import re
from typing import Any

import yaml

from launcher.core.parse.cursor import MOST_DEPTH, Number, shown

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")


class Loader(yaml.SafeLoader):
    """Only YAML 1.2's core words are anything but text: `yes`, `1:30` and `2024-01-01` stay as they are written."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - PyYAML's own way; none of YAML 1.1's is taken over

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases and depth where they are met, before anything is built."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not read; write the value out", mark)
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in (None, "!"):
            problem = f"tags such as {shown(event.tag)} are not read; write the plain value"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        self._depth += 1
        if self._depth > MOST_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            problem = f"the document is nested deeper than {MOST_DEPTH} levels"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _mapping(loader: Loader, node: yaml.MappingNode) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
        if key_node.value in made:
            problem = f"the key {shown(key_node.value)} stands twice in one object; keep one"
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        made[key_node.value] = loader.construct_object(value_node, deep=True)
    return made


def _number(loader: Loader, node: yaml.ScalarNode) -> Number:
    return Number(loader.construct_scalar(node))


for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
Loader.add_constructor("tag:yaml.org,2002:int", _number)
Loader.add_constructor("tag:yaml.org,2002:float", _number)
