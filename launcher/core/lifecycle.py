"""The trip of a run as a pure state machine: the phase, the signals that came, and what is due when.

It never reads a clock, sends a signal or waits: `supervise` carries out the actions and comes back with events.
"""

from __future__ import annotations

from enum import Enum
from signal import SIGINT, SIGTERM

import msgspec

from launcher.core.errors import Exit
from launcher.core.record import Cause

LEFTOVERS_S = 5.0
"""Between the SIGTERM and the SIGKILL for what a boot process leaves behind (contract: times at the end)."""
HURRY_S = 2.0
"""What a second SIGTERM leaves (contract: times at the end)."""
SETTLE_S, SETTLE_LEAST_S = 1.0, 0.1
"""How long a SIGKILL may take: a process stuck in the kernel cannot be killed, and the uploads must not wait for it."""
LEAD_LEAST_S = 0.6
"""What the report has of a short reserve, up to nine tenths of it: a name for what was not saved is worth more."""

replace = msgspec.structs.replace


class Phase(Enum):
    """Where the trip is. The sync puts outputs in place, the report then the log and the documents that tell of it."""

    STAGE = "stage"
    INSTALL = "install"
    RUN = "run"
    SYNC = "sync"
    REPORT = "report"
    END = "end"


class Failure(msgspec.Struct, frozen=True):
    """Why a step did not do its work."""

    exit_code: int
    cause: Cause


class Entered(msgspec.Struct, frozen=True):
    """A phase begins."""

    phase: Phase


class Started(msgspec.Struct, frozen=True):
    """A child of this phase runs."""

    pid: int


class StartFailed(msgspec.Struct, frozen=True):
    """A child of this phase could not be started."""

    failure: Failure


class Signalled(msgspec.Struct, frozen=True):
    """The launcher got a signal."""

    number: int


class Finished(msgspec.Struct, frozen=True):
    """A step on a worker thread ended; without a failure everything that it had to do is done."""

    failure: Failure | None = None


class Exited(msgspec.Struct, frozen=True):
    """A child ended: `code` is its exit code, or 128 + n when signal n ended it (then `signal` is n)."""

    pid: int
    code: int
    signal: int | None = None
    peak_rss_bytes: int | None = None


class Woken(msgspec.Struct, frozen=True):
    """Something else happened that is worth a look: a thread called, an adopted orphan ended."""


class Tick(msgspec.Struct, frozen=True):
    """Time went by."""


Event = Entered | Started | StartFailed | Signalled | Finished | Exited | Woken | Tick


class Forward(msgspec.Struct, frozen=True):
    """Send a signal to the groups of this phase's children, or to what is left of them."""

    number: int


class Kill(msgspec.Struct, frozen=True):
    """SIGKILL to the same groups."""


class Cancel(msgspec.Struct, frozen=True):
    """Transfers stop between parts."""


class Leave(msgspec.Struct, frozen=True):
    """Wait no longer for what does not end."""


