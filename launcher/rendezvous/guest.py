"""The other nodes' side of a meeting: it calls number 0 until it is let in, and calls again when a connection is lost.

One thread and one connection. It decides nothing but when number 0 counts as lost.
"""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

from launcher.core.meeting.part import Part
from launcher.core.meeting.partings import apart, lost
from launcher.core.meeting.words import HOST, Again, Ended, Farewell, Noted, Ping, heard, line
from launcher.rendezvous.calling import Reached, Refusal, call
from launcher.rendezvous.channel import Broken, Channel
from launcher.rendezvous.proof import fresh

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from launcher.core.meeting import Rhythm
    from launcher.core.meeting.words import FromHost, Parting
    from launcher.core.plan import Rendezvous
    from launcher.protocols import Clock
    from launcher.rendezvous.ear import Ear
    from launcher.rendezvous.post import Post

FIRST_S, MOST_S = 0.02, 1.0
"""Between two calls: it doubles from the first to the most."""
CALLS = 1000
"""So many calls in a second may all nodes together make at a door that is not open yet: few nodes call more often, for
all wait for the one that starts last, which may be number 0."""
CLOSING_S = 0.5
"""What the last word may take."""
MISSING = (
    "Look whether worker-0 was started, can be reached at that address and port (LAUNCHER_RENDEZVOUS_PORT), and has "
    "the same job, the same nodes and the same LAUNCHER_NONCE."
)
_PING = line(Ping())


