"""What a boot process writes, moved from its pipe to where it goes: large reads, no lines, every byte as it is."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from typing import TYPE_CHECKING, Protocol

from launcher.core.errors import Exit, LauncherError
from launcher.pool import no_threads
from launcher.streams.beside import Beside
from launcher.streams.cuts import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PIPE_BYTES = 1024 * 1024
FIRST_BYTES = 64 * 1024
"""What a quiet boot process is read with; a buffer of the pipe's whole size is made for one that fills it."""

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """What takes bytes and never fails."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Take all of it."""
        ...

    def end(self) -> None:
        """Know that no more comes from this pump; what several pumps share goes on for the others."""
        ...


class Pump:
    """Moves what a child writes from a pipe to some sinks, on a thread of its own, and remembers the end of it.

    The sinks come in their order, the one that may wait for a reader last: what waits is in the tail and in the others.
    It never looks for lines. `ended` is called, on that thread, when every writer has closed the pipe.
    """

    def __init__(self, fd: int, sinks: Sequence[Sink], ended: Callable[[], None]) -> None:
        self._fd = fd
        self._sinks = tuple(sinks)
        self._ended = ended
        self._left = False
        self._at_end = False
        self._tail = Tail()
        # In bytes from the begin: what was read, what the last sink has too, and how far it is for us to wait for.
        self._read = self._done = self._owed = 0
        self.over = False
        self.error: BaseException | None = None
        _widen(fd)

    @property
    def tail(self) -> bytes:
        """The last lines, at most 64 KiB (`cuts.Tail`)."""
        return self._tail.text()

    def start(self) -> None:
        """Begin; the pipe is the pump's from now on."""
        threading.Thread(target=self._run, name="pump", daemon=True).start()

    def ending(self) -> None:
        """Know that who was started has ended: what it wrote is in hand or in the pipe, what follows is others'."""
        self._owed = self._read + PIPE_BYTES

    @property
    def owes(self) -> bool:
        """Whether a sink has not got all yet of what was read, as far as it may be from who has ended."""
        return not self.over and (self._at_end or self._done < min(self._read, self._owed))

    @property
    def moved(self) -> int:
        """How far it is, as far as it may be from who has ended."""
        return min(self._read, self._owed) + min(self._done, self._owed)

    def leave(self) -> None:
        """Let go of a pipe that somebody holds open: whatever still comes is read and dropped, no sink is called."""
        self._left = True

    def _run(self) -> None:
        try:
            self._move()
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self.error = error
        finally:
            os.close(self._fd)
            self.over = True
            self._ended()

    def _move(self) -> None:
        buffer = spare = memoryview(bytearray(FIRST_BYTES))
        sinks, beside = self._sinks, None
        while count := os.readv(self._fd, (buffer,)):
            if self._left:
                continue
            chunk = buffer[:count]
            self._read += count
            self._tail.add(chunk)
            self._write(sinks, chunk)
            if beside is None:
                self._done += count
            else:
                beside.give(chunk)
            if count == len(buffer) < PIPE_BYTES:
                # Much is coming: the last sink gets it from a second hand, out of a second buffer.
                buffer, spare = memoryview(bytearray(PIPE_BYTES)), memoryview(bytearray(PIPE_BYTES))
                sinks, beside = self._shared()
            buffer, spare = spare, buffer
        self._at_end = True
        if beside is not None:
            beside.end()
        for sink in self._sinks:
            if not self._left:
                sink.end()

    def _shared(self) -> tuple[tuple[Sink, ...], Beside | None]:
        """Who is written to here, and who does the rest."""
        beside = Beside(self._write_last)
        return (self._sinks[:-1], beside) if len(self._sinks) > 1 and beside.start() else (self._sinks, None)

    def _write_last(self, chunk: memoryview) -> None:
        self._write(self._sinks[-1:], chunk)
        self._done += len(chunk)

    def _write(self, sinks: Sequence[Sink], chunk: memoryview) -> None:
        for sink in sinks:
            # A sink may have waited for a reader until long after we were left.
            if not self._left:
                sink.write(chunk)


def piped(sinks: Sequence[Sink], ended: Callable[[], None]) -> tuple[Pump, int]:
    """A pump at work, and the end of its pipe for whoever writes. Raises LauncherError where the node allows none."""
    try:
        pipe, end = os.pipe()
    except OSError as error:
        raise LauncherError(
            f"could not take the output of a process: {error.strerror}",
            code="no-descriptors",
            action="Raise the limit of open files (ulimit -n).",
            exit_code=Exit.NODE,
        ) from error
    try:
        pump = Pump(pipe, sinks, ended)
        pump.start()
    except BaseException as error:
        os.close(pipe)
        os.close(end)
        if isinstance(error, RuntimeError):
            raise no_threads("take the output of a process") from error
        raise
    return pump, end


def _widen(fd: int) -> None:
    """Give a pipe 1 MiB: fewer and larger reads. A user over its share of pipe memory keeps the 64 KiB."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        _log.debug("pipe %d keeps its size", fd)
