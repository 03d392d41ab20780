"""What number 0 says, as this node's own run hears it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core import lifecycle
from launcher.core.meeting.partings import peer_ended
from launcher.core.meeting.words import Ended, Offers, Over, Released, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.core.lifecycle import Event
    from launcher.core.meeting.words import Word
    from launcher.core.record import Level


class Ear:
    """Turns words into events for the desk and lines for the record; `offers` is whole when `Released` is heard."""

    def __init__(
        self, names: Sequence[str], number: int, hear: Callable[[Event], object], tell: Callable[[str, Level], object]
    ) -> None:
        self._names = names
        self._task = names[number]
        self.hear = hear
        self._tell = tell
        self.offers: dict[int, str] = {}

    def take(self, word: Word) -> None:
        """Pass on what a word means for this run."""
        if isinstance(word, Offers):
            self.offers.update(word.offers)
        elif isinstance(word, Released):
            self.hear(lifecycle.Released())
        elif isinstance(word, Ended):
            if word.number < len(self._names):
                self.hear(peer_ended(self._names, word.number, word.parting))
        elif isinstance(word, Over):
            self.hear(lifecycle.Over())
        elif isinstance(word, Waiting):
            self.say(word.text)

    def stir(self) -> None:
        """Have the desk look again at what it waits for."""
        self.hear(lifecycle.Woken())

    def say(self, text: str, level: Level = "Info") -> None:
        """Tell a person, in the name of this node."""
        self._tell(f"[{self._task}] {text}", level)
