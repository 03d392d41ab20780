"""The launchers of a job's nodes among each other: together from before staging to the end of the training.

One thread: number 0 listens, the others call. It moves nothing of the training, and decides nothing about this run:
what it hears goes to the desk as events. A job of one node never imports it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from launcher.core.errors import Exit
from launcher.core.lifecycle import Failure, PeerEnded
from launcher.core.meeting import Rhythm
from launcher.core.meeting.words import LONGEST_OFFER, Parting, Ready, fits, sendable, shortened
from launcher.core.record import Cause
from launcher.pool import no_threads
from launcher.rendezvous.ear import Ear
from launcher.rendezvous.guest import Guest
from launcher.rendezvous.host import Host
from launcher.rendezvous.post import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.lifecycle import Event
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
    """This node's part in it. Its methods are for the main thread; `hear` and `tell` are called from another one."""

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
        self._post.drop(Ready(offer=sendable(offer), serves=serves))

    @property
    def offers(self) -> Mapping[int, str]:
        """The texts of all nodes by their numbers, once they were released."""
        return self._ear.offers

    def part(self, parting: Parting) -> None:
        """Say how this node's part has ended; said again, it is better known why."""
        self._post.drop(shortened(parting))

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
