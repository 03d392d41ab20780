"""What is tried next: the values of a slot, drawn by the policy's algorithm from what was tried before.

A draw depends on the seed, the slot, how often was drawn for it, and the trials before: never on a clock, on who draws,
or on the order in which trials ended. So one worker draws the same trials again, also after it was killed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from launcher.adapters.study.rows import finite
from launcher.adapters.study.samplers.axes import fixed, only
from launcher.core.search import Anneal, Bayes, Tpe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from launcher.core.search import Policy, Scalar, Slot, Trial

# A Gaussian process costs the cube of what it was told: a draw takes 0.3 s of a processor at 300, 5 s at 1,000.
MOST_FOR_A_PROCESS = 300


def draw(policy: Policy, slot: Slot, trials: Iterable[Trial], note: Callable[[str], None]) -> dict[str, Scalar]:
    """Values for a slot. `note` is told, in a sentence, of what is done otherwise than asked for."""
    free = tuple(dimension for dimension in policy.space if not fixed(dimension))
    values = {dimension.name: only(dimension) for dimension in policy.space if fixed(dimension)}
    if free:
        known = sorted(trials, key=lambda trial: (trial.slot, trial.draw, trial.number))
        finished = [trial for trial in known if trial.finished and finite(trial.reward) is not None]
        running = [trial for trial in known if trial.state == "RUNNING" and _whole(policy, trial)]
        values |= _by_algorithm(policy, _seed(policy, slot), finished, running, note)
    return {dimension.name: values[dimension.name] for dimension in policy.space}


def _by_algorithm(
    policy: Policy, seed: int, finished: list[Trial], running: list[Trial], note: Callable[[str], None]
) -> dict[str, Scalar]:
    algorithm = policy.algorithm
    if isinstance(algorithm, Bayes):
        if len(finished) <= MOST_FOR_A_PROCESS:
            from launcher.adapters.study.samplers import bayes

            return bayes.drawn(policy, algorithm, seed, finished, running)
        note(
            f"bayes_opt_search learns from {MOST_FOR_A_PROCESS} trials at most, for its cost grows with their cube: "
            f"{len(finished)} are finished, so that from here on tpe_search draws"
        )
        algorithm = Tpe()
    if isinstance(algorithm, Anneal):
        from launcher.adapters.study.samplers import anneal

        return anneal.drawn(policy, algorithm, seed, finished)
    from launcher.adapters.study.samplers import tpe

    return tpe.drawn(policy, algorithm, seed, finished, running)


def _whole(policy: Policy, trial: Trial) -> bool:
    return all(dimension.name in trial.values for dimension in policy.space)


def _seed(policy: Policy, slot: Slot) -> int:
    """A number of 32 bits that no two draws of a search share but by chance."""
    text = f"{policy.seed}:{slot.index}:{slot.draw}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
