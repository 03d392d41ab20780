"""The space of a search: each search parameter as a dimension, checked against the hyperparameter that it varies.

It reads numbers as they were written, and never changes a bound or a value to make it fit.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from launcher.core.parse.cursor import INVALID_PARAMETER, At
from launcher.core.parse.parameters import DUPLICATE
from launcher.core.search import Dimension
from launcher.core.spec import Constraint
from launcher.core.values import BAD_RANGE, WRONG_TYPE, argument, number, wrong_type, wrong_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.parse.cursor import Log
    from launcher.core.search import Scalar
    from launcher.core.searchspace import SearchParam
    from launcher.core.spec import Hyperparameter

NOT_EDITABLE = "ModelArts.2814"
MOST_POINTS = 100_000
"""More points than that are no grid any more."""
MOST_WHOLE = 2**53
"""Up to here a float holds every whole number."""
_NAMED = 4


def point(dimension: Dimension, i: int) -> float | int:
    """The value of the i-th of a dimension's `points`, from 0; the ends are exact.

    It is reckoned in decimals, as a person would: the third of nine points from 0.1 to 0.9 is 0.3, not
    0.30000000000000004.
    """
    steps = (dimension.points or 1) - 1
    if i in (0, steps):
        end = dimension.high if i else dimension.low
        return int(end) if dimension.kind == "int" else end
    if dimension.kind == "int":
        return int(dimension.low) + (int(dimension.high) - int(dimension.low)) // steps * i
    low, high = Decimal(repr(dimension.low)), Decimal(repr(dimension.high))
    return float(low + (high - low) * i / steps)


def values_of(dimension: Dimension, value: Scalar) -> str:
    """A value as the boot file gets it: a float so that it reads back the same, a whole number without a point."""
    if dimension.kind == "float":
        return repr(float(value))
    return str(int(value)) if dimension.kind == "int" else str(value)


def size(space: Sequence[Dimension]) -> int | None:
    """How many different values the whole space has; None: without end."""
    total = 1
    for each in space:
        if each.kind == "float" and each.points is None:
            return None
        whole = int(each.high) - int(each.low) + 1
        total *= len(each.choices) if each.kind == "choice" else each.points or whole
    return total


def dimension(param: SearchParam, varied: Hyperparameter | None, path: str, log: Log) -> Dimension | None:
    """One search parameter as a dimension; None where something is wrong, which the log then has."""
    at = At(None, path, log)
    before = len(log.problems)
    constraint = varied.constraint if varied is not None else None
    if constraint is not None and not constraint.editable:
        at.wrong(f"the algorithm fixes {param.name!r} (editable is false), so it cannot be searched", NOT_EDITABLE)
    read = _discrete if param.param_type == "discrete" else _continuous
    made = read(param, constraint, at)
    return made if len(log.problems) == before else None


def _discrete(param: SearchParam, constraint: Constraint | None, at: At) -> Dimension:
    _left_alone(param, at)
    if param.scale == "log":
        at.key("scale").wrong("discrete values have no scale; leave it out", BAD_RANGE)
    if not param.discrete_values:
        at.key("discrete_values").wrong("a discrete parameter needs at least one value", BAD_RANGE)
    seen: dict[str | float, str] = {}
    for index, value in enumerate(param.discrete_values):
        at_value = At(None, f"{at.path}.discrete_values[{index}]", at.log)
        wrong = wrong_value(constraint, value) if constraint else None
        if wrong:
            at_value.wrong(*wrong)
            continue
        same = _meaning(constraint, value)
        if same in seen:
            at_value.wrong(f"{value!r} is the same as {seen[same]!r}; name each value once", DUPLICATE)
        seen.setdefault(same, value)
    if len(param.discrete_values) == 1:
        at.key("discrete_values").warn(
            f"has one value, so that every trial has {param.name}={param.discrete_values[0]} and it is not searched"
        )
    return Dimension(name=param.name, kind="choice", choices=param.discrete_values)


def _left_alone(param: SearchParam, at: At) -> None:
    """Say what a discrete parameter has and does not use."""
    count = len(param.discrete_values)
    if param.discrete_points_num and int(param.discrete_points_num) != count:
        at.key("discrete_points_num").warn(f"is left alone: the values are the {count} of discrete_values")
    if param.lower_bound or param.upper_bound:
        at.key("lower_bound" if param.lower_bound else "upper_bound").warn(
            "is left alone: a discrete parameter has the values of discrete_values"
        )


def _meaning(constraint: Constraint | None, value: str) -> str | float:
    """What two texts of one value have in common."""
    if constraint is None:
        return value
    return number(value) if constraint.type in ("Integer", "Float") else argument(constraint.type, value)


def _continuous(param: SearchParam, constraint: Constraint | None, at: At) -> Dimension | None:
    constraint = constraint or Constraint(type="Float")
    if not _can_be_continuous(param, constraint, at):
        return None
    if param.discrete_values:
        at.key("discrete_values").warn(
            "is left alone: the parameter is continuous; write param_type discrete to search these values"
        )
    low = _bound("lower_bound", param, constraint, at)
    high = _bound("upper_bound", param, constraint, at)
    if low is None or high is None:
        return None
    if not low < high:
        at.key("lower_bound").wrong(
            f"expected less than the upper bound {high:g}, found {param.lower_bound}", BAD_RANGE
        )
    elif high - low == float("inf"):
        at.key("upper_bound").wrong("the range is wider than any number; bring its ends nearer", BAD_RANGE)
    if param.scale == "log" and low <= 0:
        at.key("lower_bound").wrong(f"a log scale needs more than 0, found {param.lower_bound}", BAD_RANGE)
    whole = constraint.type == "Integer"
    points = _points(param, at, int(high) - int(low) if whole and low < high else None)
    return Dimension(
        name=param.name, kind="int" if whole else "float", low=low, high=high, log=param.scale == "log", points=points
    )


def _can_be_continuous(param: SearchParam, constraint: Constraint, at: At) -> bool:
    """Whether all between two bounds are values of the hyperparameter."""
    cure = "write param_type discrete and its discrete_values"
    if constraint.type not in ("Integer", "Float"):
        message = f"a {constraint.type} hyperparameter has no values between two bounds; {cure}, or make it a Float"
        at.key("param_type").wrong(message, WRONG_TYPE)
    elif constraint.valid_type == "Choice":
        allowed = ", ".join(constraint.valid_range)
        at.key("param_type").wrong(f"{param.name!r} may only be one of {allowed}; {cure}", BAD_RANGE)
    elif param.discrete_values and not (param.lower_bound or param.upper_bound):
        at.key("param_type").wrong(f"is continuous and has no bounds; {cure.partition(' and ')[0]}", BAD_RANGE)
    else:
        return True
    return False


def _bound(which: str, param: SearchParam, constraint: Constraint, at: At) -> float | None:
    written: str | None = getattr(param, which)
    if not written:
        at.key(which).wrong("is missing; a continuous parameter needs both bounds", BAD_RANGE)
        return None
    wrong = wrong_type(constraint.type, written)
    if wrong:
        at.key(which).wrong(wrong[0], BAD_RANGE)
        return None
    outside = wrong_value(constraint, written)
    if outside:
        at.key(which).wrong(f"the hyperparameter itself does not allow it: {outside[0]}", outside[1])
    if constraint.type == "Integer" and abs(int(written)) > MOST_WHOLE:
        at.key(which).wrong(f"expected a whole number from -{MOST_WHOLE} to {MOST_WHOLE}, found {written}", BAD_RANGE)
        return None
    return float(written)


def _points(param: SearchParam, at: At, span: int | None) -> int | None:
    """So many points a continuous parameter has; `span` is its width where it is whole."""
    if not param.discrete_points_num:
        return None
    at = at.key("discrete_points_num")
    if param.scale == "log":
        at.wrong("points are evenly apart, and a log scale has none; keep one of the two", INVALID_PARAMETER)
    many = int(param.discrete_points_num)
    if not 2 <= many <= MOST_POINTS:  # noqa: PLR2004 - the two ends
        at.wrong(f"expected 2 to {MOST_POINTS} points, both bounds among them, found {many}", BAD_RANGE)
    elif span is not None and span % (many - 1):
        fits = sorted(_fitting(span), key=lambda each: abs(each - many))[:_NAMED]
        numbers = re.sub(r", (\d+)$", r" or \1", ", ".join(map(str, sorted(fits))))
        at.wrong(
            f"{many} points from {param.lower_bound} to {param.upper_bound} are not whole; {numbers} are", BAD_RANGE
        )
    return many


def _fitting(span: int) -> list[int]:
    """The numbers of points that divide a whole range into whole steps."""
    return [many for many in range(2, min(span + 1, MOST_POINTS) + 1) if span % (many - 1) == 0]
