"""`bayes_opt_search`: a Gaussian process of what was found, and the acquisition functions of bayes_opt on it.

The process sees every dimension from 0 to 1 (by its logarithm where the dimension says so), whole numbers and points at
what they are rounded to, choices one axis each. Trials that run are held for as good as the process believes.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from bayes_opt.acquisition import ExpectedImprovement, ProbabilityOfImprovement, UpperConfidenceBound
from bayes_opt.parameter import wrap_kernel
from bayes_opt.target_space import TargetSpace
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from launcher.adapters.study.samplers.axes import fixed, inner, outer, place, stretch, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.core.search import Bayes, Dimension, Policy, Scalar, Trial

    Points = np.ndarray[Any, np.dtype[np.float64]]

AT_RANDOM = 10  # trials before the process is asked, as Ray Tune's BayesOptSearch had it
TRIES = 32
LARGEST = 1e100


def drawn(
    policy: Policy, algorithm: Bayes, seed: int, finished: Sequence[Trial], running: Sequence[Trial]
) -> dict[str, Scalar]:
    """Values where the acquisition function is largest; at random for the first ones, and instead of a repetition."""
    free = [dimension for dimension in policy.space if not fixed(dimension)]
    chance = np.random.RandomState(seed)
    known = [trial for trial in finished if trial.state == "COMPLETE" and trial.reward is not None]
    taken = [{dimension.name: trial.values[dimension.name] for dimension in free} for trial in (*known, *running)]
    if len(known) >= AT_RANDOM:
        asked = _values(free, _best(policy, algorithm, free, known, running, chance=chance))
        if asked not in taken:
            return asked
    found: dict[str, Scalar] = {}
    for _ in range(TRIES):
        found = _values(free, chance.uniform(size=_width(free)))
        if found not in taken:
            break
    return found


def _best(
    policy: Policy,
    algorithm: Bayes,
    free: Sequence[Dimension],
    known: Sequence[Trial],
    running: Sequence[Trial],
    *,
    chance: np.random.RandomState,
) -> Points:
    sign = 1.0 if policy.reward.mode == "max" else -1.0
    merged: dict[tuple[float, ...], list[float]] = {}
    for trial in known:
        merged.setdefault(_place(free, trial), []).append(sign * (trial.reward or 0.0))
    points = np.array(list(merged))
    rewards = _reasonable(np.array([_middle(found) for found in merged.values()]))
    space = TargetSpace(None, {str(axis): (0.0, 1.0) for axis in range(_width(free))})
    process = _process(free, chance)
    believed = [spot for spot in dict.fromkeys(_place(free, trial) for trial in running) if spot not in merged]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a length is at its bound is of no use to anybody
        process.fit(points, rewards)
        for spot, reward in zip(points, rewards, strict=True):
            space.register(spot, reward)
        if believed:
            for spot, reward in zip(believed, process.predict(np.array(believed)), strict=True):
                space.register(np.array(spot), reward)
            process.set_params(kernel=process.kernel_, optimizer=None).fit(space.params, space.target)
        return np.asarray(_acquisition(algorithm).suggest(process, space, fit_gp=False, random_state=chance))


def _middle(found: list[float]) -> float:
    return sum(one / len(found) for one in found)  # so that no sum is infinite


def _reasonable(rewards: Points) -> Points:
    """Rewards whose squares are numbers."""
    largest = float(np.max(np.abs(rewards)))
    return rewards / largest if largest > LARGEST else rewards


def _acquisition(algorithm: Bayes) -> UpperConfidenceBound | ExpectedImprovement | ProbabilityOfImprovement:
    if algorithm.kind == "ucb":
        return UpperConfidenceBound(kappa=algorithm.kappa)
    return (ExpectedImprovement if algorithm.kind == "ei" else ProbabilityOfImprovement)(xi=algorithm.xi)


def _process(free: Sequence[Dimension], chance: np.random.RandomState) -> GaussianProcessRegressor:
    """As bayes_opt makes its own."""
    kernel = wrap_kernel(Matern(nu=2.5), transform=_snapped(free))
    return GaussianProcessRegressor(kernel, alpha=1e-6, normalize_y=True, n_restarts_optimizer=5, random_state=chance)


def _width(free: Sequence[Dimension]) -> int:
    return sum(len(dimension.choices) or 1 for dimension in free)


def _snapped(free: Sequence[Dimension]) -> Callable[[Any], Points]:
    """Every point at the place of the values that it stands for (Garrido-Merchan and Hernandez-Lobato, 2018)."""

    def snap(points: Any) -> Points:
        taken = np.array(np.atleast_2d(points))
        axis = 0
        for dimension in free:
            width = len(dimension.choices) or 1
            part = taken[:, axis : axis + width]
            taken[:, axis : axis + width] = _middles(dimension, part)
            axis += width
        return taken

    return snap


def _middles(dimension: Dimension, part: Points) -> Points:
    if dimension.kind == "choice":
        return np.asarray(np.eye(len(dimension.choices))[np.argmax(part, axis=1)])
    if dimension.kind == "float" and dimension.points is None:
        return part
    low, high, log = stretch(dimension)
    places = low * (high / low) ** part if log else low + (high - low) * part
    whole = np.clip(np.round(places), np.ceil(low), np.floor(high))
    return np.asarray(np.log(whole / low) / np.log(high / low) if log else (whole - low) / (high - low))


def _values(free: Sequence[Dimension], point: Points) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    axis = 0
    for dimension in free:
        if dimension.kind == "choice":
            count = len(dimension.choices)
            found[dimension.name] = dimension.choices[int(np.argmax(point[axis : axis + count]))]
            axis += count
        else:
            found[dimension.name] = outer(dimension, place(dimension, float(point[axis])))
            axis += 1
    return found


def _place(free: Sequence[Dimension], trial: Trial) -> tuple[float, ...]:
    return _spot(free, {dimension.name: trial.values[dimension.name] for dimension in free})


def _spot(free: Sequence[Dimension], values: dict[str, Scalar]) -> tuple[float, ...]:
    found: list[float] = []
    for dimension in free:
        value = values[dimension.name]
        if dimension.kind == "choice":
            found += [float(choice == value) for choice in dimension.choices]
        else:
            found.append(unit(dimension, inner(dimension, value)))
    return tuple(found)
