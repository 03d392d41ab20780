"""Where every process of a job stands, for people: asked for by SIGQUIT, or when nothing moves any more.

It never blocks and never stops anything for longer than a look takes; the job goes on as before.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from signal import SIGCONT, SIGKILL, SIGQUIT
from typing import TYPE_CHECKING

from launcher.core.errors import LauncherError
from launcher.core.kin import describe
from launcher.streams.pump import piped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.kin import Relative
    from launcher.core.lifecycle import Exited
    from launcher.protocols import Processes
    from launcher.streams.logs import LogFile
    from launcher.streams.outlet import Outlet
    from launcher.streams.pump import Pump

SPY_S = 10.0
"""A look that takes longer is given up: py-spy has no limit of its own."""
SPIES, LINES = 16, 64
"""How many processes are looked into, and how many are described."""
THREADS, KINDS, FRAMES = 512, 8, 16
"""Of each: how many threads are asked, how many kinds of them are told, and how deep into the kernel."""

_log = logging.getLogger(__name__)


class Stacks:
    """Asks each process of a family in the way that it understands. Its methods are for the main thread alone.

    A process that catches SIGQUIT shows its stacks itself. `spy` is py-spy's path: it looks into a Python that does
    not, with `env`, one process after the other so that what it prints stays apart. All others are only described.
    """

    def __init__(
        self,
        processes: Processes,
        spy: str | None,
        env: Mapping[str, str],
        err: Outlet,
        log: LogFile,
        *,
        proc: str = "/proc",
    ) -> None:
        self._processes = processes
        self._spy = spy
        self._env = env
        self._sinks = (err, log)
        self._proc = proc
        self._queue: deque[Relative] = deque()
        self._look: _Look | None = None
        self._held: dict[int, int] = {}

    @property
    def deadline(self) -> float | None:
        """When a `tick` will have something to do; None when there is nothing to wait for."""
        if self._look is not None:
            return self._look.until
        return 0.0 if self._queue else None

    def ask(self, pids: Sequence[int]) -> None:
        """Have the families of these children say where they stand; a `tick` must follow. Once at a time."""
        if self._look is not None or self._queue:
            _log.warning("stacks: the last request is still being answered")
            return
        met = {one.pid: one for pid in pids for one in self._processes.family(pid)}
        family = [one for one in met.values() if not one.ended]
        heard = [one for one in family if one.catches_quit and self._processes.send(one.pid, SIGQUIT)]
        silent = [one for one in family if not one.catches_quit]
        python = [one for one in silent if self._spy is not None and one.python][:SPIES]
        _log.warning(
            "stacks: %d processes; %d get SIGQUIT and show their own, %d are looked into, the others are described",
            len(family),
            len(heard),
            len(python),
        )
        chosen = {one.pid for one in python}
        rest = [one for one in silent if one.pid not in chosen]
        for one in rest[:LINES]:
            self._describe(one)
        if rest[LINES:]:
            _log.warning("stacks: %d more processes are left out", len(rest) - LINES)
        self._queue.extend(python)

    def tick(self, now: float) -> None:
        """Go on: begin the next look, give up one that takes too long. Call it after every batch of events."""
        look = self._look
        if look is not None and look.ended and look.pump.over:
            self._look = None
        elif look is not None and now >= look.until:
            _log.warning("stacks: process %d could not be looked into within %g s", look.at.pid, SPY_S)
            self._describe(look.at)
            self._stop(look)
        while self._look is None and self._queue:
            self._begin(self._queue.popleft(), now)

    def exited(self, event: Exited) -> None:
        """Hear of the end of a child, whoever it is."""
        if (held := self._held.pop(event.pid, None)) is not None:
            self._processes.send(held, SIGCONT)
        look = self._look
        if look is None or event.pid != look.pid:
            return
        look.ended = True
        if event.code != 0:
            _log.warning("stacks: process %d could not be looked into (exit code %d)", look.at.pid, event.code)
            self._describe(look.at)

    def over(self) -> None:
        """End a look that still goes on, and forget what was to be looked into."""
        self._queue.clear()
        if self._look is not None:
            self._stop(self._look)

    def _begin(self, at: Relative, now: float) -> None:
        # One that is stopped or stuck cannot be stopped by a tracer, and its stacks hold still without.
        pauses = at.state in "RS"
        argv = (self._spy or "", "dump", "--pid", str(at.pid), *(() if pauses else ("--nonblocking",)))
        _log.warning("stacks of process %d (%s):", at.pid, at.name)
        try:
            pump, end = piped(self._sinks, self._processes.wake)
        except LauncherError as error:
            _log.warning("stacks: %s", error)
            self._describe(at)
            return
        try:
            pid = self._processes.start(argv, self._env, "/", end, end)
        except LauncherError as error:
            _log.warning("stacks: %s", error)
            self._describe(at)
        else:
            self._look = _Look(at, pid, pump, until=now + SPY_S, pauses=pauses)
        finally:
            os.close(end)

    def _stop(self, look: _Look) -> None:
        """Kill a spy; what it may have stopped goes on, now or, if it was just about to, when its end is heard of."""
        self._look = None
        look.pump.leave()
        if look.ended:
            return
        self._processes.signal(look.pid, SIGKILL)
        if look.pauses:
            self._held[look.pid] = look.at.pid
            self._processes.send(look.at.pid, SIGCONT)

    def _describe(self, one: Relative) -> None:
        for line in from_outside(one, self._proc):
            _log.warning("stacks: %s", line)


class _Look:
    """A spy at work."""

    def __init__(self, at: Relative, pid: int, pump: Pump, *, until: float, pauses: bool) -> None:
        self.at = at
        self.pid = pid
        self.pump = pump
        self.until = until
        self.pauses = pauses
        self.ended = False


def left_behind(processes: Processes, pid: int, *, proc: str = "/proc") -> list[str]:
    """Who of a child's family is still there after a SIGKILL, and what keeps each; for people, a line at a time."""
    family = [one for one in processes.family(pid) if not one.ended]
    lines = [line for one in family[:LINES] for line in from_outside(one, proc)]
    return lines + ([f"{len(family) - LINES} more processes are left out"] if family[LINES:] else [])