class Guest:
    """Runs on a thread of its own until `post.over`, and then until its last word is noted."""

    def __init__(self, known: Rendezvous, post: Post, ear: Ear, clock: Clock, rhythm: Rhythm) -> None:
        self._known = known
        self._post = post
        self._ear = ear
        self._clock = clock
        self._rhythm = rhythm
        self._session = fresh()
        self._selector = selectors.DefaultSelector()
        self._part = Part(1)
        self._alone = False
        """Whether number 0 has left, so that nothing can be told any more."""
        self._lost = False
        """Whether number 0 counts as lost, and what it says later as well."""
        self._host: str | None = None
        self._why = "it was not called yet"
        self._told: set[str] = set()
        now = clock.monotonic()
        self._heard = self._looked = now
        self._peers_by = now + known.meeting.peers_s
        self._tell_at = now + rhythm.tell_s
        self._close_by: float | None = None

    def run(self) -> None:
        """Stay in touch with number 0 until asked to end."""
        self._selector.register(self._post, selectors.EVENT_READ)
        pause, most = FIRST_S, min(MOST_S, max(2 * FIRST_S, len(self._known.names) / CALLS))
        try:
            while not self._is_over():
                if self._rests():
                    self._wait(None)
                    continue
                reached = self._call()
                if reached is not None:
                    pause = FIRST_S
                    self._talk(reached)
                self._look()
                if not self._rests():
                    self._wait(pause)
                    pause = min(most, pause * 2)
        finally:
            self._selector.close()

    forgets = True
    """What it has said belongs to one attempt."""

    @property
    def waited_for(self) -> bool:
        """Whether number 0 has still to hear that this node's part has ended; why may stay with what it knows."""
        return self._part.has_ended and not (self._part.known or self._alone)

    @property
    def forsaken(self) -> bool:
        """Whether number 0 is gone, so that nobody can say that there is another attempt."""
        return self._lost or self._alone

    def _is_told(self) -> bool:
        return self._part.is_told or self._alone

    def _awaits(self) -> bool:
        """Whether this run waits to hear whether there is another attempt, and somebody may say so."""
        return self._part.idles and not (self.forsaken or self._ear.final)

    def _rests(self) -> bool:
        """Whether no connection is needed that is not there: nothing is to be said, and nothing to be waited for."""
        return self._part.free and self._is_told() and not self._awaits()

    def _has_heard_all(self) -> bool:
        """Whether a connection is of no more use; why this node or another has failed may still become better known."""
        return self._alone or (self._part.is_done and not self._awaits())

    def _is_over(self) -> bool:
        """Whether to end: the last word is noted, nobody is there to note it, or it has had its time."""
        if not self._post.over:
            return False
        now = self._clock.monotonic()
        if self._close_by is None:
            self._close_by = now + CLOSING_S
        return self._is_told() or now >= self._close_by

    def _wait(self, seconds: float | None) -> bool:
        """Wait for the connection or the post, no longer than the end allows; whether the connection has something."""
        if self._close_by is not None:
            left = max(0.0, self._close_by - self._clock.monotonic())
            seconds = left if seconds is None else min(seconds, left)
        found = self._selector.select(seconds)
        letters = self._post.take()
        for letter in letters:
            if isinstance(letter, Again):
                self._part = Part(letter.attempt)
            else:
                self._part.take(letter)
        self._post.handled(len(letters))
        if letters:
            self._ear.stir()  # whoever waits until all is said
        return any(key.fileobj is not self._post for key, _ in found)

    # calling

    def _call(self) -> Reached | None:
        try:
            reached = call(self._known, self._session, self._rhythm, self._await, self._clock.monotonic)
        except Broken as broken:
            self._note(broken)
            return None
        met = self._part.released or self._part.idles or self._part.attempt > 1
        if met and self._host is not None and reached.session != self._host:
            self._lose("its launcher was started again")
        self._host = reached.session
        return reached

    def _note(self, broken: Broken) -> None:
        """Remember why a call was in vain; what a launcher said says more than that it is gone."""
        if isinstance(broken, Refusal) or self._why not in self._told:
            self._why = str(broken)
        if isinstance(broken, Refusal) and self._why not in self._told:
            self._told.add(self._why)
            self._ear.say(f"worker-0 does not let this node in: {self._why}", "Warning")

    def _await(self, connection: socket.socket | Channel, mask: int, seconds: float) -> bool:
        """Wait for one connection; the post is taken meanwhile."""
        by = self._clock.monotonic() + seconds
        self._selector.register(connection, mask)
        try:
            while (left := by - self._clock.monotonic()) > 0 and not self._is_over():
                if self._wait(left):
                    return True
        finally:
            self._selector.unregister(connection)
        return False

    # talking

    def _talk(self, reached: Reached) -> None:
        """Say what is to be said and hear what is told, until the connection breaks or nothing is left of both."""
        channel = reached.channel
        self._part.connect()
        self._heard = self._looked = self._clock.monotonic()
        ping_at = self._heard + self._rhythm.ping_s
        self._selector.register(channel, selectors.EVENT_READ)
        try:
            self._hear_all(reached.early)
            while not (self._is_over() or self._has_heard_all()):
                for word in self._part.to_say():
                    channel.send(line(word))
                if self._clock.monotonic() >= ping_at:
                    self._ping(channel)
                    ping_at = self._clock.monotonic() + self._rhythm.ping_s
                room = selectors.EVENT_WRITE if channel.wants_out else 0
                self._selector.modify(channel, selectors.EVENT_READ | room)
                if self._wait(max(0.0, ping_at - self._clock.monotonic())):
                    channel.flush()
                    self._hear_all(channel.lines())
                self._mind_silence()
        except Broken as broken:
            self._why = str(broken)
            if broken.by_itself:
                self._heard = self._clock.monotonic()
        finally:
            self._selector.unregister(channel)
            channel.close()

    def _ping(self, channel: Channel) -> None:
        if not channel.wants_out:  # to who does not read, one more would say nothing new
            channel.send(_PING)

    def _hear_all(self, texts: Sequence[bytes]) -> None:
        for text in texts:
            word = heard(text, HOST)
            if word is None:
                raise Broken("it said what is no word")
            self._heard = self._clock.monotonic()
            self._hear(word)

    def _hear(self, word: FromHost) -> None:
        if isinstance(word, Farewell):
            if not self._part.released:
                self._lose("its launcher left before all nodes were ready")
            self._leave_alone()
        self._part.hear(word)
        if isinstance(word, Noted):
            self._ear.stir()
        self._ear.take(word)

    # looking

    def _mind_silence(self) -> None:
        """Give up a connection that stands, and number 0 with it, when nothing was said for too long."""
        self._forgive()
        if self._clock.monotonic() - self._heard >= self._rhythm.silent_s:
            self._lose(f"its launcher has said nothing for {self._rhythm.silent_s:g} s")
            raise Broken("it says nothing", by_itself=False)

    def _look(self) -> None:
        """Without a connection: whether number 0 counts as lost, or was never there."""
        self._forgive()
        now = self._clock.monotonic()
        if self._host is not None:
            if now - self._heard >= self._rhythm.lost_s:
                self._lose(f"its launcher could not be called again for {self._rhythm.lost_s:g} s: {self._why}")
                self._leave_alone()
            return
        at = f"{self._known.host}, port {self._known.meeting.port}"
        if now >= self._peers_by and not self._part.free:
            message = f"worker-0 could not be called at {at} for {self._known.meeting.peers_s:g} s: {self._why}."
            self._end(apart("peers-missing", message, MISSING))
            self._leave_alone()
        elif now >= self._tell_at and self._part.ready is not None:
            self._tell_at = now + self._rhythm.tell_s
            self._ear.say(f"Waiting for worker-0 at {at}: {self._why}.")

    def _forgive(self) -> None:
        """Count no time in which this launcher itself stood still."""
        now = self._clock.monotonic()
        late = now - self._looked - 2 * self._rhythm.ping_s - 2 * self._rhythm.hello_s
        if late > 0:
            self._heard += late
            self._peers_by += late
        self._looked = now

    def _leave_alone(self) -> None:
        """Number 0 is not to be told anything any more."""
        self._alone = True
        self._ear.stir()

    def _lose(self, why: str) -> None:
        self._lost = True
        if not self._part.free:
            self._end(lost("training" if self._part.released else "waiting", why))
        self._ear.stir()

    def _end(self, parting: Parting) -> None:
        self._part.free = True
        self._ear.take(Ended(attempt=self._part.attempt, number=0, parting=parting))
