"""Number 0's side of a meeting: it listens, lets in who knows the nonce, and passes on what its table says.

One thread and one selector for any number of nodes. What it decides is in `core/meeting/table.py`.
"""

from __future__ import annotations

import logging
import resource
import selectors
from functools import partial
from typing import TYPE_CHECKING

from launcher.core.errors import LauncherError
from launcher.core.meeting.partings import apart
from launcher.core.meeting.table import Table
from launcher.core.meeting.words import GUEST, Farewell, Parting, Ping, heard, line
from launcher.rendezvous.channel import Broken, Channel
from launcher.rendezvous.listening import Passing, listening, only_here, shown, where
from launcher.rendezvous.reception import SPARE, Caller, Reception

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from launcher.core.meeting import Rhythm
    from launcher.core.meeting.table import Notes
    from launcher.core.plan import Rendezvous
    from launcher.protocols import Clock
    from launcher.rendezvous.ear import Ear
    from launcher.rendezvous.post import Post

_log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""Between two tries to listen, and after an `accept` for which there was no descriptor."""
BUSY_S = 5.0
"""How long a port may still be somebody else's: of a launcher, say, that is being killed."""
AT_ONCE = 64
"""So many callers are taken before those who are in are heard again."""
CLOSING_S = 0.5
"""What the last words may take."""
NAME = "Correct the name (--master, VC_WORKER_HOSTS), or the DNS of this node."
_PING, _FAREWELL = Ping(), Farewell()


