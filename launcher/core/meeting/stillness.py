"""Whether all nodes of a job stand still: when each is to show where, and what they have shown until then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.meeting.words import Gathered, Look, Quiet

if TYPE_CHECKING:
    from collections.abc import Collection

    from launcher.core.meeting.words import Stood

LOOK_S = 60.0
"""So long the nodes have to show where they stand; who has not until then is not waited for."""


class Stillness:
    """What is known of one attempt. It looks once in each time of stillness: whatever moves makes it look again."""

    def __init__(self) -> None:
        self._turn = 0
        self._quiet: set[int] = set()
        self._looked = False
        self._texts: dict[int, str] = {}
        self.deadline: float | None = None

    def forget(self) -> None:
        """Begin anew, for another attempt; an answer to an earlier question stays known as such."""
        self._quiet.clear()
        self._looked, self.deadline = False, None

    def still(self, training: Collection[int]) -> bool:
        """Whether nothing moves on any of the nodes that train."""
        return bool(training) and self._quiet.issuperset(training)

    def hear(self, number: int, word: Quiet | Stood) -> None:
        """Take whether a node stands still, or where it does."""
        if not isinstance(word, Quiet):
            if word.turn == self._turn:
                self._texts[number] = word.text
        elif word.quiet:
            self._quiet.add(number)
        else:
            self._quiet.discard(number)
            self._looked = False

    def due(self, training: Collection[int], attempt: int, now: float) -> Look | Gathered | None:
        """The question where all stand; later, what they have shown: when all have, or their time is over."""
        if self.deadline is None:
            if self._looked or not self.still(training):
                return None
            self._turn += 1
            self._looked, self.deadline = True, now + LOOK_S
            self._texts.clear()
            return Look(attempt=attempt, turn=self._turn)
        if now < self.deadline and not self._texts.keys() >= set(training):
            return None
        self.deadline = None
        return Gathered(attempt=attempt, texts=dict(self._texts))
