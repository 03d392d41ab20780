"""Where output goes: to our own streams and to the log file, the boot process's bytes and the launcher's own lines.

Nothing here stops a training: a reader that went away or a full disk is said once, and the bytes are counted as lost.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
import threading
import time
import traceback

from launcher.core.errors import Exit, StageError

PREFIX = "[ModelArts Service Log]"
PATIENCE_MS = 250
_NEWLINE = 0x0A
_LINE_BYTES = 4096  # what a pipe that polls as writable takes without blocking (PIPE_BUF)
_EARLY_LINES = 1000

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

    def line(self, line: bytes) -> None:
        """Write a line of the launcher's own. A reader that is stuck loses it: the main thread must not wait for it."""
        if self._midline:
            # The boot process's line was not ended; ours starts on its own, and its bytes stay as they are.
            line = b"\n" + line
        for start in range(0, len(line), _LINE_BYTES):
            if not self._gone and not self._writable(0 if self._stuck else PATIENCE_MS):
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
    """The job's log on the node: raw bytes, for its owner only, after what an earlier attempt left."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._fd = _open(path)
        # An earlier attempt may have been cut off within a line.
        size = os.fstat(self._fd).st_size
        self._midline = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
        self.lost = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Append all of it, in one piece among other threads' pieces."""
        with self._lock:
            error = self._append(chunk)
        self._tell(error)

    def line(self, line: bytes) -> None:
        """Append a line of the launcher's own; it never continues a line that the boot process began."""
        with self._lock:
            error = self._append(b"\n" + line if self._midline else line)
        self._tell(error)

    def close(self) -> None:
        """Take nothing more: what still comes is dropped."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def _append(self, chunk: bytes | memoryview) -> OSError | None:
        rest = memoryview(chunk)
        while rest and self._fd >= 0:
            try:
                count = os.write(self._fd, rest)
            except OSError as error:
                first = not self.lost
                self.lost += len(rest)
                return error if first else None
            self._midline = rest[count - 1] != _NEWLINE
            rest = rest[count:]
        return None

    def _tell(self, error: OSError | None) -> None:
        # Outside the lock: the words come back here as a line.
        if error is not None:
            _log.warning("cannot write the log file %s (%s); output is lost there", self.path, error.strerror)


class ServiceLog(logging.Handler):
    """The launcher's own lines, to stderr and to the log file, which gets the early ones when it is opened."""

    def __init__(self, stderr: Outlet) -> None:
        super().__init__()
        self._stderr = stderr
        self._file: LogFile | None = None
        self._early: list[bytes] = []

    def open(self, file: LogFile) -> None:
        """Write to the log file as well from now on."""
        self.acquire()
        try:
            early, self._early, self._file = self._early, [], file
        finally:
            self.release()
        for line in early:
            file.line(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a bad format string is told the way logging tells it
            self.handleError(record)
            return
        self._stderr.line(line)
        if self._file is not None:
            self._file.line(line)
        elif len(self._early) < _EARLY_LINES:
            self._early.append(line)

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in it; only a traceback has more."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        text = f"{PREFIX}{moment},{int(record.msecs):03d} - {record.levelname} - {plain(record.getMessage())}\n"
        if record.exc_info and record.exc_info[1] is not None:
            lines = "".join(traceback.format_exception(record.exc_info[1])).splitlines()
            text += "".join(f"{plain(line)}\n" for line in lines)
        return text


def plain(text: str) -> str:
    """Make control characters visible: what a file name or a server says must not forge a line or steer a terminal."""
    return text if text.isascii() and text.isprintable() else text.translate(_CONTROLS)


_CONTROLS = {
    number: ascii(chr(number))[1:-1]
    for span in ((0, 0x20), (0x7F, 0xA0), (0x2028, 0x202F), (0x2066, 0x206A))
    for number in range(*span)
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _open(path: str) -> int:
    # O_NONBLOCK means nothing to a file, but a FIFO that somebody put there would block for ever.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
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


def _unwritable(path: str, found: str, number: int | None) -> StageError:
    refused = number in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EROFS)
    return StageError(
        f"Cannot write the log file {path}: {found}.",
        code="log-not-writable",
        action="Make its folder writable for this user and remove what lies in its place.",
        exit_code=Exit.REFUSED if refused else Exit.NODE,
    )
