"""The files that make up a log: `….log` is written, `….log.1` is the oldest that is full, and no name changes again.

Nothing here writes a byte, follows a link, or takes away what somebody else put in the log's place.
"""

from __future__ import annotations

import errno
import logging
import os
import stat

from launcher.core.errors import Exit, StageError

_log = logging.getLogger(__name__)

# O_NONBLOCK means nothing to a file, but a FIFO that somebody put there would block for ever.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def segments(path: str) -> list[str]:
    """The full segments of a log, newest first, and whatever else was given such a name (`is_segment`)."""
    return [f"{path}.{number}" for number in sorted(_numbers(path), reverse=True)]


def is_segment(path: str) -> bool:
    """Whether a name that is one of a segment is not a link's, a folder's or a FIFO's: those are not of our making."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return True  # gone, or out of sight: who opens it will say so


def open_log(path: str) -> int:
    """Open a log to go on with, for its owner only. Raises `StageError`."""
    try:
        fd = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error), error.errno) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _unwritable(path, "it is not a regular file", errno.EINVAL)
    try:
        os.fchmod(fd, 0o600)
    except PermissionError:
        _log.warning("the log file %s belongs to another user, who can read it", path)
    return fd


def next_segment(path: str, fd: int) -> int:
    """Put the log that is open as `fd` aside as its newest segment; the fd of the new log. Raises OSError.

    When it raises, the log is where it was.
    """
    there, ours = os.lstat(path), os.fstat(fd)
    if not os.path.samestat(there, ours):
        raise FileExistsError(errno.EEXIST, "something else stands in its place", path)
    segment = f"{path}.{max(_numbers(path), default=0) + 1}"
    os.rename(path, segment)
    try:
        return os.open(path, _FLAGS | os.O_EXCL, 0o600)
    except OSError:
        if not os.path.lexists(path):
            os.rename(segment, path)
        raise


def _numbers(path: str) -> list[int]:
    folder, name = os.path.split(path)
    try:
        beside = os.listdir(folder or ".")
    except OSError:
        return []
    ends = [one[len(name) + 1 :] for one in beside if one.startswith(f"{name}.")]
    return [int(end) for end in ends if end.isascii() and end.isdecimal() and end[0] != "0"]


def _unwritable(path: str, found: str, number: int | None) -> StageError:
    refused = number in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EROFS)
    return StageError(
        f"Cannot write the log file {path}: {found}.",
        code="log-not-writable",
        action="Make its folder writable for this user and remove what lies in its place.",
        exit_code=Exit.REFUSED if refused else Exit.NODE,
    )
