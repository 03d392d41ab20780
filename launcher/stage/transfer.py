"""Transfers: one file, or one range of a large one, from the store or the node's cache to its place.

Which comes when, and on which thread, is for stage to say; how a file gets its place, for arrival.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from launcher.core import keys
from launcher.core.errors import StoreError
from launcher.core.urls import Location
from launcher.stage.extract import Extraction
from launcher.stage.file import File
from launcher.stage.landing import Folder, Landing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from launcher.core.stored import StoredObject
    from launcher.protocols import Cache, Store
    from launcher.stage.arrival import Arrivals
    from launcher.stage.channel import Channel, Entry
    from launcher.stage.marks import Marks

    Halted = Callable[[], bool]

RANGE_BYTES = 16 * 1024**2
RANGED_FROM = 2 * RANGE_BYTES
"""Bytes above which an object comes in ranges, several at a time."""
MEMORY = 2 * 1024**2
"""Bytes that one transfer may hold: a piece that is being written, and the next one that fills up."""


LITTLE = 128 * 1024
"""Bytes up to which an object is fetched as a whole, and then written by the one thread that writes for all."""

Job = tuple["Channel", "Callable[[Halted], Job | None]"]
"""A transfer, and for which channel it is; it returns what is left to be done. Raises `LauncherError`, `Cancelled`."""


class Transfers:
    """The transfers of one staging. `lock` guards all counts."""

    def __init__(
        self,
        root: str,
        store: Store,
        arrivals: Arrivals,
        *,
        marks: Marks,
        lock: threading.Lock,
        cache: Cache | None,
        ratio: int,
    ) -> None:
        self._root = root
        self._store = store
        self._marks = marks
        self._lock = lock
        self._cache = cache
        self._extraction = Extraction(store, marks, root, ratio, lock)
        self._arrivals = arrivals
        self._number = 0

    def jobs(self, channel: Channel) -> Iterator[Job]:
        """What is to be done for a channel, folders made on the way. Taken by one thread at a time."""
        want, here, folder = channel.want, "", Folder(self._root, channel.want.path)
        try:
            for entry in channel.supply:
                path, _, item = entry
                above, _, name = path.rpartition("/")
                if above != here:
                    deeper = Folder(self._root, f"{want.path}/{above}" if above else want.path)
                    self._arrivals.leave(folder)
                    here, folder = above, deeper
                if item is not None:
                    yield from self._jobs_of(channel, entry, item, folder) if name else self._archive(channel, item)
        finally:
            self._arrivals.leave(folder)
        self._arrivals.listed(channel)

    def _archive(self, channel: Channel, item: StoredObject) -> Iterator[Job]:
        yield channel, partial(self._unpack, channel, item)

    def _jobs_of(self, channel: Channel, entry: Entry, item: StoredObject, folder: Folder) -> Iterator[Job]:
        size, path = item.size, entry[0]
        present = channel.present.files.get(path)
        md5 = present is not None and present.size == size and keys.plain_md5(item.etag) is not None
        if size <= RANGED_FROM or md5 or not item.etag:
            self._number += 1
            part, ranges = keys.part_name(self._number), [(0, size)]
        else:
            part = channel.lasting_part(path, item)
            ranges = [(start, min(start + RANGE_BYTES, size)) for start in range(0, size, RANGE_BYTES)]
        folder.enter()
        file = File(channel, entry, item, Landing(folder, path.rpartition("/")[2], part), len(ranges))
        if len(ranges) == 1:
            yield channel, partial(self._bring_whole, file)
        elif not self._arrivals.is_here(file, _never):  # only a mark can say so: no checksum is taken
            for start, end in ranges:
                yield channel, partial(self._bring_range, file, start, end)

    def _unpack(self, channel: Channel, item: StoredObject, halted: Halted) -> None:
        came = self._extraction.unpack(channel, item, halted)
        self._arrivals.unpacked(channel, item.size, came=came)

    def _bring_whole(self, file: File, halted: Halted) -> Job | None:
        """Bring a file; of a little one it is left to put it in its place."""
        landing, item = file.landing, self._looked_up(file, halted)
        try:
            if self._arrivals.is_here(file, halted):
                return None
            if self._cache is None and 0 <= item.size <= LITTLE:
                content = file.channel.retries.call(lambda: self._fetched(file, halted), halted)
                return file.channel, partial(self._land, file, content)
            self._arrivals.begin(file)
            file.cached = self._from_cache(file, halted)
            if not file.cached:
                came = file.channel.retries.call(lambda: self._write(file, 0, item.size, halted), halted)
                if item.size < 0:
                    landing.stretch(came)
                self._to_cache(file, halted)
            self._arrivals.finish(file, halted)
        except StoreError as error:
            self._arrivals.give_up(file)
            if error.code != "store-missing" or file.channel.dataset is None:
                raise
            self._arrivals.gone(file, file.channel.dataset)
        except BaseException:
            self._arrivals.give_up(file)
            raise
        return None

    def _fetched(self, file: File, halted: Halted) -> Buffer:
        """All of a little file."""
        pieces = list(self._store.read(file.bucket, file.item, 0, file.item.size, halted))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _land(self, file: File, content: Buffer, halted: Halted) -> None:
        """Put a little file in its place."""
        try:
            self._arrivals.begin(file)
            file.landing.write(content, 0)
            self._arrivals.finish(file, halted, little=True)
        except BaseException:
            self._arrivals.give_up(file)
            raise

    def _looked_up(self, file: File, halted: Halted) -> StoredObject:
        """What is known of an object; of one that a manifest names only where it may be here already."""
        if file.item.size < 0 and (self._cache is not None or file.path in file.channel.present.files):
            at = Location(file.bucket, file.item.key)
            file.item = file.channel.retries.call(lambda: self._store.stat(at), halted) or file.item
        return file.item

    def _bring_range(self, file: File, start: int, end: int, halted: Halted) -> None:
        """Bring one range; whoever brings the last one puts the file in its place."""
        self._begin(file, halted)
        mark = self._marks.of_range(file.landing.part_path, file.version, start, file.inode)
        if not file.whole and self._marks.has(mark):
            self._arrivals.moved(file, end - start, reckoned=False)
        elif not file.whole:
            try:
                file.channel.retries.call(lambda: self._write(file, start, end, halted), halted)
                self._marks.add(mark)
            except StoreError as error:
                if error.code != "store-unranged":
                    raise
                self._bring_unranged(file, halted)
        with file.lock:
            file.left -= 1
            if file.left:
                return
        if not file.cached:
            self._to_cache(file, halted)
        self._arrivals.finish(file, halted)

    def _begin(self, file: File, halted: Halted) -> None:
        """Open the file for its first range, with what an earlier start has left of it, or all of it from the cache."""
        with file.lock:
            if file.begun:
                return
            if not file.landing.resume(file.item.size):
                file.whole = file.cached = self._from_cache(file, halted)
                if not file.whole:
                    file.landing.stretch(file.item.size)
            file.inode = file.landing.inode
            file.begun = True

    def _bring_unranged(self, file: File, halted: Halted) -> None:
        """Bring all of the file in one stream, once: the store answers no ranges."""
        with file.lock:
            if file.whole:
                return
            file.whole = True
        file.channel.retries.call(lambda: self._write(file, 0, file.item.size, halted), halted)

    def _write(self, file: File, start: int, end: int, halted: Halted) -> int:
        offset = counted = start
        try:
            for piece in self._store.read(file.bucket, file.item, start, end, halted):
                if offset > counted:  # of the last piece only at the end: small objects have no other
                    self._arrivals.moved(file, offset - counted)
                    counted = offset
                offset = file.landing.write(piece, offset)
        except BaseException:
            self._arrivals.moved(file, start - counted)
            raise
        self._arrivals.moved(file, offset - counted, transferred=offset - start)
        return offset

    def _from_cache(self, file: File, halted: Halted) -> bool:
        if self._cache is None or file.item.size < 0:
            return False
        if self._cache.fill(file.bucket, file.item, file.landing.descriptor, halted):
            self._arrivals.moved(file, file.item.size)
            return True
        return False

    def _to_cache(self, file: File, halted: Halted) -> None:
        if self._cache is not None and file.item.size >= 0:
            with self._lock:
                spare = file.channel.to_come()
            self._cache.keep(file.bucket, file.item, file.landing.descriptor, spare, halted)


def _never() -> bool:
    return False
