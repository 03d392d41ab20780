"""The launcher's children: started, signalled and reaped here and nowhere else.

It never decides anything and never waits longer than it is told. `start`, `signal` and `wait` belong to the main
thread; `wake` may be called from anywhere.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from launcher.adapters.process.kin import catches, children, ended, group, lives, session
from launcher.core.lifecycle import Event, Exited, Signalled, Woken
from launcher.core.unstarted import Attempt, not_started, unstartable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from launcher.core.errors import BootError

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
CLOSING_S = 1.0
ECHO_S = 0.005
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


class SystemProcesses:
    """The real processes. Open it before anything else and close it last: outside it a SIGTERM is not seen.

    Signals that were ignored when the launcher started (`nohup`, a shell's `&`) stay ignored, for it and for its
    children; SIGTERM is heard in any case. Every other disposition and the signal mask are the default in a child.

    Pids are never mistaken: a child's number is its own until it is reaped here. Once the leader of a group is reaped,
    the group is only signalled while an unreaped child of ours, an adopted orphan, is a member that pins its number.
    """

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: set[int] = set()
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._inherited: frozenset[int] = frozenset()
        self._session = os.getsid(0)
        self._wakes = -1
        self._closing = threading.RLock()  # reentrant, for a handler that calls in the middle of a call
        self._disown: Callable[[], object] = _nothing
        self._adopts = os.getpid() == 1

    def __enter__(self) -> Self:
        _fill_standard_streams()
        self._pipe, self._pipe_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
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
                signal.signal(number, _nothing)
        # A parent may have left them blocked, and a blocked SIGTERM would make the job unstoppable.
        self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._before)
        self._inherited = frozenset(children())
        self._reap()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_children()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        signal.set_wakeup_fd(self._pipe_before)
        self._disown()
        with self._closing:
            # A thread that was left behind may still call, and the number may be another file's by then.
            wakes, self._wakes = self._wakes, -1
        for fd in (self._pipe, self._pipe_in, wakes):
            os.close(fd)

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, stdout: int, stderr: int) -> int:
        """Start a program in its own session, stdin from /dev/null; its pid. Raises `BootError` (126, 127)."""
        self._adopt()
        try:
            child = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise _not_started(argv, env, cwd, error) from error
        # Kept until it is reaped: a dropped Popen waits for its child on its own and steals the exit status.
        self._running[child.pid] = child
        return child.pid

    def signal(self, pid: int, number: int) -> bool:
        """Send a signal to the whole group of a child; False when nobody of it is left.

        When the child itself has ended, its group and the orphans that it left are meant, those included that moved
        to a session of their own. SIGQUIT goes to the child alone, and only if it is handled there: it kills others.
        0 only asks whether anybody is left.
        """
        if pid in self._running:
            if number != signal.SIGQUIT:
                return _send(os.killpg, pid, number)
            return not catches(pid, number) or _send(os.kill, pid, number)
        return pid in self._ended and number != signal.SIGQUIT and self._signal_leftovers(pid, number)

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Signals to the launcher, ends of children and wake-ups, in their order; empty after `timeout` seconds."""
        ready = self._poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        fds = {fd for fd, _ in ready}
        events: list[Event] = []
        if self._pipe in fds:
            events += self._read_signals()
        if self._wakes in fds:
            os.eventfd_read(self._wakes)
            events.append(Woken())
        return events

    def wake(self) -> None:
        """Make `wait` return; safe from any thread and from a signal handler."""
        with self._closing:
            if self._wakes >= 0:
                os.eventfd_write(self._wakes, 1)

    def _read_signals(self) -> Iterator[Event]:
        """Every signal in its order; children are reaped at the first SIGCHLD, an end before a later stop."""
        numbers = os.read(self._pipe, 65536)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            numbers += self._echo()
        reaped = False
        for number in numbers:
            if number == signal.SIGCHLD:
                if not reaped:
                    yield from self._reap()
                reaped = True
            elif number in self._before:
                yield Signalled(number)

    def _echo(self) -> bytes:
        """Read on for a moment: timeout(1) and others signal a process and then its group, which is one request.

        Nothing was passed on yet, so that nobody can have answered the first one with a second.
        """
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        numbers, end = b"", time.monotonic() + ECHO_S
        while (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
            numbers += os.read(self._pipe, 65536)
        return numbers

    def _reap(self) -> list[Event]:
        """Take every child that has ended and is ours to take, and no other."""
        events: list[Event] = []
        while (pid := ended(os.P_ALL, 0)) is not None:
            if not self._ours(pid):
                # It stays, and hides the ones behind it: ask for each of ours by its number.
                mine = (*self._running, *(pid for pid in children() if self._ours(pid)))
                events += (self._take(pid) for pid in dict.fromkeys(mine) if ended(os.P_PID, pid) is not None)
                break
            events.append(self._take(pid))
        return events

    def _ours(self, pid: int) -> bool:
        """Whether a child was started here or adopted: every other one was started by somebody in this process.

        Children of this adapter begin a session and no descendant of theirs can come back to ours. What was there
        before belongs to others, but PID 1 reaps it as well (`sh -c "sshd & exec launcher ..."`).
        """
        if pid in self._running:
            return True
        return os.getpid() == 1 if pid in self._inherited else session(pid) != self._session

    def _take(self, pid: int) -> Event:
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        child = self._running.pop(pid, None)
        if child is None:
            return Woken()
        # So that the Popen never waits by itself: the number may soon be somebody else's.
        child.returncode = code
        self._ended.add(pid)
        number = -code if code < 0 else None
        # The kernel counts from before the exec, so that this is never less than the launcher's own peak.
        return Exited(pid, code if number is None else 128 + number, number, usage.ru_maxrss * 1024)

    def _signal_leftovers(self, leader: int, number: int) -> bool:
        if not self._adopts:
            # Orphans go to somebody else. A group outlives its leader; a process of that number would be a new one.
            return not _send(os.kill, leader, 0) and _send(os.killpg, leader, number)
        alone = not self._running
        orphans = [pid for pid in children() if not (pid in self._running or pid in self._inherited) and lives(pid)]
        # With several children at once, an orphan that left its session cannot be told to be anybody's.
        orphans = [pid for pid in orphans if session(pid) == leader or (alone and session(pid) != self._session)]
        own = os.getpgrp()
        groups = {pid: group(pid) for pid in orphans}
        # A group from outside this pid namespace reads as 0, which kill(2) takes for our own.
        shared = set(groups.values()) - {-1, 0, 1, own}
        for whole in shared:
            _send(os.killpg, whole, number)
        for pid in orphans:
            if groups[pid] not in shared:
                _send(os.kill, pid, number)
        return bool(orphans)

    def _adopt(self) -> None:
        """Have the orphans of our children handed to us; PID 1 gets them anyway, and is spared the import."""
        if self._adopts:
            return
        try:
            import ctypes

            prctl = ctypes.CDLL(None).prctl
        except (ImportError, OSError, AttributeError):
            return
        before = ctypes.c_int()
        prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
        self._adopts = before.value == 1 or prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        if self._adopts and not before.value:
            self._disown = lambda: prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def _stop_children(self) -> None:
        """Leave nobody behind that was started here, whatever went wrong; a second at most."""
        end = time.monotonic() + CLOSING_S
        while self._kill_all() and time.monotonic() < end:
            self.wait(end - time.monotonic())
        self._reap()
        for child in self._running.values():
            child.returncode = -signal.SIGKILL

    def _kill_all(self) -> bool:
        for pid in self._running:
            _send(os.killpg, pid, signal.SIGKILL)
        # Leader 0 is nobody: only orphans without a living relative are meant.
        return bool(self._running) or self._signal_leftovers(0, signal.SIGKILL)


def _nothing(*_: object) -> None:
    """Stand as a handler: the wake-up pipe has the signal already."""


def _fill_standard_streams() -> None:
    """Where one of the fds 0 to 2 is closed, /dev/null takes its place before a pipe of ours does."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        os.set_inheritable(fd, True)
    os.close(fd)


def _send(send: Callable[[int, int], None], pid: int, number: int) -> bool:
    try:
        send(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Somebody is there who changed its user; that we may not signal it does not make it gone.
        return True
    return True


def _not_started(argv: Sequence[str], env: Mapping[str, str], cwd: str, error: OSError | ValueError) -> BootError:
    program = argv[0] if argv else ""
    if not isinstance(error, OSError):
        return unstartable(program, str(error))
    attempt = Attempt(
        program=program,
        cwd=cwd,
        path=env.get("PATH", os.defpath),
        uid=os.geteuid(),
        cwd_failed=not os.path.isdir(cwd) or (error.filename == cwd and program != cwd),
        program_exists="/" in program and os.path.exists(os.path.join(cwd, program)),
    )
    return not_started(attempt, error.errno or 0)
