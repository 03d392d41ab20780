"""One node at the table of number 0: what is known of it, and nothing that is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.meeting.words import Parting


class Seat:
    """One node: which launcher it is, whether its connection stands, when it was heard last, how far it is."""

    def __init__(self) -> None:
        self.session: str | None = None
        self.here = False
        self.heard = 0.0
        self.ready = False
        self.offer = ""
        self.serves = False
        self.parting: Parting | None = None
        self.refused: list[str] = []
