"""`anneal_search` by hyperopt: near one of the best so far, in a neighbourhood that shrinks with what was explored.

It learns from trials that ran to their end; those that run now do not matter to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hyperopt import JOB_STATE_DONE, STATUS_OK, Trials, hp
from hyperopt import anneal as annealing
from hyperopt.base import Domain

from launcher.adapters.study.samplers.axes import fixed, inner, outer, stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.search import Anneal, Dimension, Policy, Scalar, Trial


def drawn(policy: Policy, algorithm: Anneal, seed: int, finished: Sequence[Trial]) -> dict[str, Scalar]:
    """Values beside a good trial's, or at random where there is none."""
    free = [dimension for dimension in policy.space if not fixed(dimension)]
    sign = -1.0 if policy.reward.mode == "max" else 1.0
    known = [trial for trial in finished if trial.state == "COMPLETE" and trial.reward is not None]
    told = Trials()
    told.insert_trial_docs([_document(free, index, trial, sign) for index, trial in enumerate(known)])
    told.refresh()
    domain = Domain(_never, {str(index): _stretch(dimension, str(index)) for index, dimension in enumerate(free)})
    (found,) = annealing.suggest(
        [len(known)],
        domain,
        told,
        seed,
        avg_best_idx=max(algorithm.avg_best_idx, 1.0),
        shrink_coef=algorithm.shrink_coef,
    )
    drawn_places = found["misc"]["vals"]
    return {dimension.name: _outer(dimension, drawn_places[str(index)][0]) for index, dimension in enumerate(free)}


def _never(_point: Any) -> float:
    raise AssertionError  # trials are run by the launcher, not by hyperopt


def _stretch(dimension: Dimension, label: str) -> Any:
    if dimension.kind == "choice":
        return hp.choice(label, list(dimension.choices))
    low, high, log = stretch(dimension)
    return hp.loguniform(label, np.log(low), np.log(high)) if log else hp.uniform(label, low, high)


def _document(free: Sequence[Dimension], index: int, trial: Trial, sign: float) -> dict[str, Any]:
    labels = [str(place) for place in range(len(free))]
    return {
        "tid": index,
        "spec": None,
        "state": JOB_STATE_DONE,
        "result": {"status": STATUS_OK, "loss": sign * (trial.reward or 0.0)},
        "misc": {
            "tid": index,
            "cmd": None,
            "idxs": {label: [index] for label in labels},
            "vals": {label: [_inner(free[int(label)], trial.values[free[int(label)].name])] for label in labels},
        },
        "exp_key": None,
        "owner": None,
        "version": 0,
        "book_time": None,
        "refresh_time": None,
    }


def _inner(dimension: Dimension, value: Scalar) -> float | int:
    return dimension.choices.index(str(value)) if dimension.kind == "choice" else inner(dimension, value)


def _outer(dimension: Dimension, value: Any) -> Scalar:
    return dimension.choices[int(value)] if dimension.kind == "choice" else outer(dimension, float(value))
