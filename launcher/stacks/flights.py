"""The flight records of ranks, asked for and brought, and the newest logs that CANN wrote: what frames cannot tell.

All names come from the variables of boot processes: no link is followed, only what is plain is read, all is bounded.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from launcher import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.core.flights import Flight

RECORD_BYTES, RECORDS_BYTES = 64 * 1024**2, 512 * 1024**2
"""What is kept of one rank, and of all ranks of a node."""
PLOG_BYTES = 16 * 1024
"""So much of the end of a log is shown."""
PLOGS, ENTRIES, DEPTH = 3, 2000, 4
"""How many logs of a rank are named, among how many entries and how deep they are looked for."""
SETTLED_S = 0.3
"""A record that has not grown for so long is whole: it is written in one go."""
_ASK = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC

_log = logging.getLogger(__name__)
_pause = threading.Event()


class Plog(Struct, frozen=True, kw_only=True):
    """One log of CANN's; `end` is the last of what it says, of the newest alone."""

    path: str
    size: int
    end: str = ""


def ask(flight: Flight) -> bool:
    """Have a rank write its record; whether it was told to."""
    if flight.pipe is None:
        _log.warning(
            "stacks: rank %d keeps a flight record and does not listen for a word to write it: set %s",
            *(flight.rank, flight.variable),
        )
        return False
    try:
        fd = os.open(flight.pipe, _ASK)
        try:
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise OSError(0, "it is no FIFO")
            os.write(fd, b"1")
        finally:
            os.close(fd)
    except OSError as error:
        _log.warning("stacks: no flight record of rank %d: %s: %s", flight.rank, flight.pipe, disk.reason(error))
        return False
    return True


def bring(
    flight: Flight, since_ns: int, by: float, put: Callable[[Iterator[bytes]], str], most: int = RECORD_BYTES
) -> str | None:
    """Copy the record that a rank has written since then; the copy's path.

    None where it does not come in time, or is larger than `most` bytes: half of it could not be read.
    """
    seen: tuple[str, int] | None = None
    while time.monotonic() < by:
        now = next((found for path in flight.files if (found := _written(path, since_ns))), None)
        if now is not None and now == seen:
            return _copied(flight, now[0], put, most)
        seen = now
        _pause.wait(SETTLED_S)
    _log.warning("stacks: rank %d has not written its flight record (%s)", flight.rank, " or ".join(flight.files))
    return None


def plogs(folder: str) -> list[Plog]:
    """The newest logs below a folder, the newest first, and what that one says at its end."""
    found = sorted(_files(folder), reverse=True)[:PLOGS]
    told = [Plog(path=path, size=size) for _, path, size in found]
    return [*(Plog(path=each.path, size=each.size, end=_end(each.path)) for each in told[:1]), *told[1:]]


def _written(path: str, since_ns: int) -> tuple[str, int] | None:
    try:
        there = os.lstat(path)
    except OSError:
        return None
    is_new = stat.S_ISREG(there.st_mode) and there.st_mtime_ns >= since_ns and there.st_size > 0
    return (path, there.st_size) if is_new else None


def _copied(flight: Flight, path: str, put: Callable[[Iterator[bytes]], str], most: int) -> str | None:
    try:
        fd = os.open(path, _READ)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(0, "it is no regular file")
            if os.fstat(fd).st_size > most:
                raise OSError(0, "it is too large and stays there")
            return put(_chunks(fd, most))
        finally:
            os.close(fd)
    except OSError as error:
        _log.warning("stacks: the flight record of rank %d, %s: %s", flight.rank, path, disk.reason(error))
        return None


def _chunks(fd: int, left: int) -> Iterator[bytes]:
    while left > 0 and (chunk := os.read(fd, min(left, disk.CHUNK))):
        left -= len(chunk)
        yield chunk


def _files(folder: str) -> Iterator[tuple[int, str, int]]:
    """When each was changed, its path and its size."""
    left = ENTRIES
    waiting: list[tuple[str, int]] = [(folder, DEPTH)]
    while waiting and left > 0:
        here, depth = waiting.pop()
        for entry in _entries(here)[:left]:
            left -= 1
            try:
                there = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(there.st_mode) and depth > 1:
                waiting.append((entry.path, depth - 1))
            elif stat.S_ISREG(there.st_mode) and entry.name.endswith(".log"):
                yield there.st_mtime_ns, entry.path, there.st_size


def _entries(folder: str) -> Sequence[os.DirEntry[str]]:
    try:
        fd = os.open(folder, disk.DIRECTORY)
        os.close(fd)
        with os.scandir(folder) as entries:
            return [entry for entry, _ in zip(entries, range(ENTRIES), strict=False)]
    except OSError:
        return []


def _end(path: str) -> str:
    try:
        fd = os.open(path, _READ)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return os.pread(fd, PLOG_BYTES, max(0, os.fstat(fd).st_size - PLOG_BYTES)).decode("utf-8", "replace")
        finally:
            os.close(fd)
    except OSError:
        return ""
