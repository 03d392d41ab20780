"""What number 0 says, as this node's own run hears it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from launcher.core import lifecycle
from launcher.core.meeting.partings import peer_ended
from launcher.core.meeting.words import (
    Again,
    Ended,
    Final,
    Gathered,
    Hung,
    Look,
    Offers,
    Over,
    Released,
    Told,
    Waiting,
)
from launcher.core.record import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.lifecycle import Event
    from launcher.core.meeting.words import Parting, Word
    from launcher.core.record import Level

OfAttempt = Offers | Released | Ended | Over | Look | Gathered | Hung


class Ear:
    """Turns words into events for the desk and lines for the record; `offers` is whole when `Released` is heard.

    `attempt` is the newest that all nodes were told to begin; `final`: no other one follows that of this run, and
    `given_up` may say why. What belongs to an attempt that this run has not begun yet is kept until it has. `looks` is
    called when all are to show where they stand, in this `turn`, `gathered` with what they have shown, both on the
    thread of the meeting.
    """

    def __init__(
        self, names: Sequence[str], number: int, hear: Callable[[Event], object], tell: Callable[[str, Level], object]
    ) -> None:
        self._names = names
        self._task = names[number]
        self.hear = hear
        self._tell = tell
        self.offers: dict[int, str] = {}
        self.attempt = 1
        self.pause_s = 0.0
        self.final = False
        self.given_up: Parting | None = None
        self.turn = 0
        self.looks: Callable[[], object] = bool
        self.gathered: Callable[[Mapping[int, str]], object] = bool
        self._begun = 1
        self._open = True
        self._kept: list[OfAttempt] = []
        self._guard = threading.RLock()

    def take(self, word: Word) -> None:
        """Pass on what a word means for this run."""
        if isinstance(word, OfAttempt):
            with self._guard:
                self._sort(word)
        elif isinstance(word, Again):
            self._again(word)
        elif isinstance(word, Final):
            if word.attempt == self._begun:
                self.given_up, self.final = word.given_up, True
            self.stir()
        elif isinstance(word, Waiting):
            self.say(word.text)
        elif isinstance(word, Told):
            self.say(word.text, "Warning")

    def wait(self, attempt: int) -> None:
        """Begin an attempt: until `go` all that is said of it is kept, and nothing of an earlier one is heard."""
        with self._guard:
            self._open, self._begun = False, attempt
            self.attempt = max(self.attempt, attempt)
            self.final = False
            self.offers = {}

    def go(self) -> None:
        """Hear of the attempt from now on, what was kept first."""
        with self._guard:
            kept, self._kept, self._open = self._kept, [], True
            for word in kept:
                self._sort(word)

    def stir(self) -> None:
        """Have the desk look again at what it waits for."""
        self.hear(lifecycle.Woken())

    def say(self, text: str, level: Level = "Info") -> None:
        """Tell a person, in the name of this node."""
        self._tell(f"[{self._task}] {text}", level)

    def _again(self, word: Again) -> None:
        if word.attempt > self.attempt:
            self.pause_s, self.attempt = word.pause_s, word.attempt
            self.stir()

    def _sort(self, word: OfAttempt) -> None:
        if word.attempt == self._begun and self._open:
            self._pass_on(word)
        elif word.attempt >= self._begun:
            self._kept.append(word)

    def _pass_on(self, word: OfAttempt) -> None:
        if isinstance(word, Offers):
            self.offers.update(word.offers)
        elif isinstance(word, Released):
            self.hear(lifecycle.Released())
        elif isinstance(word, Ended):
            if word.number < len(self._names):
                self.hear(peer_ended(self._names, word.number, word.parting))
        elif isinstance(word, Over):
            self.hear(lifecycle.Over())
        else:
            self._of_stillness(word)

    def _of_stillness(self, word: Look | Gathered | Hung) -> None:
        if isinstance(word, Look):
            self.turn = word.turn
            self.looks()
        elif isinstance(word, Gathered):
            self.gathered(word.texts)
        else:
            cause = Cause(code=word.code, message=word.message, action=word.action)
            self.hear(lifecycle.Hung(cause))
