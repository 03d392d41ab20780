"""A dimension as a stretch of numbers to draw from; whole numbers and points of a grid have one unit of it each.

Nothing here draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from launcher.adapters.study.distributions import fitted
from launcher.core.search.space import point

if TYPE_CHECKING:
    from launcher.core.search import Dimension, Scalar


def fixed(dimension: Dimension) -> bool:
    """Whether it has one value only."""
    if dimension.kind == "choice":
        return len(dimension.choices) == 1
    return dimension.points == 1 or dimension.low == dimension.high


def only(dimension: Dimension) -> Scalar:
    """The value of one that is fixed."""
    return dimension.choices[0] if dimension.kind == "choice" else fitted(dimension, dimension.low)


def stretch(dimension: Dimension) -> tuple[float, float, bool]:
    """From where to where a number is drawn, and whether by its logarithm."""
    if dimension.points is not None:
        return -0.5, dimension.points - 0.5, False
    beside = 0.5 if dimension.kind == "int" else 0.0
    return dimension.low - beside, dimension.high + beside, dimension.log


def outer(dimension: Dimension, place: float) -> Scalar:
    """The value at a place of the stretch."""
    if dimension.points is not None:
        return point(dimension, min(max(round(place), 0), dimension.points - 1))
    return fitted(dimension, place)


def inner(dimension: Dimension, value: Scalar) -> float:
    """The place of a value on the stretch."""
    if dimension.points is None:
        return float(value)
    step = (dimension.high - dimension.low) / (dimension.points - 1)
    return float(min(max(round((float(value) - dimension.low) / step), 0), dimension.points - 1))


def unit(dimension: Dimension, place: float) -> float:
    """How far along the stretch a place is, from 0 to 1."""
    low, high, log = stretch(dimension)
    along = math.log(place / low) / math.log(high / low) if log else (place - low) / (high - low)
    return min(max(along, 0.0), 1.0)


def place(dimension: Dimension, unit: float) -> float:
    """The other way round."""
    low, high, log = stretch(dimension)
    return low * (high / low) ** unit if log else low + (high - low) * unit
