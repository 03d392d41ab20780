"""What reaches the launcher from outside the main thread: signals, in their order, and wake-ups.

Handlers do next to nothing and no number of signals of one kind can crowd out another.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGTSTP,
    signal.SIGWINCH,
)
ECHO_S = 0.005
_STOPS = (signal.SIGTERM, signal.SIGINT)
_TURNS = (*_STOPS, signal.SIGTSTP, signal.SIGCONT)
"""Told each time, for what one of them means depends on the one before; of the others one of a kind is enough."""
_DRAINS = 4


class Inbox:
    """Open it before the first child is started. `wake` may be called from anywhere, the rest by the main thread."""

    def __init__(self) -> None:
        self._wakes = -1
        self._closing = threading.RLock()  # reentrant, for a handler that calls in the middle of a call
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._noted: set[int] = set()

    def open(self) -> None:
        """Hear every signal from now on, but those that were ignored before; SIGTERM and SIGCHLD in any case."""
        self._pipe, self._pipe_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._room = fcntl.fcntl(self._pipe, fcntl.F_GETPIPE_SZ)
        # Wake-ups have a channel of their own, so that no number of them can crowd out a signal.
        self._wakes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        self._poll.register(self._wakes, select.POLLIN)
        # First the pipe, then the handlers: a signal in between keeps its old meaning, none is swallowed.
        self._pipe_before = signal.set_wakeup_fd(self._pipe_in, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *FORWARDED):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN or number in (signal.SIGCHLD, signal.SIGTERM):
                self._before[number] = before
                signal.signal(number, self._note)
        # A parent may have left them blocked, and a blocked SIGTERM would make the job unstoppable.
        self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)

    def close(self) -> None:
        """Leave the process as it was."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        signal.set_wakeup_fd(self._pipe_before)
        with self._closing:
            # A thread that was left behind may still call, and the number may be another file's by then.
            wakes, self._wakes = self._wakes, -1
        for fd in (self._pipe, self._pipe_in, wakes):
            os.close(fd)

    def wake(self) -> None:
        """Make `wait` return."""
        with self._closing:
            if self._wakes >= 0:
                os.eventfd_write(self._wakes, 1)

    def heard(self, number: int) -> bool:
        """Whether a signal has come that `wait` has not told yet."""
        return number in self._noted

    def wait(self, timeout: float | None) -> tuple[Sequence[int], bool]:
        """Signals as they came, SIGCHLD among them, and whether somebody called `wake`; at most `timeout` seconds."""
        ready = self._poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        fds = {fd for fd, _ in ready}
        numbers: Sequence[int] = ()
        if self._pipe in fds:
            numbers = self._read()
        if self._wakes in fds:
            os.eventfd_read(self._wakes)
        return numbers, self._wakes in fds

    def _read(self) -> Sequence[int]:
        numbers = self._drain()
        if any(number in numbers for number in _STOPS):
            numbers += self._echo()
        return [number for number in _thinned(numbers) if number in self._before]

    def _drain(self) -> bytes:
        """All that is in the pipe, and all that did not find room in it."""
        numbers = part = os.read(self._pipe, self._room)
        # Whatever was written or refused so far is noted: the interpreter calls handlers before it enters a function.
        noted = self._take_noted()
        for _ in range(_DRAINS):
            if len(part) < self._room:
                break
            # It was full, and the kernel drops what a full pipe does not take.
            numbers += (part := self._rest())
            numbers += bytes(noted.difference(numbers))
            noted = self._take_noted()
        return numbers

    def _take_noted(self) -> set[int]:
        noted, self._noted = self._noted, set()
        return noted

    def _rest(self) -> bytes:
        try:
            return os.read(self._pipe, self._room)
        except BlockingIOError:
            return b""

    def _echo(self) -> bytes:
        """Read on for a moment: timeout(1) and others signal a process and then its group, which is one request.

        Nothing was passed on yet, so that nobody can have answered the first one with a second.
        """
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        numbers, end = b"", time.monotonic() + ECHO_S
        while (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
            numbers += self._drain()
        return numbers

    def _note(self, number: int, _: object) -> None:
        """Stand as a handler: the wake-up pipe has the signal already, unless it is full."""
        self._noted.add(number)


def _thinned(numbers: bytes) -> Sequence[int]:
    """Signals without what only repeats: the kernel too keeps one of a kind that nobody has taken yet."""
    kept: list[int] = []
    seen: set[int] = set()
    for number in numbers:
        if number == signal.SIGCONT:
            # As the kernel does: who is continued before it has stopped does not stop.
            kept = [each for each in kept if each != signal.SIGTSTP]
        if number not in seen or (number in _TURNS and number != (kept or [0])[-1]):
            kept.append(number)
            seen.add(number)
    return kept
