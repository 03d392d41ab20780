"""Work on threads: one step of a run beside the main thread, or many items that wait for the network on a few threads.

It knows nothing of what the work is, and hears no signals.

Not concurrent.futures: its threads are joined when the interpreter ends, so one hung transfer would outlive the grace.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from launcher.core.errors import Cancelled, Exit, LauncherError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
Item = TypeVar("Item")
_NONE = object()

LOOK = 0.05
"""Seconds between two looks at `stopped` while every worker is busy: a hung one does not ask for itself."""
PATIENCE = 1.0
"""Seconds that workers have to notice a stop; a worker still busy then is left behind, as a daemon."""
PIDS_MOST = "/sys/fs/cgroup/pids.max"


class StepThread(Generic[T]):
    """Work on a daemon thread: its result or its error, and then a call to whoever waits."""

    def __init__(
        self, work: Callable[[Callable[[], bool]], T], stopped: Callable[[], bool], wake: Callable[[], None]
    ) -> None:
        self._work, self._stopped, self._wake = work, stopped, wake
        self.result: T | None = None
        self.error: BaseException | None = None
        self.over = False

    def start(self) -> None:
        """Begin; without a thread the step is over, with that for its error."""
        try:
            threading.Thread(target=self._run, name="step", daemon=True).start()
        except RuntimeError:
            self.error, self.over = no_threads("begin the next step"), True

    def _run(self) -> None:
        try:
            self.result = self._work(self._stopped)
        except BaseException as error:  # noqa: BLE001 - carried over to the main thread
            self.error = error
        self.over = True
        self._wake()


def no_threads(wanted: str) -> LauncherError:
    """Tell that the node allows no more threads, and by which limits."""
    return LauncherError(
        f"could not {wanted}: no thread can be started, {_limits()}",
        code="no-threads",
        action="Raise the limit of processes (ulimit -u, or the container's pids limit) or end others of this user.",
        exit_code=Exit.NODE,
    )


def _limits() -> str:
    import resource  # noqa: PLC0415 - asked only where it failed

    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    said = "ulimit -u is unlimited" if most == resource.RLIM_INFINITY else f"ulimit -u is {most:,}"
    try:
        with open(PIDS_MOST, encoding="ascii") as file:
            return f"{said}, pids.max of the container is {file.read().strip()}"
    except OSError:
        return said


def each(
    work: Callable[[Item, Callable[[], bool]], None],
    items: Iterable[Item],
    threads: int,
    stopped: Callable[[], bool],
    *,
    apart: bool = False,
    patience: float = PATIENCE,
) -> None:
    """Do the work for every item, on up to `threads` threads; more items than these are taken as workers come free.

    `work` gets the item and a function that says whether to break off. The first error stops the rest and is raised
    here; `Cancelled` is raised when `stopped()` left anything undone. One item, or one thread, runs right here, unless
    `apart`: then a call that hangs can still be left behind, `patience` seconds after the stop.
    """
    rest = iter(items)
    ahead = list(itertools.islice(rest, max(1, threads)))
    crew = _Crew(work, itertools.chain(ahead, rest), stopped)
    if len(ahead) > 1 or (apart and ahead):
        crew.hire(len(ahead), patience)
    else:
        crew.labour()
    crew.settle()


class _Crew(Generic[Item]):
    def __init__(
        self,
        work: Callable[[Item, Callable[[], bool]], None],
        items: Iterator[Item],
        stopped: Callable[[], bool],
    ) -> None:
        self._work = work
        self._items = items
        self._stopped = stopped
        self._changed = threading.Condition()
        self._taking = threading.Lock()
        self._running = 0
        self._over = False
        self._cut = False
        self._error: Exception | None = None

    def halted(self) -> bool:
        """Whether to break off: something failed, or someone asked."""
        return self._over or self._stopped()

    def hire(self, threads: int, patience: float) -> None:
        """Work on threads until all is done or halted, and then no longer than `patience`."""
        for number in range(threads):
            if not self._start(f"transfer-{number}"):
                break
        with self._changed:
            while self._running and not self.halted():
                self._changed.wait(LOOK)
            if not self._changed.wait_for(lambda: not self._running, patience if self._running else 0):
                self._cut = True
            self._over = True

    def _start(self, name: str) -> bool:
        """Start one more worker; where the node allows no more threads, fewer do it, and at the last the caller."""
        with self._changed:
            self._running += 1
        try:
            threading.Thread(target=self._shift, name=name, daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._running -= 1
                alone = not self._running
            if alone:
                self.labour()
            return False
        return True

    def _shift(self) -> None:
        try:
            self.labour()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def labour(self) -> None:
        """Take items until none is left; an error is kept for `settle`."""
        try:
            while True:
                with self._taking:
                    item = next(self._items, _NONE)
                if item is _NONE:
                    return
                if self.halted():
                    self._cut = True
                    return
                self._work(item, self.halted)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - a thread's edge: the caller raises it
            with self._changed:
                self._error = self._error or error
                self._over = True
                self._changed.notify_all()

    def settle(self) -> None:
        """Raise what went wrong first."""
        if self._error is not None:
            raise self._error
        if self._cut:
            raise Cancelled
