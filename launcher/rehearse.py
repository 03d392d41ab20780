"""The nodes of a rehearsal: a launcher for each, started together, listened to, signalled, and waited for.

It decides nothing about the training: the launchers meet and end each other as those of a cluster do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from signal import SIGCONT, SIGINT, SIGKILL, SIGTERM, SIGTSTP
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from launcher.children import Attended, Children
from launcher.core.errors import SpecError
from launcher.core.layout import Layout
from launcher.core.lifecycle import Exited, Signalled
from launcher.core.outcome import never_began
from launcher.core.parse.run import MOST_BYTES, NAME, parse_run
from launcher.core.parse.stored import read_json
from launcher.core.plan import Process
from launcher.core.rehearsal import NodeEnd
from launcher.protocols import Clock, Processes
from launcher.streams.drain import Drain
from launcher.streams.outlet import Outlet
from launcher.streams.ranks import RankedLines

if TYPE_CHECKING:
    from launcher.children import Sinks
    from launcher.core.lifecycle import Event
    from launcher.core.parse.run import Run

BEYOND_S = 5.0
"""A node has all its time to end by itself, and so much more, before it is killed."""
KILLED_S = 1.0
"""How long the end of a killed node is waited for, before what it has left is looked for."""
HURRY_S = 2.0
"""What a second signal leaves to a launcher (contract: times at the end)."""


_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""A link or a FIFO that a boot file put in the place of run.json tells nothing, and holds nothing up."""


class Cast(Struct, frozen=True, kw_only=True):
    """One node: its launcher as a process, whose rank is the node's index, and its root."""

    process: Process
    root: str


class House(Struct, frozen=True, kw_only=True):
    """What a rehearsal needs of the world. `clear` ends what a killed launcher left running below a root."""

    processes: Processes
    clock: Clock
    environ: Mapping[str, str]
    out: Outlet
    err: Outlet
    grace: float
    clear: Callable[[str], Sequence[str]]
    say: Callable[[str], object]


def rehearse(nodes: Sequence[Cast], house: House) -> tuple[NodeEnd, ...]:
    """Run all nodes to their end. Raises LauncherError where one could not be started."""
    rehearsal = _Rehearsal(nodes, house)
    try:
        rehearsal.run()
    except BaseException:
        # A defect, or a node that could not be started: nobody may be left unattended.
        rehearsal.kill()
        raise
    return rehearsal.ends()


