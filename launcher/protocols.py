"""What the steps need of the world, each protocol named by the need; adapters and fakes fit them by shape alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Buffer

    from launcher.core.answer import Answer
    from launcher.core.container import Container, End
    from launcher.core.kin import Relative
    from launcher.core.lifecycle import Event
    from launcher.core.precheck import Room
    from launcher.core.record import Level, Memory, Staged, Synced
    from launcher.core.search import Ending, Policy, Trial
    from launcher.core.stored import StoredObject
    from launcher.core.urls import Location

Stopped = Callable[[], bool]
"""Asked between objects and parts: True means stop now and raise `Cancelled`."""


class Source(Protocol):
    """Where code and inputs come from. Methods raise `StoreError`, and `Cancelled` when they were stopped."""

    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        """Every object below a folder whose key comes after `after`, in the order of their keys, page by page.

        A key that ends in `/` is a directory marker. What is listed later is not in memory yet.
        """
        ...

    def stat(self, at: Location) -> StoredObject | None:
        """The object at exactly this key, or None."""
        ...

    def read(self, bucket: str, item: StoredObject, start: int, end: int, stopped: Stopped) -> Iterator[Buffer]:
        """The bytes from `start` to before `end` of that very version of an object, in pieces of about 1 MiB.

        It ends only if all of them came. Raises "store-unranged" for a part of an object where the store answers none.
        An item without a size (below 0) is whatever lies there now, then read from 0 to -1: its end.
        """
        ...


class Target(Protocol):
    """Where outputs and logs go. Methods raise `StoreError`, and pass on what `chunks` raises."""

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        """Store the chunks as one object, whole or not at all; `size` is what they are expected to add up to."""
        ...

    def remove(self, at: Location) -> None:
        """Delete one object; one that is not there is no error."""
        ...


class Store(Source, Target, Protocol):
    """A whole store."""


@runtime_checkable
class Dated(Protocol):
    """A store that tells by its own clock when it was given an object."""

    def modified(self, at: Location) -> float:
        """When the object came there, in seconds since 1970, maybe whole ones. Raises `StoreError`."""
        ...


class Surroundings(Protocol):
    """What the kernel and the name server say of this node. Methods raise `OSError`, and may take their time."""

    def room(self, path: str) -> Room | None:
        """The file system of a path; None where the path is not there."""
        ...

    def limits(self) -> Mapping[str, int | None]:
        """This process's limits by their names in lower case (`nofile`), memlock and stack in KiB; None: unlimited."""
        ...

    def infiniband(self) -> bool:
        """Whether the node has an InfiniBand network."""
        ...

    def peers(self) -> Sequence[str]:
        """The names of the job's nodes, as Volcano lays them down in this container; none elsewhere."""
        ...

    def resolve(self, name: str) -> str | None:
        """Why a name does not resolve; None: it does."""
        ...


class Cache(Protocol):
    """What this node has kept of objects that were brought before."""

    def fill(self, bucket: str, item: StoredObject, target: int, stopped: Stopped) -> bool:
        """Put an object's content into an open, empty file; False, and the file is empty: it is not here."""
        ...

    def keep(self, bucket: str, item: StoredObject, source: int, spare: int, stopped: Stopped) -> None:
        """Take in a file that has just been brought, if its disk keeps `spare` bytes for what is still to come."""
        ...

    def free(self, path: str, wanted: int) -> bool:
        """Give so many bytes back to the file system of `path`; False where that is another one, or nothing went."""
        ...


class Occupancy(Protocol):
    """The sign in every output that a run writes there."""

    def take(self, stopped: Stopped) -> None:
        """Put it there. Raises `StageError` where another run is at work, or the output may not be written."""
        ...

    def keep(self) -> None:
        """Renew it beside everything else until `end`."""
        ...

    def end(self, stopped: Stopped) -> None:
        """Take it away; never raises."""
        ...


