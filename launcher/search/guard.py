"""How much time may go into looking at what is written: those who write must not wait for those who look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BURST, SHARE = 2.0, 0.5
"""So many seconds of CPU at once, and such a part of all time afterwards."""
_ASKED_EVERY = 0.002
"""Seconds between two looks at the CPU's clock, which is a system call."""


class Guard:
    """A bucket of CPU seconds that fills with time. It is entered around the work that is paid from it."""

    def __init__(self, now: Callable[[], float], spent: Callable[[], float]) -> None:
        self._now = now
        self._spent = spent
        self._room = BURST
        self._left = BURST
        self._filled = now()
        self._begun = self._asked = 0.0

    def __enter__(self) -> None:
        moment = self._now()
        self._room = self._left = min(BURST, self._room + (moment - self._filled) * SHARE)
        self._filled = self._asked = moment
        self._begun = self._spent()

    def __exit__(self, *_error: object) -> None:
        self._ask()
        self._room = max(self._left, -BURST)

    def open(self) -> bool:
        """Whether there is time left."""
        moment = self._now()
        if moment - self._asked >= _ASKED_EVERY:
            self._asked = moment
            self._ask()
        return self._left > 0

    @property
    def exhausted(self) -> bool:
        """Whether so much more was used than there was that nothing goes any more."""
        self._ask()
        return self._left <= -BURST

    def _ask(self) -> None:
        self._left = self._room - (self._spent() - self._begun)
