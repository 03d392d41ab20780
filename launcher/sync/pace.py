"""How many uploads are under way at once: as many as the store answers well, and as their memory allows."""

from __future__ import annotations

import threading
from collections.abc import Callable

from launcher.core.errors import Cancelled
from launcher.core.parts import part_bytes
from launcher.core.window import Window
from launcher.retry import Retries

Patience = Callable[[Callable[[], object], float], Retries]
"""What makes the patience of one channel: what is called when the store asks for less, and its seconds."""

MIB = 1024**2
PARTS_HELD = 5
"""What an engine holds of a large object: four parts under way and the one that is filled."""
LOOK = 0.05
"""Seconds between two looks at `stopped` while memory is waited for."""


def patient(slowed: Callable[[], object], seconds: float) -> Retries:
    """Make the patience that a run has."""
    return Retries(slowed=slowed, patience=seconds)


class Pace:
    """The window of all outputs together, safe from any thread. `memory` is in bytes."""

    def __init__(self, most: int, memory: int, monotonic: Callable[[], float]) -> None:
        self._window = Window(most)
        self._monotonic = monotonic
        self._memory = memory
        self._held = 0
        self._turn = threading.Lock()
        self._freed = threading.Condition()

    def width(self) -> int:
        """How many may be under way now."""
        return self._window.limit

    def slowed(self) -> None:
        """The store has asked for less."""
        with self._freed:
            self._window.slowed(self._monotonic())

    def begun(self) -> None:
        """The first upload begins."""
        with self._freed:
            self._window.begun(self._monotonic())

    def during(self, size: int, work: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        """Do the work for an object of so many bytes once there is memory for it; it returns whether it went well.

        Raises `Cancelled` while it waits.
        """
        need = min(2 * size + MIB, PARTS_HELD * part_bytes(size))
        self._take(need, stopped)
        try:
            well = work()
        finally:
            with self._freed:
                self._held -= need
                self._freed.notify_all()
        if well:
            with self._freed:
                self._window.done(self._monotonic(), size)

    def _take(self, need: int, stopped: Callable[[], bool]) -> None:
        # in turn: a large one must not wait for as long as small ones find a place
        while not self._turn.acquire(timeout=LOOK):
            _go_on(stopped)
        try:
            with self._freed:
                while self._held and self._held + need > self._memory:
                    self._freed.wait(LOOK)
                    _go_on(stopped)
                self._held += need
        finally:
            self._turn.release()


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Cancelled
