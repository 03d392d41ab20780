"""The nodes of a job as number 0 counts them: who is there, who is ready, until when the others are waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.meeting.naming import LATE, MISSING, uncalled, unready
from launcher.core.meeting.partings import apart
from launcher.core.meeting.seat import Seat
from launcher.core.meeting.words import Parting, Ready, Waiting, bundled, fits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.meeting import Rhythm
    from launcher.core.meeting.words import Offers
    from launcher.core.plan import Rendezvous


class Roll:
    """It counts for one attempt after the other. `place` is where number 0 listens, for people."""

    def __init__(self, known: Rendezvous, rhythm: Rhythm, now: float) -> None:
        self.names = known.names
        self.others = tuple(range(1, len(known.names)))
        self.seats = [Seat() for _ in known.names]
        self.seats[0].session = ""
        self.seats[0].here = True
        self.place = ""
        self.attempt = 1
        self.released = False
        self.uncalled = len(self.others)
        self._unready = len(self.seats)
        self._meeting = known.meeting
        self._rhythm = rhythm
        self._looked = now
        self._peers_by = now + known.meeting.peers_s
        self._ready_by: float | None = None
        self._tell_at = now + rhythm.tell_s

    @property
    def regathers(self) -> bool:
        """Whether the nodes come together once more: who is lost meanwhile is waited for as long as at first."""
        return self.attempt > 1 and not self.released

    @property
    def serving(self) -> bool:
        """Whether somebody serves who would do so for ever if nobody told it that the workers are done."""
        return self.released and any(seat.serves and seat.parting is None for seat in self.seats)

    @property
    def greets_at(self) -> float:
        """When everybody is to hear of number 0 again."""
        return self._looked + self._rhythm.ping_s

    @property
    def deadline(self) -> float:
        """When somebody is late, or those who wait are to be told for whom."""
        times = [self._peers_by] if self.uncalled else []
        times += [self._tell_at, self._ready_by] if self._ready_by is not None else []
        return min(times, default=self.greets_at)

    def admit(self, number: int, session: str) -> None:
        """Give the seat of a number to another launcher."""
        old = self.seats[number]
        self.uncalled -= old.session is None or (old.lost and self.regathers)
        self._unready += old.ready
        self.seats[number] = seat = Seat(self.attempt)
        seat.session = session

    def hear(self, number: int, now: float) -> None:
        """Note that a node is heard: who was lost is found again."""
        seat = self.seats[number]
        seat.heard = now
        if seat.lost:
            seat.lost = False
            self.uncalled -= self.regathers

    def miss(self, number: int, now: float) -> None:
        """Note that a node is lost; where all come together once more it has its time to come back."""
        seat = self.seats[number]
        seat.lost = True
        if self.regathers:
            self.uncalled += 1
            self._unready += seat.ready
            seat.ready = False
            self._peers_by, self._tell_at = now + self._meeting.peers_s, now

    def ready(self, number: int, word: Ready, now: float) -> bool:
        """Note that a node is ready; whether all are."""
        seat = self.seats[number]
        self._unready -= not seat.ready
        seat.ready, seat.serves, seat.attempt = True, word.serves, self.attempt
        seat.offer = word.offer if fits(word.offer) else ""
        if self._ready_by is None:
            self._ready_by, self._tell_at = now + self._meeting.ready_s, now + self._rhythm.tell_s
        return not self._unready

    def begin(self, attempt: int, now: float) -> None:
        """Wait for all nodes once more."""
        self.attempt, self.released = attempt, False
        for seat in self.seats:
            seat.renew()
        self.uncalled = sum(seat.awaited for seat in self.seats)
        self._unready = len(self.seats)
        self._peers_by, self._ready_by = now + self._meeting.peers_s, None
        self._tell_at = now + self._rhythm.tell_s

    def greet(self, now: float) -> None:
        """Count no time in which this launcher itself stood still: nobody could be heard then."""
        late = now - self._looked - 2 * self._rhythm.ping_s
        self._looked = now
        if late <= 0:
            return
        self._peers_by += late
        self._ready_by = None if self._ready_by is None else self._ready_by + late
        for seat in self.seats:
            seat.heard += late

    def gone(self) -> list[int]:
        """Nodes that were here, have not ended, and have no connection now."""
        seats = [(number, self.seats[number]) for number in self.others]
        return [number for number, seat in seats if seat.session is not None and not seat.here and seat.parting is None]

    def training(self) -> list[int]:
        """Nodes that train still."""
        return [number for number, seat in enumerate(self.seats) if seat.trains]

    def servers(self) -> tuple[int, ...]:
        """Nodes that only serve the others."""
        return tuple(number for number, seat in enumerate(self.seats) if seat.serves)

    def offers(self) -> Sequence[Offers]:
        """The texts of all nodes, in as many words as they need."""
        return bundled({number: seat.offer for number, seat in enumerate(self.seats) if seat.offer}, self.attempt)

    def idle(self) -> tuple[int, ...]:
        """Nodes that wait to hear whether there is another attempt."""
        return tuple(number for number, seat in enumerate(self.seats) if seat.idle)

    def due(self, now: float) -> Parting | tuple[tuple[int, ...], Waiting] | None:
        """The end of a meeting for which somebody is too late, or what those who are ready are to be told now."""
        if self.uncalled and now >= self._peers_by:
            message = uncalled(self.names, self.seats, self._meeting.peers_s, self.place)
            return apart("peers-missing", message, MISSING)
        if self._ready_by is None:
            return None
        missing = unready(self.names, self.seats)
        if now >= self._ready_by:
            late = f"{missing}, {self._meeting.ready_s:g} s after the first was"
            return apart("barrier-timeout", f"The nodes are not ready together: {late}.", LATE)
        if now < self._tell_at:
            return None
        self._tell_at = now + self._rhythm.tell_s
        waiting = tuple(number for number, seat in enumerate(self.seats) if seat.ready)
        return waiting, Waiting(text=f"Waiting for the other nodes: {missing}.")
