"""What is told of a staging while it goes on: what begins, what is done, and the first thing that goes wrong."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core import events
from launcher.core.errors import Cancelled, LauncherError, PlanError, StageError
from launcher.stage.wanted import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.protocols import Record
    from launcher.stage.channel import Channel
    from launcher.stage.wanted import Wanted

_log = logging.getLogger(__name__)


class Telling:
    """The words of one staging; `task` is the node's name in them."""

    def __init__(self, task: str, record: Record, monotonic: Callable[[], float]) -> None:
        self._task = task
        self._record = record
        self._monotonic = monotonic
        self._started = monotonic()
        self._failed = False
        self._lock = threading.Lock()

    @contextmanager
    def failing(self, want: Wanted) -> Iterator[None]:
        """What goes wrong in the block is told with the channel's name, and noted if it is the first."""
        try:
            yield
        except Cancelled:
            raise
        except (LauncherError, OSError) as error:
            said = error if isinstance(error, PlanError) else _named(want, error)
            self._failed_first(want, said)
            raise said from error

    def announce(self, want: Wanted) -> None:
        """Say that a kind of channel is about to be brought."""
        if want.kind == "code":
            self._record.event(events.code_downloading(self._task))
        elif want.kind == "input":
            self._record.event(events.input_downloading(self._task))

    def done(self, one: Channel) -> None:
        """Say that a channel is complete."""
        one.seconds = self._monotonic() - one.began
        task, want, far = self._task, one.want, one.staged()
        _log.info(
            "staged %s: %d objects, %d bytes, %.1f s, to %s%s",
            *(want.label, far.objects, far.bytes, one.seconds, want.path),
            f" ({far.kept} more were there)" if far.kept else "",
        )
        if want.kind == "code":
            self._record.event(events.code_downloaded(task, one.seconds))
        elif want.kind == "input":
            self._record.event(events.input_downloaded(task, one.seconds, want.name))

    def _failed_first(self, want: Wanted, error: LauncherError) -> None:
        """Note the first failure; those that only follow from it are no news."""
        with self._lock:
            if self._failed:
                return
            self._failed = True
        task, seconds = self._task, self._monotonic() - self._started
        if want.kind == "code":
            self._record.event(events.code_failed(task, seconds, str(error)), "Error")
        elif want.kind == "input":
            self._record.event(events.input_failed(task, seconds, want.name, str(error)), "Error")


def _named(want: Wanted, error: LauncherError | OSError) -> StageError:
    """What went wrong in a channel, once with the channel's name."""
    ours = error if isinstance(error, LauncherError) else disk.refusal(error, f"write in {want.path}")
    if isinstance(ours, StageError) and str(ours).startswith(f"{want.label}: "):
        return ours
    return named(want.label, ours)
