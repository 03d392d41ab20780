"""The log file: the boot process's bytes and the launcher's own lines, in segments, no more than a minute may bring.

Nothing here stops a training: a full disk is said once, and the bytes are counted as lost.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from launcher.core.plan import LogRules
from launcher.core.redact import by_line
from launcher.streams.cuts import ENDLESS, OVER_BYTES, Seams, cut
from launcher.streams.flood import Flood
from launcher.streams.lines import service_line
from launcher.streams.segments import next_segment, open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NEWLINE = 0x0A
_LINE_ENDS = (0x0A, 0x0D)

_log = logging.getLogger(__name__)


class LogFile:
    """A log on the node: raw bytes, for its owner only, after what an earlier attempt left.

    A full file becomes the newest segment (`segments.py`), at a line's end, or else outside all `secrets`: none lies in
    two of them. What is more than the rules allow in a minute is dropped here, and here only. `lost` counts what could
    not be written.
    """

    def __init__(
        self,
        path: str,
        rules: LogRules | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        secrets: Sequence[bytes] = (),
    ) -> None:
        self.path = path
        self.lost = 0
        self.secrets = by_line(secrets)
        self._seams = Seams(self.secrets)
        self._rules = rules or LogRules()
        self._flood = Flood(self._rules.bytes_per_minute, now, self._seams)
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

    def hide(self, secrets: Sequence[bytes]) -> None:
        """Part no segment inside these either; for the main thread, before anybody writes them."""
        self.secrets = by_line((*self.secrets, *secrets))
        self._seams = Seams(self.secrets)

    def write(self, chunk: bytes | memoryview) -> None:
        """Append all of it, in one piece among other threads' pieces, unless it is a flood."""
        rest = memoryview(chunk)
        with self._lock:
            if not self._flood.takes(len(rest)):
                rest = self._accepted(rest)
            self._append(rest)
        self._tell()

    def end(self) -> None:
        """One writer has ended, others may go on: what was dropped up to here is said.

        What is held back as the begin of a secret goes in too when nothing came since the last end: all have ended.
        """
        with self._lock:
            self._account(held=self._flood.moved)
        self._tell()

    def part(self) -> None:
        """Put what came so far aside as a segment of its own; an empty file goes on."""
        with self._lock:
            self._account(held=True)
            if self._size and self._fd >= 0:
                self._rotate(0)
        self._tell()

    def line(self, line: bytes) -> None:
        """Append a line of the launcher's own; it never continues a line that the boot process began."""
        with self._lock:
            self._account(held=True)
            self._append_line(line)
        self._tell()

    def close(self) -> None:
        """Take nothing more: what still comes is left out."""
        with self._lock:
            self._account()
        self._tell()
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
        return self._flood.part(rest, begun=self._last not in _LINE_ENDS, before=self._before())

    def _account(self, *, held: bool = False) -> None:
        dropped, last = self._flood.account(held=held)
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
                count = self._fitting(rest, self._full - self._size)
            if count:
                rest = self._written(rest, count)
            else:
                self._rotate(len(rest))

    def _fitting(self, rest: memoryview, room: int) -> int:
        """How much belongs to the file that is open."""
        # An empty file takes a line that is longer than a segment, or none ever would.
        begun = not self._size or self._last not in _LINE_ENDS
        count = cut(rest, room, begun=begun, over=min(OVER_BYTES, self._rules.segment_bytes))
        return count if room < ENDLESS else self._seams.near(count, self._before(), rest, least=not self._size)

    def _before(self) -> bytes:
        """The end of the file, as far as a secret may reach into it."""
        reach = min(self._seams.reach, self._size)
        try:
            return os.pread(self._fd, reach, self._size - reach) if reach else b""
        except OSError:
            return b""  # who cannot read will not be able to write either, which is said there

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
