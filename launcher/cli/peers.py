"""The other nodes by their names: waited for until they resolve, and the way to worker-0. It speaks to none of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from launcher.core.errors import Exit, PlanError
from launcher.core.topology import PENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from queue import SimpleQueue

    from launcher.core.facts import Network
    from launcher.core.topology import Topology

TELL_S = 30.0
"""Between two lines about who is missing."""
FIRST_S = 2.0
"""The first line comes when each name was asked for once, and at the latest after this."""
PREVIEW_S = 1.5
MOST_THREADS = 16
FEW = 64
"""Up to so many nodes, each looks for all; of more, worker-0 alone does, to spare the server of names."""
SHOWN = 8
_SLICE_S = 0.5
_PAUSES = (0.5, 1.0, 2.0, 5.0)


class Resolved(Struct, frozen=True, kw_only=True):
    """The addresses of each name that resolves, and why each other one does not."""

    addresses: Mapping[str, tuple[str, ...]]
    missing: Mapping[str, str]


def find_peers(
    topology: Topology, limit_s: float, say: Callable[[str], object], *, preview: bool
) -> tuple[Topology, Network | None]:
    """The topology, with what is pending in a preview, and how this node reaches worker-0; None on one node.

    Raises PlanError (71) where names do not resolve in `limit_s` seconds, or there is no way to worker-0.
    """
    if len(topology.tasks) == 1 or topology.master == PENDING:
        return topology, None
    found = resolve(_wanted(topology), PREVIEW_S if preview else limit_s, None if preview else say)
    if preview and topology.master in found.missing:
        told = f"the address of worker-0: its name {topology.master} does not resolve here"
        return replace(topology, pending=(*topology.pending, told)), None
    if found.missing and not preview:
        raise _unresolved(found.missing, limit_s)
    network = _way(topology, found.addresses[topology.master])
    if network is None and not preview:
        at = _listing(found.addresses[topology.master])
        raise PlanError(
            f"there is no way from this node to worker-0, {topology.master} at {at}",
            code="peers-unreachable",
            action="Check this node's network: its addresses and routes.",
            exit_code=Exit.NODE,
        )
    return topology, network


def _wanted(topology: Topology) -> tuple[str, ...]:
    """The names that this node looks for, worker-0's first."""
    names = (topology.master, *topology.hosts, *topology.servers)
    many = len(topology.tasks) > FEW and topology.number != 0
    return tuple(dict.fromkeys(names[:1] if many else names))


def _way(topology: Topology, addresses: Sequence[str]) -> Network | None:
    from launcher.adapters.interfaces import is_loopback, route

    # Whoever calls worker-0 by loopback itself has all nodes on one machine.
    local = topology.master == "localhost" or is_loopback(topology.master)
    return route(addresses, here=topology.number == 0 and not local)


def _unresolved(missing: Mapping[str, str], limit_s: float) -> PlanError:
    names = _listing([f"{name} ({why})" for name, why in missing.items()])
    return PlanError(
        f"{len(missing)} of the job's nodes could not be found by name in {limit_s:g} s: {names}",
        code="peers-unresolved",
        action=(
            "Check that every node was started, that the names are right, and that the job has its headless service; "
            "LAUNCHER_PEERS_TIMEOUT is the time that they get."
        ),
        exit_code=Exit.NODE,
    )


def resolve(names: Sequence[str], limit_s: float, say: Callable[[str], object] | None) -> Resolved:
    """The addresses of these names, each asked for again until it resolves or the time is over; once without `say`.

    A signal whose handler raises ends it at once: who asks are threads that are left behind.
    """
    return _Search(names, limit_s, say).run()


class _Search:
    """One search for names. The threads do nothing but ask; when, and for whom, is decided here."""

    def __init__(self, names: Sequence[str], limit_s: float, say: Callable[[str], object] | None) -> None:
        from queue import SimpleQueue

        self._say = say
        self._began = time.monotonic()
        self._end = self._began + limit_s
        self._tell = self._began + FIRST_S
        self._told = False
        self._names = names
        self._found: dict[str, tuple[str, ...]] = {}
        self._missing = dict.fromkeys(names, "no answer")
        self._tries = dict.fromkeys(names, 0)
        self._untried = set(names)
        self._due: list[tuple[float, str]] = []
        self._asked: SimpleQueue[str | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[str, tuple[str, ...], str]] = SimpleQueue()

    def run(self) -> Resolved:
        """Ask until all is found, or the time is over."""
        threads = _threads(min(len(self._names), MOST_THREADS), self._asked, self._answers)
        for name in self._names:
            self._asked.put(name)
        try:
            while self._wanted() and time.monotonic() < self._end:
                self._step()
        finally:
            for _ in range(threads):
                self._asked.put(None)
        if self._told and not self._missing and self._say is not None:
            self._say("every node that was waited for is known by its name now")
        return Resolved(addresses=self._found, missing=self._missing)

    def _wanted(self) -> bool:
        """Whether there is something to wait for: with nobody to tell of it, one answer for each is enough."""
        return bool(self._missing if self._say is not None else self._untried)

    def _step(self) -> None:
        """Take one answer, or wait until there is something to do."""
        import heapq
        from queue import Empty

        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self._asked.put(heapq.heappop(self._due)[1])
        try:
            # Not for long: a signal that another thread was given wakes nobody here.
            name, addresses, why = self._answers.get(timeout=max(0.0, min(_SLICE_S, self._end - now)))
        except Empty:
            pass
        else:
            self._untried.discard(name)
            if addresses:
                self._found[name] = addresses
                del self._missing[name]
            else:
                self._missing[name] = why
                pause = _PAUSES[min(self._tries[name], len(_PAUSES) - 1)]
                self._tries[name] += 1
                heapq.heappush(self._due, (time.monotonic() + pause, name))
        self._tell_in_time()

    def _tell_in_time(self) -> None:
        """Say who is missing: at once, when each was asked for, and every half minute."""
        now = time.monotonic()
        once = not self._told and not self._untried
        if self._say is None or not self._missing or not (once or now >= self._tell):
            return
        self._told, self._tell = True, now + TELL_S
        left = f"{len(self._missing)} of {len(self._names)}, {self._end - now:.0f} s left"
        self._say(f"waiting for nodes whose names do not resolve yet ({left}): {_listing(tuple(self._missing))}")


def _threads(
    wanted: int, asked: SimpleQueue[str | None], answers: SimpleQueue[tuple[str, tuple[str, ...], str]]
) -> int:
    """Start threads that ask for names until they are given None; how many there are."""
    import signal
    import threading

    from launcher.pool import no_threads

    def work() -> None:
        while (name := asked.get()) is not None:
            answers.put((name, *_lookup(name)))

    # A signal is the main thread's: these inherit a mask under which none is delivered to them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    started = 0
    try:
        for _ in range(wanted):
            threading.Thread(target=work, name="names", daemon=True).start()
            started += 1
    except RuntimeError as error:
        if not started:
            raise no_threads("look for the other nodes") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return started


def _lookup(name: str) -> tuple[tuple[str, ...], str]:
    """The addresses of a name, or why there are none."""
    import socket

    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return (), (error.strerror if isinstance(error, OSError) else None) or str(error)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found)), ""


def _listing(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