class Clock(Protocol):
    """Time, as an argument."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def now(self) -> str:
        """The wall clock as RFC 3339 with zone."""
        ...


class Meter(Protocol):
    """What the kernel has counted for this container."""

    def memory(self) -> Memory | None:
        """Limit, peak and kills as they are now; None where there is no memory controller to ask."""
        ...


class Processes(Protocol):
    """The one process adapter: every child of the launcher is started, signalled and reaped through it."""

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, stdout: int, stderr: int) -> int:
        """Start a program in its own session, stdin from /dev/null; its pid. Raises `BootError` (126, 127)."""
        ...

    def signal(self, pid: int, number: int) -> bool:
        """Send a signal to the whole group of a child; False when nobody of it is left."""
        ...

    def wait(self, timeout: float | None) -> Sequence[Event]:
        """Signals to the launcher, ends of children and wake-ups, in their order; empty after `timeout` seconds."""
        ...

    def wake(self) -> None:
        """Make `wait` return; safe from any thread."""
        ...

    def family(self, pid: int) -> Sequence[Relative]:
        """A child that was started here, and all that can be seen to descend from it; itself first."""
        ...

    def send(self, pid: int, number: int) -> bool:
        """Send a signal to one process of a family alone; False when it is gone."""
        ...

    def suspend(self) -> None:
        """Stop this process itself until somebody continues it; PID 1, which nobody could continue, goes on."""
        ...


class Ask(Protocol):
    """A tool that is asked something."""

    def __call__(self, argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        """What it says, or why it says nothing; never raises for what a tool does."""
        ...


class Record(Protocol):
    """Where the steps say what they did."""

    def event(self, message: str, level: Level = "Info") -> None:
        """Note a moment in the service's own words."""
        ...

    def staged(self, entry: Staged) -> None:
        """Note what one channel brought."""
        ...

    def synced(self, entry: Synced) -> None:
        """Note what one channel's folder put in place."""
        ...


class Study(Protocol):
    """Where a search keeps its trials. One thread's alone; methods raise `StudyError`, once patience is over."""

    def join(self, policy: Policy) -> None:
        """Take part in the study, which is begun if it is not there. Raises StudyError for one of another search."""
        ...

    def claim(self, lane: str) -> Trial | None:
        """Take what is to be tried next, with its values; None: nothing just now."""
        ...

    def started(self, trial: Trial, pid: int) -> None:
        """Note who runs it."""
        ...

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Note a reward on the way; whether the pruner would end the trial."""
        ...

    def finish(self, trial: Trial, ending: Ending) -> bool:
        """Note how it ended; False where somebody had given it up meanwhile, and the ending does not count."""
        ...

    def beat(self, trials: Sequence[Trial]) -> Sequence[str]:
        """Say that these are alive; the ids of those that are to end: a user wants it, or they were given up."""
        ...

    def trials(self) -> tuple[Trial, ...]:
        """All of them, in the order in which they were begun."""
        ...

    def copy(self, path: str) -> bool:
        """Write a copy of the study that another search can go on from; False where it lies on a server."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


Sink = Callable[[bytes], object]
"""Takes a piece of output, and may take its time."""
Sinks = tuple[Sink, Sink]
"""Those of stdout and stderr."""


class Session(Protocol):
    """A program beside the run in a container, at a terminal or not."""

    def end(self) -> int | None:
        """Its exit code, when all that it said is in its sinks; None as long as it goes on. Raises LauncherError."""
        ...

    def resize(self, rows: int, columns: int) -> None:
        """Tell it that its terminal has another size now."""
        ...


class Engine(Protocol):
    """Where containers are run. Methods raise `LauncherError`; sinks and `woken` are called by threads."""

    def make(self, wanted: Container) -> str:
        """Make a container with its files in it; its id."""
        ...

    def start(self, container: str, sinks: Sinks, woken: Callable[[], object]) -> Callable[[], End | None]:
        """Start it, every byte that it says to come; tells its end once there is one and all is said.

        What is returned raises LauncherError where the engine is lost meanwhile; `woken` is called when to ask it.
        """
        ...

    def signal(self, container: str, number: int) -> None:
        """Send a signal to its first process, and wait for nothing; one that has ended is left alone."""
        ...

    def enter(
        self,
        container: str,
        argv: Sequence[str],
        size: tuple[int, int] | None,
        sinks: Sinks,
        woken: Callable[[], object],
    ) -> Session:
        """Run a program in it that reads our standard input, at a terminal of this size or at none."""
        ...

    def remove(self, container: str) -> None:
        """Take it away with all that is its own, running or not; one that is gone is no error."""
        ...
