"""What a killed launcher left running: found by the mark in its environment, and stopped; nothing else is touched.

A process is held by a pidfd before it is signalled, so that a number that was given to somebody else hits nobody.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

import msgspec

from launcher.adapters.roll.proc import ENDED, opened, pids, start_of, status, title, variable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

PATIENCE_S = 5.0
"""From SIGTERM to SIGKILL, as for what a boot process leaves behind (contract: times at the end)."""
LAST_S = 1.0
"""How long the end of a killed process is waited for: one that hangs in the kernel does not end."""
LOOK_S = 0.02
LOOKS = 2
"""A look takes its time: a process that forks and ends meanwhile is missed, with its child, by one alone."""
MOST_TOLD = 16


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one look."""

    pid: int
    parent: int
    start: int


class Survivors:
    """The living processes of one mark. `recorded`: what the roll names, as (pid, start).

    A launcher among them (a trial of a search) gets `grace` seconds for its last uploads, and those below it are left
    to it meanwhile. `lock` is the name of the file that a launcher holds open.
    """

    def __init__(
        self,
        name: str,
        mark: str,
        recorded: Sequence[tuple[int, int]] = (),
        *,
        lock: str,
        grace: float,
        patience: float = PATIENCE_S,
    ) -> None:
        self._name = name
        self._mark = mark
        self._recorded = recorded
        self._lock = f"/{lock}"
        self._grace = max(grace, patience)
        self._patience = patience
        self._known: dict[tuple[int, int], _Held] = {}

    def stop(self) -> tuple[str, ...]:
        """Stop them all, and say a sentence of each. The exception of a signal handler leaves the rest to the next."""
        try:
            self._ask(signal.SIGTERM)
            self._ask(signal.SIGKILL)
            told = [each.sentence() for each in self._known.values()]
        except BaseException:
            for each in self._known.values():
                if not each.marked:  # with its parents gone, the next start would not know it
                    each.send(signal.SIGKILL)
            raise
        finally:
            for each in self._known.values():
                each.close()
        more = len(told) - MOST_TOLD
        rest = [f"an earlier run left {more} more processes behind; they were treated alike"] if more > 0 else []
        return (*told[:MOST_TOLD], *rest, *self._unproven())

    def _ask(self, number: int) -> None:
        """Signal everyone once, newcomers too, until nobody is left or the time is over."""
        began = time.monotonic()
        asked: set[_Held] = set()
        empty = 0
        while empty < LOOKS:
            seen = _look()
            found = self._find(seen)
            launchers = {each.pid for each in found if each.launcher}
            if number == signal.SIGTERM:
                found = [each for each in found if not launchers.intersection(_above(each.pid, seen))]
                end = began + (self._grace if launchers else self._patience)
            else:
                end = began + LAST_S
            empty = 0 if found else empty + 1
            for each in found:
                if each not in asked:
                    asked.add(each)
                    each.send(number)
            if not _wait(found, end) or time.monotonic() > end:
                return  # the last: somebody who answers each request with a new process

    def _find(self, seen: Mapping[int, Seen]) -> list[_Held]:
        """Everyone who is left: who carries the mark, and who descends from one that does."""
        ours = {0, 1, os.getpid(), *_above(os.getpid(), seen)}
        others = [one for one in seen.values() if one.pid not in ours]
        for one in others:
            if (one.pid, one.start) not in self._known and self._mark in (variable(one.pid, self._name) or ""):
                self._hold(one, marked=True)
        living = {each.pid for each in self._known.values() if each.lives()}
        for one in others:
            if (one.pid, one.start) in self._known or not living.intersection(_above(one.pid, seen)):
                continue
            if variable(one.pid, self._name) is not None:  # else another user's
                self._hold(one, marked=False)
        return [each for each in self._known.values() if each.lives()]

    def _hold(self, one: Seen, *, marked: bool) -> None:
        try:
            fd = os.pidfd_open(one.pid)
        except ProcessLookupError:
            return
        except OSError:
            fd = -1  # Linux before 5.3, or a container that may not
        launcher = any(path.endswith(self._lock) for path in opened(one.pid))
        held = _Held(one, fd, launcher=launcher, marked=marked)
        if start_of(one.pid) == one.start:
            self._known[one.pid, one.start] = held
        else:
            held.close()

    def _unproven(self) -> list[str]:
        """Who is on the roll and lives, and cannot be told from somebody who was written there by somebody else."""
        return [
            f"process {pid} ({title(pid)}) may be an earlier run's and does not carry its mark; it was left alone"
            for pid, start in dict.fromkeys(self._recorded[:MOST_TOLD])
            if start_of(pid) == start and (pid, start) not in self._known
        ]


class _Held:
    """One process, held so that no other can be meant."""

    def __init__(self, one: Seen, fd: int, *, launcher: bool, marked: bool) -> None:
        self.pid = one.pid
        self.fd = fd
        self.launcher = launcher
        self.marked = marked
        self._start = one.start
        self._title = title(one.pid)
        self._refused = False

    def lives(self) -> bool:
        """Whether it has not ended, with all its threads."""
        return not _ready([self], 0) if self.fd >= 0 else start_of(self.pid) == self._start

    def send(self, number: int) -> None:
        """Signal it; one that is stopped is continued, or it would not hear."""
        try:
            self._send(number)
            if number == signal.SIGTERM:
                self._send(signal.SIGCONT)
        except ProcessLookupError:
            return
        except PermissionError:
            self._refused = True

    def sentence(self) -> str:
        """What became of it."""
        left = f"an earlier run left process {self.pid} ({self._title}) running"
        if not self.lives():
            return f"{left}; it was stopped"
        if self._refused:
            return f"{left}; it is another user's and could not be stopped"
        found = status(self.pid)
        return f"{left}; it could not be stopped (its state in the kernel is {found[0] if found else 'unknown'})"

    def close(self) -> None:
        """Let it go."""
        if self.fd >= 0:
            os.close(self.fd)

    def _send(self, number: int) -> None:
        if self.fd >= 0:
            signal.pidfd_send_signal(self.fd, number)
        elif self.lives():
            os.kill(self.pid, number)


def _look() -> dict[int, Seen]:
    """Everybody who has not ended, by pid."""
    found = ((pid, status(pid)) for pid in pids())
    return {pid: Seen(pid=pid, parent=one[1], start=one[2]) for pid, one in found if one and one[0] not in ENDED}


def _wait(held: Collection[_Held], end: float) -> bool:
    """Wait until all have ended; False when the time was over before."""
    while living := [each for each in held if each.lives()]:
        left = end - time.monotonic()
        if left <= 0:
            return False
        blind = any(each.fd < 0 for each in living)
        _ready(living, min(left, LOOK_S) if blind else left)
    return True


def _ready(held: Iterable[_Held], seconds: float) -> bool:
    poll = select.poll()
    for each in held:
        if each.fd >= 0:
            poll.register(each.fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _above(pid: int, seen: Mapping[int, Seen]) -> list[int]:
    """The parents of a process, the nearest first; what is read while processes come and go may even go in circles."""
    found: list[int] = []
    while (one := seen.get(pid)) is not None and one.parent not in (0, *found):
        pid = one.parent
        found.append(pid)
    return found
