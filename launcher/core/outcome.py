"""How a run ended: the one function from the state of the trip to phase, exit code and cause, and never a guess."""

from __future__ import annotations

from signal import SIGTERM, Signals
from typing import TYPE_CHECKING, Literal

import msgspec

from launcher.core.errors import Exit
from launcher.core.lifecycle import Failure, PeerEnded, State, Stop
from launcher.core.lifecycle.troubles import may_begin_again
from launcher.core.record import Cause

if TYPE_CHECKING:
    from launcher.core.errors import LauncherError

replace = msgspec.structs.replace

UNEXPLAINED = ("boot-failed", "boot-killed")
"""What is known of a boot process that failed before anybody has looked for the cause: that it ended, or was ended."""


_BY_SIGTERM = 128 + SIGTERM


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, for run.json, the termination message and the exit code."""

    phase: Literal["Completed", "Failed", "Terminated", "Abnormal"]
    exit_code: int
    cause: Cause | None = None


def outcome(state: State) -> Outcome:
    """How the run ended. Failure is the default: what did not finish is a defect, never a success."""
    if state.running:
        return _UNFINISHED
    if state.given_up is not None and may_begin_again(replace(state, given_up=None)):
        return _failed(state.given_up.exit_code, state.given_up.cause)
    if state.boot_code is None:
        return _before_training(state)
    if state.stopped is not None:
        return _stopped(state, state.stopped)
    if state.boot_code != 0:
        return _left(state) or Outcome(
            phase="Failed", exit_code=state.boot_code, cause=_lost(state) or boot_failure(state)
        )
    if state.serves and not state.over:
        return Outcome(phase="Failed", exit_code=Exit.NODE, cause=_server_ended(state))
    if state.failure is not None:
        return Outcome(phase="Failed", exit_code=Exit.NOT_SAVED, cause=state.failure.cause)
    return Outcome(phase="Completed", exit_code=Exit.OK) if state.synced else _UNFINISHED


def never_began(number: int) -> Outcome:
    """The outcome of a job that a signal ended before there was a plan."""
    return outcome(State(grace=0, stopped=Stop("signal", number)))


def failure_of(error: LauncherError) -> Failure:
    """An error as the state keeps it."""
    return Failure(error.exit_code, Cause(code=error.code, message=str(error), action=error.action))


def sentence(cause: Cause) -> str:
    """A cause as one line for a person: what happened, and what to do."""
    message = cause.message if cause.message.endswith((".", "!", "?")) else f"{cause.message}."
    return f"error: {message} {cause.action}"


def exit_code(ended: Outcome | None) -> int:
    """The launcher's exit code; a run without an outcome is a defect."""
    return Exit.DEFECT if ended is None else ended.exit_code


def _before_training(state: State) -> Outcome:
    if state.stopped is not None:
        return _stopped(state, state.stopped)
    if state.failure is None:
        return _UNFINISHED
    return _failed(state.failure.exit_code, state.failure.cause)


def _failed(code: int, cause: Cause) -> Outcome:
    # A failure that would say "success" is a defect too.
    phase: Literal["Abnormal", "Failed"] = "Abnormal" if code in (Exit.OK, Exit.DEFECT) else "Failed"
    return Outcome(phase=phase, exit_code=code or Exit.DEFECT, cause=cause)


def _stopped(state: State, stop: Stop) -> Outcome:
    """A training that was stopped is never a success, whatever the boot process says."""
    if stop.why == "peer" and state.peer is not None:
        return _ended_by_a_peer(state, state.peer)
    evidence = () if state.failure is None else (state.failure.cause.message,)
    if stop.why == "hang" and state.hung is not None:
        return _failed(Exit.HUNG, replace(state.hung, evidence=(*state.hung.evidence, *evidence)))
    if stop.why == "auto-stop":
        ended = _how_far(state)
        cause = Cause(
            code="auto-stop",
            message=f"The job had the time that auto_stop gives it and was stopped; {ended}.",
            action="Allow more time (spec.auto_stop), or go on from the last checkpoint.",
            evidence=evidence,
        )
        return Outcome(phase="Terminated", exit_code=Exit.AUTO_STOP, cause=cause)
    name = Signals(stop.number).name
    if state.trials:
        return _search_stopped(name, 128 + stop.number, evidence)
    if state.boot_code is None:
        message = f"{name} came before the boot process started{_once_more(state)}."
    else:
        message = f"{name} interrupted the training; {_how_it_ended(state)}."
    action = "Start the job again if it was not stopped on purpose."
    cause = Cause(code="interrupted", message=message, action=action, evidence=evidence)
    if state.announced is not None and stop.number == SIGTERM:
        cause = replace(state.announced, message=f"{state.announced.message} {message}", evidence=evidence)
    return Outcome(phase="Terminated", exit_code=state.boot_code or 128 + stop.number, cause=cause)


