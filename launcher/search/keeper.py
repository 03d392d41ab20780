"""The one thread that speaks with the study: what it is asked is done in its order, and heartbeats go on between.

A study that is gone for a while holds up this thread and nothing else: the trials go on, and what they report waits.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.protocols import Clock


class Keeper:
    """A thread with a queue. `regular` is done every `period` seconds beside it; `wake` is called after each task.

    What a task raises ends the thread, and is kept in `error` for the main thread.
    """

    def __init__(self, regular: Callable[[], object], period: float, clock: Clock, wake: Callable[[], object]) -> None:
        self._regular = regular
        self._period = period
        self._clock = clock
        self._wake = wake
        self._tasks: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._busy = False
        self.error: BaseException | None = None
        self.over = False

    def start(self) -> None:
        """Begin. Raises RuntimeError where the node allows no more threads."""
        threading.Thread(target=self._run, name="study", daemon=True).start()

    def post(self, task: Callable[[], object]) -> None:
        """Have something done after all that was asked before; from any thread."""
        with self._changed:
            self._tasks.append(task)
            self._changed.notify()

    def close(self) -> None:
        """Do what was asked, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def idle(self) -> bool:
        """Whether everything that was asked is done, or never will be."""
        with self._changed:
            return self.over or not (self._tasks or self._busy)

    def _run(self) -> None:
        due = self._clock.monotonic() + self._period
        try:
            while (task := self._next(due)) is not None:
                task()
                if task == self._regular:
                    due = self._clock.monotonic() + self._period
                self._done()
        except BaseException as error:  # noqa: BLE001 - carried over to the main thread
            self.error = error
        self.over = True
        self._wake()

    def _next(self, due: float) -> Callable[[], object] | None:
        """What is to be done now: what was asked first, the regular thing where it is due; None at the end."""
        with self._changed:
            while True:
                left = due - self._clock.monotonic()
                if left <= 0 and not self._closed:
                    self._busy = True
                    return self._regular
                if self._tasks:
                    self._busy = True
                    return self._tasks.popleft()
                if self._closed:
                    return None
                self._changed.wait(left)

    def _done(self) -> None:
        with self._changed:
            self._busy = False
        self._wake()
