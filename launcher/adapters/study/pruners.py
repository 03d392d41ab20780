"""Optuna's pruners by the policy's words: which end a trial early, from its rewards on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

from launcher.adapters.study.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.search import Pruner

PATIENCE = 3

_MADE: Mapping[str, Callable[[], BasePruner]] = {
    "median": MedianPruner,
    "percentile": lambda: PercentilePruner(25.0),
    "halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
    "patient": lambda: PatientPruner(MedianPruner(), patience=PATIENCE),
}


def pruner(name: Pruner | None) -> BasePruner:
    """The one of a name; without a name, one that ends nothing."""
    with quiet():
        return _MADE[name]() if name else NopPruner()