def _how_far(state: State) -> str:
    if state.trials:
        return "the search's finished trials are kept"
    if state.boot_code is None:
        return f"the boot process had not started{_once_more(state)}"
    return _how_it_ended(state)


def _once_more(state: State) -> str:
    return "" if state.attempt == 1 else f" for attempt {state.attempt}"


def _search_stopped(signal: str, code: int, evidence: tuple[str, ...]) -> Outcome:
    cause = Cause(
        code="interrupted",
        message=f"{signal} interrupted the search; its finished trials are kept.",
        action="Start the same command again: it goes on from there.",
        evidence=evidence,
    )
    return Outcome(phase="Terminated", exit_code=code, cause=cause)


def _ended_by_a_peer(state: State, peer: PeerEnded) -> Outcome:
    """A node without which there is no training ends this one as it ended itself."""
    here = () if state.boot_code is None else (f"Here {_how_it_ended(state)}.",)
    own = () if state.failure is None else (state.failure.cause.message,)
    cause = replace(peer.failure.cause, evidence=(*peer.failure.cause.evidence, *here, *own))
    if peer.stopped:
        return Outcome(phase="Terminated", exit_code=peer.failure.exit_code or Exit.DEFECT, cause=cause)
    return _failed(peer.failure.exit_code, cause)


def _left(state: State) -> Outcome | None:
    """A training that was told of a preemption and ends as if by SIGTERM has left for it, before anybody asked."""
    if state.announced is None or state.boot_code != _BY_SIGTERM:
        return None
    message = f"{state.announced.message} The training left for it; {_how_it_ended(state)}."
    cause = replace(state.announced, message=message, evidence=_beside(state))
    return Outcome(phase="Terminated", exit_code=_BY_SIGTERM, cause=cause)


def _lost(state: State) -> Cause | None:
    """A node that was gone when the boot process failed is why it did: the training missed it before anybody else."""
    if state.peer is None or not state.peer.lost:
        return None
    cause = state.peer.failure.cause
    return replace(cause, evidence=(*cause.evidence, f"Here {_how_it_ended(state)}."))


def boot_failure(state: State) -> Cause:
    """What is known of a boot process that failed, at once; another node that had failed before is named."""
    return Cause(
        code=UNEXPLAINED[state.boot_signal is not None],
        message=f"Training failed: {_how_it_ended(state)}.",
        action="Read the last lines of the log.",
        evidence=_beside(state),
    )


def _server_ended(state: State) -> Cause:
    return Cause(
        code="server-ended",
        message="The server of this node ended before the workers were done.",
        action="Look in the log for why it did; it has to serve until the last worker is done.",
        evidence=_beside(state),
    )


def _beside(state: State) -> tuple[str, ...]:
    """What else went wrong, here and on another node."""
    own = () if state.failure is None else (state.failure.cause.message,)
    return own if state.peer is None else (*own, state.peer.failure.cause.message)


def _how_it_ended(state: State) -> str:
    if state.boot_signal is None:
        return f"the boot process ended with exit code {state.boot_code}"
    return f"the boot process was ended by signal {state.boot_signal}"


_UNFINISHED = Outcome(
    phase="Abnormal",
    exit_code=Exit.DEFECT,
    cause=Cause(code="did-not-finish", message="The run did not finish.", action="Report this as a defect."),
)
