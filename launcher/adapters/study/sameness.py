"""Whether a policy is that of a study: what decides the values of its trials, and what its rewards mean, must be equal.

How many trials, how many may fail and the pruner may change from one start to the next. Nothing here reads a storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from launcher.core.search.shown import safe

if TYPE_CHECKING:
    from launcher.core.search import Policy

_MOST_SAID = 200
_FREE = ("num_samples", "most_failed", "pruner")


def mark(policy: Policy) -> dict[str, Any]:
    """What is compared, as JSON has it."""
    whole: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(policy))
    return {name: value for name, value in whole.items() if name not in _FREE}


def difference(here: Any, there: Any, path: str = "") -> str | None:
    """The first thing in which two marks differ, with both values; None where they are equal."""
    if here == there:
        return None
    if isinstance(here, dict) and isinstance(there, dict):
        pairs = [(f"{path}.{key}" if path else key, key, key) for key in dict.fromkeys([*here, *there])]
        return _first(here, there, pairs)
    if isinstance(here, list) and isinstance(there, list) and _names(here) == _names(there) and len(here) == len(there):
        return _first(here, there, [(f"{path}[{_name(each)}]", index, index) for index, each in enumerate(here)])
    # what is there may be anybody's
    where, mine, other = (safe(text, _MOST_SAID) for text in (path, _said(here), _said(there)))
    return f"{where} is {mine} here and {other} there"


def _first(here: Any, there: Any, pairs: list[tuple[str, Any, Any]]) -> str | None:
    for path, mine, other in pairs:
        found = difference(_at(here, mine), _at(there, other), path)
        if found:
            return found
    return None


def _at(value: Any, key: Any) -> Any:
    return value.get(key) if isinstance(value, dict) else value[key]


def _names(values: list[Any]) -> list[Any]:
    return [_name(value) for value in values]


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else None


def _said(value: Any) -> str:
    if isinstance(value, list) and value and all(_name(each) for each in value):
        return ", ".join(str(_name(each)) for each in value)
    return "not there" if value is None else msgspec.json.encode(value).decode()
