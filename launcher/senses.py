"""By what a training is watched for hanging: the needs of `monitor`, which adapters and fakes fit by shape alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.hang import Closely, Look


class Activity(Protocol):
    """What boot processes and all that descend from them do. One thread's alone."""

    def look(self, pids: Sequence[int], at: float) -> Look | None:
        """One look at them at this moment; None where nothing may be seen of them.

        What they have printed is not in it: whoever reads it knows.
        """
        ...

    def closer(self) -> Closely:
        """What costs more to see, of those who were there at the last look."""
        ...


class Use(Protocol):
    """How much the devices do. One thread's alone."""

    def sample(self) -> Sequence[int]:
        """Numbers in percent, as many each time and in the same order. Raises `OSError`, with a sentence, if unread."""
        ...


class Senses(msgspec.Struct, frozen=True, kw_only=True):
    """Both; a training without devices has no `use`."""

    activity: Activity
    use: Use | None = None
