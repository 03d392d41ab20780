"""The launcher's own documents on their way to the log's target: masked where they leave, sent only when they changed.

When one is sent, and on which thread, is for sync to say. The files on the node stay as they are.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import StoreError
from launcher.core.record import LATE, FailedKey, Synced
from launcher.core.redact import mask_chunks
from launcher.reader import FileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.core.plan import Plan
    from launcher.core.urls import Location
    from launcher.protocols import Target

_log = logging.getLogger(__name__)

GONE = "it is not there any more"


class Documents:
    """The log and its rotated segments, run.json and the events at the log's target: masked, and sent when changed."""

    name = "log"

    def __init__(self, plan: Plan, target: Location, store: Target, secrets: Sequence[bytes]) -> None:
        self.seconds = 0.0
        self._plan = plan
        self._target = target.folder
        self._store = store
        self._secrets = secrets
        self._documents = (plan.files.log, plan.files.run_json, plan.files.events)
        self._in_place: dict[str, disk.Stamp] = {}
        self._failed: dict[str, str] = {}
        self._left: set[str] = set()
        self._lock = threading.Lock()

    def segments(self) -> list[str]:
        """The log and what was rotated out of it, the log itself first."""
        folder, name = os.path.split(self._plan.files.log)
        try:
            beside = sorted(os.listdir(folder))
        except OSError:
            beside = []
        rotated = [one for one in beside if one.startswith(f"{name}.") and one[len(name) + 1 :].isdecimal()]
        return [self._plan.files.log, *(os.path.join(folder, one) for one in rotated)]

    def expect(self, paths: Sequence[str]) -> None:
        """Note what is to be sent now, so that `give_up` can name it."""
        self._left = set(paths)

    def send(self, path: str, stopped: Callable[[], bool], *, last: bool = False, text: bytes | None = None) -> None:
        """Put one document in its place if it changed since; what fails is noted, only `Cancelled` is raised.

        With `last` it will not change any more, must be there, and is no longer expected. A `text` is what it says,
        whatever the file does.
        """
        key = self._key(path)
        why: str | None = None
        try:
            if text is None:
                self._send(path, key, stopped)
            else:
                self._put(key, iter((text,)), disk.Stamp(len(text), 0, 0))
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
                self._failed[key] = why
                _log.warning("log: %s is not uploaded: %s", path, why)

    def give_up(self) -> None:
        """Name all that is not in its place when the time is over."""
        with self._lock:
            self._failed.update({self._key(path): LATE for path in self._left})

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
            failed=tuple(FailedKey(key, why) for key, why in sorted(failures.items())),
        )

    def _send(self, path: str, key: str, stopped: Callable[[], bool]) -> None:
        with FileReader(self._plan.root, path, stopped) as reader:
            if self._in_place.get(key) != reader.stamp:
                self._put(key, reader.chunks(), reader.stamp)

    def _put(self, key: str, chunks: Iterator[bytes], stamp: disk.Stamp) -> None:
        self._store.put(self._target.child(key), mask_chunks(chunks, self._secrets), stamp.size)
        self._in_place[key] = stamp

    def _key(self, path: str) -> str:
        """Name a document so that no node overwrites another's: the label takes the place of the log's own name."""
        log, label = self._plan.files.log, self._plan.job.label
        return f"{label}.log{path[len(log) :]}" if path.startswith(log) else f"{label}.{os.path.basename(path)}"
