"""The table of number 0: who has called, who is ready, who has ended, and what everybody is told of it.

All of it is of one attempt: what a node says of an earlier one comes too late, but that its launcher ends. It knows no
sockets and no clock: what happened is told to it with its time, and it answers with words and for whom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from launcher.core.meeting.partings import blamed, concerns, failed_in_training, lost, stays_so
from launcher.core.meeting.roll import Roll
from launcher.core.meeting.stillness import Stillness
from launcher.core.meeting.words import (
    Again,
    Ended,
    Final,
    Hung,
    Idle,
    Look,
    Noted,
    Over,
    Parting,
    Ping,
    Quiet,
    Ready,
    Released,
    Stood,
    Told,
)

if TYPE_CHECKING:
    from launcher.core.meeting import Rhythm
    from launcher.core.meeting.words import During, Letter, Word
    from launcher.core.plan import Rendezvous

SUSPECT_S = 2.0
"""A connection that was only cut is made again in a fraction of this."""

Notes = tuple[tuple[tuple[int, ...], "Word"], ...]
"""What is to be told, and to which numbers; 0 is this very node."""

Answer = Literal["in", "taken"]


class Table:
    """Its methods are for one thread. `roll` is who is there; `final`: no other attempt follows this one."""

    def __init__(self, known: Rendezvous, rhythm: Rhythm, now: float) -> None:
        self._rhythm = rhythm
        self.roll = Roll(known, rhythm, now)
        self._names, self._seats = self.roll.names, self.roll.seats
        self._everybody = tuple(range(len(self._seats)))
        self._stillness = Stillness()
        self.ended: Ended | None = None
        self._ended_at = 0.0
        self._before: Ended | None = None
        self.over = self.final = False
        self._given_up: Parting | None = None
        self._suspect_at: float | None = None

    @property
    def released(self) -> bool:
        """Whether all nodes were ready."""
        return self.roll.released

    @property
    def attempt(self) -> int:
        """Which attempt all of this is of."""
        return self.roll.attempt

    @property
    def waited_for(self) -> bool:
        """Whether somebody is to hear something yet that number 0 alone can tell.

        To who serves or trains on, that the workers are done or one has failed; to who has not called yet, why all end.
        """
        if self._suspect_at is not None:
            return True
        if self.ended is not None:
            return bool(self.roll.uncalled) and not self.released and self.ended.parting.how != "apart"
        return self.released and any(seat.parting is None for seat in self._seats)

    @property
    def rested(self) -> bool:
        """Whether an attempt has failed and nothing of it runs any more on any node that can be heard."""
        if self.ended is None or self._suspect_at is not None:
            return False
        return all(seat.idle or seat.awaited for seat in self._seats)

    @property
    def hopeless(self) -> bool:
        """Whether no other attempt can follow: a launcher ends or has left, or the nodes cannot come together."""
        return stays_so(self.ended) or any(seat.deserted for seat in self._seats)

    @property
    def deadline(self) -> float:
        """When `beat` has something to do."""
        times = [self.roll.greets_at]
        times += [at for at in (self._suspect_at, self._stillness.deadline) if at is not None]
        times += [self.roll.deadline] if not self.released and self.ended is None else []
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
                return "taken", () if seat.lost else self._lost(number, "its launcher was started again", now)
            self.roll.admit(number, session)
        self._seats[number].here = True
        self.roll.hear(number, now)
        return "in", ()

    def standing(self, number: int) -> tuple[Word, ...]:
        """What a node that has called (again) is to know."""
        seat = self._seats[number]
        found: list[Word] = []
        if seat.attempt < self.attempt and self._before is not None and concerns(self._before, number):
            found.append(replace(self._before, attempt=seat.attempt))  # it may train on and know of nothing
        found += [Again(attempt=self.attempt)] if self.attempt > 1 else []
        if self.released:
            found += [*self.roll.offers(), Released(attempt=self.attempt)]
        if self.ended is not None and concerns(self.ended, number):
            found.append(self.ended)
        if self.over and seat.serves:
            found.append(Over(attempt=self.attempt))
        return tuple(found)

    def refused(self, number: int, why: str) -> bool:
        """Note that somebody came under a number who is not let in; whether that is new."""
        return self._seats[number].refuse(why)

    def gone(self, number: int, now: float, *, by_itself: bool) -> None:
        """Note that a connection was closed; `by_itself`, by a kernel that still answered."""
        seat = self._seats[number]
        seat.here = False
        if by_itself:
            seat.heard = now

    def hear(self, number: int, word: Letter, now: float) -> Notes:
        """Take a node's word; those that decide are number 0's own."""
        self.roll.hear(number, now)
        if isinstance(word, Parting):
            return self._parts(number, word, now)
        if isinstance(word, Again | Final):
            return self._decided(word, now)
        if isinstance(word, Told):
            return ((self._everybody, word),)
        return () if isinstance(word, Ping) or word.attempt != self.attempt else self._of_now(number, word, now)

    def end(self, number: int, parting: Parting) -> Notes:
        """Everybody ends, for this reason: the first one stands."""
        if self.ended is not None and (self.ended.number != number or self.ended.parting.how == "apart"):
            return ()
        self._stillness.forget()
        self.ended = Ended(attempt=self.attempt, number=number, parting=parting)
        return ((tuple(each for each in self._everybody if concerns(self.ended, each)), self.ended),)

    def beat(self, now: float) -> Notes:
        """Do what is due: greet everybody, and look who is silent or late."""
        notes: Notes = self._blamed() if self._suspect_at is not None and now >= self._suspect_at else ()
        if now >= self.roll.greets_at:
            self.roll.greet(now)
            notes = (*notes, (self.roll.others, Ping()), *self._silent(now))
        if self.ended is not None:
            return notes
        return (*notes, *(self._look(now) if self.released else self._due(now)))

    def _of_now(self, number: int, word: Ready | Idle | Quiet | Stood | Hung, now: float) -> Notes:
        """Take a word about this attempt."""
        seat = self._seats[number]
        match word:
            case Ready():
                return self._ready(number, word, now)
            case Idle():
                seat.idle = True
                return (((number,), self._last_word()),) if self.final else ()
            case Quiet() | Stood():
                self._stillness.hear(number, word)
                return self._look(now)
            case Hung():  # pragma: no branch - nothing else is left, and mypy proves it
                hangs = self.released and self.ended is None and self._stillness.still(self.roll.training())
                return ((self._everybody, word),) if hangs else ()

    def _ready(self, number: int, word: Ready, now: float) -> Notes:
        if not self.roll.ready(number, word, now) or self.released or self.ended is not None:
            return ()
        self.roll.released = True
        return tuple((self._everybody, word) for word in (*self.roll.offers(), Released(attempt=self.attempt)))

    def _parts(self, number: int, parting: Parting, now: float) -> Notes:
        seat, noted = self._seats[number], self._noted(number, parting)
        seat.leaves = seat.leaves or parting.final
        if parting.attempt != self.attempt:
            if not parting.final:
                return noted
            # its launcher ends, and does not know yet that another attempt has begun
            how = "stopped" if parting.how == "done" else parting.how
            parting = replace(parting, attempt=self.attempt, how=how)
        seat.parting = parting
        if parting.how != "done":
            if self.over:
                return noted
            self._suspect(parting, now)
            return (*noted, *self.end(number, parting))
        if self.over or self.ended is not None or any(each.trains for each in self._seats):
            return noted
        self.over = self.final = True
        told: Notes = ((self.roll.servers(), Over(attempt=self.attempt)), (self.roll.idle(), self._last_word()))
        return (*noted, *(note for note in told if note[0]))

    def _decided(self, word: Again | Final, now: float) -> Notes:
        """Begin another attempt, as number 0 says, or none."""
        if self.final or self.hopeless or isinstance(word, Final):
            self.final, self._given_up = True, word.given_up if isinstance(word, Final) else None
            return ((self._everybody, self._last_word()),)
        self._before, self.ended, self._suspect_at = self.ended, None, None
        self._stillness.forget()
        self.roll.begin(word.attempt, now)
        return ((self._everybody, word),)

    def _noted(self, number: int, parting: Parting) -> Notes:
        """Say that an end was heard; where number 0's launcher ends it decides no more, and all hear that as well."""
        self.final = self.final or (number == 0 and parting.final)
        final: Notes = ((self._everybody, self._last_word()),) if number == 0 and parting.final else ()
        return (((number,), Noted(attempt=parting.attempt)), *final)

    def _last_word(self) -> Final:
        return Final(attempt=self.attempt, given_up=self._given_up)

    def _suspect(self, parting: Parting, now: float) -> None:
        """Where a training fails while a connection is gone, look a little later who has not called again."""
        if self.ended is None:
            self._ended_at = now
            if failed_in_training(parting) and self.roll.gone():
                self._suspect_at = now + SUSPECT_S

    def _blamed(self) -> Notes:
        """Lay the failure to the node that is gone: a training misses a node long before its launcher is given up."""
        self._suspect_at = None
        gone, failed = self.roll.gone(), self.ended
        why = "its connection was gone when {}, and is not made again"
        return self._blame(failed, gone[0], why) if gone and failed else ()

    def _blame(self, failed: Ended, number: int, why: str) -> Notes:
        self.ended = blamed(failed, self._names, number, why)
        return ((self._everybody, self.ended),)

    def _silent(self, now: float) -> Notes:
        """Give up who is silent for too long; after the end of an attempt, where another one may follow."""
        notes: Notes = ()
        for number in self.roll.others:
            seat = self._seats[number]
            why = "" if seat.awaited else seat.silence(now, self._rhythm)
            if not why:
                continue
            if self.ended is None and seat.parting is None:
                notes += self._lost(number, why, now)
            elif self.ended is not None and self._seats[0].idle and not (seat.idle or self.final):
                notes += self._missed(number, now)
        return notes

    def _missed(self, number: int, now: float) -> Notes:
        """Who is found to be lost when an attempt has failed, and was so before, is why it did."""
        self.roll.miss(number, now)
        seat, ended = self._seats[number], self.ended
        if seat.parting is not None or seat.heard > self._ended_at or not (ended and failed_in_training(ended.parting)):
            return ()
        return self._blame(ended, number, "nothing was heard of it any more when {}")

    def _lost(self, number: int, why: str, now: float) -> Notes:
        during: During = "waiting" if self._seats[number].ready else "staging"
        parting = lost("training" if self.released else during, why)
        self.roll.miss(number, now)
        if self.over:
            self._seats[number].parting = parting  # whom nobody needs any more
            return ()
        return () if self.roll.regathers else self.end(number, parting)

    def _due(self, now: float) -> Notes:
        found = self.roll.due(now) or ()
        return self.end(0, found) if isinstance(found, Parting) else (found,) if found else ()

    def _look(self, now: float) -> Notes:
        """Ask where all stand when nothing moves anywhere, and pass on what was shown."""
        if not self.released or self.ended is not None:
            return ()
        training = self.roll.training()
        word = self._stillness.due(training, self.attempt, now)
        to = tuple(training) if isinstance(word, Look) else (0,)
        return () if word is None else ((to, word),)
