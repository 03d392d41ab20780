"""What a node tells the others of its end, and what theirs makes of it."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit
from launcher.core.lifecycle import LOST, Failure, PeerEnded, Phase
from launcher.core.meeting.words import Parting
from launcher.core.outcome import boot_failure
from launcher.core.record import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.lifecycle import State, Stop
    from launcher.core.meeting.words import During, Ended

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
    if state.stopped is not None and state.hung is not None:
        return failed("training", Failure(Exit.HUNG, state.hung))
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


def first_failure(names: Sequence[str], ended: Ended) -> Failure:
    """Why an attempt of all nodes has failed, by the code of the node that failed first; number 0 speaks of itself."""
    parting = ended.parting
    code, found = parting.code, peer_ended(names, ended.number, parting).failure
    own = Cause(code=code, message=parting.message, action=parting.action)
    cause = own if ended.number == 0 else msgspec.structs.replace(found.cause, code=code)
    return Failure(found.exit_code, cause)


def withdrawn(said: Parting | None) -> Parting:
    """What a launcher says that begins no attempt any more; how its part had ended stays as it was said."""
    if said is not None:
        return msgspec.structs.replace(said, final=True)
    message = "its launcher was asked to end."
    return Parting(final=True, how="stopped", during="waiting", exit_code=143, code="interrupted", message=message)


def apart(code: str, message: str, action: str, exit_code: int = Exit.NODE) -> Parting:
    """The nodes did not come together."""
    return Parting(how="apart", exit_code=exit_code, code=code, message=message, action=action)


def lost(during: During, why: str) -> Parting:
    """The end of a node of which nothing is heard any more."""
    return Parting(how="lost", during=during, exit_code=Exit.NODE, code=LOST, message=f"{why}.")


def failed_in_training(parting: Parting) -> bool:
    """Whether boot processes failed, which they do for want of another node as well."""
    return parting.how == "failed" and parting.during == "training"


def stays_so(ended: Ended | None) -> bool:
    """Whether an end is none that another attempt could follow."""
    return ended is not None and ended.parting.how in ("apart", "stopped")


def concerns(ended: Ended, number: int) -> bool:
    """Whether a node is to hear of an end: its own it knows, unless it was given up and may still be there."""
    return number != ended.number or ended.parting.how in ("apart", "lost")


def blamed(ended: Ended, names: Sequence[str], number: int, why: str) -> Ended:
    """The same end, laid to a node that was gone by then; `why` has a place for what had failed."""
    what = f"{names[ended.number]} failed ({ended.parting.message.rstrip('.')})"
    return msgspec.structs.replace(ended, number=number, parting=lost("training", why.format(what)))


def _stopped(state: State, stop: Stop) -> Parting:
    trains = state.boot_code is not None or state.running
    during = _DURING.get(state.phase) or ("training" if trains else "starting")
    if stop.why == "auto-stop":
        code, message = Exit.AUTO_STOP, "it had the time that auto_stop gives it."
        return Parting(final=True, how="stopped", during=during, exit_code=code, code="auto-stop", message=message)
    message = f"{Signals(stop.number).name} came."
    if state.announced is not None:
        message = f"{state.announced.message} {message}"
    number = 128 + stop.number
    return Parting(final=True, how="stopped", during=during, exit_code=number, code="interrupted", message=message)
