"""One channel while it is filled: what its listing has told so far, and how much of that has come.

It moves no bytes. What changes in it changes under the lock of the staging that it belongs to.
"""

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import TYPE_CHECKING

from launcher.core import keys
from launcher.core.errors import StageError
from launcher.core.listed import NAMED
from launcher.core.placing import Placing
from launcher.core.record import Moving, Staged
from launcher.summing import Tally

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    from launcher.core.plan import Patterns
    from launcher.core.stored import StoredObject
    from launcher.core.urls import Location
    from launcher.disk import Stamp
    from launcher.retry import Retries
    from launcher.stage.dataset import Dataset
    from launcher.stage.room import Room
    from launcher.stage.wanted import Present, Wanted

    Entry = tuple[str, str, StoredObject | None]
    """Where an object will lie, relative to the folder, its bucket and itself.

    A folder's own path ends in `/` and has no object. An archive, which is unpacked into the folder, has no path.
    """


BATCH = 250
"""Objects of a listing that are taken over at once."""


class Channel:
    """A wanted folder on its way. `supply` gives its entries, to be taken once."""

    def __init__(
        self, want: Wanted, present: Present, retries: Retries, *, room: Room, lock: threading.Lock, began: float
    ) -> None:
        self.want = want
        self.present = present
        self.retries = retries
        self.foreign = set(present.files)
        self.supply: Iterable[Entry] = ()
        self.stamps: dict[str, Stamp] = {}
        self.dataset: Dataset | None = None
        self.manifest = ""
        self.tally = Tally(sys.maxsize if want.kind == "code" else NAMED)  # the code's are looked at one by one
        self.met = self.listed = False
        self.left = self.moved_bytes = 0
        self.began = began
        self.seconds = 0.0
        self._room = room
        self._lock = lock
        self._undecided: list[str] | None = []
        self._folded: dict[str, str] | None = None
        self._known = [0, 0]
        self._brought = [0, 0]
        self._kept = self._cached = 0

    def ordered(
        self,
        listing: Iterable[StoredObject],
        folder: Location | None = None,
        counts: Callable[[str], bool] = bool,
    ) -> Iterator[Entry]:
        """Place what a store lists of a folder (its own source's, if none is named) and `counts`, in its order.

        Raises `StageError` for what cannot be files side by side.
        """
        folder = folder or self.want.source.folder
        placing, bucket = Placing(folder, self.want.room), folder.bucket
        fits, rest = _selection(self.want.patterns), iter(listing)
        while batch := list(islice(rest, BATCH)):
            self.met = True
            placed = [(path, item) for item in batch if (path := placing.place(item.key)) is not None and fits(path)]
            with self._lock:  # once for many: those who bring want it too
                entries = [
                    (path, "", None) if path.endswith("/") else self._known_now(path, item, bucket)
                    for path, item in placed
                    if counts(path)
                ]
            yield from entries

    def arranged(self, found: keys.Arrangement[StoredObject]) -> Iterator[Entry]:
        """Take over what was listed and placed as a whole."""
        self.met = found.listed > 0
        for folder in found.folders:
            yield f"{folder}/", "", None
        for path, item in found.files.items():
            yield self.known(path, item)

    def lasting_part(self, path: str, item: StoredObject) -> str:
        """Name the temporary file of a large object: what an earlier start has left of this version, or a new one."""
        folder = path[: path.rfind("/") + 1]
        stem = keys.lasting_part_stem(item.key, item.etag, item.size)
        found = (part[len(folder) :] for part in self.present.parts if part.startswith(f"{folder}{stem}"))
        return next((name for name in found if "/" not in name), f"{stem}{os.urandom(8).hex()}")

    def archived(self, item: StoredObject) -> Entry:
        """Take over one archive, which has no place of its own."""
        return self.known("", item)

    def known(self, path: str, item: StoredObject, bucket: str = "") -> Entry:
        """One more file is to come. Raises `StageError` where there is no room for it."""
        with self._lock:
            return self._known_now(path, item, bucket)

    def _known_now(self, path: str, item: StoredObject, bucket: str = "") -> Entry:
        before = self.present.files.get(path)
        if self._undecided is not None:
            self._undecided.append(path)
        elif self._folded is not None:
            self._check_folding(path, self._folded)
        self.foreign.discard(path)
        self.left += 1
        self._known[0] += 1
        self._known[1] += max(item.size, 0)
        self._room.want(self.want.path, item.size, None if before is None else before.size)
        return path, bucket or self.want.source.bucket, item

    def decide(self, *, folds: bool) -> None:
        """The folder is there now, and it is known whether it takes two spellings for one name."""
        with self._lock:
            met, self._undecided = self._undecided or (), None
            if not folds:
                return
            self._folded = {}
            for path in met:
                self._check_folding(path, self._folded)

    def to_come(self) -> int:
        """Bytes that this and all other channels still need. Under the lock."""
        return self._room.to_come()

    def moved(self, size: int, *, reckoned: bool = True) -> None:
        """So many bytes of a file are on the node; `reckoned`: they were known to come. Under the lock."""
        self.moved_bytes += size
        if reckoned:
            self._room.wrote(self.want.path, size)

    def arrived(self, path: str, known: int, size: int, *, kept: bool = False, cached: bool = False) -> bool:
        """One file is in its place; whether it was the last. Under the lock.

        `known` is its size as it was told to `known`, below 0 for one of which it was not.
        """
        before = self.present.files.get(path)
        self._room.arrived(self.want.path, known, None if before is None else before.size, written=not kept)
        self._known[1] += size if known < 0 else 0
        self.left -= 1
        self._kept += kept
        self._cached += cached
        if kept:
            self.moved_bytes += size
        else:
            self._brought[0] += 1
            self._brought[1] += size
        return self.is_done()

    def gone(self) -> bool:
        """A file of unknown size that was to come is not there; whether it was the last. Under the lock."""
        self._room.arrived(self.want.path, -1, written=False)
        self.left -= 1
        self._known[0] -= 1
        return self.is_done()

    def is_done(self) -> bool:
        """Whether all has come, and no more will be listed. Under the lock."""
        return self.listed and not self.left

    def moving(self) -> Moving:
        """How far it is."""
        return Moving(
            label=self.want.name,
            objects=self._known[0] - self.left,
            bytes=self.moved_bytes,
            known_objects=self._known[0],
            known_bytes=self._known[1],
            listed=self.listed,
        )

    def staged(self) -> Staged:
        """Sum up."""
        return Staged(
            channel=self.want.name,
            kind=self.want.kind,
            source=self.want.source.url,
            path=self.want.path,
            objects=self._brought[0],
            bytes=self._brought[1],
            seconds=round(self.seconds, 3),
            kept=self._kept,
            cached=self._cached,
            retries=self.retries.spent,
        )

    def _check_folding(self, path: str, folded: dict[str, str]) -> None:
        """Refuse names that are one name on a file system that folds case."""
        parts = path.rstrip("/").split("/")
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            other = folded.setdefault(keys.folded(here), here)
            if other != here:
                raise StageError(
                    f"{other!r} and {here!r} are one name on the file system of {self.want.path}",
                    code="key-clash",
                    action="Rename one in the store, or stage to a file system that tells upper from lower case.",
                )


def _selection(patterns: Patterns) -> Callable[[str], bool]:
    if not patterns.include and not patterns.exclude:
        return bool  # every path counts
    from launcher.core.patterns import fits  # noqa: PLC0415 - most channels have none

    return lambda path: fits(patterns, path)
