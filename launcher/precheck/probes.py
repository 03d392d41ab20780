"""Many looks at the world beside each other, each with a time limit, told in a fixed order whatever becomes of one.

It knows nothing of what is looked at. A look that hangs is left behind on its daemon thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Cancelled, LauncherError
from launcher.core.precheck import Item
from launcher.protocols import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH = 8
"""Looks at once."""
LIMIT_S = 10.0
"""How long one may take."""
GIVE_UP_S = 8.0
"""After so long a look that can end by itself does, and then says more than that it took too long."""
LOOK = 0.05
"""Seconds between two questions whether to stop."""

_log = logging.getLogger(__name__)


class Probe(msgspec.Struct, frozen=True):
    """One look: the item's name, and what finds the item. It gets a question whether to stop, and may raise."""

    name: str
    work: Callable[[Stopped], Item]


def examine(
    probes: Sequence[Probe], stopped: Stopped, monotonic: Callable[[], float], limit_s: float = LIMIT_S
) -> Iterator[Item]:
    """Make all looks, and hand over an item for each in their order. Raises `Cancelled`."""
    crew = _Crew(probes, stopped, monotonic, limit_s)
    try:
        for index in range(len(probes)):
            yield crew.item(index)
    finally:
        crew.over = True


class _Crew:
    """Threads that take one probe after the other; one that hangs is replaced."""

    def __init__(
        self, probes: Sequence[Probe], stopped: Stopped, monotonic: Callable[[], float], limit_s: float
    ) -> None:
        self.over = False
        self._probes = probes
        self._stopped = stopped
        self._monotonic = monotonic
        self._limit_s = limit_s
        self._changed = threading.Condition()
        self._began: dict[int, float] = {}
        self._items: dict[int, Item] = {}
        self._working = 0

    def item(self, index: int) -> Item:
        """The item of one probe, waited for no longer than its time."""
        while True:
            with self._changed:
                self._expire()
                if index in self._items:
                    return self._items[index]
                if self._stopped():
                    raise Cancelled
                alone = not self._hire()
                if not alone:
                    self._changed.wait(LOOK)
            if alone:  # the node allows no thread at all: then without a limit
                self._take()

    def _expire(self) -> None:
        for index, began in self._began.items():
            if index not in self._items and self._monotonic() - began > self._limit_s:
                self._items[index] = Item(
                    name=self._probes[index].name,
                    state="failed",
                    said=f"no answer in {self._limit_s:g} s",
                    action="Whoever was asked hangs, or is gone: look there, and at the network in between.",
                )
                self._working -= 1

    def _hire(self) -> bool:
        """Start threads as long as there is something to do for them; whether any works."""
        while self._working < min(WIDTH, len(self._probes) - len(self._items)):
            try:
                threading.Thread(target=self._shift, name="precheck", daemon=True).start()
            except RuntimeError:
                break
            self._working += 1
        return self._working > 0

    def _shift(self) -> None:
        while self._take():
            pass

    def _take(self) -> bool:
        """Do the next probe; False where there is none, or this thread was given up meanwhile."""
        with self._changed:
            index = len(self._began)
            if self.over or index == len(self._probes):
                self._working -= 1
                return False
            self._began[index] = self._monotonic()
        item = self._done(index)
        with self._changed:
            if index in self._items:
                return False
            self._items[index] = item
            self._changed.notify_all()
        return True

    def _done(self, index: int) -> Item:
        probe = self._probes[index]
        try:
            return probe.work(lambda: self.over or index in self._items or self._stopped())
        except LauncherError as error:
            said = str(error).rstrip(".")
            return Item(name=probe.name, state="failed", said=said, action=error.action, cause=error.code)
        except OSError as error:
            action = "Look at this file system, and at the node's kernel log."
            return Item(name=probe.name, state="failed", said=f"cannot be looked at: {error}", action=action)
        except Exception as error:  # noqa: BLE001 - a thread's edge: the others are looked at all the same
            _log.exception("a defect in the pre-check of %s", probe.name)
            said = f"a defect of the launcher: {type(error).__name__}: {error}"
            return Item(name=probe.name, state="failed", said=said, action="Report it; --no-precheck leaves it out.")
