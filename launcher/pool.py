"""Work on threads: one step of a run beside the main thread, or many items that wait for the network on a few threads.

It knows nothing of what the work is, and hears no signals.

Not concurrent.futures: its threads are joined when the interpreter ends, so one hung transfer would outlive the grace.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
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
    work: Callable[[Item, Callable[[], bool]], Item | None],
    items: Iterable[Item],
    width: int | Callable[[], int],
    stopped: Callable[[], bool],
    *,
    apart: bool = False,
    patience: float = PATIENCE,
    waiting: int = 0,
) -> None:
    """Do the work for every item, on up to `width` threads; more items than these are taken as workers come free.

    A width that is a function may change meanwhile: workers join, or leave when they have done their item. `work` gets
    the item and a function that says whether to break off. The first error stops the rest and is raised here;
    `Cancelled` is raised when `stopped()` left anything undone. One item, or a fixed width of one, runs right here,
    unless `apart`: then a call that hangs can still be left behind, `patience` seconds after the stop.

    What `work` returns is left to be done of its item, and goes best one at a time: one worker does that for all,
    as long as no more than `waiting` wait for it; beyond them each does its own. Nothing may be left of it then.
    """
    rest = iter(items)
    asked = width if callable(width) else _always(width)
    ahead = list(itertools.islice(rest, max(1, asked())))
    crew = _Crew(work, itertools.chain(ahead, rest), stopped, asked, waiting)
    if len(ahead) > 1 or (ahead and (apart or callable(width))):
        crew.hire(len(ahead), patience)
    else:
        crew.labour()
    crew.settle()


def _always(width: int) -> Callable[[], int]:
    return lambda: width


class _Crew(Generic[Item]):
    def __init__(
        self,
        work: Callable[[Item, Callable[[], bool]], Item | None],
        items: Iterator[Item],
        stopped: Callable[[], bool],
        width: Callable[[], int],
        waiting: int,
    ) -> None:
        self._work = work
        self._items = items
        self._stopped = stopped
        self._width = width
        self._changed = threading.Condition()
        self._taking = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: deque[Item] = deque()
        self._waiting_most = waiting
        self._running = 0
        self._leaving = 0
        self._dry = False
        self._over = False
        self._cut = False
        self._error: Exception | None = None

    def halted(self) -> bool:
        """Whether to break off: something failed, or someone asked."""
        return self._over or self._stopped()

    def hire(self, threads: int, patience: float) -> None:
        """Work on threads until all is done or halted, and then no longer than `patience`."""
        started = 0
        while started < threads and self._start(threads):
            started += 1
        if not started:  # the node allows no thread at all: whoever called does it
            self.labour()
        with self._changed:
            while self._running and not self.halted():
                self._changed.wait(LOOK)
            if not self._changed.wait_for(lambda: not self._running, patience if self._running else 0):
                self._cut = True
            self._over = True

    def _start(self, most: int) -> bool:
        """Start one more worker, unless there are so many; where the node allows no more threads, fewer do it."""
        with self._changed:
            if self._running - self._leaving >= most:
                return False
            self._running += 1
        try:
            threading.Thread(target=self._shift, name="transfer", daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._running -= 1
            return False
        return True

    def _shift(self) -> None:
        left = False
        try:
            left = self.labour()
        finally:
            with self._changed:
                self._running -= 1
                self._leaving -= left
                self._changed.notify_all()

    def labour(self) -> bool:
        """Take items until none is left, or this worker is one too many (True); an error is kept for `settle`."""
        try:
            while True:
                with self._taking:
                    item = next(self._items, _NONE)
                if item is _NONE:
                    self._dry = True
                    return False
                if self.halted():
                    self._cut = True
                    return False
                left = self._work(item, self.halted)  # type: ignore[arg-type]
                if left is not None:
                    self._go_on(left)
                if self._running and self._is_too_many():
                    return True
        except KeyboardInterrupt:
            raise  # only ever in the main thread, whose own it is
        except BaseException as error:  # noqa: BLE001 - a thread's edge: the caller raises it
            with self._changed:
                # what is no Exception, a panic of an engine for one, would pass by those who tell of defects
                self._error = self._error or (error if isinstance(error, Exception) else RuntimeError(repr(error)))
                self._over = True
                self._changed.notify_all()
            return False

    def _go_on(self, item: Item) -> None:
        """See that what was left of an item is done: by whoever has the turn, as long as that one keeps up.

        Threads that do many little things beside each other would wait for the interpreter's lock most of the time.
        """
        if len(self._waiting) >= self._waiting_most:
            self._work(item, self.halted)
            return
        self._waiting.append(item)
        while self._waiting and self._turn.acquire(blocking=False):
            try:
                self._take_turn()
            finally:
                self._turn.release()

    def _take_turn(self) -> None:
        while self._waiting:
            if self.halted():
                self._cut = True
                self._waiting.clear()
                return
            self._work(self._waiting.popleft(), self.halted)

    def _is_too_many(self) -> bool:
        """Whether this worker shall leave, because the width has shrunk; where it has grown, one more is started."""
        width = max(1, self._width())
        if self._running - self._leaving == width:
            return False
        with self._changed:
            if self._running - self._leaving > width:
                self._leaving += 1
                return True
        if not self._dry and not self._over:
            self._start(width)
        return False

    def settle(self) -> None:
        """Raise what went wrong first."""
        if self._error is not None:
            raise self._error
        if self._cut:
            raise Cancelled
