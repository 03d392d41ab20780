"""The desk of a search: children come and go, and one that fails ends no other; signals are heard all the while."""

from __future__ import annotations

import logging
from signal import SIGCONT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from launcher.children import Attended, Children, Sinks
from launcher.core.errors import LauncherError
from launcher.core.lifecycle import Finished, Phase, Started
from launcher.core.outcome import failure_of
from launcher.core.plan import Process
from launcher.looks import name_left
from launcher.supervise import Desk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


DRAIN_S = 5.0
"""How long the output of a child that has ended is read on: only somebody else can hold its pipe."""

_log = logging.getLogger(__name__)


class Start(Struct, frozen=True):
    """A child to be started, and where its output goes."""

    process: Process
    sinks: Sinks


class Shift(Protocol):
    """What the children are for. All of it is called by the main thread alone."""

    def starts(self) -> Iterable[Start]:
        """Who is to be started now."""
        ...

    def began(self, start: Start, pid: int | None, error: LauncherError | None) -> None:
        """One of them was started, or why it could not be."""
        ...

    def unwanted(self) -> Iterable[int]:
        """The pids of those that are to end; each is told once."""
        ...

    def ended(self, pid: int, attended: Attended) -> None:
        """A child has ended, and all that it said is in its sinks."""
        ...

    def look_at(self, now: float) -> float | None:
        """When to look again, if nothing happens before."""
        ...

    def over(self, *, stopping: bool) -> bool:
        """Whether nobody else will be started and nothing is left to be noted."""
        ...


class Host(Desk):
    """A desk at which children are attended that start and end at any time."""

    def host(self, shift: Shift, env: Mapping[str, str]) -> bool:
        """Attend children until the shift is over; whether it could begin. Their own variables are laid over `env`."""
        self._state = replace(self._state, trials=True)
        self._enter(Phase.RUN)
        if not self._may_begin(Phase.RUN):
            return False
        self._children = Children(self._processes, self._clock)
        waiting: dict[int, float] = {}
        try:
            while not self._state.left:
                self._attend_shift(shift, env, waiting)
                if not self._state.running and not waiting and shift.over(stopping=self._state.stopped is not None):
                    break
                self._attend_until(self._look(shift, waiting))
            if self._state.left:
                name_left(self._processes, self._children.pids)
        except BaseException:
            # A defect: nothing that was started may outlive the launcher unattended.
            self._children.signal(SIGKILL)
            raise
        return True

    def came_out(self, error: LauncherError | None) -> None:
        """Note how the search went."""
        self._decide(Finished(None if error is None else failure_of(error)), self._clock.monotonic())

    def _attend_shift(self, shift: Shift, env: Mapping[str, str], waiting: dict[int, float]) -> None:
        now = self._clock.monotonic()
        for pid in self._children.pids:
            if pid not in self._state.running:
                waiting.setdefault(pid, now + DRAIN_S)
        for pid, until in list(waiting.items()):
            attended = self._children.dismiss(pid, by_force=now >= until)
            if attended is not None:
                del waiting[pid]
                shift.ended(pid, attended)
        if self._state.stopped is None:
            self._start_all(shift, env)
        for pid in shift.unwanted():
            if self._state.stopped is not None:
                continue  # it was asked with all others, and whoever is asked twice has to hurry
            self._processes.signal(pid, SIGTERM)
            self._processes.signal(pid, SIGCONT)

    def _start_all(self, shift: Shift, env: Mapping[str, str]) -> None:
        for each in shift.starts():
            try:
                pid = self._children.start(each.process, env, each.sinks)
            except LauncherError as error:
                shift.began(each, None, error)
                continue
            shift.began(each, pid, None)
            self._decide(Started(pid), self._clock.monotonic())

    def _look(self, shift: Shift, waiting: Mapping[int, float]) -> float | None:
        times = [at for at in (shift.look_at(self._clock.monotonic()), *waiting.values()) if at is not None]
        return min(times, default=None)
