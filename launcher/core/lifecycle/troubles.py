"""What trouble makes of a state: a training that hangs, or is started again, or no more; a machine that goes."""

from __future__ import annotations

from signal import SIGTERM

import msgspec

from launcher.core.lifecycle import (
    Action,
    Again,
    Announced,
    Dump,
    GivenUp,
    Hung,
    Phase,
    State,
    Stop,
    Suspected,
)
from launcher.core.lifecycle.deadlines import LEFTOVERS_S
from launcher.core.lifecycle.stopping import asked, interrupts, kill_later

Trouble = Again | Suspected | Hung | GivenUp | Announced
Step = tuple[State, tuple[Action, ...]]

replace = msgspec.structs.replace


def met(state: State, event: Trouble, now: float) -> Step:
    """What one of these events makes of the state, and what is to be done about it."""
    match event:
        case Again(attempt=attempt):
            return (_fresh(state, attempt) if may_begin_again(state) else state), ()
        case Suspected():
            return state, ((Dump(gently=True),) if state.phase is Phase.RUN and state.running else ())
        case Hung(cause=cause):
            if state.phase is not Phase.RUN or not state.running or not interrupts(state):
                return state, ()
            # it hears nothing, most likely, and nothing of it is worth a long wait
            state = replace(state, stopped=Stop("hang", SIGTERM), hung=cause)
            return kill_later(state, now, LEFTOVERS_S), asked(SIGTERM)
        case GivenUp(failure=failure):
            return replace(state, given_up=state.given_up or failure), ()
        case Announced(cause=cause):  # pragma: no branch - nothing else is left, and mypy proves it
            return replace(state, announced=state.announced or cause), ()


def may_begin_again(state: State) -> bool:
    """Whether nobody has asked this run to end, so that a training which has failed may be started once more."""
    asked_to_end = (
        state.signals > 0
        or state.expired
        or (state.stopped is not None and state.stopped.why in ("signal", "auto-stop"))
    )
    return not asked_to_end and not state.running and state.given_up is None


def _fresh(state: State, attempt: int) -> State:
    """Where a run is before an attempt; what belongs to the whole run stays."""
    return State(
        grace=state.grace,
        serves=state.serves,
        trials=state.trials,
        attempt=attempt,
        expires_at=state.expires_at,
        warn_at=state.warn_at,
        warned=state.warned,
        announced=state.announced,
    )