class Host:
    """Runs on a thread of its own until `post.over`."""

    def __init__(self, known: Rendezvous, post: Post, ear: Ear, clock: Clock, rhythm: Rhythm) -> None:
        self._known = known
        self._post = post
        self._ear = ear
        self._clock = clock
        self._rhythm = rhythm
        self.table = Table(known, rhythm, clock.monotonic())
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._members: dict[int, Caller] = {}
        self._reception = Reception(known, self.table, ear)
        self._deaf_until: float | None = None
        self._busy_until = clock.monotonic() + min(BUSY_S, known.meeting.peers_s)

    forgets = forsaken = False
    """Its table begins an attempt by itself, and it cannot lose itself."""

    @property
    def waited_for(self) -> bool:
        """Whether somebody has still to hear something from here."""
        return self.table.waited_for

    def run(self) -> None:
        """Be there for the others until asked to end."""
        self._selector.register(self._post, selectors.EVENT_READ)
        try:
            self._listen()
            while not self._post.over:
                self._turn(self._until())
            self._take_leave()
        finally:
            for listener in self._listeners:
                listener.close()
            for caller in (*self._members.values(), *self._reception.callers):
                caller.close()
            self._selector.close()

    def _listen(self) -> None:
        """Open the door; its own name may become known a little later than the node starts."""
        host, port = self._known.host, self._known.meeting.port
        by = self._clock.monotonic() + self._known.meeting.peers_s
        while not self._post.over and self.table.ended is None:
            self._listeners, missing = self._opened(host, port)
            if not missing:
                break
            if self._clock.monotonic() > by:
                message = f"The name of worker-0, {host!r}, could not be resolved: {missing}."
                self._tell(self.table.end(0, apart("peers-missing", message, NAME)))
            self._turn(AGAIN_S)
        for each in self._listeners:
            self._selector.register(each, selectors.EVENT_READ)
        self.table.roll.place = " and ".join(map(where, self._listeners))
        if self._listeners:
            self._warn()
            _log.info("waiting for %d other nodes at %s", len(self._known.names) - 1, self.table.roll.place)

    def _warn(self) -> None:
        """Say before it is too late that not all nodes can be let in, or can come at all."""
        if only_here(self._known.host, [each.getsockname()[0] for each in self._listeners]):
            place = self.table.roll.place
            text = f"worker-0 listens at {place}, which only this machine reaches; that is what it knows by"
            self._ear.say(
                f"{text} {self._known.host}: look in its /etc/hosts, or name an address (--master)", "Warning"
            )
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        wanted = len(self._known.names) + SPARE
        if most != resource.RLIM_INFINITY and most < wanted:
            self._ear.say(f"worker-0 may open {most} files (ulimit -n), and {wanted} nodes and others call", "Warning")

    def _opened(self, host: str, port: int) -> tuple[list[socket.socket], str]:
        """The sockets, or why there are none yet; where they cannot be had at all every node ends."""
        try:
            return listening(host, port), ""
        except LauncherError as error:
            if isinstance(error, Passing) and self._clock.monotonic() < self._busy_until:
                return [], str(error)
            self._tell(self.table.end(0, apart(error.code, str(error), error.action, error.exit_code)))
            return [], ""
        except OSError as error:
            return [], error.strerror or str(error)

    def _until(self) -> float:
        times = [self.table.deadline]
        times += [at for at in (self._reception.deadline, self._deaf_until) if at is not None]
        return max(0.0, min(times) - self._clock.monotonic())

    def _turn(self, timeout: float) -> None:
        for key, mask in self._selector.select(timeout):
            if isinstance(key.fileobj, Caller):
                self._attend(key.fileobj, mask)
            elif key.fileobj is not self._post:
                self._take_callers(key.fileobj)  # type: ignore[arg-type]
        now = self._clock.monotonic()
        letters = self._post.take()
        for letter in letters:
            self._tell(self.table.hear(0, letter, now))
        self._post.handled(len(letters))
        for caller in self._reception.late(now):
            self._turn_away(caller, "it said nothing in time")
        self._hear_again(now)
        self._tell(self.table.beat(now))
        if self.table.over or self.table.ended is not None:
            self._ear.stir()  # somebody who still serves, is missed or ends may have come, been lost, or ended

    def _take_callers(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._go_deaf(error)
                return
            now = self._clock.monotonic()
            for caller in self._reception.crowded():
                self._turn_away(caller, "it said nothing, and others came")
            caller = Caller(Channel(connection, self._rhythm.dead_s), shown(address), now + self._rhythm.hello_s)
            self._selector.register(caller, selectors.EVENT_READ)
            self._reception.callers[caller] = None
            self._try(caller, partial(caller.channel.send, self._reception.challenge(caller)))

    def _go_deaf(self, error: OSError) -> None:
        """Without a descriptor for a caller the door would ring for ever: it is looked at again a little later."""
        oldest = next(iter(self._reception.callers), None)
        if oldest is not None:
            self._turn_away(oldest, "it said nothing, and others came")
            return
        if self._deaf_until is not None:
            return  # another door rang in the same moment
        self._ear.say(f"worker-0 cannot take another call: {error.strerror}; raise its ulimit -n", "Warning")
        self._deaf_until = self._clock.monotonic() + AGAIN_S
        for each in self._listeners:
            self._selector.unregister(each)

    def _hear_again(self, now: float) -> None:
        if self._deaf_until is not None and now >= self._deaf_until:
            self._deaf_until = None
            for each in self._listeners:
                self._selector.register(each, selectors.EVENT_READ)

    def _attend(self, caller: Caller, mask: int) -> None:
        if mask & selectors.EVENT_WRITE and not caller.over:
            self._try(caller, caller.channel.flush)
        if mask & selectors.EVENT_READ and not caller.over:
            self._try(caller, lambda: self._hear(caller))

    def _try(self, caller: Caller, work: Callable[[], object]) -> None:
        """Do something with a connection, and let go of it if it breaks."""
        try:
            work()
        except Broken as broken:
            self._let_go(caller, broken)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if caller.channel.wants_out else 0)
        if not caller.over and wanted != caller.mask:
            caller.mask = wanted
            self._selector.modify(caller, wanted)

    def _hear(self, caller: Caller) -> None:
        for text in caller.channel.lines():
            if caller.over:
                return
            if caller.number is None:
                self._receive(caller, text)
                continue
            word = heard(text, GUEST)
            if word is None:
                raise Broken("it said what is no word")
            self._tell(self.table.hear(caller.number, word, self._clock.monotonic()))
            if isinstance(word, Parting):
                self._ear.stir()

    def _receive(self, caller: Caller, text: bytes) -> None:
        let_in, notes = self._reception.receive(caller, text, self._clock.monotonic())
        if not let_in:
            self._close(caller)
        elif caller.number is not None:
            old, self._members[caller.number] = self._members.get(caller.number), caller
            if old is not None:
                self._close(old)
            self._ear.stir()
        self._tell(notes)

    def _tell(self, notes: Notes) -> None:
        for numbers, word in notes:
            text = line(word)
            for number in numbers:
                member = self._members.get(number)
                if number == 0:
                    self._ear.take(word)
                elif member is not None and not (word == _PING and member.channel.wants_out):
                    # to who does not read, one more ping would say nothing new
                    self._try(member, partial(member.channel.send, text))

    def _turn_away(self, caller: Caller, why: str) -> None:
        self._reception.stranger(caller, why)
        self._close(caller)

    def _let_go(self, caller: Caller, broken: Broken) -> None:
        if caller.number is None:
            self._turn_away(caller, str(broken))
            return
        if self._members.get(caller.number, caller) is caller:
            self._members.pop(caller.number, None)
            self.table.gone(caller.number, self._clock.monotonic(), by_itself=broken.by_itself)
        self._close(caller)

    def _close(self, caller: Caller) -> None:
        if caller.over:
            return
        self._reception.callers.pop(caller, None)
        self._selector.unregister(caller)
        caller.close()

    def _take_leave(self) -> None:
        """Say that nobody is to wait for us, and go when all have heard it, or soon if they do not listen."""
        self._selector.unregister(self._post)
        for each in self._listeners if self._deaf_until is None else ():
            self._selector.unregister(each)
        if self.table.roll.serving and self.table.ended is None:
            why = "it left before the other workers were done."
            parting = Parting(how="stopped", exit_code=143, code="interrupted", message=why)
            self._tell(self.table.end(0, parting))
        self._tell(((tuple(self._members), _FAREWELL),))
        by = self._clock.monotonic() + CLOSING_S
        while self._members and (left := by - self._clock.monotonic()) > 0:
            for member in self._members.values():
                if not (member.channel.wants_out or member.silenced):
                    member.silenced = True
                    member.channel.no_more()
            for key, mask in self._selector.select(left):
                if isinstance(key.fileobj, Caller):
                    self._attend(key.fileobj, mask)
        self._reception.sum_up()
