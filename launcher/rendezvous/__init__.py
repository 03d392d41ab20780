"""The launchers of a job's nodes among each other: together from before staging to the end of the training.

One thread: number 0 listens, the others call. It moves nothing of the training, and decides nothing about this run:
what it hears goes to the desk as events. A job of one node never imports it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit
from launcher.core.lifecycle import Failure, PeerEnded
from launcher.core.meeting import Rhythm
from launcher.core.meeting.partings import failed
from launcher.core.meeting.words import (
    LONGEST_OFFER,
    LONGEST_SUMMARY,
    LONGEST_TEXT,
    Again,
    Final,
    Hung,
    Idle,
    Parting,
    Quiet,
    Ready,
    Stood,
    Told,
    fits,
    sendable,
    shortened,
)
from launcher.core.record import Cause
from launcher.pool import no_threads
from launcher.rendezvous.ear import Ear
from launcher.rendezvous.guest import Guest
from launcher.rendezvous.host import Host
from launcher.rendezvous.post import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.lifecycle import Event
    from launcher.core.meeting.table import Table
    from launcher.core.plan import Rendezvous
    from launcher.core.record import Level
    from launcher.protocols import Clock

__all__ = ["Meeting"]

_log = logging.getLogger(__name__)

CLOSING_S = 0.9
"""How long the end waits for the thread; one that does not end is left behind, as a daemon."""
DEFECT = Cause(
    code="defect",
    message="A defect of the launcher ended its rendezvous with the other nodes.",
    action="Report it with the traceback in the log.",
)


class Meeting:
    """This node's part in it. Its methods are for the main thread, those of stillness for any.

    `hear` and `tell` are called from another one.
    """

    def __init__(
        self,
        known: Rendezvous,
        clock: Clock,
        hear: Callable[[Event], object],
        tell: Callable[[str, Level], object],
        rhythm: Rhythm | None = None,
    ) -> None:
        self._number = known.number
        self._post = Post()
        self._attempt = 1
        self._ear = Ear(known.names, known.number, hear, tell)
        side = Guest if known.number else Host
        self._side = side(known, self._post, self._ear, clock, rhythm or Rhythm())
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="rendezvous", daemon=True)

    def open(self) -> None:
        """Begin. Raises LauncherError where the node allows no thread."""
        try:
            self._thread.start()
        except RuntimeError:
            self._post.close()
            raise no_threads("meet the other nodes") from None

    def ready(self, offer: str = "", *, serves: bool = False) -> None:
        """Say that this node could start now, with a text for all others."""
        if not fits(offer):
            raise ValueError(f"an offer takes at most {LONGEST_OFFER} bytes")
        self._post.drop(Ready(attempt=self._attempt, offer=sendable(offer), serves=serves))

    @property
    def offers(self) -> Mapping[int, str]:
        """The texts of all nodes by their numbers, once they were released."""
        return self._ear.offers

    def part(self, parting: Parting) -> None:
        """Say how this node's part has ended; said again, it is better known why."""
        self._post.drop(shortened(msgspec.structs.replace(parting, attempt=self._attempt)))

    # attempts

    @property
    def attempt(self) -> int:
        """The newest attempt that all nodes were told to begin."""
        return self._ear.attempt

    @property
    def pause_s(self) -> float:
        """How long number 0 pauses before that attempt."""
        return self._ear.pause_s

    @property
    def final(self) -> bool:
        """Whether nobody will say any more that there is another attempt."""
        return self.decided or self._broken or not self._thread.is_alive() or self._side.forsaken

    @property
    def decided(self) -> bool:
        """Whether number 0 has said that there is none."""
        return self._ear.final

    @property
    def table(self) -> Table | None:
        """What number 0 knows of all; None on the other nodes."""
        return self._side.table if isinstance(self._side, Host) else None

    def idle(self) -> None:
        """Say that nothing of this attempt runs here any more, and that this run waits for another one."""
        self._post.drop(Idle(attempt=self._attempt))

    @property
    def given_up(self) -> Failure | None:
        """Why another attempt would lead nowhere, where that is why there is none."""
        found = self._ear.given_up
        if found is None:
            return None
        return Failure(found.exit_code, Cause(code=found.code, message=found.message, action=found.action))

    def decide(self, pause_s: float | None, given_up: Failure | None = None) -> None:
        """Say for number 0 that all begin another attempt after this pause, or that there is none, and why not."""
        why = None if given_up is None else shortened(failed("training", given_up))
        final = Final(attempt=self._attempt, given_up=why)
        self._post.drop(final if pause_s is None else Again(attempt=self._attempt + 1, pause_s=pause_s))

    def wait(self, attempt: int) -> None:
        """Take part in another attempt from now on; what is said of it is kept back until `go`."""
        self._attempt = attempt
        self._ear.wait(attempt)
        if self._side.forgets:
            self._post.drop(Again(attempt=attempt))

    def go(self) -> None:
        """Hear what was and is said of this attempt."""
        self._ear.go()

    # stillness

    def listen(self, looks: Callable[[], object], gathered: Callable[[Mapping[int, str]], object]) -> None:
        """Have `looks` called when all are to show where they stand, and on number 0 `gathered` with what they have."""
        self._ear.looks, self._ear.gathered = looks, gathered

    def quiet(self, *, quiet: bool) -> None:
        """Say whether nothing moves on this node."""
        self._post.drop(Quiet(attempt=self._attempt, quiet=quiet))

    def stood(self, text: str) -> None:
        """Show where this node stands, as it was asked for last; a text that is too long shows nothing."""
        if self._ear.turn:
            shown = sendable(text) if fits(text) else ""
            self._post.drop(Stood(attempt=self._attempt, turn=self._ear.turn, text=shown))

    def tell(self, text: str) -> None:
        """Have every node note a sentence, as number 0."""
        self._post.drop(Told(text=sendable(text)[:LONGEST_SUMMARY]))

    def hung(self, cause: Cause) -> None:
        """End the training everywhere because it hangs, as number 0; where something moves meanwhile it goes on."""
        code, message, action = (sendable(each)[:LONGEST_TEXT] for each in (cause.code, cause.message, cause.action))
        self._post.drop(Hung(attempt=self._attempt, code=code, message=message, action=action))

    @property
    def needed(self) -> bool:
        """Whether somebody has still to hear a word that only this node can say."""
        return not self._broken and self._thread.is_alive() and (self._post.waiting or self._side.waited_for)

    def close(self) -> None:
        """Leave, in less than a second whoever else is still there."""
        self._post.finish()
        if self._thread.ident is not None:
            self._thread.join(CLOSING_S)

    def _run(self) -> None:
        try:
            self._side.run()
        except Exception:  # noqa: BLE001 - a thread's edge: the run ends with it
            _log.exception("the rendezvous ended by a defect")
            self._broken = True
            self._ear.hear(PeerEnded(self._number, Failure(Exit.DEFECT, DEFECT)))
        finally:
            self._post.close()
