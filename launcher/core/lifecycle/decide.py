"""The trip of a run as a pure state machine: what an event makes of the state, and what is to be done about it.

It never reads a clock, sends a signal or waits: `supervise` carries out the actions and comes back with events.
"""

from __future__ import annotations

from signal import SIGCONT, SIGINT, SIGQUIT, SIGTERM, SIGTSTP

import msgspec

from launcher.core.errors import Exit
from launcher.core.lifecycle import (
    Action,
    Cancel,
    Dump,
    Entered,
    Event,
    Exited,
    Expire,
    Failure,
    Finished,
    Forward,
    Leave,
    Over,
    PeerEnded,
    Phase,
    Released,
    Signalled,
    Started,
    StartFailed,
    State,
    Stop,
    Suspend,
    Tick,
    Warn,
    Woken,
)
from launcher.core.lifecycle.deadlines import GONE_S, HURRY_S, has_had_its_time, reserve, sooner, timed
from launcher.core.lifecycle.stopping import asked, interrupts, kill_later, served
from launcher.core.lifecycle.troubles import Trouble, met
from launcher.core.record import Cause
from launcher.core.storefault import UNREACHABLE

Step = tuple[State, tuple[Action, ...]]

replace = msgspec.structs.replace


def decide(state: State, event: Event, now: float) -> Step:
    """What an event makes of the state, and what is to be done about it."""
    step: Step
    match event:
        case Entered(phase=phase):
            kept = state.synced and phase in (Phase.REPORT, Phase.END)
            # what falls due while something is being stopped is nobody's to do then
            expired = state.expired or (phase is Phase.READY and has_had_its_time(state, now))
            step = replace(state, phase=phase, running=(), ended_at=None, synced=kept, done=(), expired=expired), ()
        case Started(pid=pid):
            late = asked(SIGTERM) if state.stopped is not None or (state.serves and state.over) else ()
            step = replace(state, running=(*state.running, pid), done=()), late
        case Signalled(number=number):
            step = _signalled(state, number, now)
        case Exited():
            step = _exited(state, event, now)
        case Finished() | StartFailed():
            step = _came_out(state, event, now)
        case Woken() | Tick():
            step = _due(state, now)
        case _:
            step = _told(state, event, now)
    return step


def _signalled(state: State, number: int, now: float) -> Step:
    if number in (SIGTERM, SIGINT):
        return _asked_to_stop(state, number, now)
    if number == SIGTSTP:
        # Ctrl-Z at a terminal: the children first, then the launcher, whose own stop the shell waits for.
        return state, (*((Forward(number),) if state.running else ()), Suspend())
    if number == SIGCONT:
        return state, ((Forward(number),) if state.running else ())
    # Unused by the launcher itself. Only a running boot process may have a use for it, and a trial's is not ours.
    wanted = state.phase is Phase.RUN and state.running and (number == SIGQUIT or not state.trials)
    return state, ((Dump() if number == SIGQUIT else Forward(number),) if wanted else ())


def _asked_to_stop(state: State, number: int, now: float) -> Step:
    if now == state.signalled_at:
        # timeout(1) and others send to the process and at once to its group: read in one go, it is one request.
        return state, ()
    budget = state.grace if state.signals == 0 else HURRY_S
    state = replace(state, signals=state.signals + 1, signalled_at=now)
    return _stop(state, Stop("signal", number), budget, now)


def _stop(state: State, stop: Stop, budget: float, now: float) -> Step:
    """Begin to end: the boot process has the budget less the reserve, the uploads have the rest."""
    state = replace(
        state,
        stopped=stop if interrupts(state) or _is_a_peers(state) else state.stopped,
        stop_by=sooner(state.stop_by, now + budget - reserve(budget)),
        end_by=sooner(state.end_by, now + budget),
    )
    return _ask_to_stop(state, stop.number)


def _ask_to_stop(state: State, number: int) -> Step:
    if state.phase in (Phase.CHECK, Phase.STAGE, Phase.INSTALL):
        # pip and its like end cleanly on SIGTERM; a SIGINT would only add a traceback.
        return state, (Cancel(), *(asked(SIGTERM) if state.running else ()))
    return state, (asked(number) if state.running else ())


def _told(state: State, event: Released | PeerEnded | Over | Trouble, now: float) -> Step:
    """Take what the other nodes say, and what trouble there is."""
    if isinstance(event, PeerEnded):
        return _peer_ended(state, event, now)
    if isinstance(event, Over):
        return _over(state, now)
    return (replace(state, released=True), ()) if isinstance(event, Released) else met(state, event, now)


