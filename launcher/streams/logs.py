"""Where output goes: to our own streams and to the log file, the boot process's bytes and the launcher's own lines.

Nothing here stops a training: a reader that went away or a full disk is said once, and the bytes are counted as lost.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import time
from typing import TYPE_CHECKING

from launcher.core.plan import LogRules
from launcher.streams.cuts import OVER_BYTES, cut
from launcher.streams.flood import Flood
from launcher.streams.lines import service_line
from launcher.streams.segments import next_segment, open_log

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_MS = 250
_NEWLINE = 0x0A
_LINE_ENDS = (0x0A, 0x0D)
_LINE_BYTES = 4096  # what a pipe that polls as writable takes without blocking (PIPE_BUF)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_log = logging.getLogger(__name__)


class Outlet:
    """One of our own output streams, by its fd."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._gone = self._said = False
        self._stuck = False
        self._midline = False
        self.lost = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Write all of it, waiting for a slow reader as the boot process itself would."""
        rest = memoryview(chunk)
        while rest and not self._gone:
            count = self._some(rest)
            rest = rest[count:]
        self.lost += len(rest)

    def end(self) -> None:
        """One writer has ended; others may go on."""

    def line(self, line: bytes) -> None:
        """Write a line of the launcher's own. A reader that is stuck loses it: the main thread must not wait for it."""
        if self._midline:
            # The boot process's line was not ended; ours starts on its own, and its bytes stay as they are.
            line = b"\n" + line
        for start in range(0, len(line), _LINE_BYTES):
            if not self._gone and not self._takes(0 if self._stuck else PATIENCE_MS):
                self._stuck = True
                self.lost += len(line) - start
                return
            self._stuck = False
            self.write(line[start : start + _LINE_BYTES])

    def _some(self, rest: memoryview) -> int:
        try:
            count = os.write(self._fd, rest)
        except BlockingIOError:
            self._writable(None)
            return 0
        except OSError as error:
            return self._fail(error, len(rest))
        self._midline = rest[count - 1] != _NEWLINE
        return count

    def _takes(self, timeout_ms: int) -> bool:
        try:
            return self._writable(timeout_ms)
        except OSError:
            return False  # a line of ours is never worth an error: it may be the one that tells of an error

    def _writable(self, timeout_ms: int | None) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(timeout_ms))

    def _fail(self, error: OSError, count: int) -> int:
        # A full disk may be freed again and loses this chunk only; a reader that went away does not come back.
        self._gone = error.errno not in _FULL
        if not self._said:
            self._said = True
            _log.warning("cannot write to %s any more (%s); the log file goes on", self._name, error.strerror)
        if self._gone:
            return 0
        self.lost += count
        return count


class LogFile:
    """A log on the node: raw bytes, for its owner only, after what an earlier attempt left.

    A full file becomes the newest segment (`segments.py`), at a line's end: no secret lies in two of them. What is
    more than the rules allow in a minute is dropped here, and here only. `lost` counts what could not be written.
    """

    def __init__(self, path: str, rules: LogRules | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.lost = 0
        self._rules = rules or LogRules()
        self._flood = Flood(self._rules.bytes_per_minute, now)
        self._lock = threading.Lock()
        self._untold: list[tuple[str, str]] = []
        self._whole = True
        self._fd = open_log(path)
        self._size = os.fstat(self._fd).st_size
        self._full = self._rules.segment_bytes
        # An earlier attempt may have been cut off within a line.
        self._last = os.pread(self._fd, 1, self._size - 1)[0] if self._size else _NEWLINE

    @property
    def dropped(self) -> int:
        """Bytes of a flood that are not in the file."""
        return self._flood.dropped

    def write(self, chunk: bytes | memoryview) -> None:
        """Append all of it, in one piece among other threads' pieces, unless it is a flood."""
        rest = memoryview(chunk)
        with self._lock:
            if not self._flood.takes(len(rest)):
                rest = self._accepted(rest)
            self._append(rest)
        self._tell()

    def end(self) -> None:
        """One writer has ended, others may go on: what was dropped up to here is said."""
        with self._lock:
            self._account()
        self._tell()

    def line(self, line: bytes) -> None:
        """Append a line of the launcher's own; it never continues a line that the boot process began."""
        with self._lock:
            self._account()
            self._append_line(line)
        self._tell()

    def close(self) -> None:
        """Take nothing more: what still comes is left out."""
        self.end()
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def _accepted(self, rest: memoryview) -> memoryview:
        """What of a chunk that is more than the minute allows goes in."""
        if self._flood.on:
            if not self._flood.ebbs():
                self._flood.drop(rest)
                return rest[:0]
            self._account()
            self._flood.on = False
        return self._flood.part(rest, begun=self._last not in _LINE_ENDS)

    def _account(self) -> None:
        dropped, last = self._flood.account()
        if dropped:
            most = f"{self._rules.bytes_per_minute / 1024**2:g} MiB"
            words = (
                f"{dropped} bytes of output were dropped here: more than {most} came in a minute (LAUNCHER_LOG_RATE)"
            )
            self._append_line(service_line("WARNING", words, time.time()).encode())
        self._append(memoryview(last))

    def _append_line(self, line: bytes) -> None:
        self._append(memoryview(line if self._last == _NEWLINE else b"\n" + line))

    def _append(self, rest: memoryview) -> None:
        while rest and self._fd >= 0:
            count = len(rest)
            if self._size + count > self._full:
                # An empty file takes a line that is longer than a segment, or none ever would.
                begun = not self._size or self._last not in _LINE_ENDS
                over = min(OVER_BYTES, self._rules.segment_bytes)
                count = cut(rest, self._full - self._size, begun=begun, over=over)
            if count:
                rest = self._written(rest, count)
            else:
                self._rotate(len(rest))

    def _written(self, rest: memoryview, count: int) -> memoryview:
        """What is left of the bytes once so many were written, or were lost."""
        try:
            count = os.write(self._fd, rest[:count])
        except OSError as error:
            if not self.lost:
                self._untold.append(("cannot write the log file %s (%s); output is lost there", _words(error)))
            self.lost += len(rest)
            return rest[:0]
        self._size += count
        self._last = rest[count - 1]
        return rest[count:]

    def _rotate(self, coming: int) -> None:
        try:
            fd = next_segment(self.path, self._fd)
        except OSError as error:
            # What comes now goes into the old file, and as much again as a segment holds before the next attempt.
            self._full = self._size + coming + self._rules.segment_bytes
            if self._whole:
                self._untold.append(("cannot begin a new log file %s (%s); the old one goes on", _words(error)))
            self._whole = False
            return
        os.close(self._fd)
        self._fd, self._size, self._full = fd, 0, self._rules.segment_bytes

    def _tell(self) -> None:
        # Outside the lock: the words come back here as a line.
        if not self._untold:
            return
        with self._lock:
            untold, self._untold = self._untold, []
        for words, why in untold:
            _log.warning(words, self.path, why)


def _words(error: OSError) -> str:
    return error.strerror or str(error)
