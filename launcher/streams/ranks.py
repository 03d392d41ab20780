"""Where the output of each of several boot processes goes: to ours and the log line by line, to its own log as it is.

It reads nothing and starts nothing; what it gives are sinks for the pumps.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

from launcher.core.errors import StageError
from launcher.streams.cuts import ENDLESS, OVER_BYTES, Seams
from launcher.streams.lines import Page
from launcher.streams.logs import LogFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.plan import LogRules, Process
    from launcher.streams.outlet import Outlet
    from launcher.streams.pump import Sink

_BLOCK_BYTES = 64 * 1024
"""What is looked through at once: larger copies would be given back to the kernel and fetched again, page by page."""

_log = logging.getLogger(__name__)


class Stream(Page, Protocol):
    """What takes bytes of the boot processes and lines of ours."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Take all of it."""
        ...


class Streams:
    """The sinks of all boot processes of a node that runs several.

    `apart`: what is in their own logs already, of an attempt before this one, becomes a segment of its own.
    """

    def __init__(self, rules: LogRules, out: Outlet, err: Outlet, log: LogFile, *, apart: bool = False) -> None:
        self._rules = rules
        self._apart = apart
        self._log = log
        # One lock for each of our streams: a line that a slow reader takes in parts stays one.
        self._ours = ((out, threading.Lock()), (err, threading.Lock()))
        self._own: list[LogFile] = []
        self._ranked: list[RankedLines] = []

    def of(self, process: Process) -> tuple[Sequence[Sink], Sequence[Sink]]:
        """What takes the stdout and the stderr of a boot process, one of several on this node."""
        out, err = (self._sinks(outlet, guard, process) for outlet, guard in self._ours)
        own = self._open(process)
        return (*own, *out), (*own, *err)

    def close(self) -> None:
        """Say and write what was held back, and close the logs of the processes; for the main thread, at the end."""
        for lines in self._ranked:
            lines.close()
        for own in self._own:
            own.close()
        self._log.end()

    def _sinks(self, outlet: Outlet, guard: threading.Lock, process: Process) -> Sequence[Sink]:
        if not self._rules.rank_prefix:
            return self._log, outlet
        lines = RankedLines(process.rank, outlet, guard, self._log, Seams(self._log.secrets))
        self._ranked.append(lines)
        return (lines,)

    def _open(self, process: Process) -> Sequence[Sink]:
        if process.log is None:
            return ()
        try:
            own = LogFile(process.log, self._rules, secrets=self._log.secrets)
        except StageError as error:
            _log.warning("rank %d goes on without a log of its own: %s", process.rank, error)
            return ()
        if self._apart:
            own.part()
        self._own.append(own)
        return (own,)


class RankedLines:
    """One stream of one boot process in whole lines, each with its rank, or `mark`, before it; one pump writes to it.

    What a carriage return ends, as progress bars do, is a line too. One that has not ended is held back; beyond 64 KiB
    (in no secret), and at the end, it gets a line end of its own, so that no line of another process goes on in it.
    """

    def __init__(
        self,
        rank: int,
        outlet: Stream,
        guard: threading.Lock,
        log: Stream,
        seams: Seams | None = None,
        *,
        mark: bytes | None = None,
    ) -> None:
        self._prefix = b"[%b] " % (b"rank %d" % rank if mark is None else mark)
        self._outlet = outlet
        self._guard = guard
        self._log = log
        self._seams = seams or Seams()
        self._held = bytearray()

    def write(self, chunk: bytes | memoryview) -> None:
        """Give out the lines that have ended."""
        for start in range(0, len(chunk), _BLOCK_BYTES):
            self._take(bytes(chunk[start : start + _BLOCK_BYTES]))

    def end(self) -> None:
        """Give out what was held back."""
        held = self._taken()
        if held:
            self._give(held if held.endswith(b"\r") else held + b"\n")

    def close(self) -> None:
        """Give out what a pump that was left behind has held back, waiting for no reader."""
        held = self._taken()
        if held:
            block = self._ranked(held + b"\n")
            self._log.write(block)
            self._outlet.line(block)

    def _take(self, text: bytes) -> None:
        if self._held[-1:] == b"\r":
            text = self._taken() + text
        # A last "\r" may be the first half of a "\r\n".
        end = max(text.rfind(b"\n"), text.rfind(b"\r", 0, len(text) - 1)) + 1
        if end:
            self._give(self._taken() + text[:end])
        self._held += text[end:]
        while len(self._held) > OVER_BYTES:
            count = self._seams.near(OVER_BYTES, b"", memoryview(bytes(self._held)), least=1)
            if count == len(self._held) < -ENDLESS:
                break  # what may be a secret has not ended
            piece = bytes(self._held[:count])
            del self._held[:count]
            self._give(piece + b"\n")

    def _taken(self) -> bytes:
        held, self._held = self._held, bytearray()
        return bytes(held)

    def _give(self, lines: bytes) -> None:
        block = self._ranked(lines)
        self._log.write(block)  # first: the outlet may wait for its reader
        with self._guard:
            self._outlet.write(block)

    def _ranked(self, lines: bytes) -> bytes:
        """Whole lines with the rank before each: a few passes over all of them, none over each."""
        prefix = self._prefix
        if b"\r" in lines:
            lines = lines.replace(b"\r", b"\r" + prefix).replace(b"\r" + prefix + b"\n", b"\r\n")
        return prefix + lines.replace(b"\n", b"\n" + prefix)[: -len(prefix)]
