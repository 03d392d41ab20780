"""Which dimension matters: functional ANOVA by Optuna's forest of trees, with a fixed seed.

It needs some finished trials and two dimensions that vary; without them it says nothing rather than something.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from optuna.importance import FanovaImportanceEvaluator

from launcher.adapters.study.rows import as_study, finite
from launcher.adapters.study.samplers.axes import fixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.search import Policy, Trial

FEWEST = 4
FORESTS = 8
"""The mean and the deviation are of so many forests: Optuna tells no deviation of the trees of one."""
TREES = 32


def importances(policy: Policy, trials: Sequence[Trial]) -> tuple[tuple[str, float, float], ...]:
    """Name, mean and standard deviation, the most important first; they add up to 1. () where it cannot be told."""
    names = [dimension.name for dimension in policy.space if not fixed(dimension)]
    known = [
        trial
        for trial in trials
        if trial.state == "COMPLETE" and finite(trial.reward) is not None and set(names) <= set(trial.values)
    ]
    if len(known) < FEWEST or len(names) < 2 or len({trial.reward for trial in known}) == 1:  # noqa: PLR2004
        return ()
    study = as_study(policy, known)
    found: dict[str, list[float]] = {name: [] for name in names}
    for forest in range(FORESTS):
        told = FanovaImportanceEvaluator(n_trees=TREES, seed=(policy.seed + forest) % 2**32).evaluate(
            study, params=names
        )
        whole = sum(told.values()) or 1.0
        for name in names:
            found[name].append(told[name] / whole)
    rows = [(name, statistics.fmean(values), statistics.pstdev(values)) for name, values in found.items()]
    return tuple(sorted(rows, key=lambda row: -row[1]))
