"""A search that has run, as values: what its report is drawn of."""

from __future__ import annotations

import math
import random

from launcher.core.search import Dimension, Metric, Policy, Scalar, Trial

IMPORTANCES = (
    ("learning_rate", 0.61, 0.12),
    ("dropout", 0.24, 0.08),
    ("hidden_units", 0.1, 0.05),
    ("activation", 0.05, 0.03),
)
_BEGAN = 1763800000.0


def policy_of(count: int = 20, activations: tuple[str, ...] = ("relu", "gelu", "tanh")) -> Policy:
    """Four hyperparameters of every kind."""
    return Policy(
        space=(
            Dimension(name="learning_rate", kind="float", low=1e-4, high=1e-1, log=True),
            Dimension(name="hidden_units", kind="int", low=16, high=256),
            Dimension(name="dropout", kind="float", low=0.0, high=0.6),
            Dimension(name="activation", kind="choice", choices=activations),
        ),
        reward=Metric(name="accuracy", mode="max", regex="accuracy=(.*)"),
        num_samples=count,
    )


def trials_of(policy: Policy, count: int) -> tuple[Trial, ...]:
    """Trials on two lanes, one of them failed and two ended early, that get better as they would."""
    rng = random.Random(20)
    free = [_BEGAN, _BEGAN + 1]
    made = []
    for number in range(count):
        trial = _trial(policy, number, rng, free[number % 2])
        free[number % 2] = (trial.ended or 0.0) + 1
        made.append(trial)
    return tuple(made)


def _trial(policy: Policy, number: int, rng: random.Random, began: float) -> Trial:
    values = _values(policy, number, rng)
    goal = _goal(policy, values) + rng.gauss(0, 0.003)
    steps = tuple(goal - 0.35 * math.exp(-step / 5) + rng.gauss(0, 0.004) for step in range(1, 31))
    if number in (4, 11):
        return _ended(number, values, began, state="PRUNED", steps=steps[:10], why="stopped by the pruner")
    if number == 6:
        why = "CUDA out of memory. Tried to allocate 2.00 GiB"
        return Trial(
            number=number, id="e42b0ae6", slot=number, values=values, state="FAIL", verdict="boot", why=why,
            started=began, ended=began + 9,
        )  # fmt: skip
    return _ended(number, values, began, state="COMPLETE", steps=steps, why=None)


def _ended(
    number: int, values: dict[str, Scalar], began: float, *, state: str, steps: tuple[float, ...], why: str | None
) -> Trial:
    return Trial(
        number=number,
        id=f"{random.Random(number).getrandbits(32):08x}",
        slot=number,
        values=values,
        state="PRUNED" if state == "PRUNED" else "COMPLETE",
        why=why,
        reward=steps[-1],
        steps=steps,
        started=began,
        ended=began + 2 * len(steps) + number,
    )


def _values(policy: Policy, number: int, rng: random.Random) -> dict[str, Scalar]:
    early = number < 8
    return {
        "learning_rate": min(max(10 ** (rng.uniform(-4, -1) if early else rng.gauss(-2.2, 0.35)), 1e-4), 1e-1),
        "hidden_units": rng.randint(16, 256),
        "dropout": min(max(rng.uniform(0, 0.6) if early else rng.gauss(0.2, 0.1), 0.0), 0.6),
        "activation": rng.choice(policy.space[3].choices),
    }


def _goal(policy: Policy, values: dict[str, Scalar]) -> float:
    rate, units, dropout = (float(values[name]) for name in ("learning_rate", "hidden_units", "dropout"))
    nice = 0.01 if values["activation"] == policy.space[3].choices[1] else 0.0
    return 0.97 - 0.05 * (math.log10(rate) + 2.2) ** 2 - 0.2 * (dropout - 0.2) ** 2 - 8e-7 * (units - 150) ** 2 + nice