class _Rehearsal:
    """One rehearsal; all of it is for the main thread."""

    def __init__(self, nodes: Sequence[Cast], house: House) -> None:
        self._nodes = {each.process.rank: each for each in nodes}
        self._before = {each.process.rank: _written(each.root) for each in nodes}
        self._house = house
        self._started: dict[int, Cast] = {}
        self._children = Children(house.processes, house.clock)
        # One lock for each of our streams: a line that a slow reader takes in parts stays one.
        self._ours = tuple((outlet, threading.Lock()) for outlet in (house.out, house.err))
        self._lines: list[RankedLines] = []
        self._asked: set[int] = set()
        self._asked_at: float | None = None
        self._kill_at: float | None = None

    def run(self) -> None:
        """Start them all, and attend them until none is left and all that they said is told."""
        for node in self._nodes.values():
            pid = self._children.start(node.process, self._house.environ, self._sinks(node.process.rank))
            self._started[pid] = node
        while self._children.living:
            self._attend()
        drain = Drain(self._children.pumps, (self._house.out, self._house.err), self._house.clock.monotonic())
        while (look := drain.look(self._house.clock.monotonic(), None)) is not None:
            self._take(self._house.processes.wait(max(0.0, look - self._house.clock.monotonic())))
        drain.close()
        for lines in self._lines:
            lines.close()

    def kill(self) -> None:
        """End all at once, and what they leave."""
        clock = self._house.clock
        self._children.signal(SIGKILL)
        end = clock.monotonic() + KILLED_S
        while self._children.living and (left := end - clock.monotonic()) > 0:
            for event in self._house.processes.wait(left):
                if isinstance(event, Exited):
                    self._children.exited(event)
        for node in self._nodes.values():
            self._house.clear(node.root)

    def ends(self) -> tuple[NodeEnd, ...]:
        """How each node ended, in the order of their starts."""
        return tuple(self._end(each) for each in self._children.attended())

    def _sinks(self, index: int) -> Sinks:
        made = []
        for outlet, guard in self._ours:
            lines = RankedLines(index, outlet, guard, _Nowhere(), mark=b"worker-%d" % index)
            self._lines.append(lines)
            made.append((lines,))
        return made[0], made[1]

    def _attend(self) -> None:
        now = self._house.clock.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._children.signal(SIGKILL)
            self._house.say("warning: a node that did not end in time was killed")
        self._take(self._house.processes.wait(None if self._kill_at is None else self._kill_at - now))

    def _take(self, events: Sequence[Event]) -> None:
        # One time for all that was read in one go: signals of one moment are one request.
        now = self._house.clock.monotonic()
        for event in events:
            if isinstance(event, Signalled):
                self._signalled(event.number, now)
            elif isinstance(event, Exited) and event.pid in self._children.living:
                self._exited(event)

    def _signalled(self, number: int, now: float) -> None:
        if number == SIGTSTP:
            self._children.signal(number)
            self._house.processes.suspend()
        elif number not in (SIGTERM, SIGINT):
            self._children.signal(number)
        elif now != self._asked_at:
            self._ask(number, now)

    def _ask(self, number: int, now: float) -> None:
        budget = self._house.grace if self._asked_at is None else min(HURRY_S, self._house.grace)
        self._asked.add(number)
        self._asked_at = now
        self._kill_at = min(now + budget + BEYOND_S, self._kill_at or float("inf"))
        self._children.signal(number)
        self._children.signal(SIGCONT)  # one that was stopped would hear nothing

    def _exited(self, event: Exited) -> None:
        self._children.exited(event)
        node = self._started[event.pid]
        rank = node.process.rank
        if event.signal is not None:
            # With its launcher a container would be gone as a whole.
            for line in self._house.clear(node.root):
                self._house.say(f"warning: worker-{rank}: {line}")
        if event.code and self._children.living and self._asked_at is None and not self._began(rank):
            # Nobody else tells the others, who would wait for it: a cluster's controller ends them.
            self._house.say(
                f"warning: worker-{rank} seems to have met nobody when it ended: the others are told to end"
            )
            self._ask(SIGTERM, self._house.clock.monotonic())

    def _began(self, rank: int) -> bool:
        """Whether the launcher of a node came so far that it meets the others: its run.json knows its plan."""
        run = self._run(rank)
        return run is not None and run.plan is not None

    def _run(self, rank: int) -> Run | None:
        """The run.json of a node, if it is of this rehearsal: its root may have seen others."""
        root = self._nodes[rank].root
        return None if _written(root) == self._before[rank] else _run_json(root)

    def _end(self, attended: Attended) -> NodeEnd:
        """What a node's launcher left behind; what one that was killed did is not believed."""
        node = self._nodes[attended.ended.rank]
        end = NodeEnd(index=node.process.rank, root=node.root, code=attended.code, ended=attended.ended.ended or "")
        run = self._run(node.process.rank)
        if run is None or run.exit_code != attended.code:
            return self._told_to_end(end) if attended.code - 128 in self._asked else end
        failed = [each.ended for each in run.processes if (each.exit_code or each.signal) and each.ended]
        return replace(end, phase=run.phase, cause=run.cause, ended=min(failed, default=end.ended))

    def _told_to_end(self, end: NodeEnd) -> NodeEnd:
        """The same of a launcher that heard of it before it could leave word."""
        outcome = never_began(end.code - 128)
        return replace(end, phase=outcome.phase, cause=outcome.cause)


class _Nowhere:
    """The log of a rehearsal: each node writes its own."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Let it go."""

    def line(self, line: bytes) -> None:
        """Let it go."""


def _written(root: str) -> tuple[int, int] | None:
    """Which run.json a root has: it is always written as another file."""
    try:
        found = os.stat(_place(root))
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _run_json(root: str) -> Run | None:
    try:
        with open(os.open(_place(root), _READ), "rb") as file:
            return parse_run(read_json(file.read(MOST_BYTES + 1), NAME))
    except (OSError, SpecError):
        return None


def _place(root: str) -> str:
    return os.path.join(Layout(root=root).log_dir, NAME)