Action = Forward | Kill | Cancel | Leave


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what comes next. Times are monotonic seconds."""

    grace: float
    phase: Phase = Phase.STAGE
    running: tuple[int, ...] = ()
    ended_at: float | None = None
    """When the last child of this phase ended; from then on its leftovers are stopped."""
    boot_code: int | None = None
    boot_signal: int | None = None
    interrupted: int | None = None
    """The first SIGTERM or SIGINT, if it came before the boot process had ended."""
    signals: int = 0
    signalled_at: float | None = None
    stop_by: float | None = None
    """When children are killed: the rest of the budget belongs to the uploads."""
    end_by: float | None = None
    """When the whole run is over."""
    failure: Failure | None = None
    """The first one."""
    synced: bool = False
    done: tuple[Action, ...] = ()
    """The timed actions of this phase that were taken."""

    @property
    def going(self) -> bool:
        """Whether the next step towards the training may start."""
        return self.interrupted is None and self.failure is None

    @property
    def left(self) -> bool:
        """Whether this phase gave up waiting."""
        return Leave() in self.done


Step = tuple[State, tuple[Action, ...]]


def decide(state: State, event: Event, now: float) -> Step:
    """What an event makes of the state, and what is to be done about it."""
    step: Step
    match event:
        case Entered(phase=phase):
            kept = state.synced and phase in (Phase.REPORT, Phase.END)
            step = replace(state, phase=phase, running=(), ended_at=None, synced=kept, done=()), ()
        case Started(pid=pid):
            late = () if state.interrupted is None else (Forward(SIGTERM),)
            step = replace(state, running=(*state.running, pid), done=()), late
        case Signalled(number=number):
            step = _signalled(state, number, now)
        case Exited():
            step = _exited(state, event, now)
        case Finished(failure=failure):
            step = _finished(state, failure), ()
        case StartFailed(failure=failure):
            step = _failed(state, failure), ()
        case Woken() | Tick():  # pragma: no branch - nothing else is left, and mypy proves it
            step = _due(state, now)
    return step


def next_deadline(state: State) -> float | None:
    """When a `Tick` will have something to do; None as long as there is no hurry."""
    return min((at for at, action in _timed(state) if action not in state.done), default=None)


def settle_by(state: State) -> float | None:
    """The last moment for what belongs to a child (its leftovers, its output); None when nothing presses."""
    return None if state.stop_by is None else state.stop_by + _settle(state)


def _signalled(state: State, number: int, now: float) -> Step:
    if number not in (SIGTERM, SIGINT):
        # Unused by the launcher itself. Only a running boot process may have a use for it.
        wanted = state.phase is Phase.RUN and state.running
        return state, ((Forward(number),) if wanted else ())
    if now == state.signalled_at:
        # timeout(1) and others send to the process and at once to its group: read in one go, it is one request.
        return state, ()
    budget = state.grace if state.signals == 0 else HURRY_S
    state = replace(
        state,
        interrupted=number if _interrupts(state) else state.interrupted,
        signals=state.signals + 1,
        signalled_at=now,
        stop_by=_sooner(state.stop_by, now + budget - min(5.0, budget / 4)),
        end_by=_sooner(state.end_by, now + budget),
    )
    return state, _stopping(state, number)


def _interrupts(state: State) -> bool:
    over = state.boot_code is not None and not state.running
    return state.going and not over


def _stopping(state: State, number: int) -> tuple[Action, ...]:
    if state.phase in (Phase.STAGE, Phase.INSTALL):
        # pip and its like end cleanly on SIGTERM; a SIGINT would only add a traceback.
        return (Cancel(), Forward(SIGTERM)) if state.running else (Cancel(),)
    return (Forward(number),) if state.running else ()


def _exited(state: State, event: Exited, now: float) -> Step:
    if event.pid not in state.running:
        return state, ()
    running = tuple(pid for pid in state.running if pid != event.pid)
    state = replace(state, running=running)
    if state.phase is Phase.RUN and not state.boot_code:
        state = replace(state, boot_code=event.code, boot_signal=event.signal)
    if running:
        return state, ()
    return replace(state, ended_at=now, done=()), (Forward(SIGTERM),)


def _finished(state: State, failure: Failure | None) -> State:
    state = state if failure is None else _failed(state, failure)
    if state.phase not in UNFINISHED:
        return state
    # a report that is whole saves no output
    synced = state.synced if state.phase is Phase.REPORT else failure is None
    return replace(state, phase=Phase.END, synced=synced)


def _failed(state: State, failure: Failure) -> State:
    return replace(state, failure=state.failure or failure)


def _due(state: State, now: float) -> Step:
    due = tuple(action for at, action in _timed(state) if at <= now and action not in state.done)
    if not due:
        return state, ()
    state = replace(state, done=state.done + due)
    return (_leave(state) if Leave() in due else state), due


def _leave(state: State) -> State:
    if state.phase in UNFINISHED:
        return _finished(state, UNFINISHED[state.phase])
    if state.phase is Phase.RUN and state.running and not state.boot_code:
        # It has its SIGKILL and cannot end otherwise; the uploads do not wait for the kernel to let it go.
        state = replace(state, boot_code=137, boot_signal=9)
    return replace(state, running=())


def _timed(state: State) -> tuple[tuple[float, Action], ...]:
    """What this phase does at which time."""
    if state.phase in (Phase.SYNC, Phase.REPORT, Phase.END):
        return _timed_uploads(state)
    kill_at = state.stop_by
    if state.ended_at is not None:
        kill_at = _sooner(state.stop_by, state.ended_at + LEFTOVERS_S)
    return () if kill_at is None else ((kill_at, Kill()), (kill_at + _settle(state), Leave()))


def _timed_uploads(state: State) -> tuple[tuple[float, Action], ...]:
    """What the uploads do at which time; each is cancelled early enough to say what it did not do, and then left."""
    if state.end_by is None or state.phase is Phase.END:
        return ()
    lead = max(_reserve(state) * 2 / 5, min(_reserve(state) * 9 / 10, LEAD_LEAST_S))
    if state.phase is Phase.SYNC:
        return (state.end_by - lead, Cancel()), (state.end_by - lead / 2, Leave())
    return (state.end_by - lead / 5, Cancel()), (state.end_by, Leave())


def _settle(state: State) -> float:
    return SETTLE_S if state.stop_by is None else max(SETTLE_LEAST_S, min(SETTLE_S, _reserve(state) / 4))


def _reserve(state: State) -> float:
    return (state.end_by or 0.0) - (state.stop_by or 0.0)


def _sooner(old: float | None, new: float) -> float:
    return new if old is None else min(old, new)


_LATE = "The time to end was over before {} in place."
_MORE = "Allow more time (--grace and the platform's own grace period), or write smaller outputs."
UNFINISHED = {
    phase: Failure(Exit.NOT_SAVED, Cause(code=f"{phase.value}-unfinished", message=_LATE.format(what), action=_MORE))
    for phase, what in ((Phase.SYNC, "every output was"), (Phase.REPORT, "the log and run.json were"))
}
"""What it is when the time of a phase is over: the work of these two cannot be left undone in silence."""
