"""How a run is asked to end: by which signals, until when, and whether that interrupts a training at all."""

from __future__ import annotations

from signal import SIGCONT

import msgspec

from launcher.core.lifecycle import Action, Forward, Phase, State
from launcher.core.lifecycle.deadlines import reserve, sooner


def asked(number: int) -> tuple[Action, ...]:
    """A request to end, and that a child which was stopped goes on: it would hear nothing."""
    return Forward(number), Forward(SIGCONT)


def kill_later(state: State, now: float, after: float | None = None) -> State:
    """The same; what runs is killed when the grace less the reserve is over, or `after` seconds."""
    seconds = state.grace - reserve(state.grace) if after is None else after
    return msgspec.structs.replace(state, stop_by=sooner(state.stop_by, now + seconds))


def interrupts(state: State) -> bool:
    """Whether to stop now would end a training before it has ended by itself."""
    over = (state.boot_code is not None and not state.running) or served(state)
    return state.going and not over


def presses(state: State) -> bool:
    """Whether a training that runs may be ended at any moment, by us or by the platform, ready or not."""
    asked_to_end = state.stopped is not None or state.announced is not None
    return asked_to_end and state.phase is Phase.RUN and bool(state.running)


def lies_ready(state: State) -> bool:
    """Whether nothing runs and outputs may lie there all the same: those of a training that has ended before."""
    return not state.running and (state.phase is not Phase.RUN or state.boot_code is not None)


def served(state: State) -> bool:
    """Whether what runs here is only to end."""
    return state.serves and state.over