def from_outside(one: Relative, proc: str = "/proc") -> list[str]:
    """What can be told of a process without its help: itself, its threads by what they do, its way into the kernel."""
    lines = [describe(one)]
    if one.threads > 1 and (threads := _threads(f"{proc}/{one.pid}/task")):
        lines.append(f"{one.pid} threads: {threads}")
    if one.state == "D":
        lines += (f"{one.pid} in the kernel: {line}" for line in _way_in(f"{proc}/{one.pid}/task")[:FRAMES])
    return lines


def _threads(folder: str) -> str:
    """How many threads do the same: `11 S in futex_wait_queue, 1 R`."""
    tasks = _tasks(folder)
    kinds = Counter(word for task in tasks[:THREADS] if (word := _doing(f"{folder}/{task}"))).most_common(KINDS)
    left = len(tasks) - sum(count for _, count in kinds)
    words = [f"{count} {word}" for word, count in kinds]
    return ", ".join(words) + (f", {left} others" if words and left else "")


def _way_in(folder: str) -> list[str]:
    """How a thread that waits in the kernel came there; only root is told."""
    stuck = next((task for task in _tasks(folder)[:THREADS] if _doing(f"{folder}/{task}").startswith("D")), None)
    return [] if stuck is None else _lines(f"{folder}/{stuck}/stack")


def _tasks(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _doing(folder: str) -> str:
    stat = "".join(_lines(f"{folder}/stat")).rpartition(") ")[2]
    waits_in = "".join(_lines(f"{folder}/wchan"))
    return stat[:1] + (f" in {waits_in}" if waits_in not in {"", "0"} else "")


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read().splitlines()
    except OSError:
        return []
