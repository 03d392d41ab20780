"""A dimension of the space as Optuna's distribution, and a value as the distribution wants it.

Grids (`points`) are stored as what they are points of, so that a chart's axis shows the values that the boot file was
given; that only points are drawn is the samplers' matter. Nothing here draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.search import Dimension, Scalar

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


def distribution(dimension: Dimension) -> Distribution:
    """What a dimension's values are to the storage and to the charts."""
    if dimension.kind == "choice":
        return CategoricalDistribution(dimension.choices)
    if dimension.kind == "int":
        return IntDistribution(round(dimension.low), round(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def kept(dimension: Dimension, value: Scalar) -> float:
    """A value as the storage keeps it: a number, that of a choice by its place."""
    if dimension.kind == "choice":
        return float(dimension.choices.index(str(value)))
    return float(value)


def fitted(dimension: Dimension, value: Scalar) -> Scalar:
    """A value in its dimension's own type, inside of the bounds: what rounding put beside an end is put on it."""
    if dimension.kind == "choice":
        return str(value)
    low, high = dimension.low, dimension.high
    bounded = min(max(float(value), low), high)
    return round(bounded) if dimension.kind == "int" else bounded


def odd(dimension: Dimension, value: object) -> str | None:
    """What a kept value has that no value of the dimension has; None where it is one."""
    if dimension.kind == "choice":
        return None if value in dimension.choices else "is none of its choices"
    if isinstance(value, bool) or not isinstance(value, int if dimension.kind == "int" else float):
        return f"is no {dimension.kind}"
    return None if dimension.low <= value <= dimension.high else f"is not from {dimension.low:g} to {dimension.high:g}"


def whole(space: tuple[Dimension, ...], values: Mapping[str, Scalar] | None) -> dict[str, Scalar] | None:
    """The values of every dimension; None where one is missing: they were never drawn to the end."""
    if values is None or any(dimension.name not in values for dimension in space):
        return None
    return {dimension.name: fitted(dimension, values[dimension.name]) for dimension in space}
