"""What is done at a desk when the time gets short: outputs are hastened, notices looked for, boot processes told.

It decides nothing, and nothing is made or imported before somebody asks for an end or a notice can come.
"""

from __future__ import annotations

from signal import SIGTERM
from typing import TYPE_CHECKING

from launcher.core.lifecycle import Announced, Event, Signalled
from launcher.core.lifecycle.deadlines import reserve
from launcher.core.lifecycle.stopping import lies_ready, presses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.core.lifecycle import State
    from launcher.core.record import Cause


class Hurry:
    """Its methods are for the main thread alone. What it calls is laid in by whoever has something to do in a hurry.

    `hasten` speeds up the uploads. `foretold` finds why a SIGTERM came; `pass_on` tells boot processes of it, by their
    pids, with the seconds that they have.
    """

    def __init__(self) -> None:
        self.hasten: Callable[[], object] = bool
        self.foretold: Callable[[], Cause | None] = lambda: None
        self.pass_on: Callable[[Cause, Sequence[int], float | None], object] = lambda _cause, _pids, _seconds: None
        self._seconds: float | None = None

    def foreseen(self, event: Event, state: State) -> Iterator[Event]:
        """What is to be heard before an event: why the first SIGTERM comes, as far as that stands written."""
        if isinstance(event, Signalled) and event.number == SIGTERM and not state.signals:
            self._seconds = state.grace - reserve(state.grace)
            found = self.foretold() if state.announced is None else None
            if found is not None:
                yield Announced(found)

    def changed(self, before: State, after: State, pids: Sequence[int]) -> None:
        """Act on what has become of the state; `pids` are the boot processes."""
        news = after.announced if before.announced is None else None
        if news is not None:
            self.pass_on(news, pids, self._seconds)
        why = after.stopped, after.announced
        begins = presses(after) and not (presses(before) and why == (before.stopped, before.announced))
        if begins or (news is not None and lies_ready(after)):
            self.hasten()
