"""Hyperparameter values: texts that are checked as what they say they are, and passed on as they were written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.spec import Constraint

STRING_NOT_ALLOWED = "ModelArts.2765"
WRONG_TYPE = "ModelArts.2768"
OUT_OF_RANGE = "ModelArts.2769"
BAD_RANGE = "ModelArts.2770"

_INTEGER = r"[+-]?[0-9]+"
_FLOAT = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_LONGEST_NUMBER = 64

Wrong = tuple[str, str]
"""What is wrong with a value, and the service's number for it."""


def argument(kind: str, value: str) -> str:
    """The value as the boot file gets it: a Boolean as True or False, all else as it was written."""
    return value.capitalize() if kind == "Boolean" and value.lower() in ("true", "false") else value


def wrong_value(constraint: Constraint, value: str) -> Wrong | None:
    """What is wrong with a value under its constraint, or None."""
    wrong = wrong_type(constraint.type, value)
    if wrong:
        return wrong
    if constraint.valid_type == "Choice":
        return _wrong_choice(constraint, value)
    if constraint.valid_type == "Range" and constraint.type in ("Integer", "Float"):
        return _outside(constraint.valid_range, value)
    return None


def wrong_type(kind: str, value: str) -> Wrong | None:
    """Why a text is no value of this type, or None."""
    if kind == "Boolean":
        right = value.lower() in ("true", "false")
        return None if right else (f"expected True or False, found {value!r}", WRONG_TYPE)
    if kind == "String":
        return None
    if len(value) > _LONGEST_NUMBER:
        return (f"expected a number, found {len(value)} characters", WRONG_TYPE)
    if kind == "Integer":
        return None if re.fullmatch(_INTEGER, value) else (f"expected a whole number, found {value!r}", WRONG_TYPE)
    if not re.fullmatch(_FLOAT, value):
        return (f"expected a number such as 0.1 or 1e-3, found {value!r}", WRONG_TYPE)
    if float(value) in (float("inf"), float("-inf")):
        return (f"expected a number that fits a Float, found {value!r}", WRONG_TYPE)
    return None


def wrong_range(constraint: Constraint) -> Wrong | None:
    """What is wrong with the constraint itself, or None."""
    if constraint.valid_type == "Choice":
        if not constraint.valid_range:
            return ("a Choice needs at least one value in valid_range", BAD_RANGE)
        wrongs = [wrong_type(constraint.type, value) for value in constraint.valid_range]
        first = next((wrong for wrong in wrongs if wrong), None)
        return (f"a choice is no {constraint.type}: {first[0]}", BAD_RANGE) if first else None
    if constraint.valid_type == "None":
        return None
    return _wrong_ends(constraint)


def _wrong_ends(constraint: Constraint) -> Wrong | None:
    if constraint.type not in ("Integer", "Float"):
        return (f"a Range needs an Integer or a Float, found a {constraint.type}", BAD_RANGE)
    if len(constraint.valid_range) != 2:  # noqa: PLR2004 - low and high
        return (f"a Range needs two texts, low and high, found {len(constraint.valid_range)}", BAD_RANGE)
    for end in filter(None, constraint.valid_range):
        if wrong_type(constraint.type, end):
            return (f"an end of the range is no {constraint.type}: {end!r}", BAD_RANGE)
    low, high = constraint.valid_range
    if low and high and number(low) > number(high):
        return (f"the range is empty: {low} is above {high}", BAD_RANGE)
    return None


def number(text: str) -> int | float:
    """The value of a checked number, exact where it is whole."""
    return int(text) if re.fullmatch(_INTEGER, text) else float(text)


def _wrong_choice(constraint: Constraint, value: str) -> Wrong | None:
    same = {argument(constraint.type, choice) for choice in constraint.valid_range}
    if argument(constraint.type, value) in same or _equals_a_number(constraint, value):
        return None
    code = STRING_NOT_ALLOWED if constraint.type == "String" else OUT_OF_RANGE
    return (f"expected one of {', '.join(constraint.valid_range)}, found {value!r}", code)


def _equals_a_number(constraint: Constraint, value: str) -> bool:
    """Whether 0.10 stands for the choice 0.1."""
    if constraint.type not in ("Integer", "Float"):
        return False
    return any(number(choice) == number(value) for choice in constraint.valid_range if not wrong_type("Float", choice))


def _outside(valid_range: tuple[str, ...], value: str) -> Wrong | None:
    low, high = valid_range
    if (low and number(value) < number(low)) or (high and number(value) > number(high)):
        ends = f"{low or 'any number'} to {high or 'any number'}"
        return (f"expected {ends}, found {value}", OUT_OF_RANGE)
    return None
