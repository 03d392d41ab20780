"""Where every process of a job stands, for people: asked for by SIGQUIT, or when nothing moves any more.

It never blocks and never stops anything for longer than a look takes; the job goes on as before.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from signal import SIGCONT, SIGKILL, SIGQUIT
from typing import TYPE_CHECKING

from launcher.core.errors import LauncherError
from launcher.stacks.outside import LINES, from_outside
from launcher.stacks.ranks import starting
from launcher.stacks.request import Request
from launcher.stacks.taken import Capture, Veil
from launcher.streams.pump import piped

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from launcher.core.kin import Relative
    from launcher.core.lifecycle import Exited
    from launcher.protocols import Processes
    from launcher.stacks.taken import Keeper
    from launcher.streams.logs import LogFile
    from launcher.streams.outlet import Outlet
    from launcher.streams.pump import Pump

SPY_S = 10.0
"""A look that takes longer is given up: py-spy has no limit of its own."""
SPIES = 16
"""How many processes are looked into, if no more of them are ranks."""
NO_SPY = "its stacks are not known: py-spy is not installed (pip install modelarts-launcher[stacks])"

_log = logging.getLogger(__name__)


class Stacks:
    """Asks each process of a family in the way that it understands. Its methods are for the main thread alone.

    A process that catches SIGQUIT shows its stacks itself. `spy` is py-spy's path: it looks into a Python that does
    not, with `env`, one process after the other so that what it prints stays apart; with `native` it is asked for
    native frames as well. All others are only described.

    What starts ranks never gets SIGQUIT: torchrun catches it to end. With a `keeper`, what is seen is kept too, for
    which a Python that shows its own stacks is looked into in silence. `secrets` are masked in what a look prints.
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
        native: bool = False,
        keeper: Keeper | None = None,
        secrets: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._processes = processes
        self._spy = spy
        self._env = env
        self._sinks = (err, log)
        self._proc = proc
        self._native = native
        self._keeper = keeper
        self._secrets = secrets
        self._queue: deque[_Wanted] = deque()
        self._look: _Look | None = None
        self._held: dict[int, int] = {}
        self._request: Request | None = None
        self._starters: set[int] = set()

    @property
    def deadline(self) -> float | None:
        """When a `tick` will have something to do; None when there is nothing to wait for."""
        times = [] if self._look is None else [self._look.until]
        if self._look is None and self._queue:
            times.append(0.0)
        if self._request is not None:
            times.append(self._request.due)
        return min(times, default=None)

    def ask(
        self,
        pids: Sequence[int],
        rank: Callable[[int], int | None] = lambda _pid: None,
        tail: Callable[[int], bytes] = lambda _pid: b"",
        *,
        gently: bool = False,
    ) -> None:
        """Have the families of these children say where they stand; a `tick` must follow. Once at a time.

        `rank` is that of each child, `tail` the end of what it has written to its stderr. `gently`: nobody asked for
        it, and a Python, which may end by SIGQUIT, gets that only if it cannot be looked into.
        """
        if self._look is not None or self._queue or self._request is not None:
            _log.warning("stacks: the last request is still being answered")
            return
        families = {pid: self._processes.family(pid) for pid in pids}
        if self._keeper is not None:
            self._request = Request(self._keeper, families, rank, tail, self._proc)
        self._starters = {pid for each in families.values() for pid in starting(each, self._proc)}
        if self._keeper is None:
            self._starters -= set(pids)  # the launcher of a trial shows by itself where that stands
        met = {one.pid: one for family in families.values() for one in family}
        family = [one for one in met.values() if not one.ended]
        spared = {one.pid for one in family if gently and one.python and self._spy is not None}
        heard = {one.pid for one in family if one.pid not in spared and self._shows_itself(one)}
        chosen = self._chosen([one for one in family if self._keeper is not None or one.pid not in heard], heard)
        shown = heard | {wanted.at.pid for wanted in chosen}
        _log.warning(
            "stacks: %d processes; %d get SIGQUIT and show their own, %d are looked into, the others are described",
            *(len(family), len(heard), sum(wanted.shown for wanted in chosen)),
        )
        rest = [one for one in family if one.pid not in shown]
        for one in rest[:LINES]:
            self._describe(one)
        if rest[LINES:]:
            _log.warning("stacks: %d more processes are left out", len(rest) - LINES)
        self._queue.extend(chosen)

    def tick(self, now: float) -> None:
        """Go on: begin the next look, give up one that takes too long. Call it after every batch of events."""
        look = self._look
        if look is not None and look.ended and look.pump.over:
            self._take(look)
        elif look is not None and now >= look.until:
            _log.warning("stacks: process %d could not be looked into within %g s", look.at.pid, SPY_S)
            self._stop(look)
            self._otherwise(look.wanted)
        if self._request is not None and self._request.late(now):
            self._break_off()
        while self._look is None and self._queue:
            self._begin(self._queue.popleft(), now)
        if self._request is not None and self._look is None and self._request.closed(now):
            self._request = None

    def exited(self, event: Exited) -> None:
        """Hear of the end of a child, whoever it is."""
        if (held := self._held.pop(event.pid, None)) is not None:
            self._processes.send(held, SIGCONT)
        look = self._look
        if look is None or event.pid != look.pid:
            return
        look.ended = True
        look.failed = event.code != 0
        if look.failed and look.native:
            _log.warning("stacks: no native frames of process %d can be shown (exit code %d)", look.at.pid, event.code)
            self._queue.appendleft(_Wanted(look.at, shown=look.wanted.shown, native=False))
        elif look.failed:
            _log.warning("stacks: process %d could not be looked into (exit code %d)", look.at.pid, event.code)
            self._otherwise(look.wanted)

    def over(self) -> None:
        """End a look that still goes on, and forget what was to be looked into; what was seen by now is kept."""
        self._break_off()
        if self._request is not None:
            self._request.close()

    def _chosen(self, family: Sequence[Relative], heard: Container[int]) -> list[_Wanted]:
        """Who is looked into: the ranks first, then so many others."""
        if self._spy is None:
            return []
        ranks = self._request.ranks if self._request is not None else {}
        pythons = sorted((one for one in family if one.python), key=lambda one: one.pid not in ranks)
        most = max(SPIES, sum(one.pid in ranks for one in pythons))
        return [_Wanted(one, shown=one.pid not in heard, native=self._native) for one in pythons[:most]]

    def _shows_itself(self, one: Relative) -> bool:
        """Have a process show its own stacks, if it can; what it writes is waited for."""
        if not one.catches_quit or one.pid in self._starters:
            return False
        if self._request is not None:
            self._request.expect(one.pid)
        return self._processes.send(one.pid, SIGQUIT)

    def _otherwise(self, wanted: _Wanted) -> None:
        """Show where a process stands that could not be looked into, unless it has shown that itself."""
        if not wanted.shown:
            return
        if self._shows_itself(wanted.at):
            _log.warning("stacks: process %d gets SIGQUIT and shows its own", wanted.at.pid)
        else:
            self._describe(wanted.at)

    def _begin(self, wanted: _Wanted, now: float) -> None:
        # One that is stopped or stuck cannot be stopped by a tracer, and its stacks hold still without.
        at, pauses = wanted.at, wanted.at.state in "RS"
        native = wanted.native and pauses
        options = ("--full-filenames", *(("--native",) if native else ()), *(() if pauses else ("--nonblocking",)))
        argv = (self._spy or "", "dump", "--pid", str(at.pid), *options)
        capture = Capture()
        if wanted.shown:
            _log.warning("stacks of process %d (%s):", at.pid, at.name)
        shown = [Veil(sink, self._secrets) for sink in self._sinks] if wanted.shown else ()
        try:
            pump, end = piped((capture, *shown), self._processes.wake)
        except LauncherError as error:
            _log.warning("stacks: %s", error)
            self._otherwise(wanted)
            return
        try:
            pid = self._processes.start(argv, self._env, "/", end, end)
        except LauncherError as error:
            _log.warning("stacks: %s", error)
            self._otherwise(wanted)
        else:
            self._look = _Look(wanted, pid, pump, capture, until=now + SPY_S, pauses=pauses, native=native)
        finally:
            os.close(end)

    def _take(self, look: _Look) -> None:
        self._look = None
        if self._request is not None and not look.failed:
            self._request.saw(look.at.pid, look.capture.text)

    def _break_off(self) -> None:
        self._queue.clear()
        if self._look is not None:
            self._stop(self._look)

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
        lines = from_outside(one, self._proc)
        for line in lines:
            _log.warning("stacks: %s", line)
        if self._request is not None:
            self._request.described(one.pid, [*lines, *((NO_SPY,) if one.python and self._spy is None else ())])


class _Wanted:
    """Who is to be looked into; `shown`: what is seen is printed."""

    def __init__(self, at: Relative, *, shown: bool, native: bool) -> None:
        self.at = at
        self.shown = shown
        self.native = native


class _Look:
    """A spy at work."""

    def __init__(
        self, wanted: _Wanted, pid: int, pump: Pump, capture: Capture, *, until: float, pauses: bool, native: bool
    ) -> None:
        self.wanted = wanted
        self.at = wanted.at
        self.pid = pid
        self.pump = pump
        self.capture = capture
        self.until = until
        self.pauses = pauses
        self.native = native
        self.ended = self.failed = False
