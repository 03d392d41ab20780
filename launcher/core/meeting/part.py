"""A node's part in one attempt, as its launcher tells it to number 0: what is to be said, and what has been heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.meeting.words import (
    Ended,
    Farewell,
    FromGuest,
    Idle,
    Noted,
    Over,
    Parting,
    Quiet,
    Ready,
    Released,
    Stood,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.meeting.words import FromHost, Letter


class Part:
    """It is made anew for each attempt.

    `released`: all were ready. `free`: this run needs number 0 no more, for all has been said that could end it or that
    it waits for. `known`: number 0 has heard that this part has ended; why may still become better known.
    """

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.released = self.free = self.known = False
        self.ready: Ready | None = None
        self._parting: Parting | None = None
        self._noted = False
        self._more: dict[type, Idle | Quiet | Stood] = {}
        self._said: list[FromGuest] = []
        self._unanswered = 0
        self._last: FromGuest | None = None

    @property
    def has_ended(self) -> bool:
        """Whether there is an end to be told."""
        return self._parting is not None

    @property
    def is_told(self) -> bool:
        """Whether number 0 has heard all there is of an end."""
        return self._parting is None or self._noted

    @property
    def is_done(self) -> bool:
        """Whether the end is told, and cannot become better known."""
        return self._noted and self._parting is not None and self._parting.how != "failed"

    @property
    def idles(self) -> bool:
        """Whether this run waits to hear whether there is another attempt."""
        return Idle in self._more

    def take(self, letter: Letter) -> None:
        """Take what this run has to say; what is of another attempt comes too late."""
        if isinstance(letter, Ready | Parting | Idle | Quiet | Stood) and letter.attempt == self.attempt:
            if isinstance(letter, Ready):
                self.ready = letter
            elif isinstance(letter, Parting):
                self._parting, self._noted = letter, False
            else:
                self._more[type(letter)] = letter

    def connect(self) -> None:
        """Note that a connection is new: all that still matters is said again."""
        self._said, self._unanswered = [], 0

    def to_say(self) -> Sequence[FromGuest]:
        """What this connection has not heard, each in its turn; it counts as said."""
        words = (None if self.released else self.ready, None if self._noted else self._parting, *self._more.values())
        fresh = [word for word in words if word is not None and not any(word is each for each in self._said)]
        for word in fresh:
            self._said.append(word)
            if isinstance(word, Parting):
                self._unanswered += 1
                self._last = word
        return fresh

    def hear(self, word: FromHost) -> None:
        """Note what number 0 says."""
        if isinstance(word, Noted | Released | Over | Ended) and word.attempt != self.attempt:
            return
        if isinstance(word, Noted):
            self._unanswered -= 1
            # of two that were said, or are to be, the last one counts
            self._noted = self._unanswered <= 0 and self._last is self._parting
            self.known = True
        self.free = self.free or isinstance(word, Noted | Farewell | Over | Ended)
        self.released = self.released or isinstance(word, Released)
