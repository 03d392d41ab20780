"""One root, one launcher at a time: said by a lock, which the kernel drops even for a launcher that is killed."""

from __future__ import annotations

import fcntl
import os

from launcher import disk
from launcher.core.errors import Exit, PlanError

LOCK = ".launcher.lock"
"""Held open and locked in the log folder for as long as a launcher lives; no child inherits it."""


class Claim:
    """A root is one launcher's at a time: the lock in its log folder is held as long as this process lives."""

    def __init__(self) -> None:
        self._folder: str | None = None

    def take(self, folder: str) -> None:
        """Claim the folder, or say who has it. Raises PlanError."""
        if self._folder == folder:
            return
        path = f"{folder}/{LOCK}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        except OSError as error:
            raise _not_claimed(folder, path, error) from error
        self._folder = folder


def _not_claimed(folder: str, path: str, error: OSError) -> PlanError:
    if isinstance(error, BlockingIOError):
        with open(path, encoding="ascii", errors="replace") as file:
            owner = file.read(20).strip()
        return PlanError(
            f"another launcher (pid {owner or 'unknown'}) runs a job in {folder}",
            code="root-in-use",
            action="Wait for it, or give this one a --root of its own.",
            exit_code=Exit.NODE,
        )
    full = error.errno in disk.FULL
    return PlanError(
        f"the log folder {folder} cannot be used: {path}: {error.strerror}",
        code="log-folder",
        action="Make room there, or give --root DIR on a disk that has some."
        if full
        else "Run as a user who may write there, or give --root DIR.",
        exit_code=Exit.REFUSED if isinstance(error, PermissionError) else Exit.NODE,
    )
