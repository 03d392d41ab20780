"""How much of a line Python's own `re` may be given with an expression, so that it never takes long.

It has no limit of time and lets nothing else go on meanwhile: an expression that tries all ways to part a line must get
short ones. Where the package `regex` is there, which has a limit, nobody asks here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = (1000, 1000, 200, 60)
"""Characters of a line, by the number of parts that fit nearly anything for any length: some 10 ms at worst each."""
_NUMBER = re.compile(r"[-+]?[0-9][0-9,_]{0,20}(?:\.[0-9]{1,20})?(?:[eE][-+]?[0-9]{1,2})?")
_LONG = 32
"""A part that may come so many times more than it must is as good as one without an end."""
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_parser: Any = getattr(re, "_parser", None) or getattr(re, "sre_parse", None)
"""Python's own reader of expressions; its second name is that of Python 3.10."""


def longest_line(expression: str) -> int:
    """Characters of a line that an expression may be tried on; 0: none, for no line would be short enough."""
    try:
        wide = list(_wide(_parser.parse(expression)))
    except RecursionError:
        return 0
    count = sum(wide) if all(wide) else len(LONGEST)
    return LONGEST[count] if count < len(LONGEST) else 0


def number_of(text: str) -> float | None:
    """A step as it is written: `1000`, `1,000`, `1e3`, `12.5`; None for anything else."""
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", "").replace("_", ""))


def _wide(parts: Any) -> Iterator[int]:
    """A 1 for each repeat of nearly anything, and a 0 for what may take time without end: repeats of repeats."""
    for operator, value in parts:
        name = str(operator)
        inside = [each for inner in _inside(name, value) for each in _wide(inner)]
        if name in _REPEATS and value[1] > 1 and (inside or (value[1] > _LONG and _varies(value[2]))):
            yield 0
        elif name in _REPEATS and value[1] - value[0] > _LONG and any(map(_fits_much, value[2])):
            yield 1
        else:
            yield from inside


def _varies(parts: Any) -> bool:
    """Whether a part can be read in more than one way, or length."""
    for operator, value in parts:
        name = str(operator)
        if name in ("BRANCH", "GROUPREF") or (name in _REPEATS and value[0] != value[1]):
            return True
        if any(_varies(inner) for inner in _inside(name, value)):
            return True
    return False


def _fits_much(part: Any) -> bool:
    name, value = str(part[0]), part[1]
    if name == "IN":
        return any(str(each[0]) == "NEGATE" or str(each[1]) in _MUCH for each in value)
    return name in ("ANY", "NOT_LITERAL") or any(any(map(_fits_much, inner)) for inner in _inside(name, value))


_MUCH = ("CATEGORY_WORD", "CATEGORY_NOT_WORD", "CATEGORY_NOT_SPACE", "CATEGORY_NOT_DIGIT")


def _inside(name: str, value: Any) -> tuple[Any, ...]:
    """What a part holds."""
    if name == "SUBPATTERN":
        return (value[3],)
    if name == "BRANCH":
        return tuple(value[1])
    if name in _REPEATS or name == "POSSESSIVE_REPEAT":
        return (value[2],)
    if name in ("ASSERT", "ASSERT_NOT"):
        return (value[1],)
    return (value,) if name == "ATOMIC_GROUP" else ()
