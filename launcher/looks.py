"""Where the children of a desk stand, shown once somebody asks: nothing is made, or even imported, before."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.children import Children
    from launcher.core.lifecycle import Exited
    from launcher.protocols import Processes
    from launcher.stacks import Stacks

_log = logging.getLogger(__name__)


class Looks:
    """Its methods are for the main thread alone. `find` makes what shows stacks, or None where nobody can."""

    def __init__(self, find: Callable[[], Stacks | None]) -> None:
        self._find = find
        self._stacks: Stacks | None = None

    @property
    def deadline(self) -> float | None:
        """When a `tick` will have something to do."""
        return None if self._stacks is None else self._stacks.deadline

    def tick(self, now: float) -> None:
        """Go on with what was asked."""
        if self._stacks is not None:
            self._stacks.tick(now)

    def ask(self, children: Children, *, gently: bool = False) -> None:
        """Have those children that live show where they stand; `gently` where nobody asked for it."""
        self._stacks = self._stacks or self._find()
        if self._stacks is not None:
            stderr = dict(zip(children.pids, children.pumps[1::2], strict=True))
            self._stacks.ask(children.living, children.rank, lambda pid: stderr[pid].tail, gently=gently)

    def exited(self, event: Exited, living: Sequence[int]) -> None:
        """Hear of the end of a child, whoever it is, and who lives on."""
        if self._stacks is not None:
            self._stacks.exited(event)
            if not living:
                self._stacks.over()  # a spy among our children would hide whose the orphans are

    def stand_still(self) -> None:
        """End a look that is under way: its time would run out while we stand still."""
        if self._stacks is not None:
            self._stacks.over()


def nobody() -> None:
    """Stand for stacks that nobody shows."""


def name_left(processes: Processes, pids: Sequence[int]) -> None:
    """Say who of these children's families is still there after all, and what keeps each."""
    from launcher.stacks.outside import left_behind  # noqa: PLC0415 - hardly any run gets here

    for pid in pids:
        for line in left_behind(processes, pid):
            _log.warning("left behind: %s", line)
