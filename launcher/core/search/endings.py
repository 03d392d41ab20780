"""How a trial ended: what its run says, what was read of its log, and whether it was asked to end, as one verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from launcher.core.errors import Exit
from launcher.core.frozen import Record
from launcher.core.search import Ending

if TYPE_CHECKING:
    from launcher.core.search import Policy

Asked = Literal["pruner", "user", "end"]
"""Who asked a trial to end: the pruner, a user (`--stop`), or whoever ends the whole search."""
LONGEST_WHY = 2000
SHOWN_LINES = 5


class RunEnd(Record, frozen=True, kw_only=True):
    """What the trial's own launcher left: its exit code, and of its run.json the phase, the cause, and two facts.

    `booted`: a boot process ran. `owes`: something of it may not be in its place.
    """

    code: int
    phase: str | None = None
    cause: str | None = None
    message: str = ""
    booted: bool = False
    owes: bool = False


class Read(Record, frozen=True, kw_only=True):
    """What was read of its log: the rewards' last and best, how many there were, the metrics' last texts.

    `unread` counts matches that are no numbers, of which `example` is one; `tail` are its last lines; `notes` are
    sentences about expressions that were given up.
    """

    count: int = 0
    last: float | None = None
    best: float | None = None
    metrics: Mapping[str, str] = {}
    unread: int = 0
    example: str = ""
    tail: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def ending(policy: Policy, ran: RunEnd, read: Read, asked: Asked | None) -> Ending:
    """The one verdict on a trial."""
    reward = read.last if policy.take == "last" else read.best
    trained = ran.code in (Exit.OK, Exit.NOT_SAVED) and ran.phase in ("Completed", "Failed") and ran.booted
    if trained and (ran.code == Exit.OK or _saved_not(ran)):
        if reward is None:
            return _made("FAIL", read, verdict="no-reward", why=no_reward(policy, read))
        return _made("COMPLETE", read, reward=reward, why=_sentences(ran.message if ran.code else "", *read.notes))
    if asked in ("pruner", "user"):
        return _made("PRUNED", read, reward=reward, why=_sentences(f"stopped by {_ASKED[asked]}", *read.notes))
    if asked == "end" or _lost(ran):
        why = "the search was ended" if asked == "end" else ran.message or "its launcher was killed"
        return _made("FAIL", read, verdict="lost", why=why)
    return _made("FAIL", read, verdict="boot", why=ran.message or f"it ended with exit code {ran.code}")


def no_reward(policy: Policy, read: Read) -> str:
    """Why there is no reward, for whoever wrote the expression."""
    metric = policy.reward
    lines = " | ".join(line.strip() for line in read.tail[-SHOWN_LINES:] if line.strip())
    if read.unread:
        many = "1 match" if read.unread == 1 else f"{read.unread} matches"
        found = f"{many} of {metric.regex!r} gave no number, such as {read.example!r}"
    else:
        found = f"nothing that it printed is matched by {metric.regex!r}"
    end = f"; its last lines: {lines}" if lines else "; it printed nothing"
    return (_sentences(f"no value of {metric.name}: {found}{end}", *read.notes) or "")[:LONGEST_WHY]


def _sentences(*said: str) -> str | None:
    return ". ".join(filter(None, said)) or None


_ASKED = {"pruner": "the pruner", "user": "a user"}


def _saved_not(ran: RunEnd) -> bool:
    """Whether the launcher says with this code that outputs are not in place, and not the boot file something else."""
    return ran.code == Exit.NOT_SAVED and ran.cause not in ("boot-failed", "boot-killed")


def _lost(ran: RunEnd) -> bool:
    """Whether it ended through no fault of its own: its launcher was killed or stopped, or the store was gone."""
    return (
        ran.phase in (None, "Abnormal", "Terminated") or unfit(ran) or (not ran.booted and ran.code == Exit.UNREACHABLE)
    )


def unfit(ran: RunEnd) -> bool:
    """Whether the node could not run it, so that no other trial need be tried here."""
    return not ran.booted and ran.code == Exit.NODE


def _made(
    state: Literal["COMPLETE", "PRUNED", "FAIL"],
    read: Read,
    *,
    verdict: Literal["boot", "no-reward", "lost"] | None = None,
    why: str | None = None,
    reward: float | None = None,
) -> Ending:
    return Ending(
        state=state,
        verdict=verdict,
        why=why[:LONGEST_WHY] if why else None,
        reward=reward,
        metrics=read.metrics,
        unread=read.unread,
    )
