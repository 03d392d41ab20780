"""One output folder: what of it is in its place in the store, what is not, and how one file of it gets there.

When a file is sent, and on which thread, is for sync to say. Nothing here follows a link or changes a file.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Exit, LauncherError, StoreError
from launcher.core.keys import KEY_MOST, OWN, is_own, plain_md5, readable
from launcher.core.manifest import Entry, Manifest, dump_manifest, manifest_at
from launcher.core.record import LATE, FailedKey, Synced
from launcher.core.urls import wrong_key
from launcher.journal import Noted
from launcher.reader import FileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.plan import Output, Plan
    from launcher.core.urls import Location
    from launcher.journal import Journal, Past
    from launcher.protocols import Clock, Store

_log = logging.getLogger(__name__)

REFUSALS = 3
"""So many refusals in a row end a round for a folder: the rest would be refused as well."""
SHOWN = 5


class Folder:
    """One output: what of it is in its place, what could not be put there, and what was left out.

    With a `past` it goes on where an earlier run ended: then a folder that is gone is a failure, for it held something.
    """

    def __init__(
        self,
        plan: Plan,
        output: Output,
        store: Store,
        clock: Clock,
        baseline: Mapping[str, disk.Stamp],
        *,
        journal: Journal | None = None,
        past: Past | None = None,
    ) -> None:
        self.name = output.name
        self.label = f"{output.field} ({output.name})"
        self.seconds = 0.0
        self._plan = plan
        self._path = output.path
        self._target = output.target.folder
        self._store = store
        self._clock = clock
        self._journal = journal
        self._past = past
        self._in_place = dict(baseline)
        self._done: dict[str, Entry] = dict(past.done) if past else {}
        self._seen: Mapping[str, disk.Stamp] = {}
        self._left: set[str] = set()
        self._unreadable: dict[str, str] = {}
        self._unsent: dict[str, str] = {}
        self._odd: dict[str, str] = {}
        self._refused = 0
        self._refusal = ""
        self._cleared = False
        self._manifest_at = manifest_at(self._target, plan.node.index)
        self._manifest: str | None = None
        self._lock = threading.Lock()

    def settled(self) -> list[str]:
        """Look for files that stand as they stood at the last look and are not in their place, newest first."""
        files = self._look()
        ready = {path: stamp for path, stamp in files.items() if self._seen.get(path) == stamp}
        self._seen = files
        return sorted(ready, key=lambda path: -ready[path].mtime_ns)

    def pending(self) -> list[tuple[int, str]]:
        """Look for all files that are not in their place: when each was changed, and its relative path."""
        files = self._look()
        self._left = set(files)
        return [(stamp.mtime_ns, path) for path, stamp in files.items()]

    def clear(self, _stopped: Callable[[], bool]) -> None:
        """Take the old manifest away, once: from now on the output is not whole until the new one is there."""
        if self._cleared or self._manifest is not None:
            return
        try:
            self._invalidate()
        except StoreError as error:
            self._unsent[self._own_key] = f"the old manifest could not be removed: {error}"
            return
        self._unsent.pop(self._own_key, None)
        self._cleared = True

    def send(self, path: str, stopped: Callable[[], bool], *, last: bool = False) -> None:
        """Put one file in its place; what fails is noted, only `Cancelled` is raised.

        A file that changes meanwhile is due again; with `last` it is sent once more, and then as it was read.
        """
        why = self._hopeless()
        try:
            if why is None and not self._send(path, stopped) and last and not self._send(path, stopped):
                _log.warning("%s: %r changed while it was uploaded; the store has it as it was read", self.label, path)
        except FileNotFoundError:
            _log.warning("%s: %r was removed before it was uploaded", self.label, path)
            self._unsent.pop(path, None)
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._odd[path] = "no regular file"
            else:
                why = disk.reason(error)
        except StoreError as error:
            why = str(error)
            with self._lock:
                self._refused = self._refused + 1 if error.exit_code == Exit.REFUSED else 0
                self._refusal = why
        with self._lock:
            if last:
                self._left.discard(path)
            if why is not None:
                self._unsent[path] = why
                _log.warning("%s: %r is not uploaded: %s", self.label, path, why)

    def write_manifest(self, _stopped: Callable[[], bool]) -> None:
        """Say that this worker's part is whole, if it is."""
        if self._failures() or self._manifest is not None:
            return
        raw = self._manifest_text()
        try:
            self._store.put(self._manifest_at, iter((raw,)), len(raw))
        except StoreError as error:
            self._unsent[self._own_key] = f"the manifest could not be written: {error}"
        else:
            self._manifest = self._manifest_at.url

    def stands(self) -> bool:
        """Whether there is nothing to put, and the store has the manifest that says so. Raises StoreError."""
        if self.pending() or self._failures():
            return False
        raw = self._manifest_text()
        try:
            found = self._store.stat(self._manifest_at)
        except StoreError as error:
            if error.exit_code != Exit.REFUSED:
                raise
            return False  # who may write but not read puts it anew
        if found is None or found.size != len(raw) or plain_md5(found.etag) not in (None, _md5(raw)):
            return False
        self._manifest = self._manifest_at.url
        return True

    def give_up(self) -> None:
        """Name all that is not in its place when the time is over."""
        with self._lock:
            self._unsent.update({path: LATE for path in self._left if path not in self._unsent})
        if self._manifest is None and not self._failures():
            self._unsent[self._own_key] = LATE

    def left_out(self) -> str | None:
        """Say what lies in the folder and is no part of the output."""
        if not self._odd:
            return None
        shown = [f"{path!r} is {kind}" for path, kind in sorted(self._odd.items())[:SHOWN]]
        more = len(self._odd) - len(shown)
        return f"{self.label}: left out of the upload: {', '.join(shown)}" + (f" and {more:,} more" if more else "")

    def synced(self) -> Synced:
        """Sum up the whole run."""
        with self._lock:  # a transfer that was left behind may still end
            done, failures = tuple(self._done.values()), self._failures()
        return Synced(
            channel=self.name,
            target=self._target.url,
            objects=len(done),
            bytes=sum(entry.size for entry in done),
            seconds=round(self.seconds, 3),
            failed=tuple(FailedKey(readable(key), why) for key, why in sorted(failures.items())),
            manifest=self._manifest,
        )

    @property
    def _own_key(self) -> str:
        return self._manifest_at.key[len(self._target.key) :]

    def _failures(self) -> dict[str, str]:
        lost = self._past.lost if self._past else {}
        return {**lost, **self._unreadable, **self._unsent}

    def _manifest_text(self) -> bytes:
        node, objects = self._plan.node, tuple(self._done.values())
        return dump_manifest(Manifest(job=self._plan.job.id, worker=node.index, workers=node.count, objects=objects))

    def _look(self) -> dict[str, disk.Stamp]:
        """Find the files that are not in their place, and sort out what can never be."""
        self._refused, self._odd, self._unreadable = 0, {}, {}
        try:
            if not disk.is_there(self._plan.root, self._path):
                (self._odd if self._past is None else self._unreadable)[self._path] = "gone"
        except LauncherError as error:
            self._unreadable[self._path] = str(error)
            return {}
        found = disk.scan(self._path)
        # the folder as a whole is told by its path: no key stands for it
        self._unreadable.update({self._path if path == "." else path: why for path, why in found.errors.items()})
        self._odd.update({path: kind for path, kind in found.odd.items() if not is_own(path)})
        due = {path: stamp for path, stamp in found.files.items() if self._is_due(path, stamp)}
        for path in self._unsent.keys() - due.keys() - {self._own_key}:
            _log.warning("%s: %r is gone and was never uploaded: %s", self.label, path, self._unsent.pop(path))
        return due

    def _is_due(self, path: str, stamp: disk.Stamp) -> bool:
        """Whether a file is not in its place and can be put there; one that cannot is noted."""
        if is_own(path):
            self._odd[OWN if path.startswith(OWN + "/") else path] = "the launcher's own"
            return False
        if self._in_place.get(path) == stamp:
            return False
        wrong = self._wrong(path)
        if wrong:
            self._unreadable[path] = wrong
        return wrong is None

    def _wrong(self, path: str) -> str | None:
        wrong = wrong_key(path)
        if wrong:
            return f"its name has {wrong}, which no key may have"
        length = len((self._target.key + path).encode())
        return f"its key would have {length:,} bytes ({KEY_MOST:,} is the most)" if length > KEY_MOST else None

    def _hopeless(self) -> str | None:
        with self._lock:
            if not self._cleared:
                return self._unsent.get(self._own_key, "the old manifest still stands")
            return f"not tried again after {self._refusal}" if self._refused >= REFUSALS else None

    def _invalidate(self) -> None:
        try:
            self._store.remove(self._manifest_at)
        except StoreError as error:
            if error.exit_code != Exit.REFUSED:
                raise
            # who may write but not delete can still make sure that the old one is no manifest any more
            self._store.put(self._manifest_at, iter(()), 0)

    def _send(self, path: str, stopped: Callable[[], bool]) -> bool:
        """Send a file as it stands; whether it still stood so at the end."""
        with FileReader(self._plan.root, os.path.join(self._path, path), stopped, summed=True) as reader:
            if self._in_place.get(path) == reader.stamp:
                return True
            self._store.put(self._target.child(path), reader.chunks(), reader.stamp.size)
            steady = reader.unchanged()
        entry = Entry(key=path, size=reader.sent, sha256=reader.sha256, time=self._clock.now())
        with self._lock:
            self._refused = 0
            self._done[path] = entry
            self._unsent.pop(path, None)
            if steady:
                self._in_place[path] = reader.stamp
                self._left.discard(path)
        if steady and self._journal is not None:
            self._journal.note(noted(self.name, self._target, path, reader.stamp, entry))
        return steady


def noted(channel: str, target: Location, key: str, stamp: disk.Stamp, entry: Entry | None = None) -> Noted:
    """A file in its place, as the journal has it; one without an entry was there before the run."""
    return Noted(
        channel=channel,
        target=target.folder.url,
        key=key,
        size=stamp.size,
        mtime_ns=stamp.mtime_ns,
        inode=stamp.inode,
        sha256=entry.sha256 if entry else None,
        time=entry.time if entry else "",
    )


def _md5(content: bytes) -> str:
    from hashlib import md5  # noqa: PLC0415 - asked only where an earlier run is gone on with

    return md5(content, usedforsecurity=False).hexdigest()
