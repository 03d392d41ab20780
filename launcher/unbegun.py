"""What run.json says of a job that never began: it was refused, or ended, before there was a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from launcher.core.errors import Exit, SpecError
from launcher.core.outcome import Outcome
from launcher.core.record import Cause

if TYPE_CHECKING:
    from launcher.core.errors import LauncherError


def refusal(error: LauncherError) -> dict[str, Any]:
    """The outcome of a job that was refused before there was a plan, as run.json has it."""
    problems = [str(problem) for problem in error.problems] if isinstance(error, SpecError) else []
    cause = Cause(code=error.code, message=str(error), action=error.action, evidence=tuple(problems))
    phase: Literal["Abnormal", "Failed"] = "Abnormal" if error.exit_code == Exit.DEFECT else "Failed"
    return as_document(Outcome(phase=phase, exit_code=error.exit_code, cause=cause))


def as_document(outcome: Outcome) -> dict[str, Any]:
    """What run.json says of a job that never began."""
    return {"version": 1, **msgspec.to_builtins(outcome)}
