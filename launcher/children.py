"""The children of one phase: each started under two pumps, signalled as groups, and told of when they have ended.

It waits for nobody: when to wait, and how long, is for the desk to know.
"""

from __future__ import annotations

import os
from signal import SIGKILL
from typing import TYPE_CHECKING

import msgspec

from launcher.core.plan import Process
from launcher.core.record import Ended
from launcher.streams.pump import Pump, Sink, piped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.lifecycle import Exited
    from launcher.protocols import Clock, Processes

Sinks = tuple["Sequence[Sink]", "Sequence[Sink]"]
"""Where stdout and stderr of one process go."""


class Attended(msgspec.Struct, frozen=True, kw_only=True):
    """A child from its start to its end; `code` is its exit code or 128 + n; the tails are at most 64 KiB each."""

    ended: Ended
    code: int
    stdout: bytes
    stderr: bytes


class _Child(msgspec.Struct, frozen=True):
    process: Process
    began: str
    pumps: tuple[Pump, Pump]


class Children:
    """Started one after the other; whoever started them may leave them only by `signal`."""

    def __init__(self, processes: Processes, clock: Clock) -> None:
        self._processes = processes
        self._clock = clock
        self._children: dict[int, _Child] = {}
        self._exits: dict[int, tuple[Exited, str]] = {}

    def start(self, process: Process, env: Mapping[str, str], sinks: Sinks) -> int:
        """Start one, its own variables laid over `env`; its pid. Raises LauncherError."""
        began = self._clock.now()
        pumps: list[Pump] = []
        ends: list[int] = []
        try:
            # The pumps first: where there is no thread for them, there is no child that nobody reads.
            for each in sinks:
                pump, end = piped(each, self._processes.wake)
                pumps.append(pump)
                ends.append(end)
            pid = self._processes.start(process.argv, {**env, **process.env}, process.cwd, ends[0], ends[1])
        finally:
            # Without a child the pumps see the end at once and close their pipes.
            for end in ends:
                os.close(end)
        self._children[pid] = _Child(process, began, (pumps[0], pumps[1]))
        return pid

    def signal(self, number: int) -> bool:
        """Send a signal to every group, or to what is left of it; whether anybody was there.

        From the last started to the first: rank 0, on which the others call, is the last to hear of it.
        """
        reached = [self._processes.signal(pid, number) for pid in reversed(self._children)]
        return any(reached)

    def exited(self, event: Exited) -> None:
        """Note that one has ended."""
        if event.pid in self._children:
            self._exits[event.pid] = event, self._clock.now()

    @property
    def pids(self) -> tuple[int, ...]:
        """All of them, in the order of their starts."""
        return tuple(self._children)

    @property
    def living(self) -> tuple[int, ...]:
        """The pids of those that have not ended."""
        return tuple(pid for pid in self._children if pid not in self._exits)

    @property
    def pumps(self) -> tuple[Pump, ...]:
        """What moves their output."""
        return tuple(pump for child in self._children.values() for pump in child.pumps)

    def attended(self) -> tuple[Attended, ...]:
        """All of them, in the order of their starts; one that did not end after its SIGKILL is told so."""
        return tuple(self._attended(pid, child) for pid, child in self._children.items())

    def dismiss(self, pid: int, *, by_force: bool = False) -> Attended | None:
        """One that has ended, and is not remembered any more; None as long as its output is still coming.

        `by_force`: its output is waited for no longer.
        """
        child = self._children[pid]
        for pump in child.pumps:
            if by_force:
                pump.leave()
            elif not pump.over:
                return None
        attended = self._attended(pid, child)
        del self._children[pid]
        self._exits.pop(pid, None)
        return attended

    def rank(self, pid: int | None) -> int | None:
        """The rank of one of them."""
        return self._children[pid].process.rank if pid in self._children else None

    def _attended(self, pid: int, child: _Child) -> Attended:
        exited, at = self._exits.get(pid, (None, None))
        ended = Ended(
            rank=child.process.rank,
            local_rank=child.process.local_rank,
            pid=pid,
            exit_code=exited.code if exited and exited.signal is None else None,
            signal=exited.signal if exited else SIGKILL,
            started=child.began,
            ended=at,
            peak_rss_bytes=exited.peak_rss_bytes if exited else None,
        )
        code = exited.code if exited else 128 + SIGKILL
        return Attended(ended=ended, code=code, stdout=child.pumps[0].tail, stderr=child.pumps[1].tail)
