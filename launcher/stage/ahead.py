"""An iterator run ahead of those who take from it, on a thread of its own, by no more than so many items."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from launcher.core.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
PAGE = 1000
"""Items that are handed over at once, or fewer after so many seconds:"""
SOON = 0.25
LOOK = 0.05
"""Seconds between two looks at `stopped` while nothing comes."""


class Ahead(Generic[T]):
    """What `items` gives, to be taken once: by one thread at a time. What it raises is raised there."""

    def __init__(
        self,
        items: Iterable[T],
        stopped: Callable[[], bool],
        most: int = 20 * PAGE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items = iter(items)
        self._stopped = stopped
        self._monotonic = monotonic
        self._pages_most = max(1, most // PAGE)
        self._pages: deque[Sequence[T]] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._given_up = False
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin; where the node allows no thread, everything is fetched when it is asked for."""
        try:
            threading.Thread(target=self._run, name="listing", daemon=True).start()
        except RuntimeError:
            self._pages_most = 0

    def wait(self) -> bool:
        """Wait for the first items; whether there are any. Raises what went wrong before them, and `Cancelled`."""
        page = self._next()
        if page:
            with self._changed:
                self._pages.appendleft(page)
        return bool(page)

    def close(self) -> None:
        """Nobody takes from it any more."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while page := self._next():
            yield from page

    def _run(self) -> None:
        try:
            while page := self._page():
                with self._changed:
                    self._pages.append(page)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: len(self._pages) < self._pages_most or self._given_up)
                    if self._given_up:
                        return
        except BaseException as error:  # noqa: BLE001 - carried over to whoever takes
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _page(self) -> list[T]:
        """The next items: a listing that shows few of those that are wanted must hold none of them back."""
        page: list[T] = []
        due = self._monotonic() + SOON
        for item in self._items:
            page.append(item)
            if len(page) >= PAGE or self._monotonic() >= due:
                break
        return page

    def _next(self) -> Sequence[T]:
        if not self._pages_most and not self._pages:
            return self._page()
        with self._changed:
            while not self._pages and not self._ended:
                self._changed.wait(LOOK)
                if self._stopped():
                    raise Cancelled
            if self._pages:
                self._changed.notify_all()
                return self._pages.popleft()
        if self._error is not None:
            raise self._error
        return ()
