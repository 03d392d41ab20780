"""Our own output streams, which somebody reads, slowly or not at all: the boot process's bytes and our own lines.

Nothing here stops a training: a reader that went away or a full disk is said once, and the bytes are counted as lost.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat

PATIENCE_MS = 250
TURN_MS = 20
"""How long a reader is waited for before it is asked whether to wait on."""
_NEWLINE = 0x0A
_LINE_BYTES = 4096  # what a pipe that polls as writable takes without blocking (PIPE_BUF)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_log = logging.getLogger(__name__)


class Outlet:
    """One of our own output streams, by its fd. `lost` counts what nobody got, `passed` what a boot process said."""

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._own, self._blocks = _without_waiting(fd)
        self._gone = self._said = False
        self._stuck = False
        self._midline = False
        self._patient = True
        self._not_passed = 0
        self.passed = 0
        self.lost = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Write all of it, waiting for a slow reader as the boot process itself would, until that is let go of."""
        rest = memoryview(chunk)
        while rest and self._patient and not self._gone:
            count = self._some(rest)
            rest = rest[count:]
        self.lost += len(rest)
        if not self._gone:
            self._not_passed += len(rest)

    def end(self) -> None:
        """One writer has ended; others may go on."""

    def let_go(self) -> None:
        """Wait for no reader any more: who waits in `write` comes back at once, and what still comes is left out."""
        self._patient = False

    def take_up(self) -> int:
        """Wait for the reader again; how many bytes it did not get because it was let go of."""
        count, self._not_passed = self._not_passed, 0
        self._patient = True
        return count

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
            self._piece(memoryview(line)[start : start + _LINE_BYTES])

    def _piece(self, piece: memoryview) -> None:
        """Write a piece of our own. A pump that was faster may have filled the room that was just seen."""
        count = 0
        try:
            if not self._gone:
                count = self._written(piece)
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(error)
        self.lost += len(piece) - count

    def _some(self, rest: memoryview) -> int:
        """How much of it is done with: a part at most where nobody reads at the moment."""
        try:
            if self._blocks:
                rest = rest[: _LINE_BYTES if self._writable(TURN_MS) else 0]
            count = self._written(rest) if rest else 0
        except BlockingIOError:
            self._writable(TURN_MS)
            return 0
        except OSError as error:
            self._fail(error)
            count = 0 if self._gone else len(rest)
            self.lost += count
            return count
        self.passed += count
        return count

    def _written(self, rest: memoryview) -> int:
        count = os.write(self._own, rest)
        self._midline = rest[count - 1] != _NEWLINE
        return count

    def _takes(self, timeout_ms: int) -> bool:
        try:
            return self._writable(timeout_ms)
        except OSError:
            return False  # a line of ours is never worth an error: it may be the one that tells of an error

    def _writable(self, timeout_ms: int) -> bool:
        poll = select.poll()
        poll.register(self._own, select.POLLOUT)
        return bool(poll.poll(timeout_ms))

    def _fail(self, error: OSError) -> None:
        # A full disk may be freed again and loses this chunk only; a reader that went away does not come back.
        self._gone = error.errno not in _FULL
        if not self._said:
            self._said = True
            _log.warning("cannot write to %s any more (%s); the log file goes on", self.name, error.strerror)


def _without_waiting(fd: int) -> tuple[int, bool]:
    """The same pipe or terminal by an fd that never waits, which leaves the shared one as it is; else the same fd.

    And whether a write to it may wait for a reader all the same: a socket, a pipe of another user, no /proc.
    """
    try:
        if stat.S_ISFIFO(mode := os.fstat(fd).st_mode) or os.isatty(fd):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), False
    except OSError:
        return fd, True
    return fd, stat.S_ISSOCK(mode)
