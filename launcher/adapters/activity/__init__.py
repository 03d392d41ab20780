"""What boot processes and all that descend from them do, as /proc counts it; it only looks, and changes nothing.

One look reads a file of every process that can be seen and another one of each that is meant. What costs more, open
sockets and waiting threads, is only looked at where somebody asks for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.adapters.activity.outputs import state_of
from launcher.adapters.activity.tcp import Connections
from launcher.adapters.activity.waits import Waits
from launcher.core.hang import Closely, Look

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FAMILY = 4096
"""More relatives than these are not looked at."""
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcActivity:
    """Counts what is done by whoever descends from the pids that it is given; one thread's alone.

    A counter never falls: of a process only what came since the last look is added. `outputs` are folders.
    """

    def __init__(self, outputs: Sequence[str] = (), proc: str = "/proc") -> None:
        self._outputs = tuple(outputs)
        self._proc = proc
        self._known: dict[tuple[int, int], _Counted] = {}
        self._family: list[_Seen] = []
        self._moved = self._disk = self._ticks = self._comings = 0
        self._connections = Connections(proc)
        self._waits = Waits(proc)

    def look(self, pids: Sequence[int], at: float) -> Look | None:
        """One look; None where of none of them may be seen what it reads and writes."""
        self._family = family = _family(pids, list(self._all()), self._known)
        counted = {(one.pid, one.start): self._count(one) for one in family}
        if family and not any(each.readable for each in counted.values()):
            return None
        self._comings += len(counted.keys() ^ self._known.keys())
        busiest = 0
        for key, now in counted.items():
            before = self._known.get(key, now)
            self._moved += max(0, now.moved - before.moved)
            self._disk += max(0, now.disk - before.disk)
            self._comings += now.reaped != before.reaped
            self._ticks += now.ticks - before.ticks
            busiest = max(busiest, now.ticks - before.ticks)
        self._known = counted
        return Look(
            at=at,
            moved=self._moved,
            disk=self._disk,
            cpu=self._ticks / _TICKS,
            busiest=busiest / _TICKS,
            comings=self._comings,
            processes=len(family),
        )

    def closer(self) -> Closely:
        """What costs more, of those who were there at the last look."""
        family = self._family
        heard = self._connections.look([one.pid for one in family])
        waiting = self._waits.look([(one.pid, one.start, one.state, one.threads, one.parent) for one in family])
        return Closely(
            received=heard.received,
            inside=heard.inside,
            spoken=heard.spoken,
            outputs=state_of(self._outputs),
            sleeping=waiting.sleeping,
            stopped=waiting.stopped,
            stuck=waiting.stuck,
            traced=waiting.traced,
        )

    def _all(self) -> Iterator[_Seen]:
        try:
            names = os.listdir(self._proc)
        except OSError:
            return
        for name in names:
            if name.isdecimal() and (seen := self._seen(int(name))) is not None:
                yield seen

    def _seen(self, pid: int) -> _Seen | None:
        try:
            with open(f"{self._proc}/{pid}/stat", "rb", buffering=0) as file:
                # The name stands in brackets and may hold any character, a bracket and a space as well.
                return _Seen(pid, file.read(4096).rpartition(b")")[2].split())
        except (OSError, IndexError, ValueError):
            return None  # it has just ended

    def _count(self, one: _Seen) -> _Counted:
        try:
            with open(f"{self._proc}/{one.pid}/io", "rb", buffering=0) as file:
                io = [int(line.rpartition(b" ")[2]) for line in file.read(1024).splitlines()]
            # rchar, wchar, syscr, syscw, read_bytes, write_bytes: Documentation/filesystems/proc.rst
            return _Counted(io[0] + io[1] + io[4] + io[5], io[4] + io[5], one, readable=True)
        except (OSError, IndexError, ValueError):
            return _Counted(0, 0, one, readable=False)


class _Seen:
    """A process at one look."""

    __slots__ = ("parent", "pid", "reaped", "session", "start", "state", "threads", "ticks")

    def __init__(self, pid: int, fields: Sequence[bytes]) -> None:
        self.pid = pid
        self.state = fields[0].decode("ascii", "replace")
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.reaped = int(fields[8])
        """Page faults of its children that were waited for: it grows with each of them, seen or not."""
        self.ticks = int(fields[11]) + int(fields[12])
        self.threads = int(fields[17])
        self.start = int(fields[19])

    @property
    def ended(self) -> bool:
        return self.state.encode("ascii", "replace") in (b"Z", b"X", b"x")


class _Counted:
    """What a process has done so far. `disk` is what of `moved` a disk has; who is not readable tells of neither."""

    __slots__ = ("disk", "moved", "readable", "reaped", "ticks")

    def __init__(self, moved: int, disk: int, one: _Seen, *, readable: bool) -> None:
        self.moved = moved
        self.disk = disk
        self.ticks = one.ticks
        self.reaped = one.reaped
        self.readable = readable


def _family(pids: Sequence[int], seen: Sequence[_Seen], known: dict[tuple[int, int], _Counted]) -> list[_Seen]:
    """Who descends from these, is in a session of theirs, or is an orphan of theirs that was adopted here.

    An orphan in a session of its own is known by having been one of them before, or by having a session whose leader
    it is not: tools that the launcher itself starts lead theirs.
    """
    here, ours = os.getpid(), os.getsid(0)
    below: dict[int, list[_Seen]] = {}
    for one in seen:
        below.setdefault(one.parent, []).append(one)
    roots = set(pids)
    found = {
        one.pid: one
        for one in seen
        if one.pid in roots
        or one.session in roots
        or (one.pid, one.start) in known
        or (one.parent == here and one.session not in (ours, one.pid))
    }
    queue = list(found.values())
    for one in queue:
        new = [child for child in below.get(one.pid, ()) if child.pid not in found][: max(0, FAMILY - len(queue))]
        found.update((child.pid, child) for child in new)
        queue += new
    return [one for one in queue[:FAMILY] if not one.ended]
