"""The launcher's children: started, signalled and reaped here and nowhere else.

It never decides anything and never waits longer than it is told. `wake` may be called from anywhere, all else belongs
to the main thread.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import TYPE_CHECKING

from launcher.adapters.process import kin
from launcher.adapters.process.inbox import FORWARDED, Inbox
from launcher.adapters.process.starting import popen
from launcher.core.lifecycle import Event, Exited, Signalled, Woken

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from launcher.core.kin import Relative

__all__ = ["FORWARDED", "SystemProcesses"]

CLOSING_S = 1.0
REAPED_AT_ONCE = 500
"""Then signals are heard again: children that end faster than they are reaped must not hide a SIGTERM."""
_ROUNDS = 8


class SystemProcesses:
    """The real processes. Open it before anything else and close it last: outside it a SIGTERM is not seen.

    Signals that were ignored when the launcher started (`nohup`, a shell's `&`) stay ignored, for it and for its
    children; SIGTERM is heard in any case. Every other disposition and the signal mask are the default in a child.

    Pids are never mistaken: a child's number is its own until it is reaped here. Once the leader of a group is reaped,
    the group is only signalled while an unreaped child of ours, an adopted orphan, is a member that pins its number.

    `enrol` is called with the pid of every child as soon as there is one, `left` at the end if somebody does not end.
    """

    def __init__(self, enrol: Callable[[int], object] | None = None, left: Callable[[], object] | None = None) -> None:
        self._enrol = enrol
        self._left = left
        self._inbox = Inbox()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._killed: set[int] = set()
        self._ended: set[int] = set()
        self._inherited: frozenset[int] = frozenset()
        self._unreaped = False
        self._session = os.getsid(0)
        self._disown: Callable[[], object] | None = None
        self._adopts = os.getpid() == 1

    def __enter__(self) -> Self:
        self._inbox.open()
        self._inherited = frozenset(kin.children())
        # What ended before is somebody else's news.
        for _ in self._reap():
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_children()
        self._inbox.close()
        if self._disown is not None:
            self._disown()

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, stdout: int, stderr: int) -> int:
        """Start a program in its own session, stdin from /dev/null; its pid. Raises `BootError` (126, 127)."""
        self._adopt()
        child = popen(argv, env, cwd, stdout, stderr)
        self._running[child.pid] = child
        if self._enrol is not None:
            self._enrol(child.pid)
        return child.pid

    def signal(self, pid: int, number: int) -> bool:
        """Send a signal to the whole group of a child; False when nobody of it is left.

        When the child itself has ended, its group and the orphans that it left are meant, those included that moved
        to a session of their own. SIGQUIT goes to the child alone, and only if it is handled there: it kills others.
        SIGTSTP stops the group as it would at a terminal. 0 only asks whether anybody is left.
        """
        if pid not in self._running:
            return pid in self._ended and number != signal.SIGQUIT and self._signal_leftovers(pid, number)
        if number == signal.SIGTSTP:
            return self._halt(pid)
        if number == signal.SIGQUIT:
            return not kin.takes(pid, number) or _send(os.kill, pid, number)
        if number == signal.SIGKILL:
            self._killed.add(pid)
        return _send(os.killpg, pid, number)

    def send(self, pid: int, number: int) -> bool:
        """Send a signal to one process of a family; False when it is gone, or SIGQUIT or SIGUSR1 would kill it."""
        if number in (signal.SIGQUIT, signal.SIGUSR1):
            # It may have caught it when somebody looked, and have become another program since.
            return _send_safely(pid, number, lambda at: self._descends(at) and bool(kin.takes(at, number)))
        return _send_safely(pid, number, self._descends)

    def family(self, pid: int) -> Sequence[Relative]:
        """A child that was started here, and all that can be seen to descend from it; itself first.

        When the child has ended, it is what it left behind.
        """
        if pid not in self._running and pid not in self._ended:
            return ()
        leader = (pid,) if pid in self._running else ()
        orphans = self._orphans(pid) if self._adopts else kin.in_session(pid)
        found = (kin.relative(each) for each in kin.descendants((*leader, *orphans)))
        return [each for each in found if each is not None]

    def suspend(self) -> None:
        """Stop this process itself until somebody continues it; PID 1, which nobody could continue, goes on."""
        if os.getpid() != 1 and not self._inbox.heard(signal.SIGCONT):
            os.kill(os.getpid(), signal.SIGSTOP)

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Signals to the launcher, ends of children and wake-ups, in their order; empty after `timeout` seconds."""
        numbers, woken = self._inbox.wait(0 if self._unreaped else timeout)
        if self._unreaped and signal.SIGCHLD not in numbers:
            numbers = (*numbers, signal.SIGCHLD)
        return (*self._told(numbers), *((Woken(),) if woken else ()))

    def wake(self) -> None:
        """Make `wait` return; safe from any thread and from a signal handler."""
        self._inbox.wake()

    def _told(self, numbers: Sequence[int]) -> Iterator[Event]:
        """Every signal in its order; children are reaped at the first SIGCHLD, an end before a later stop."""
        for number in numbers:
            if number == signal.SIGCHLD:
                yield from self._reap()
            else:
                yield Signalled(number)

    def _reap(self) -> Iterator[Event]:
        """Take children that have ended and are ours to take, and no other; one word does for all orphans."""
        self._unreaped = orphans = False
        for number, pid in enumerate(self._endings(), 1):
            event = self._take(pid)
            if event is not None:
                yield event
            orphans = orphans or event is None
            if number == REAPED_AT_ONCE:
                self._unreaped = True
                break
        if orphans:
            yield Woken()

    def _endings(self) -> Iterator[int]:
        """Children of ours that have ended, each to be taken before the next is asked for."""
        while (pid := kin.ended(os.P_ALL, 0)) is not None:
            if not self._ours(pid):
                break
            yield pid
        else:
            return
        # It stays, and hides the ones behind it: ask for each of ours by its number.
        mine = (*self._running, *(pid for pid in kin.children() if self._ours(pid)))
        yield from (pid for pid in dict.fromkeys(mine) if kin.ended(os.P_PID, pid) is not None)

    def _ours(self, pid: int) -> bool:
        """Whether a child was started here or adopted: every other one was started by somebody in this process.

        Children of this adapter begin a session and no descendant of theirs can come back to ours. What was there
        before belongs to others, but PID 1 reaps it as well (`sh -c "sshd & exec launcher ..."`).
        """
        if pid in self._running:
            return True
        return os.getpid() == 1 if pid in self._inherited else kin.session(pid) != self._session

    def _take(self, pid: int) -> Exited | None:
        """Reap one; None for an adopted orphan."""
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        child = self._running.pop(pid, None)
        if child is None:
            return None
        # So that the Popen never waits by itself: the number may soon be somebody else's.
        child.returncode = code
        self._killed.discard(pid)
        self._ended.add(pid)
        number = -code if code < 0 else None
        # The kernel counts from before the exec, so that this is never less than the launcher's own peak.
        return Exited(pid, code if number is None else 128 + number, number, usage.ru_maxrss * 1024)

    def _orphans(self, leader: int) -> list[int]:
        """Adopted orphans, running or not, that a child left behind."""
        found = [pid for pid in kin.children() if not (pid in self._running or pid in self._inherited)]
        # With several children at once, an orphan that left its session cannot be told to be anybody's.
        alone = not self._running.keys() - self._killed - {leader}
        sessions = {pid: kin.session(pid) for pid in found}
        return [pid for pid in found if sessions[pid] == leader or (alone and sessions[pid] != self._session)]

    def _signal_leftovers(self, leader: int, number: int) -> bool:
        if not self._adopts:
            # Orphans go to somebody else. A group outlives its leader; a process of that number would be a new one.
            return not _send(os.kill, leader, 0) and _send(os.killpg, leader, number)
        orphans = [pid for pid in self._orphans(leader) if kin.lives(pid)]
        groups = {pid: kin.group(pid) for pid in orphans}
        # A group from outside this pid namespace reads as 0, which kill(2) takes for our own.
        shared = set(groups.values()) - {-1, 0, 1, os.getpgrp()}
        for whole in shared:
            _send(os.killpg, whole, number)
        for pid in orphans:
            if groups[pid] not in shared:
                _send(os.kill, pid, number)
        return bool(orphans)

    def _halt(self, leader: int) -> bool:
        """Stop a child's group as SIGTSTP does at a terminal.

        Nobody of its session is outside its group to continue it, so that the kernel passes over SIGTSTP where it has
        its default meaning: SIGSTOP does the same. Who catches it gets it; who ignores it is left alone.
        """
        met: set[int] = set()
        for _ in range(_ROUNDS):
            # Whoever is not stopped yet may have forked meanwhile.
            new = [pid for pid in kin.in_group(leader) if pid not in met]
            if not new:
                break
            met.update(new)
            for pid in new:
                takes = kin.takes(pid, signal.SIGTSTP)
                if takes is not None:
                    number = signal.SIGTSTP if takes else signal.SIGSTOP
                    _send_safely(pid, number, lambda pid: kin.group(pid) == leader)
        # Without a /proc nobody can be asked.
        return bool(met) or _send(os.killpg, leader, signal.SIGSTOP)

    def _descends(self, pid: int) -> bool:
        """Whether a process is a child of ours, or an adopted orphan, or below one."""
        here = os.getpid()
        while (above := kin.parent(pid)) not in {here, -1, 0}:
            pid = above
        return above == here and (pid in self._running or (pid not in self._inherited and self._ours(pid)))

    def _adopt(self) -> None:
        """Have the orphans of our children handed to us; PID 1 gets them anyway, and is spared the import."""
        if not self._adopts:
            from launcher.adapters.process.subreaper import adopt

            self._disown = adopt()
            self._adopts = self._disown is not None

    def _stop_children(self) -> None:
        """Leave nobody behind that was started here, whatever went wrong; a second at most."""
        end = time.monotonic() + CLOSING_S
        while (left := self._kill_all() or self._unreaped) and time.monotonic() < end:
            self.wait(end - time.monotonic())
        for _ in self._reap():
            pass
        if left and self._left is not None:
            self._left()
        for child in self._running.values():
            child.returncode = -signal.SIGKILL

    def _kill_all(self) -> bool:
        for pid in self._running:
            _send(os.killpg, pid, signal.SIGKILL)
        # Leader 0 is nobody: only orphans without a living relative are meant.
        return bool(self._running) or self._signal_leftovers(0, signal.SIGKILL)


def _send(send: Callable[[int, int], None], pid: int, number: int) -> bool:
    try:
        send(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Somebody is there who changed its user; that we may not signal it does not make it gone.
        return True
    return True


def _send_safely(pid: int, number: int, belongs: Callable[[int], bool]) -> bool:
    """Signal one process that is no child of ours: its number is pinned first, then asked whose it is."""
    try:
        pinned = os.pidfd_open(pid)
    except OSError as error:
        # Kernels before 5.3 and some sandboxes cannot pin it, nor can who has no fd left: a moment of risk.
        return error.errno != errno.ESRCH and belongs(pid) and _send(os.kill, pid, number)
    try:
        return belongs(pid) and _send(signal.pidfd_send_signal, pinned, number)
    finally:
        os.close(pinned)
