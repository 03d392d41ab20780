"""What the steps need of the world, each protocol named by the need; adapters and fakes fit them by shape alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from launcher.core.kin import Relative
    from launcher.core.lifecycle import Event
    from launcher.core.record import Level, Memory, Staged, Synced
    from launcher.core.stored import StoredObject
    from launcher.core.urls import Location

Stopped = Callable[[], bool]
"""Asked between objects and parts: True means stop now and raise `Cancelled`."""


class Source(Protocol):
    """Where code and inputs come from. Methods raise `StoreError`, and `Cancelled` when they were stopped."""

    def walk(self, folder: Location) -> Iterator[StoredObject]:
        """Every object below a folder, in any order; a key that ends in `/` is a directory marker."""
        ...

    def stat(self, at: Location) -> StoredObject | None:
        """The object at exactly this key, or None."""
        ...

    def fetch(self, bucket: str, item: StoredObject, path: str, stopped: Stopped) -> None:
        """Bring that very version of an object to a new file at `path`, which must not exist; never a part of one."""
        ...


class Target(Protocol):
    """Where outputs and logs go. Methods raise `StoreError`, and pass on what `chunks` raises."""

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        """Store the chunks as one object, whole or not at all; `size` is what they are expected to add up to."""
        ...

    def remove(self, at: Location) -> None:
        """Delete one object; one that is not there is no error."""
        ...

    def occupied(self, folder: Location) -> bool:
        """Whether anything lies below a folder."""
        ...


class Store(Source, Target, Protocol):
    """A whole store."""


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
