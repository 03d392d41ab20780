"""Every error that the launcher raises on purpose: one root, one leaf per phase, each with its exit code."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Exit(IntEnum):
    """The launcher's own exit codes (contract: exit codes of `launcher run`)."""

    OK = 0
    USAGE = 2
    INVALID = 65
    MISSING = 66
    UNREACHABLE = 69
    DEFECT = 70
    NODE = 71
    NOT_SAVED = 73
    REFUSED = 77
    HUNG = 121
    NO_PROGRESS = 122
    AUTO_STOP = 124
    CANNOT_EXECUTE = 126
    NOT_FOUND = 127

    __str__ = int.__repr__  # Python 3.10 would print the name


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a document: where, what, and the service's own number for it."""

    path: str
    message: str
    code: str | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.code})" if self.code else text


class LauncherError(Exception):
    """The root. `code` names the cause for programs, `action` tells a person what to do next."""

    exit_code: int = Exit.DEFECT

    def __init__(self, message: str, *, code: str, action: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.action = action
        if exit_code is not None:
            self.exit_code = exit_code


class SpecError(LauncherError):
    """A job or an algorithm is not valid; `problems` holds everything that is wrong with it."""

    exit_code = Exit.INVALID

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(str(problem) for problem in self.problems),
            code="spec-invalid",
            action="Correct the job or the algorithm at the paths named and start it again.",
        )


class PlanError(LauncherError):
    """A valid job cannot be carried out with these facts."""

    exit_code = Exit.INVALID


class StageError(LauncherError):
    """Code or inputs could not be brought to the node."""

    exit_code = Exit.MISSING


class BootError(LauncherError):
    """The boot process could not be started."""

    exit_code = Exit.NOT_FOUND


class SyncError(LauncherError):
    """An output or a log could not be put in its place."""

    exit_code = Exit.NOT_SAVED


class StoreError(LauncherError):
    """The object store, or the directory that stands for it, did not do what was asked."""

    exit_code = Exit.UNREACHABLE


class StudyError(LauncherError):
    """The study of a search cannot be had, or is another search's."""

    exit_code = Exit.UNREACHABLE


class Cancelled(LauncherError):  # noqa: N818 - it is no error
    """A transfer stopped because it was asked to; never a failure of its own."""

    def __init__(self) -> None:
        super().__init__("stopped on request", code="cancelled", action="Nothing to do.")
