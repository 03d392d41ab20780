"""What a node tells the others of its end, and what theirs makes of it."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

from launcher.core.errors import Exit
from launcher.core.lifecycle import LOST, Failure, PeerEnded, Phase
from launcher.core.meeting.words import Parting
from launcher.core.outcome import boot_failure
from launcher.core.record import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.lifecycle import State, Stop
    from launcher.core.meeting.words import During

_DURING: dict[Phase, During] = {
    Phase.CHECK: "checking",
    Phase.STAGE: "staging",
    Phase.INSTALL: "installing",
    Phase.READY: "waiting",
}


def parting(state: State) -> Parting | None:
    """How this node's part in the training has ended; None as long as it has not, or where another node ended it.

    The sync comes after it: what is not saved here ends no training elsewhere.
    """
    if state.stopped is not None:
        return _stopped(state, state.stopped) if state.stopped.why != "peer" else None
    if state.boot_code:
        return failed("training", Failure(state.boot_code, boot_failure(state)))
    if state.boot_code is None:
        return failed(_DURING.get(state.phase, "starting"), state.failure) if state.failure else None
    if state.running or (state.serves and not state.over):
        return None
    return Parting(how="done")


def failed(during: During, failure: Failure) -> Parting:
    """The end of a node that failed."""
    cause = failure.cause
    return Parting(
        how="failed",
        during=during,
        exit_code=failure.exit_code or Exit.DEFECT,
        code=cause.code,
        message=cause.message,
        action=cause.action,
    )


def peer_ended(names: Sequence[str], number: int, parting: Parting) -> PeerEnded:
    """What another node's end is to this one."""
    name = names[number]
    how = {"failed": "failed", "stopped": "was stopped", "lost": "was lost"}.get(parting.how)
    code = {"failed": "peer-failed", "stopped": "peer-stopped", "lost": LOST}.get(parting.how, parting.code)
    message = f"{name} {how} while {parting.during}: {parting.message}" if how else parting.message
    action = {
        "failed": f"Look in the log and the run.json of {name}. {parting.action}",
        "stopped": f"Start the job again if {name} was not stopped on purpose.",
        "lost": f"Look whether the machine of {name} and the network to it work; its own log may say more.",
    }.get(parting.how, parting.action)
    cause = Cause(code=code, message=message, action=action.strip())
    return PeerEnded(number, Failure(parting.exit_code or Exit.DEFECT, cause), stopped=parting.how == "stopped")


def apart(code: str, message: str, action: str, exit_code: int = Exit.NODE) -> Parting:
    """The nodes did not come together."""
    return Parting(how="apart", exit_code=exit_code, code=code, message=message, action=action)


def lost(during: During, why: str) -> Parting:
    """The end of a node of which nothing is heard any more."""
    return Parting(how="lost", during=during, exit_code=Exit.NODE, code=LOST, message=f"{why}.")


def _stopped(state: State, stop: Stop) -> Parting:
    trains = state.boot_code is not None or state.running
    during = _DURING.get(state.phase) or ("training" if trains else "starting")
    if stop.why == "auto-stop":
        code, message = Exit.AUTO_STOP, "it had the time that auto_stop gives it."
        return Parting(how="stopped", during=during, exit_code=code, code="auto-stop", message=message)
    message = f"{Signals(stop.number).name} came."
    return Parting(how="stopped", during=during, exit_code=128 + stop.number, code="interrupted", message=message)
