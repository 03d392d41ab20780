"""One node at the table of number 0: what is known of it, and nothing that is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.meeting import Rhythm
    from launcher.core.meeting.words import Parting


MOST_REFUSALS = 4
"""Reasons that are told of one number: whoever shows nothing may call as often as he likes."""


class Seat:
    """One node: which launcher it is, whether its connection stands, when it was heard last, how far it is.

    `attempt` is the last one that its launcher is known to have taken part in. `idle`: nothing of this attempt runs
    there any more. `lost`: it was given up, and has not been heard since. `leaves`: its launcher begins no attempt.
    """

    def __init__(self, attempt: int = 1) -> None:
        self.session: str | None = None
        self.attempt = attempt
        self.here = False
        self.heard = 0.0
        self.ready = False
        self.offer = ""
        self.serves = False
        self.parting: Parting | None = None
        self.idle = False
        self.lost = False
        self.leaves = False
        self.refused: list[str] = []

    @property
    def awaited(self) -> bool:
        """Whether a launcher has to come here before all can be together."""
        return self.session is None or self.lost

    @property
    def trains(self) -> bool:
        """Whether the others need this node to be done."""
        return not self.serves and self.parting is None

    @property
    def deserted(self) -> bool:
        """Whether its launcher cannot begin another attempt: it has said so, or was done and went without a word."""
        return self.leaves or (self.parting is not None and self.parting.how == "done" and self.lost)

    def refuse(self, why: str) -> bool:
        """Note that somebody came under this number who is not let in; whether that is new."""
        if why in self.refused or len(self.refused) == MOST_REFUSALS:
            return False
        self.refused.append(why)
        return True

    def renew(self) -> None:
        """Be as before an attempt."""
        self.ready = self.serves = self.idle = False
        self.offer = ""
        self.parting = None

    def silence(self, now: float, rhythm: Rhythm) -> str:
        """For how long nothing was heard of it where that is too long; else nothing."""
        silent = now - self.heard
        if not self.here and silent >= rhythm.lost_s:
            return f"its launcher has not called again for {rhythm.lost_s:g} s since its connection was gone"
        return f"its launcher has said nothing for {rhythm.silent_s:g} s" if silent >= rhythm.silent_s else ""