def _peer_ended(state: State, event: PeerEnded, now: float) -> Step:
    """End with the others. The outputs have all the time there is, as after a failure of this node's own."""
    if state.peer is not None:
        # why a node failed may become better known, also as another one's loss
        known = event.number == state.peer.number or event.lost
        return (replace(state, peer=event) if known else state), ()
    state = replace(state, peer=event)
    if state.boot_code or not interrupts(state):
        return state, ()  # it has an end of its own already
    return _ask_to_stop(kill_later(replace(state, stopped=Stop("peer", SIGTERM)), now), SIGTERM)


def _over(state: State, now: float) -> Step:
    trained = state.boot_code is not None and not state.running
    if state.over or trained or not (state.serves and state.going):
        return replace(state, over=True), ()
    # one that is about to start is asked as soon as it has, and has no longer than one that runs
    return kill_later(replace(state, over=True), now), asked(SIGTERM) if state.running else ()


def _is_a_peers(state: State) -> bool:
    """Whether this run ends because another node was asked to end: whoever asks this one too has asked all."""
    return state.stopped is not None and state.stopped.why == "peer" and state.peer is not None and state.peer.stopped


def _exited(state: State, event: Exited, now: float) -> Step:
    if event.pid not in state.running:
        return state, ()
    state = replace(state, running=tuple(pid for pid in state.running if pid != event.pid))
    if state.phase is Phase.RUN and state.trials:
        return state, ()  # when the search is over, and how it went, is for the search to say
    if state.phase is Phase.RUN and not state.boot_code and state.failure is None:
        state = replace(state, boot_code=0 if served(state) else event.code, boot_signal=event.signal, first=event.pid)
    if not state.running:
        return replace(state, ended_at=now, done=()), asked(SIGTERM)
    # The others would wait for the one that failed until somebody notices.
    return _stop_the_rest(state, now) if state.boot_code else (state, ())


def _stop_the_rest(state: State, now: float) -> Step:
    if not state.running or state.ended_at is not None or state.stopped is not None:
        return state, ()  # who was asked to end already has the time that goes with it
    return replace(state, ended_at=now), asked(SIGTERM)


def _came_out(state: State, event: Finished | StartFailed, now: float) -> Step:
    if isinstance(event, StartFailed):
        return _stop_the_rest(_failed(state, event.failure), now)
    state = _finished(state, event.failure)
    return (_hurried(state, now) if _store_is_gone(state) else state), ()


def _store_is_gone(state: State) -> bool:
    """Whether the run ends before its training began because its store did not answer: there are no outputs to save."""
    failure = state.failure
    return failure is not None and failure.cause.code == UNREACHABLE and state.phase in (Phase.CHECK, Phase.STAGE)


def _hurried(state: State, now: float) -> State:
    """What is told of the end goes to the store that was just waited for in vain; nobody waits as long once more."""
    return replace(state, end_by=sooner(state.end_by, now + GONE_S))


def _finished(state: State, failure: Failure | None) -> State:
    state = state if failure is None else _failed(state, failure)
    if state.phase is Phase.RUN and state.trials and state.going:
        return replace(state, boot_code=0)
    if state.phase not in UNFINISHED:
        return state
    # a report that is whole saves no output
    synced = state.synced if state.phase is Phase.REPORT else failure is None
    return replace(state, phase=Phase.END, synced=synced)


def _failed(state: State, failure: Failure) -> State:
    return replace(state, failure=state.failure or failure)


def _due(state: State, now: float) -> Step:
    due = tuple(action for at, action in timed(state) if at <= now and action not in state.done)
    if not due:
        return state, ()
    state = replace(state, done=state.done + due, warned=state.warned or Warn() in due)
    if Expire() in due:
        state, more = _stop(replace(state, expired=True), Stop("auto-stop", SIGTERM), state.grace, now)
        return state, due + more
    return (_leave(state) if Leave() in due else state), due


def _leave(state: State) -> State:
    if state.phase in UNFINISHED:
        return _finished(state, UNFINISHED[state.phase])
    if state.phase is Phase.RUN and state.running and not state.boot_code and state.failure is None:
        # It has its SIGKILL and cannot end otherwise; the uploads do not wait for the kernel to let it go.
        state = replace(state, boot_code=0 if served(state) else 137, boot_signal=9, first=state.running[0])
    return replace(state, running=())


_LATE = "The time to end was over before {} in place."
_MORE = "Allow more time (--grace and the platform's own grace period), or write smaller outputs."
UNFINISHED = {
    phase: Failure(Exit.NOT_SAVED, Cause(code=f"{phase.value}-unfinished", message=_LATE.format(what), action=_MORE))
    for phase, what in ((Phase.SYNC, "every output was"), (Phase.REPORT, "the log and run.json were"))
}
"""What it is when the time of a phase is over: the work of these two cannot be left undone in silence."""
