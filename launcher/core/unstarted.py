"""Why a program could not be started, in words: errno and a few facts in, the error out; it looks at nothing itself."""

from __future__ import annotations

import errno
import os

import msgspec

from launcher.core.errors import BootError, Exit


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried; `path` is the PATH that was searched, `program_exists` only says so of a program with a slash."""

    program: str
    cwd: str
    path: str
    uid: int
    cwd_failed: bool
    program_exists: bool


def not_started(attempt: Attempt, number: int) -> BootError:
    """The error for an errno, with the exit codes of the shells: 127 not found, 126 anything else."""
    slug, found, action = _reason(attempt, number)
    code = Exit.NOT_FOUND if number == errno.ENOENT else Exit.CANNOT_EXECUTE
    return BootError(f"Cannot start {attempt.program!r}: {found}.", code=slug, action=action, exit_code=code)


def unstartable(program: str, reason: str) -> BootError:
    """The error for arguments that no kernel takes (a NUL, a lone surrogate, a variable with `=` in its name)."""
    return BootError(
        f"Cannot start {program!r}: {reason}.",
        code="argument-invalid",
        action="Remove the character that no argument or variable can hold.",
        exit_code=Exit.CANNOT_EXECUTE,
    )


def _reason(attempt: Attempt, number: int) -> tuple[str, str, str]:
    if attempt.cwd_failed:
        found = f"its working directory {attempt.cwd!r}: {os.strerror(number)}"
        return "cwd-unusable", found, "Correct working_dir; it must be a folder that is there and may be entered."
    if number == errno.ENOENT:
        return _missing(attempt)
    if number in (errno.EACCES, errno.EPERM):
        found = f"{os.strerror(number)} for uid {attempt.uid}"
        return "program-not-executable", found, "Make it executable (chmod +x), on a file system without noexec."
    return _OTHERS.get(number) or (
        "start-failed",
        os.strerror(number),
        "Raise the limit that this names (processes, memory, open files).",
    )


def _missing(attempt: Attempt) -> tuple[str, str, str]:
    if "/" not in attempt.program:
        found = f"no such program on its PATH ({attempt.path})"
        return "program-not-found", found, "Install it in the image, or correct the command or PATH."
    if attempt.program_exists:
        found = "the file is there, but the interpreter or loader that it names is not"
        return "interpreter-not-found", found, "Correct its first line (#!), or build it for this image."
    return "program-not-found", "no such file", "Correct the path; it is taken from the working directory."


_OTHERS = {
    errno.E2BIG: (
        "arguments-too-long",
        "its arguments and environment are larger than the kernel allows (128 KiB each, about 2 MiB together)",
        "Pass long values in a file.",
    ),
    errno.ENOEXEC: (
        "program-format",
        "it is no program for this machine",
        "Begin a script with #!, or build the program for this CPU.",
    ),
}
