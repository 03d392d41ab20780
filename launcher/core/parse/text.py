"""From bytes to plain values: JSON and YAML, with every trap of both closed. Numbers keep their spelling."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from launcher.core.errors import Problem, SpecError
from launcher.core.parse.cursor import MOST_DEPTH, Json, Number, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_BYTES = 4 * 1024 * 1024
"""Larger than any body the service takes (100 variables of 4,096 characters are 0.4 MiB)."""

_BAD_JSON = "ModelArts.2787"


def read_document(data: bytes, name: str) -> Json:
    """The plain value of a JSON or YAML document; its file name (or `-`) tells which. Raises SpecError."""
    if len(data) > MOST_BYTES:
        _refuse(f"the document is larger than {MOST_BYTES} bytes; is this a job file at all?")
    text = _decode(data)
    if not text.strip():
        _refuse("the document is empty")
    if name.endswith((".yaml", ".yml")):
        return _read_yaml(text)
    if name.endswith(".json") or text.lstrip()[0] in "{[":
        return _read_json(text)
    return _read_yaml(text)


def _refuse(message: str) -> NoReturn:
    raise SpecError([Problem(path="", message=message, code=_BAD_JSON)])


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        _refuse("the document is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse(f"byte 0x{data[error.start]:02x} in line {line} is not UTF-8; save the document as UTF-8")


def _read_json(text: str) -> Json:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        _refuse(f"no valid JSON in line {error.lineno}, column {error.colno}: {error.msg}")
    except RecursionError:
        _refuse(f"the document is nested deeper than {MOST_DEPTH} levels")
    if _depth_exceeds(value, MOST_DEPTH):
        _refuse(f"the document is nested deeper than {MOST_DEPTH} levels")
    return value


def _object(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        _refuse(f"the key {shown(twice)} stands twice in one object; keep one")
    return made


def _constant(word: str) -> NoReturn:
    _refuse(f"{word} is no JSON number; write the value as text")


def _depth_exceeds(value: Json, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def _read_yaml(text: str) -> Json:
    import yaml  # noqa: PLC0415 - a JSON job does not pay for it

    from launcher.core.parse.yaml_loader import Loader  # noqa: PLC0415

    try:
        return Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        _refuse(f"no valid YAML{place}: {', '.join(filter(None, (error.context, error.problem)))}")
    except (yaml.YAMLError, ValueError) as error:
        first: Any = str(error).splitlines()[0] if str(error) else "it cannot be read"
        _refuse(f"no valid YAML: {first}")
