"""Whether a training that has failed is started again in this container, and after which pause: rules, and no guess.

Infrastructure's failures are worth another attempt, the user's own come again (contract: retries).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.frozen import Record
from launcher.core.lifecycle import LOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.outcome import Outcome
    from launcher.core.resilience import Retrying

HUNG = "hung"
"""The cause of a training that was ended because it hung."""
MOST_HANGS = 3
"""So many times in a row a training that hangs is started again."""
LONGEST_PAUSE_S = 300.0

_BLAMED = {
    "the hardware": ("gpu-ecc", "gpu-lost", "npu-ecc", "io-error", "stale-file"),
    "the network between the training's processes": (
        "nccl-timeout",
        "hccl-timeout",
        "gloo-peer-lost",
        "rendezvous-timeout",
        "master-refused",
        "peer-lost",
        "mpi-daemons",
        "address-in-use",
        LOST,
    ),
    "the network": ("name-unresolved", "no-internet"),
    "the store": ("store-unreachable", "store-busy", "store-broken", "stage-timeout"),
    "somebody outside the training, who ended a process of it": ("killed", "boot-killed"),
}
INFRASTRUCTURE = {code: blamed for blamed, codes in _BLAMED.items() for code in codes}
"""The causes that are not the user's own, and what is to blame."""


class Past(Record, frozen=True, kw_only=True):
    """How one attempt failed. `trained`: its boot processes had been started."""

    code: str
    message: str
    trained: bool = True


class Decision(Record, frozen=True, kw_only=True):
    """Whether there is another attempt, why, and the longest pause before it, in seconds.

    `spent`: there would be one, if there had not been as many already.
    """

    again: bool
    why: str
    pause_s: float = 0.0
    spent: bool = False


def past_of(outcome: Outcome, *, trained: bool) -> Past | None:
    """An attempt that has failed, by how the run would have ended with it; None: it has not failed."""
    if outcome.phase != "Failed" or outcome.cause is None:
        return None
    return Past(code=outcome.cause.code, message=outcome.cause.message, trained=trained)


def judge(attempts: Sequence[Past], rules: Retrying) -> Decision:
    """What comes after these attempts, all of which have failed; the last one says why, those before it count."""
    last = attempts[-1]
    if last.code == HUNG:
        return _after_a_hang(attempts, rules)
    used = sum(1 for each in attempts[:-1] if each.code != HUNG)
    blamed = INFRASTRUCTURE.get(last.code)
    if blamed is None and not (rules.unconditional and last.trained):
        return Decision(again=False, why=f"{last.code} is no failure of the infrastructure, and would come again")
    if used >= rules.most:
        return Decision(again=False, spent=True, why=f"the job may be started again {_times(rules.most)}")
    why = "every failure is worth another attempt here" if blamed is None else f"{last.code} is to be laid to {blamed}"
    return Decision(again=True, why=why, pause_s=_longest(len(attempts), rules))


def _after_a_hang(attempts: Sequence[Past], rules: Retrying) -> Decision:
    in_a_row = 0
    for each in reversed(attempts):
        if each.code != HUNG:
            break
        in_a_row += 1
    if not rules.hang:
        return Decision(again=False, why="the job asks for no restart after a hang")
    if in_a_row > MOST_HANGS:
        return Decision(again=False, spent=True, why=f"it hung {in_a_row} times in a row")
    return Decision(again=True, why="the training hung", pause_s=_longest(len(attempts), rules))


def _longest(failed: int, rules: Retrying) -> float:
    """Double after each attempt. The pause itself is drawn below it, so that many jobs do not come back at once."""
    return float(min(LONGEST_PAUSE_S, rules.pause_s * 2 ** min(failed - 1, 16)))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times" if count else "only after a hang"
