"""The processes of a run, with something to be done beside it once: after a while, where whoever waits for them waits.

It starts and ends nobody by itself; who has something to do hears of every end first, and leaves before the rest ends.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from launcher.core.lifecycle import Exited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.kin import Relative
    from launcher.core.lifecycle import Event
    from launcher.protocols import Processes


class Aside:
    """Stands for the processes that it is given, and is used as they are. `ended` is called with every end."""

    def __init__(self, processes: Processes, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._processes = processes
        self._monotonic = monotonic
        self._due: tuple[float, Callable[[], object]] | None = None
        self.ended: Callable[[Exited], object] = bool

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        """Have something done by whoever waits for the processes then, once; what was to be done before is not."""
        self._due = self._monotonic() + seconds, work

    def never(self) -> None:
        """Have nothing done."""
        self._due = None

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """What has happened, as the processes tell it."""
        if self._due is None:
            return self._told(timeout)
        at, work = self._due
        until = None if timeout is None else self._monotonic() + timeout
        if until is not None and until < at:
            return self._told(timeout)
        events = self._told(max(0.0, at - self._monotonic()))
        if events or self._monotonic() < at:
            return events  # an end that is not taken yet may leave nothing to be done
        self._due = None
        work()
        return self._told(None if until is None else max(0.0, until - self._monotonic()))

    def _told(self, timeout: float | None) -> Sequence[Event]:
        events = self._processes.wait(timeout)
        for event in events:
            if isinstance(event, Exited):
                self.ended(event)
        return events

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, stdout: int, stderr: int) -> int:
        """Start a program."""
        return self._processes.start(argv, env, cwd, stdout, stderr)

    def signal(self, pid: int, number: int) -> bool:
        """Send a signal to the group of a child."""
        return self._processes.signal(pid, number)

    def wake(self) -> None:
        """Make `wait` return."""
        self._processes.wake()

    def family(self, pid: int) -> Sequence[Relative]:
        """A child and its descendants."""
        return self._processes.family(pid)

    def send(self, pid: int, number: int) -> bool:
        """Send a signal to one of a family."""
        return self._processes.send(pid, number)

    def suspend(self) -> None:
        """Stop this process itself."""
        self._processes.suspend()
