"""Notices that the machine is about to be taken away: looked for in files, told to the desk and to boot processes.

It asks no service of the network, and a file system that does not answer holds up nothing.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from contextlib import contextmanager
from signal import SIGUSR1
from typing import TYPE_CHECKING

from launcher.core.lifecycle import Announced
from launcher.core.preemption import MOST_BYTES, Notice, Source, catches, cause, document, sources
from launcher.core.redact import mask
from launcher.report import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.core.plan import Plan
    from launcher.core.record import Cause
    from launcher.report import Report
    from launcher.supervise import Desk
    from launcher.world import World

PERIOD_S = 1.0
"""Seconds between two looks."""
SOON_S = 0.2
"""Seconds that a look may hold up a SIGTERM: what is found later is told later."""

_log = logging.getLogger(__name__)


class Notices:
    """What may announce the end of the machine. `look_soon` and `pass_on` are for the main thread alone.

    What stands there already when this is made is of an earlier time: it counts once it says something else.
    `top` is where absolute paths of the platform's begin, `proc` where processes are looked up.
    """

    def __init__(
        self, plan: Plan, world: World, report: Report, desk: Desk, *, top: str = "", proc: str = "/proc"
    ) -> None:
        self._plan = plan
        self._world = world
        self._report = report
        self._desk = desk
        self._top = top
        self._proc = proc
        self._named = plan.resilience.preemption.file
        self._sources = sources(self._named)
        self._before: dict[str, tuple[str, int]] = {}
        self._over = threading.Event()

    def look(self, *, meanwhile: bool = False) -> Cause | None:
        """Look once; `meanwhile` leaves out what counts only when somebody asks for the end."""
        for source in self._sources:
            found = self._read(source) if source.watched or not meanwhile else None
            if found is not None and found != self._before.get(source.path):
                return cause(Notice(path=source.path, who=source.who, reason=found[0]))
        return None

    def look_soon(self) -> Cause | None:
        """Look once, and wait no longer for it than a signal may wait; what is found later is told to the desk."""
        look = _Look(self)
        try:
            look.start()
        except RuntimeError:
            return None
        return look.result(SOON_S)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look every second, until there is a notice or the end of this."""
        for source in self._sources:
            if source.watched and (found := self._read(source)) is not None:
                self._before[source.path] = found
                _log.warning("%s speaks of the end of the machine already: %s", source.path, found[0])
        try:
            threading.Thread(target=self._watch, name="notices", daemon=True).start()
        except RuntimeError:
            _log.warning("the node allows no more threads: notices of a preemption are looked for at a SIGTERM only")
        try:
            yield
        finally:
            self._over.set()

    def tell(self, found: Cause) -> None:
        """Tell the desk, from any thread."""
        self._desk.hear(Announced(found))

    def pass_on(self, found: Cause, pids: Sequence[int], seconds: float | None) -> None:
        """Say it, and tell boot processes where that is asked for: first the file, then the signal."""
        self._report.event(found.message, "Warning")
        if not self._plan.resilience.preemption.passed:
            return
        text = mask(document(found, self._world.clock.now(), seconds), self._report.secrets)
        try:
            write_whole(self._plan.files.notice, text.encode(errors="backslashreplace"))
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._plan.files.notice, error.strerror)
        told = [pid for pid in self._family(pids) if self._catches(pid) and self._world.processes.send(pid, SIGUSR1)]
        _log.info("the notice is passed on: %s, and SIGUSR1 to %d processes", self._plan.files.notice, len(told))

    def _watch(self) -> None:
        while not self._over.wait(PERIOD_S):
            found = self.look(meanwhile=True)
            if found is not None:
                self.tell(found)
                return

    def _family(self, pids: Sequence[int]) -> list[int]:
        met = (one for pid in pids for one in self._world.processes.family(pid) if not one.ended)
        return list(dict.fromkeys(one.pid for one in met))

    def _catches(self, pid: int) -> bool:
        """Whether SIGUSR1 is heard there: it ends a process that knows nothing of it."""
        try:
            with open(f"{self._proc}/{pid}/status", encoding="utf-8", errors="backslashreplace") as file:
                return catches(file.read(), SIGUSR1)
        except OSError:
            return False

    def _read(self, source: Source) -> tuple[str, int] | None:
        """What a source says now; a file that was named says something new whenever it is written."""
        try:
            descriptor = os.open(self._top + source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            return self._unread(source)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            text = os.read(descriptor, MOST_BYTES) if stat.S_ISREG(status.st_mode) else b""
        except OSError:
            return None
        finally:
            os.close(descriptor)
        reason = source.read(text.decode("utf-8", "replace"), time.time())
        written = status.st_mtime_ns if source.path == self._named else 0
        return None if reason is None else (reason, written)

    def _unread(self, source: Source) -> tuple[str, int] | None:
        """What a source says that may not be read: that it is there, if it was named."""
        if source.path != self._named:
            return None
        try:
            return "it may not be read", os.stat(self._top + source.path).st_mtime_ns
        except OSError:
            return None


class _Look(threading.Thread):
    """One look that is waited for, but not for long."""

    def __init__(self, notices: Notices) -> None:
        super().__init__(name="notice", daemon=True)
        self._notices = notices
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._found: Cause | None = None
        self._left = False

    def run(self) -> None:
        found = self._notices.look()
        with self._lock:
            self._found = found
            late = self._left
        self._done.set()
        if late and found is not None:
            self._notices.tell(found)

    def result(self, within: float) -> Cause | None:
        """What it found, if it was quick."""
        self._done.wait(within)
        with self._lock:
            self._left = not self._done.is_set()
            return self._found
