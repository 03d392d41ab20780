"""The uploads while the boot processes run: each output by its period, and all of them at once when time gets short.

What is under way when the training has ended is finished here; everything else is then for the end of the sync to do.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from launcher.core.errors import Cancelled
from launcher.sync.turns import Stopped, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.core.plan import Plan
    from launcher.protocols import Clock
    from launcher.sync.documents import Documents
    from launcher.sync.haste import Haste
    from launcher.sync.pace import Pace
    from launcher.sync.upload import Folder

    Sending = tuple[Folder | Documents, str]

LOG_FIRST, LOG_MOST = 1.0, 30.0
"""Seconds between uploads of the log, of which the first begins at once: it doubles from the first to the most."""
MOVING, RESTING = 100, 350
"""So many times what the looks of all outputs cost passes until the next one: 1 % of a core, and 0.3 % where nothing
has changed, so that a large output that moves is seen soon, and one at rest costs next to nothing."""
LOOK = 0.05
"""Seconds between two looks at `stopped` while somebody else is waited for."""

_log = logging.getLogger(__name__)


class Meanwhile:
    """What is uploaded beside a training. `periodic` has a thread of its own, the other methods any."""

    def __init__(
        self, plan: Plan, folders: Sequence[Folder], documents: Documents | None, pace: Pace, clock: Clock
    ) -> None:
        self._plan = plan
        self._folders = folders
        self._documents = documents
        self._pace = pace
        self._clock = clock
        self._over = threading.Event()
        self._hurried = threading.Event()
        self._haste: Haste | None = None
        self._woken = threading.Event()
        self._looking = threading.Lock()
        self._guard = threading.Condition()
        self._under_way: set[Sending] = set()

    @property
    def under_way(self) -> frozenset[Sending]:
        """What is on its way now."""
        with self._guard:
            return frozenset(self._under_way)

    def periodic(self, stopped: Stopped) -> None:
        """Upload what stands still, each output by its period, until `halt`; `stopped` breaks off a transfer too."""
        now = self._clock.monotonic()
        outputs = [
            Turn(partial(self._upload_settled, folder), period, period, now + period, partial(self._rest, folder))
            for folder, period in zip(self._folders, (output.period for output in self._plan.outputs), strict=True)
        ]
        logs = [Turn(partial(self._upload_documents, one), LOG_FIRST, LOG_MOST, now) for one in self._all_documents()]
        hurried = False
        while (turns := [*outputs, *logs]) and not self._halted(stopped):
            if self._hurried.is_set() and not hurried:
                hurried, outputs = True, []
                for turn in logs:
                    turn.hasten(self._clock.monotonic())
                continue
            try:
                self._take(turns, stopped)
            except Cancelled:
                return
            self._woken.wait(max(0.0, min(turn.due for turn in turns) - self._clock.monotonic()))
            self._woken.clear()

    def hasten(self) -> None:
        """Upload everything that stands still at once, the newest first, and look again every second from now on."""
        with self._guard:
            if self._haste is not None:
                self._haste.wake(again=True)
            elif not (self._over.is_set() or self._hurried.is_set()) and (not self._folders or self._begin_haste()):
                self._hurried.set()
                self._woken.set()

    def halt(self) -> None:
        """Begin nothing more; what is on its way is finished."""
        with self._guard:
            self._over.set()
            if self._haste is not None:
                self._haste.wake()
        self._woken.set()

    def wait_for_looks(self, stopped: Stopped) -> None:
        """Let a look at a folder end, which would mix with another one; transfers may go on."""
        while not stopped():
            if self._looking.acquire(timeout=LOOK):
                self._looking.release()
                return

    def wait_for_transfers(self, stopped: Stopped) -> None:
        """Let what is on its way end. Raises `Cancelled`."""
        with self._guard:
            while self._under_way:
                if stopped():
                    raise Cancelled
                self._guard.wait(LOOK)

    def _begin_haste(self) -> bool:
        from launcher.sync.haste import Haste  # noqa: PLC0415 - most runs end by themselves

        haste = Haste(self._plan, self._folders, self._send_in_haste, self._looking, self._over)
        try:
            threading.Thread(target=haste.run, name="haste", daemon=True).start()
        except RuntimeError:
            _log.warning("the node allows no more threads: outputs are uploaded by their periods, and at the end")
            return False
        self._haste = haste
        return True

    def _halted(self, stopped: Stopped) -> bool:
        return self._over.is_set() or stopped()

    def _all_documents(self) -> Sequence[Documents]:
        return () if self._documents is None else (self._documents,)

    def _rest(self, folder: Folder) -> float:
        """Seconds until the next look at a folder, so that all looks together cost no more than they may."""
        return folder.cost * (RESTING if folder.at_rest else MOVING) * len(self._folders)

    def _take(self, turns: Iterable[Turn], stopped: Stopped) -> None:
        for turn in turns:
            if turn.due <= self._clock.monotonic() and not self._over.is_set():
                turn.work(stopped)
                turn.schedule(self._clock.monotonic())

    def _upload_settled(self, folder: Folder, stopped: Stopped) -> None:
        started = self._clock.monotonic()
        halted = partial(self._halted, stopped)
        with self._looking:
            if halted() or self._hurried.is_set():
                return
            ready = folder.settled(halted)
            if ready:
                folder.clear(halted)
        for path in ready:
            if self._hurried.is_set():
                break  # there may be something newer
            self._send_one(folder, path, stopped)
        folder.seconds += self._clock.monotonic() - started

    def _upload_documents(self, documents: Documents, stopped: Stopped) -> None:
        started = self._clock.monotonic()
        for path in (*documents.segments(), self._plan.files.run_json, self._plan.files.events):
            self._send_one(documents, path, stopped)
        documents.seconds += self._clock.monotonic() - started

    def _send_in_haste(self, folder: Folder, path: str, size: int) -> None:
        started = self._clock.monotonic()
        self._pace.during(size, lambda: self._send_one(folder, path, _never), self._over.is_set)
        with self._guard:
            folder.seconds += self._clock.monotonic() - started

    def _send_one(self, one: Folder | Documents, path: str, stopped: Stopped) -> bool:
        """Send one file; whether all went well."""
        with self._guard:
            if self._over.is_set() or (one, path) in self._under_way:
                return False
            self._under_way.add((one, path))
        try:
            return one.send(path, stopped, halted=partial(self._halted, stopped))
        finally:
            with self._guard:
                self._under_way.discard((one, path))
                self._guard.notify_all()


def _never() -> bool:
    return False
