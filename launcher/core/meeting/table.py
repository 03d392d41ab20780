"""The table of number 0: who has called, who is ready, who has ended, and what everybody is told of it.

It knows no sockets and no clock: what happened is told to it with its time, and it answers with words and for whom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from launcher.core.meeting.partings import apart, lost
from launcher.core.meeting.seat import Seat
from launcher.core.meeting.words import Ended, Noted, Over, Parting, Ping, Ready, Released, Waiting, bundled, fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.core.meeting import Rhythm
    from launcher.core.meeting.words import During, FromGuest, Word
    from launcher.core.plan import Rendezvous

SUSPECT_S = 2.0
"""A connection that was only cut is made again in a fraction of this."""
MOST_REFUSALS = 4
"""Reasons that are told of one number: whoever shows nothing may call as often as he likes."""
SHOWN = 8
"""So many names are told; of a thousand nodes the others are counted."""

Notes = tuple[tuple[tuple[int, ...], "Word"], ...]
"""What is to be told, and to which numbers; 0 is this very node."""

Answer = Literal["in", "taken"]


class Table:
    """Its methods are for one thread. `place` is where number 0 listens, for people."""

    def __init__(self, known: Rendezvous, rhythm: Rhythm, now: float) -> None:
        self._names = known.names
        self._meeting = known.meeting
        self._rhythm = rhythm
        self._seats = [Seat() for _ in known.names]
        self._seats[0].session = ""
        self._seats[0].here = True
        self._others = tuple(range(1, len(known.names)))
        self._uncalled = len(self._others)
        self._unready = len(self._seats)
        self._looked = now
        self._peers_by = now + known.meeting.peers_s
        self._ready_by: float | None = None
        self._tell_at = now + rhythm.tell_s
        self.place = ""
        self.released = False
        self.ended: Ended | None = None
        self.over = False
        self._suspect_at: float | None = None

    @property
    def waited_for(self) -> bool:
        """Whether somebody is to hear something yet that number 0 alone can tell.

        Who serves or trains on, when the workers are done or one of them fails after all; who has not called yet, that
        another node has ended and why.
        """
        if self._suspect_at is not None:
            return True
        if self.ended is not None:
            return bool(self._uncalled) and not self.released and self.ended.parting.how != "apart"
        return self.released and any(seat.parting is None for seat in self._seats)

    @property
    def serving(self) -> bool:
        """Whether somebody serves who would do so for ever if nobody told it that the workers are done."""
        return self.released and any(seat.serves and seat.parting is None for seat in self._seats)

    @property
    def deadline(self) -> float:
        """When `beat` has something to do."""
        times = [self._looked + self._rhythm.ping_s]
        times += [self._suspect_at] if self._suspect_at is not None else []
        if not self.released and self.ended is None:
            times += [self._peers_by] if self._uncalled else []
            times += [self._tell_at, self._ready_by] if self._ready_by is not None else []
        return min(times)

    def call(self, number: int, session: str, now: float) -> tuple[Answer, Notes]:
        """A launcher has shown that it is of this job: whether it may take the seat of its number.

        The same launcher may at any time, for it knows best that its old connection is of no use. Another one may while
        nobody trains and nobody sits there; started again into a training, it shows that the first one is gone.
        """
        seat = self._seats[number]
        if seat.session != session:
            if seat.here or seat.parting is not None:
                return "taken", ()
            if seat.session is not None and self.released:
                why = "its launcher was started again"
                return "taken", self._lost(number, why)
            self._uncalled -= seat.session is None
            self._unready += seat.ready
            self._seats[number] = seat = Seat()
            seat.session = session
        seat.here, seat.heard = True, now
        return "in", ()

    def standing(self, number: int) -> tuple[Word, ...]:
        """What a node that has called (again) is to know."""
        found: list[Word] = []
        if self.released:
            found += [*self._offers(), Released()]
        if self.ended is not None and (self.ended.number != number or self.ended.parting.how == "lost"):
            found.append(self.ended)  # who was given up and comes back trains with nobody
        if self.over and self._seats[number].serves:
            found.append(Over())
        return tuple(found)

    def refused(self, number: int, why: str) -> bool:
        """Note that somebody came under a number who is not let in; whether that is new."""
        told = self._seats[number].refused
        if why in told or len(told) == MOST_REFUSALS:
            return False
        told.append(why)
        return True

    def gone(self, number: int, now: float, *, by_itself: bool) -> None:
        """Note that a connection was closed; `by_itself`, by a kernel that still answered."""
        seat = self._seats[number]
        seat.here = False
        if by_itself:
            seat.heard = now

    def hear(self, number: int, word: FromGuest, now: float) -> Notes:
        """Take a node's word."""
        self._seats[number].heard = now
        if isinstance(word, Ready):
            return self._ready(number, word, now)
        return self._parts(number, word, now) if isinstance(word, Parting) else ()

    def end(self, number: int, parting: Parting) -> Notes:
        """Everybody ends, for this reason: the first one stands."""
        if self.ended is not None and (self.ended.number != number or self.ended.parting.how == "apart"):
            return ()
        self.ended = Ended(number=number, parting=parting)
        # who was given up may well still be there, and would train with nobody
        knows = parting.how not in ("apart", "lost")
        return ((tuple(each for each in range(len(self._seats)) if not (knows and each == number)), self.ended),)

    def beat(self, now: float) -> Notes:
        """Do what is due: greet everybody, and look who is silent or late."""
        notes: Notes = self._blamed() if self._suspect_at is not None and now >= self._suspect_at else ()
        if now >= self._looked + self._rhythm.ping_s:
            self._forgive(now)
            self._looked = now
            notes = (*notes, (self._others, Ping()), *self._silent(now))
        return notes if self.released or self.ended is not None else (*notes, *self._due(now))

    def _ready(self, number: int, word: Ready, now: float) -> Notes:
        seat = self._seats[number]
        self._unready -= not seat.ready
        seat.ready, seat.serves = True, word.serves
        seat.offer = word.offer if fits(word.offer) else ""
        if self._ready_by is None:
            self._ready_by, self._tell_at = now + self._meeting.ready_s, now + self._rhythm.tell_s
        if self.released or self.ended is not None or self._unready:
            return ()
        self.released = True
        everybody = (0, *self._others)
        return tuple((everybody, word) for word in (*self._offers(), Released()))

    def _offers(self) -> Sequence[Word]:
        return bundled({number: seat.offer for number, seat in enumerate(self._seats) if seat.offer})

    def _parts(self, number: int, parting: Parting, now: float) -> Notes:
        self._seats[number].parting = parting
        noted: Notes = (((number,), Noted()),)
        if parting.how != "done":
            if self.over:
                return noted
            self._suspect(parting, now)
            return (*noted, *self.end(number, parting))
        if self.over or any(not seat.serves and seat.parting is None for seat in self._seats):
            return noted
        self.over = True
        return (*noted, (tuple(number for number, seat in enumerate(self._seats) if seat.serves), Over()))

    def _suspect(self, parting: Parting, now: float) -> None:
        """Where a training fails while a connection is gone, look a little later who has not called again."""
        if parting.how == "failed" and parting.during == "training" and self.ended is None and self._gone():
            self._suspect_at = now + SUSPECT_S

    def _gone(self) -> list[int]:
        seats = [(number, self._seats[number]) for number in self._others]
        return [number for number, seat in seats if seat.session is not None and not seat.here and seat.parting is None]

    def _blamed(self) -> Notes:
        """Lay the failure to the node that is gone: a training misses a node long before its launcher is given up."""
        self._suspect_at = None
        gone, failed = self._gone(), self.ended
        if failed is None or not gone:
            return ()
        name, message = self._names[failed.number], failed.parting.message.rstrip(".")
        self.ended = Ended(
            number=gone[0],
            parting=lost("training", f"its connection was gone when {name} failed ({message}), and is not made again"),
        )
        return ((tuple(range(len(self._seats))), self.ended),)

    def _forgive(self, now: float) -> None:
        """Count no time in which this launcher itself stood still: nobody could be heard then."""
        late = now - self._looked - 2 * self._rhythm.ping_s
        if late <= 0:
            return
        self._peers_by += late
        self._ready_by = None if self._ready_by is None else self._ready_by + late
        for seat in self._seats:
            seat.heard += late

    def _silent(self, now: float) -> Notes:
        notes: Notes = ()
        for number in self._others:
            seat = self._seats[number]
            if seat.session is None or seat.parting is not None or self.ended is not None:
                continue
            if not seat.here and now - seat.heard >= self._rhythm.lost_s:
                why = f"its launcher has not called again for {self._rhythm.lost_s:g} s since its connection was gone"
                notes += self._lost(number, why)
            elif now - seat.heard >= self._rhythm.silent_s:
                notes += self._lost(number, f"its launcher has said nothing for {self._rhythm.silent_s:g} s")
        return notes

    def _lost(self, number: int, why: str) -> Notes:
        during: During = "waiting" if self._seats[number].ready else "staging"
        parting = lost("training" if self.released else during, why)
        if self.over:
            self._seats[number].parting = parting  # whom nobody needs any more
            return ()
        return self.end(number, parting)

    def _due(self, now: float) -> Notes:
        if self._uncalled and now >= self._peers_by:
            where = f", which listens at {self.place}" if self.place else ""
            names = self._named(self._never_called())
            message = f"{names} did not call worker-0 within {self._meeting.peers_s:g} s{where}."
            return self.end(0, apart("peers-missing", message, MISSING))
        if self._ready_by is not None and now >= self._ready_by:
            message = (
                f"The nodes are not ready together: {self._missing()}, {self._meeting.ready_s:g} s after the first was."
            )
            return self.end(0, apart("barrier-timeout", message, LATE))
        if self._ready_by is None or now < self._tell_at:
            return ()
        self._tell_at = now + self._rhythm.tell_s
        waiting = tuple(number for number, seat in enumerate(self._seats) if seat.ready)
        return ((waiting, Waiting(text=f"Waiting for the other nodes: {self._missing()}.")),)

    def _never_called(self) -> list[int]:
        return [number for number in self._others if self._seats[number].session is None]

    def _missing(self) -> str:
        """Who is not ready, and how it is with them."""
        called = [number for number, seat in enumerate(self._seats) if seat.session is not None and not seat.ready]
        groups = (
            (self._never_called(), "never called"),
            ([number for number in called if not self._seats[number].here], "called once, and is not connected now"),
            ([number for number in called if self._seats[number].here], "not ready yet"),
        )
        return "; ".join(f"{self._named(numbers)} {how}" for numbers, how in groups if numbers)

    def _named(self, numbers: Sequence[int]) -> str:
        return and_more([self._name(number) for number in numbers])

    def _name(self, number: int) -> str:
        refused = self._seats[number].refused
        return f"{self._names[number]} ({refused[-1]})" if refused else self._names[number]


MISSING = (
    "Look whether these nodes were started, reach worker-0 at that address and port (LAUNCHER_RENDEZVOUS_PORT), and "
    "have the same job, the same nodes and the same LAUNCHER_NONCE."
)
LATE = "Look in the logs of the nodes named for what they still do, or allow more time (LAUNCHER_READY_TIMEOUT)."


def and_more(names: Iterable[str]) -> str:
    """Names as a person would list them."""
    listed = list(names)
    shown, rest = listed[:SHOWN], len(listed) - SHOWN
    if rest > 0:
        return f"{', '.join(shown)} and {rest:,} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
