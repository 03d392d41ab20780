"""What a run does when, as long as nothing else happens: the budget of the end, and the time that a job may take."""

from __future__ import annotations

from launcher.core.lifecycle import Action, Cancel, Expire, Kill, Leave, Phase, State, Warn

LEFTOVERS_S = 5.0
"""Between the SIGTERM and the SIGKILL for what a boot process leaves behind (contract: times at the end)."""
HURRY_S = 2.0
"""What a second SIGTERM leaves (contract: times at the end)."""
GONE_S = 10.0
"""What the log and run.json have to reach a store that did not answer, when there is nothing else to save."""
SETTLE_S, SETTLE_LEAST_S = 1.0, 0.1
"""How long a SIGKILL may take: a process stuck in the kernel cannot be killed, and the uploads must not wait for it."""
LEAD_LEAST_S = 0.6
"""What the report has of a short reserve, up to nine tenths of it: a name for what was not saved is worth more."""


RESERVE_S = 5.0
"""The most that the last uploads have of a budget for the end (contract: times at the end)."""


def reserve(budget: float) -> float:
    """What of a budget for the end belongs to the last uploads."""
    return min(RESERVE_S, budget / 4)


def next_deadline(state: State) -> float | None:
    """When a `Tick` will have something to do; None as long as there is no hurry."""
    return min((at for at, action in timed(state) if action not in state.done), default=None)


def settle_by(state: State) -> float | None:
    """The last moment for what belongs to a child (its leftovers, its output); None when nothing presses."""
    return None if state.stop_by is None else state.stop_by + _settle(state)


def timed(state: State) -> tuple[tuple[float, Action], ...]:
    """What this phase does at which time."""
    if state.phase in (Phase.SYNC, Phase.REPORT, Phase.END):
        return _timed_uploads(state)
    kill_at = state.stop_by
    if state.ended_at is not None:
        kill_at = sooner(state.stop_by, state.ended_at + LEFTOVERS_S)
    if kill_at is not None:
        return (kill_at, Kill()), (kill_at + _settle(state), Leave())
    return _timed_by_the_job(state) if state.going else ()


def has_had_its_time(state: State, now: float) -> bool:
    """Whether the time that the job may take is over."""
    return state.expires_at is not None and now >= state.expires_at


def sooner(old: float | None, new: float) -> float:
    """The earlier of two times, the first of which may not be set."""
    return new if old is None else min(old, new)


def _timed_by_the_job(state: State) -> tuple[tuple[float, Action], ...]:
    found: tuple[tuple[float, Action], ...] = ()
    if state.warn_at is not None and not state.warned:
        found += ((state.warn_at, Warn()),)
    if state.expires_at is not None:
        found += ((state.expires_at, Expire()),)
    return found


def _timed_uploads(state: State) -> tuple[tuple[float, Action], ...]:
    """What the uploads do at which time; each is cancelled early enough to say what it did not do, and then left."""
    if state.end_by is None or state.phase is Phase.END:
        return ()
    lead = max(_left_for_uploads(state) * 2 / 5, min(_left_for_uploads(state) * 9 / 10, LEAD_LEAST_S))
    if state.phase is Phase.SYNC:
        return (state.end_by - lead, Cancel()), (state.end_by - lead / 2, Leave())
    return (state.end_by - lead / 5, Cancel()), (state.end_by, Leave())


def _settle(state: State) -> float:
    return SETTLE_S if state.end_by is None else max(SETTLE_LEAST_S, min(SETTLE_S, _left_for_uploads(state) / 4))


def _left_for_uploads(state: State) -> float:
    # Children may have been asked to end long before anything limited the uploads.
    return min((state.end_by or 0.0) - (state.stop_by or 0.0), RESERVE_S)
