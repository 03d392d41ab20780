"""What is done again and again beside a run, in turns that share one thread."""

from __future__ import annotations

from collections.abc import Callable

Stopped = Callable[[], bool]
Task = Callable[[Stopped], object]

SHORTEST = 0.05
"""Seconds below which no period goes, whatever the job says."""


class Turn:
    """Something that is done again and again, the pauses growing up to `most`, and never shorter than `least` says."""

    def __init__(
        self, work: Task, pause: float, most: float, due: float, least: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.work = work
        self.due = due
        self._first = self._pause = max(pause, SHORTEST)
        self._most = max(most, SHORTEST)
        self._least = least

    def schedule(self, now: float) -> None:
        """It was done; say when it is due again."""
        self.due = now + max(self._pause, self._least())
        self._pause = min(self._pause * 2, self._most)

    def hasten(self, now: float) -> None:
        """Make it due at once, and its pauses short again."""
        self.due, self._pause = now, self._first
