"""The launcher's own documents on their way to the log's target: masked where they leave, sent only when they changed.

When one is sent, and on which thread, is for sync to say. The files on the node stay as they are.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import StageError, StoreError
from launcher.core.ranklogs import Aged, newest, rank_log_folders
from launcher.core.record import LATE, FailedKey, Synced
from launcher.core.redact import by_line, mask_chunks
from launcher.core.stackfiles import listed, object_name
from launcher.retry import Retries
from launcher.streams.segments import is_segment, segments
from launcher.sync.reader import FileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.core.plan import Plan
    from launcher.core.urls import Location
    from launcher.protocols import Target

    Stopped = Callable[[], bool]

_log = logging.getLogger(__name__)

GONE = "it is not there any more"
STACKS = 1000
"""More files with stacks are not sent: a boot process may have made them."""


class Documents:
    """The logs with their full segments, run.json and the events at the log's target: masked, and sent when changed."""

    name = "log"

    def __init__(
        self, plan: Plan, target: Location, store: Target, secrets: Sequence[bytes], retries: Retries | None = None
    ) -> None:
        self.seconds = 0.0
        self._plan = plan
        self._target = target.folder
        self._store = store
        self._retries = retries or Retries()
        # A rank stands before each line of several processes, in the middle of a secret too.
        self._secrets = by_line(secrets)
        own = (process.log for process in plan.processes)
        self._logs = (plan.files.log, *(path for path in own if path is not None))
        self._documents = (plan.files.log, plan.files.run_json, plan.files.events)
        self._in_place: dict[str, disk.Stamp] = {}
        self._failed: dict[str, str] = {}
        self._left: set[str] = set()
        self._odd: set[str] = set()
        self._rank_logs: dict[str, str] = {}
        self._lock = threading.Lock()

    def segments(self) -> list[str]:
        """All logs in the order in which they are sent, so that a short time is used well.

        How it ended stands in the log itself, then in what each process said last, and where a training hung in the
        files with stacks; the segments come after, newest first, and those of the processes only repeat what is in the
        log's.
        """
        named = [segment for log in self._logs for segment in segments(log)]
        odd = {path for path in named if not is_segment(path)}
        with self._lock:
            new, self._odd = odd - self._odd, self._odd | odd
        for path in sorted(new):
            _log.warning("log: %s is no regular file and no part of the log; it is left alone", path)
        return [*self._logs, *self._stacks(), *(path for path in named if path not in odd)]

    def all_logs(self) -> list[str]:
        """What is to be sent once the boot processes have ended: the logs, then those of the ranks."""
        for folder, prefix in rank_log_folders(self._plan).items():
            self._find_rank_logs(folder, prefix)
        return [*self.segments(), *self._rank_logs]

    def expect(self, paths: Sequence[str]) -> None:
        """Note what is to be sent now, so that `give_up` can name it."""
        self._left = set(paths)

    def send(
        self,
        path: str,
        stopped: Stopped,
        *,
        last: bool = False,
        text: bytes | None = None,
        halted: Stopped | None = None,
    ) -> bool:
        """Put one document in its place if it changed since; only `Cancelled` is raised, what fails is said.

        With `last` it will not change any more, must be there, is no longer expected, and what fails is noted. A `text`
        is what it says, whatever the file does. `halted` ends a pause between two tries, where `stopped` does not.
        Whether nothing failed.
        """
        key = self._key(path)
        why: str | None = None
        try:
            if text is None:
                self._send(path, key, stopped, halted or stopped, growing=not last and path in self._logs)
            else:
                told = text
                self._retries.call(lambda: self._put(key, iter((told,)), len(told)), stopped)
                self._in_place[key] = disk.Stamp(len(text), 0, 0)
        except FileNotFoundError:
            # a segment moves on while the log is rotated; the documents themselves never go away by our doing
            why = GONE if last and path in self._documents else None
        except OSError as error:
            why = disk.reason(error)
        except StoreError as error:
            why = str(error)
        with self._lock:
            if last:
                self._left.discard(path)
            self._failed.pop(key, None)
            if why is not None:
                _log.warning("log: %s is not uploaded: %s", path, why)
                if last:  # until then it goes again, and what is wrong with it now is no word on how it ends
                    self._failed[key] = why
        return why is None

    def give_up(self) -> None:
        """Name all that is not in its place when the time is over."""
        with self._lock:
            self._failed.update({self._key(path): LATE for path in self._left})

    def give_up_rank_logs(self) -> None:
        """Name the logs of ranks that there was no time for: they are not tried again, as the log is."""
        with self._lock:
            self._failed.update({key: LATE for path, key in self._rank_logs.items() if path in self._left})

    def failures(self, paths: Sequence[str]) -> tuple[FailedKey, ...]:
        """Name what of these is not in its place."""
        keys = [self._key(path) for path in paths]
        return tuple(FailedKey(key, self._failed[key]) for key in keys if key in self._failed)

    def synced(self) -> Synced:
        """Sum up the whole run."""
        with self._lock:  # a transfer that was left behind may still end
            stamps, failures = tuple(self._in_place.values()), dict(self._failed)
        return Synced(
            channel=self.name,
            target=self._target.url,
            objects=len(stamps),
            bytes=sum(stamp.size for stamp in stamps),
            seconds=round(self.seconds, 3),
            retries=self._retries.spent,
            failed=tuple(FailedKey(key, why) for key, why in sorted(failures.items())),
        )

    def _stacks(self) -> list[str]:
        """The files with stacks, the newest first; what else was given such a name is left alone."""
        folder, stem = os.path.split(self._plan.files.stacks)
        try:
            found = [f"{folder}/{name}" for name in listed(os.listdir(folder), stem)[:STACKS]] if stem else []
        except OSError:
            return []
        return [path for path in found if is_segment(path)]

    def _find_rank_logs(self, folder: str, prefix: str) -> None:
        """Choose among the files of one rank; a boot process may have put anything there, or in the folder's place."""
        try:
            if not disk.is_there(self._plan.root, folder):
                return
        except StageError as error:
            _log.warning("log: %s; the logs of ranks there are left alone", error)
            return
        found = disk.scan(folder)
        kept = newest({name: Aged(one.mtime_ns, one.size) for name, one in found.files.items()}, prefix)
        self._rank_logs |= {f"{folder}/{name}": prefix + name for name in kept.names}
        odd = len(kept.odd) + len(found.odd) + len(found.errors)
        if kept.left:
            _log.warning("log: %d older or too large files stay in %s", kept.left, folder)
        if odd:
            _log.warning(
                "log: %d entries of %s are left out: they are no plain files, or have no plain names", odd, folder
            )

    def _send(self, path: str, key: str, stopped: Stopped, halted: Stopped, *, growing: bool) -> None:
        with FileReader(self._plan.root, path, stopped) as reader:
            if growing:
                # Half a line may be half a secret, which nobody could tell.
                reader.end_at_line()
                if not reader.size:
                    return
            # By its inode: a log that becomes a segment meanwhile is another file than the one that follows it.
            stamp = disk.Stamp(reader.size, reader.stamp.mtime_ns, reader.stamp.inode)
            if self._in_place.get(key) == stamp:
                return
            put = partial(reader.hand, lambda chunks: self._put(key, chunks, stamp.size))
            self._retries.call(put, halted)
            self._in_place[key] = stamp

    def _put(self, key: str, chunks: Iterator[bytes], size: int) -> None:
        self._store.put(self._target.child(key), mask_chunks(chunks, self._secrets), size)

    def _key(self, path: str) -> str:
        """Name a document so that no node overwrites another's: the label takes the place of the log's own name.

        The log of a process has its rank in its name, which no other node's has.
        """
        log, label = self._plan.files.log, self._plan.job.label
        if path in self._rank_logs:
            return self._rank_logs[path]
        if path.startswith(log):
            return f"{label}.log{path[len(log) :]}"
        if (stacks := object_name(self._plan, path)) is not None:
            return stacks
        name = os.path.basename(path)
        return name if path.startswith(self._logs) else f"{label}.{name}"
