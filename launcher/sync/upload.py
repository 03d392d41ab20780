"""One output folder: what of it is in its place in the store, what is not, and how one file of it gets there.

When a file is sent, and on which thread, is for sync to say. Nothing here follows a link or changes a file.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Exit, LauncherError, StoreError
from launcher.core.keys import KEY_MOST, OWN, readable
from launcher.core.manifest import Entry
from launcher.core.record import LATE, FailedKey, Synced
from launcher.core.urls import wrong_key
from launcher.sync.journal import noted
from launcher.sync.reader import Changed, FileReader
from launcher.sync.seal import Seal
from launcher.sync.tally import Tally
from launcher.sync.watch import Watch, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from launcher.core.plan import Output, Patterns, Plan
    from launcher.core.record import Level, Moving
    from launcher.protocols import Clock, Store
    from launcher.retry import Retries
    from launcher.sync.journal import Journal, Past

    Stopped = Callable[[], bool]

_log = logging.getLogger(__name__)

REFUSALS = 3
"""So many refusals in a row end a round for a folder: the rest would be refused as well."""
ATTEMPTS = 3
"""So many times a file that changes while it is read is sent at the end; the last time as it was at one moment."""
RESTLESS = "it kept changing while it was read"


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
        retries: Retries,
        journal: Journal | None = None,
        past: Past | None = None,
    ) -> None:
        self.name = output.name
        self.label = f"{output.field} ({output.name})"
        self.seconds = 0.0
        self.cost, self.at_rest = 0.0, False
        """Seconds of a core that the last look took, and whether everything was in its place then."""
        self._plan = plan
        self._path = output.path
        self._target = output.target.folder
        self._store = store
        self._clock = clock
        self._retries = retries
        self._journal = journal
        self._past = past
        self._watch = Watch(output.path, baseline, _counting(output.patterns))
        self._seal = Seal(plan, output, store, retries)
        self._done: dict[str, Entry] = dict(past.done) if past else {}
        self._seen: Mapping[str, disk.Stamp] = {}
        self._left: set[str] = set()
        self._unreadable: dict[str, str] = {}
        self._unsent: dict[str, str] = {}
        self._odd: dict[str, str] = {}
        self._excluded = 0
        self._refused = 0
        self._refusal = ""
        self._tally = Tally()
        self._lock = threading.Lock()

    def settled(self, stopped: Stopped) -> list[str]:
        """Look for files that are not in their place and can go, newest first.

        They stand as they stood at the last look, or nobody may write them. Raises `Cancelled`.
        """
        began = time.thread_time()
        due, sealed = self._look(stopped)
        ready = [path for path, stamp in due.items() if path in sealed or self._seen.get(path) == stamp]
        self._seen, self.at_rest = due, not due
        ready.sort(key=lambda path: -due[path].mtime_ns)
        self.cost = time.thread_time() - began
        return ready

    def pending(self) -> list[tuple[int, str, int]]:
        """Look for all files that are not in their place: when each was changed, its relative path, its size."""
        due, _ = self._look(lambda: False)
        self._left = set(due)
        self._tally = Tally(len(due), sum(stamp.size for stamp in due.values()))
        return [(stamp.mtime_ns, path, stamp.size) for path, stamp in due.items()]

    def clear(self, stopped: Stopped) -> None:
        """Take the old manifest away, once: from now on the output is not whole until the new one is there."""
        try:
            self._seal.take_away(stopped)
        except StoreError as error:
            self._unsent[self._seal.key] = f"the old manifest could not be removed: {error}"
        else:
            self._unsent.pop(self._seal.key, None)

    def send(self, path: str, stopped: Stopped, *, last: bool = False, halted: Stopped | None = None) -> bool:
        """Put one file in its place; what fails is noted, only `Cancelled` is raised. Whether there is nothing to note.

        A file that changes meanwhile is due again; with `last` it goes again at once, and in the end as it was at one
        moment, or not at all. `halted` ends a pause between two tries, where `stopped` does not.
        """
        why = self._hopeless() or self._try(path, stopped, halted or stopped, last=last)
        with self._lock:
            if last:
                self._left.discard(path)
            if why is not None:
                self._unsent[path] = why
                _log.warning("%s: %r is not uploaded: %s", self.label, path, why)
        return why is None

    def write_manifest(self, stopped: Stopped) -> None:
        """Say that this worker's part is whole, if it is."""
        if self._failures():
            return
        try:
            self._seal.write(self._done.values(), stopped)
        except StoreError as error:
            self._unsent[self._seal.key] = f"the manifest could not be written: {error}"

    def stands(self, stopped: Stopped) -> bool:
        """Whether there is nothing to put, and the store has the manifest that says so. Raises StoreError."""
        return not self.pending() and not self._failures() and self._seal.stands(self._done.values(), stopped)

    def give_up(self) -> None:
        """Name all that is not in its place when the time is over."""
        with self._lock:
            self._unsent.update({path: LATE for path in self._left if path not in self._unsent})
        if self._seal.url is None and not self._failures():
            self._unsent[self._seal.key] = LATE

    def remarks(self) -> Iterator[tuple[str, Level]]:
        """Say what lies in the folder and is no part of the output."""
        if self._odd:
            yield f"{self.label}: left out of the upload: {shown(self._odd)}", "Warning"
        if self._excluded:
            count, name = self._excluded, self.name
            files = f"{count:,} file{'' if count == 1 else 's'}"
            yield f"{self.label}: left out by launcher/include.{name}, launcher/exclude.{name}: {files}", "Info"

    def moving(self) -> Moving:
        """How far the final upload is."""
        return self._tally.moving(self.label)

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
            retries=self._retries.spent,
            failed=tuple(FailedKey(readable(key), why) for key, why in sorted(failures.items())),
            manifest=self._seal.url,
        )

    def _failures(self) -> dict[str, str]:
        lost = self._past.lost if self._past else {}
        return {**lost, **self._unreadable, **self._unsent}

    def _look(self, stopped: Stopped) -> tuple[Mapping[str, disk.Stamp], frozenset[str]]:
        """Find the files that are not in their place, those that nobody may write, and what can never be there."""
        self._refused, self._odd, self._unreadable = 0, {}, {}
        try:
            if not disk.is_there(self._plan.root, self._path):
                (self._odd if self._past is None else self._unreadable)[self._path] = "gone"
        except LauncherError as error:
            self._unreadable[self._path] = str(error)
            return {}, frozenset()
        sight = self._watch.look(stopped)
        # the folder as a whole is told by its path: no key stands for it
        self._unreadable.update({self._path if path == "." else path: why for path, why in sight.errors.items()})
        self._unreadable.update({path: wrong for path in sight.due if (wrong := self._wrong(path))})
        self._odd.update(sight.odd)
        self._odd.update({_own_name(path): "the launcher's own" for path in sight.own})
        self._excluded = sight.left
        due = {path: stamp for path, stamp in sight.due.items() if path not in self._unreadable}
        for path in self._unsent.keys() - due.keys() - {self._seal.key}:
            _log.warning("%s: %r is gone and was never uploaded: %s", self.label, path, self._unsent.pop(path))
        return due, sight.sealed

    def _wrong(self, path: str) -> str | None:
        wrong = wrong_key(path)
        if wrong:
            return f"its name has {wrong}, which no key may have"
        length = len((self._target.key + path).encode())
        return f"its key would have {length:,} bytes ({KEY_MOST:,} is the most)" if length > KEY_MOST else None

    def _hopeless(self) -> str | None:
        with self._lock:
            if not self._seal.broken:
                return self._unsent.get(self._seal.key, "the old manifest still stands")
            return f"not tried again after {self._refusal}" if self._refused >= REFUSALS else None

    def _failed(self, error: StoreError) -> str:
        with self._lock:
            self._refused = self._refused + 1 if error.exit_code == Exit.REFUSED else 0
            self._refusal = str(error)
        return str(error)

    def _try(self, path: str, stopped: Stopped, halted: Stopped, *, last: bool) -> str | None:
        """Put one file in its place; what is in the way, if that is worth telling."""
        try:
            self._send_last(path, stopped) if last else self._send(path, stopped, halted)
        except Changed:
            return RESTLESS if last else None
        except FileNotFoundError:
            _log.warning("%s: %r was removed before it was uploaded", self.label, path)
            self._unsent.pop(path, None)
        except OSError as error:
            if error.errno != errno.ELOOP:
                return disk.reason(error)
            self._odd[path] = "no regular file"
        except StoreError as error:
            return self._failed(error)
        return None

    def _send_last(self, path: str, stopped: Stopped) -> None:
        for left in reversed(range(ATTEMPTS)):
            try:
                if self._send(path, stopped, stopped, last=True, moment=not left):
                    return
            except Changed:  # noqa: PERF203 - few attempts, and each of a whole file
                if not left:
                    raise
        _log.warning("%s: %r changed while it was uploaded; the store has it as it was before", self.label, path)

    def _send(self, path: str, stopped: Stopped, halted: Stopped, *, last: bool = False, moment: bool = False) -> bool:
        """Send a file as it stands; whether it still stood there so at the end."""
        with FileReader(self._plan.root, os.path.join(self._path, path), stopped, summed=True, steady=True) as reader:
            if self._watch.is_placed(path, reader.stamp):
                return True
            if last:
                reader.rest()
            elif reader.stamp != self._seen.get(path):
                raise Changed(path)
            if moment:
                reader.read_again()
            with self._tally.watching(reader):
                at = self._target.child(path)
                put = partial(reader.hand, lambda chunks: self._store.put(at, chunks, reader.size))
                self._retries.call(put, halted)
            self._sent(path, reader)
            return reader.whole

    def _sent(self, path: str, reader: FileReader) -> None:
        entry = Entry(key=path, size=reader.sent, sha256=reader.sha256, time=self._clock.now())
        with self._lock:
            self._refused = 0
            self._done[path] = entry
            self._unsent.pop(path, None)
            if reader.whole:
                self._watch.place(path, reader.stamp)
                if path in self._left:
                    self._left.discard(path)
                    self._tally.arrived(entry.size)
        if reader.whole and self._journal is not None:
            self._journal.note(noted(self.name, self._target.url, path, reader.stamp, entry))


def _counting(patterns: Patterns) -> Callable[[str], bool] | None:
    """What tells which files are the output's; None where all of them are."""
    if not (patterns.include or patterns.exclude):
        return None
    from launcher.core.patterns import fits  # noqa: PLC0415 - few jobs have any

    return partial(fits, patterns)


def _own_name(path: str) -> str:
    return OWN if path.startswith(OWN + "/") else path
