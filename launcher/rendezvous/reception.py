"""Number 0's door: who calls has a moment to show that it is of this job, and who does not is in nobody's way."""

from __future__ import annotations

import selectors
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core.meeting.words import GREETING, VERSION, Challenge, Refused, Welcome, heard, line
from launcher.rendezvous import proof
from launcher.rendezvous.channel import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from launcher.core.meeting.table import Notes, Table
    from launcher.core.meeting.words import Hello
    from launcher.core.plan import Rendezvous
    from launcher.rendezvous.channel import Channel
    from launcher.rendezvous.ear import Ear

SPARE = 64
"""So many callers more than there are nodes may stand at the door."""


class Caller:
    """One connection to number 0; `number` is None as long as it is not known whose it is, and that until `by`."""

    def __init__(self, channel: Channel, address: str, by: float) -> None:
        self.channel = channel
        self.address = address
        self.by = by
        self.random = proof.fresh()
        self.number: int | None = None
        self.mask = selectors.EVENT_READ
        self.over = False
        self.silenced = False

    def fileno(self) -> int:
        """Let a selector find it."""
        return self.channel.fileno()

    def close(self) -> None:
        """Let go of it."""
        self.over = True
        self.channel.close()


class Reception:
    """Those who stand at the door, in the order of their coming."""

    def __init__(self, known: Rendezvous, table: Table, ear: Ear) -> None:
        self._known = known
        self._table = table
        self._ear = ear
        self._session = proof.fresh()
        self._strangers = 0
        self.callers: dict[Caller, None] = {}

    @property
    def deadline(self) -> float | None:
        """When the first of them has had its time."""
        return next((caller.by for caller in self.callers), None)

    def late(self, now: float) -> tuple[Caller, ...]:
        """Those who have had their time."""
        if not self.callers or next(iter(self.callers)).by > now:
            return ()
        return tuple(caller for caller in self.callers if caller.by <= now)

    def crowded(self) -> Iterator[Caller]:
        """Who has to go so that another may come: real nodes say who they are at once, and are gone from here."""
        if len(self.callers) >= len(self._known.names) + SPARE:
            yield next(iter(self.callers))

    def challenge(self, caller: Caller) -> bytes:
        """Ask who it is."""
        return line(Challenge(version=VERSION, random=caller.random))

    def receive(self, caller: Caller, text: bytes, now: float) -> tuple[bool, Notes]:
        """Take the answer: whether the caller is let in, and what that means for all. Raises Broken."""
        hello = heard(text, GREETING)
        if hello is None or not 0 < hello.number < len(self._known.names):
            self.stranger(caller, "it said what is no hello")
            return False, ()
        if hello.version != VERSION:
            return self._refuse(caller, hello, "version"), ()
        this = hello.number, hello.random
        wanted = proof.expected(self._known, this, caller.random, hello.session)
        if not proof.same(wanted, hello.proof):
            return self._refuse(caller, hello, "nonce"), ()
        answer, notes = self._table.call(hello.number, hello.session, now)
        if answer == "taken":
            return self._refuse(caller, hello, "taken"), notes
        self.callers.pop(caller, None)
        caller.number = hello.number
        caller.channel.known()
        shown = proof.host(self._known, this, caller.random, self._session)
        caller.channel.send(line(Welcome(session=self._session, proof=shown)))
        for word in self._table.standing(hello.number):
            caller.channel.send(line(word))
        return True, notes

    def stranger(self, caller: Caller, why: str) -> None:
        """Count who is no launcher of this job; the first is told of."""
        self._strangers += 1
        if self._strangers == 1:
            text = f"somebody at {caller.address} is no launcher of this job and was not let in: {why}"
            self._ear.say(text, "Warning")

    def sum_up(self) -> None:
        """Tell how many there were."""
        if self._strangers > 1:
            self._ear.say(f"{self._strangers:,} calls came from somebody who is no launcher of this job", "Warning")

    def _refuse(self, caller: Caller, hello: Hello, why: Literal["version", "nonce", "taken"]) -> bool:
        with suppress(Broken):
            caller.channel.send(line(Refused(why=why)))
        told = {
            "version": f"speaks version {hello.version} of the rendezvous, and this launcher {VERSION}",
            "nonce": "is of another job, sees other nodes, or has another LAUNCHER_NONCE",
            "taken": "is here already, and another launcher calls itself so",
        }[why]
        if self._table.refused(hello.number, told):
            self._ear.say(f"{self._known.names[hello.number]} at {caller.address} {told}", "Warning")
        return False
