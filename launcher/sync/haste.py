"""Uploads in haste: the launcher may be killed at any moment now, and what stands still shall be in the store before.

No rule of the uploads during a training is broken for it: a file that is still being written is left to its period.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
from signal import SIGURG
from typing import TYPE_CHECKING

import msgspec

from launcher import disk
from launcher.core.checkpoints import part_of
from launcher.core.errors import Cancelled, LauncherError
from launcher.core.plan import Output, Patterns
from launcher.sync.upload import Folder
from launcher.sync.watch import unsure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.core.plan import Plan

GLANCE_S = 0.2
"""Seconds between the two looks that must find a file the same: the clocks of most file systems are finer."""
AGAIN_S, SPARE = 1.0, 4
"""Seconds until the next two looks, and so many times what those cost: a last checkpoint may be on its way."""
CALMING = 20
"""A pause is such a part of the time since haste was asked for, up to the shortest period: machines may stay."""
STILL_S = 1.0
"""Seconds for which a file must have stood still where the kernel does not tell whether it is open for writing."""
WIDTH = 8
"""So many uploads at once: a training that does not end still has the node's cores."""
MOST = 4096
"""So many files of an output are considered at one look, the newest; a later look finds the others."""

_log = logging.getLogger(__name__)


class Waiting(msgspec.Struct, frozen=True):
    """A file that stood still at two looks, as it stood then."""

    folder: Folder
    output: Output
    path: str
    stamp: disk.Stamp


def newest_first(found: Sequence[Waiting], patterns: tuple[str, ...] = ()) -> list[Waiting]:
    """In which order files are sent: what a training goes on from before all else, one checkpoint after the other.

    `patterns` say which files are checkpoints; without any, their usual names.
    """
    which = Patterns(include=patterns) if patterns else None
    parts = [part_of(one.path, which) for one in found]
    units = [None if part is None else (id(one.folder), part.unit) for one, part in zip(found, parts, strict=True)]
    latest: dict[tuple[int, str] | None, int] = {}
    for one, unit in zip(found, units, strict=True):
        latest[unit] = max(one.stamp.mtime_ns, latest.get(unit, 0))
    order = [(unit is None, -latest[unit], -one.stamp.mtime_ns) for one, unit in zip(found, units, strict=True)]
    return [found[index] for index in sorted(range(len(found)), key=order.__getitem__)]


class Haste:
    """All outputs, looked at and sent again and again on a few threads until `over`. `send` puts one file in its place.

    `looking` is held while it looks: nobody else may look at the same folders then.
    """

    def __init__(
        self,
        plan: Plan,
        folders: Sequence[Folder],
        send: Callable[[Folder, str, int], object],
        looking: threading.Lock,
        over: threading.Event,
    ) -> None:
        self._root = plan.root
        self._patterns = plan.resilience.gain.checkpoints
        self._outputs = tuple(zip(folders, plan.outputs, strict=True))
        self._period = min(output.period for output in plan.outputs)
        self._send = send
        self._looking = looking
        self._over = over
        self._width = max(1, min(WIDTH, plan.transfers.most))
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._since = time.monotonic()
        self._queue: list[Waiting] = []
        self._workers = 0

    def wake(self, *, again: bool = False) -> None:
        """Look at once, unless it is over; `again`: haste is asked for once more."""
        if again:
            self._since = time.monotonic()
        self._woken.set()

    def run(self) -> None:
        """Look and send until it is over. Never raises."""
        try:
            while not self._over.is_set():
                self._woken.clear()
                began = time.thread_time()
                found = newest_first(self._rested(), self._patterns)
                with self._lock:
                    self._queue = found[::-1]
                self._staff(len(found))
                calm = min((time.monotonic() - self._since) / CALMING, self._period)
                if not self._over.is_set():
                    self._woken.wait(max(AGAIN_S, calm, (time.thread_time() - began) * SPARE))
        except Cancelled:
            return
        except Exception:  # noqa: BLE001 - a thread's edge: the final upload makes up for it
            _log.exception("a defect ended the uploads in haste; the final upload still puts everything in place")

    def _rested(self) -> list[Waiting]:
        """What is not in its place, and is the same at two looks; the old manifest of such an output goes."""
        self._look()
        self._over.wait(GLANCE_S)
        return [
            Waiting(folder, output, path, stamp)
            for folder, output, ready in self._look(clear=True)
            for path in ready[:MOST]
            if (stamp := _stamp(f"{output.path}/{path}")) is not None
        ]

    def _look(self, *, clear: bool = False) -> list[tuple[Folder, Output, list[str]]]:
        found: list[tuple[Folder, Output, list[str]]] = []
        with self._looking:
            for folder, output in self._outputs:
                ready = folder.settled(self._over.is_set)
                if ready and clear:
                    folder.clear(self._over.is_set)
                found.append((folder, output, ready))
        return found

    def _staff(self, wanted: int) -> None:
        """See that there is a thread for each file, up to the width; without any, this one does it."""
        with self._lock:
            new = min(self._width, wanted) - self._workers
            self._workers += max(0, new)
        for _ in range(new):
            self._hire()

    def _hire(self) -> None:
        try:
            threading.Thread(target=self._work, name="haste", daemon=True).start()
        except RuntimeError:
            self._work()

    def _work(self) -> None:
        try:
            while (one := self._next()) is not None:
                if stands(self._root, f"{one.output.path}/{one.path}", one.stamp, one.output.period):
                    self._send(one.folder, one.path, one.stamp.size)
        except Cancelled:
            return
        except Exception:  # noqa: BLE001 - a thread's edge: the final upload makes up for it
            _log.exception("a defect ended an upload in haste; the final upload still puts everything in place")
        finally:
            with self._lock:
                self._workers -= 1

    def _next(self) -> Waiting | None:
        with self._lock:
            return self._queue.pop() if self._queue and not self._over.is_set() else None


def stands(root: str, path: str, stamp: disk.Stamp, period: float) -> bool:
    """Whether a file is as it was at two looks, and nobody is about to write more of it.

    Who has it open for writing may only be slow: such a file is whole when it has stood still for the output's period,
    as it is without haste.
    """
    try:
        descriptor = disk.open_regular(root, path)
    except (OSError, LauncherError):
        return False
    try:
        status = os.fstat(descriptor)
        if disk.stamp_of(status) != stamp or unsure(status.st_ctime_ns, time.time_ns()):
            return False
        still = time.time() - status.st_ctime
        written = is_written(descriptor)
        return still >= period or (still >= STILL_S if written is None else not written)
    finally:
        os.close(descriptor)


def is_written(descriptor: int) -> bool | None:
    """Whether somebody has a file open for writing, or mapped so; None where the kernel does not say.

    The kernel grants a lease for reading only on a file that nobody has open for writing. It is given back at once;
    whoever opens the file meanwhile waits for that long, and the signal that tells of it is one that nobody hears.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False


def _stamp(path: str) -> disk.Stamp | None:
    try:
        return disk.stamp_of(os.stat(path, follow_symlinks=False))
    except OSError:
        return None
