"""The way from other threads into that of a meeting: words and a call, from anywhere at any time."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.meeting.words import Letter


class Post:
    """Letters to be taken, and a file descriptor that is readable when there are some."""

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._guard = threading.Lock()
        self._dropped = self._handled = 0
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.over = False

    def fileno(self) -> int:
        """Let a selector find it."""
        return self._bell

    def drop(self, letter: Letter) -> None:
        """Leave a word for the thread."""
        with self._guard:
            self._dropped += 1
            self._letters.append(letter)
        self._ring()

    @property
    def waiting(self) -> bool:
        """Whether a word was left that the thread has not dealt with yet."""
        return self._dropped != self._handled

    def handled(self, count: int) -> None:
        """Note that so many words were dealt with; for the thread."""
        self._handled += count

    def finish(self) -> None:
        """Ask the thread to come to an end."""
        self.over = True
        self._ring()

    def take(self) -> tuple[Letter, ...]:
        """All words that were left, in their order."""
        with self._guard:
            if self._bell >= 0:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
        found = []
        while self._letters:
            found.append(self._letters.popleft())
        return tuple(found)

    def close(self) -> None:
        """Let go of the descriptor; whoever still calls is not heard."""
        with self._guard:
            bell, self._bell = self._bell, -1
        os.close(bell)

    def _ring(self) -> None:
        with self._guard:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)
