"""Transfers: one file, or one range of a large one, from the store or the node's cache to its place.

Which comes when, and on which thread, is for stage to say. A file that is there already, and is the object by its mark
or its checksum, is kept.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core import keys
from launcher.core.errors import Cancelled, StoreError
from launcher.core.urls import Location
from launcher.stage.extract import Extraction
from launcher.stage.file import File, file_md5
from launcher.stage.landing import Folder, Landing

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable, Iterator

    from launcher.core.stored import StoredObject
    from launcher.core.window import Window
    from launcher.protocols import Cache, Store
    from launcher.stage.channel import Channel, Entry
    from launcher.stage.dataset import Dataset
    from launcher.stage.marks import Marks

    Halted = Callable[[], bool]

RANGE_BYTES = 16 * 1024**2
RANGED_FROM = 2 * RANGE_BYTES
"""Bytes above which an object comes in ranges, several at a time."""
MEMORY = 2 * 1024**2
"""Bytes that one transfer may hold: a piece that is being written, and the next one that fills up."""


Job = tuple["Channel", "Callable[[Halted], None]"]
"""A transfer, and for which channel it is. It raises `LauncherError` and `Cancelled`."""


class Transfers:
    """The transfers of one staging. `lock` guards all counts; `done` is told of a channel that is complete."""

    def __init__(
        self,
        root: str,
        store: Store,
        *,
        marks: Marks,
        window: Window,
        lock: threading.Lock,
        monotonic: Callable[[], float],
        cache: Cache | None,
        ratio: int,
        done: Callable[[Channel], None],
    ) -> None:
        self._root = root
        self._store = store
        self._marks = marks
        self._window = window
        self._lock = lock
        self._monotonic = monotonic
        self._cache = cache
        self._extraction = Extraction(store, marks, root, ratio, lock)
        self._done = done
        self._number = 0
        self._open: set[Landing] = set()

    def jobs(self, channel: Channel) -> Iterator[Job]:
        """What is to be done for a channel, folders made on the way. Taken by one thread at a time."""
        want, here, folder = channel.want, "", Folder(self._root, channel.want.path)
        try:
            for entry in channel.supply:
                path, _, item = entry
                above, _, name = path.rpartition("/")
                if above != here:
                    deeper = Folder(self._root, f"{want.path}/{above}" if above else want.path)
                    self._leave(folder)
                    here, folder = above, deeper
                if item is not None:
                    yield from self._jobs_of(channel, entry, item, folder) if name else self._archive(channel, item)
        finally:
            self._leave(folder)
        with self._lock:
            channel.listed = True
            over = channel.is_done()
        if over:
            self._done(channel)

    def abandon(self) -> None:
        """Remove what a transfer that hangs, and is left behind, cannot remove itself."""
        for landing in tuple(self._open):
            landing.remove_part()

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
        elif self._is_marked(file):
            self._arrived(file, file.landing.status(), kept=True)
        else:
            for start, end in ranges:
                yield channel, partial(self._bring_range, file, start, end)

    def _unpack(self, channel: Channel, item: StoredObject, halted: Halted) -> None:
        came = self._extraction.unpack(channel, item, halted)
        with self._lock:
            over = channel.arrived("", item.size, item.size, kept=not came)
        if over:
            self._done(channel)

    def _bring_whole(self, file: File, halted: Halted) -> None:
        landing, item = file.landing, self._looked_up(file, halted)
        try:
            if file.path in file.channel.present.files and (self._is_marked(file) or self._is_same(file, halted)):
                self._arrived(file, landing.status(), kept=True)
                return
            landing.open()
            self._open.add(landing)
            file.cached = self._from_cache(file, halted)
            if not file.cached:
                came = file.channel.retries.call(lambda: self._write(file, 0, item.size, halted), halted)
                if item.size < 0:
                    landing.stretch(came)
                self._to_cache(file, halted)
            self._finish(file, halted)
        except StoreError as error:
            self._give_up(file)
            if error.code != "store-missing" or file.channel.dataset is None:
                raise
            self._gone(file, file.channel.dataset)
        except BaseException:
            self._give_up(file)
            raise
        finally:
            self._open.discard(landing)

    def _looked_up(self, file: File, halted: Halted) -> StoredObject:
        """What is known of an object; of one that a manifest names only where it may be here already."""
        if file.item.size < 0 and (self._cache is not None or file.path in file.channel.present.files):
            at = Location(file.bucket, file.item.key)
            file.item = file.channel.retries.call(lambda: self._store.stat(at), halted) or file.item
        return file.item

    def _give_up(self, file: File) -> None:
        file.landing.give_up()
        self._leave(file.landing.folder)

    def _gone(self, file: File, dataset: Dataset) -> None:
        """An object that a manifest names is not there. Raises `StageError` where too many are not."""
        dataset.missing(file.bucket, file.item.key)
        with self._lock:
            over = file.channel.gone()
        if over:
            self._done(file.channel)

    def _bring_range(self, file: File, start: int, end: int, halted: Halted) -> None:
        """Bring one range; whoever brings the last one puts the file in its place."""
        self._begin(file, halted)
        mark = self._marks.of_range(file.landing.part_path, file.version, start, file.inode)
        if not file.whole and self._marks.has(mark):
            self._count(file, end - start, reckoned=False)
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
        self._finish(file, halted)

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
                    self._count(file, offset - counted)
                    counted = offset
                offset = file.landing.write(piece, offset)
        except BaseException:
            self._count(file, start - counted)
            raise
        with self._lock:
            self._counted(file, offset - counted)
            self._window.done(self._monotonic(), offset - start)
        return offset

    def _from_cache(self, file: File, halted: Halted) -> bool:
        if self._cache is None or file.item.size < 0:
            return False
        if self._cache.fill(file.bucket, file.item, file.landing.descriptor, halted):
            self._count(file, file.item.size)
            return True
        return False

    def _to_cache(self, file: File, halted: Halted) -> None:
        if self._cache is not None and file.item.size >= 0:
            with self._lock:
                spare = file.channel.to_come()
            self._cache.keep(file.bucket, file.item, file.landing.descriptor, spare, halted)

    def _is_marked(self, file: File) -> bool:
        """Whether an earlier start has brought this very version, and nobody has touched it since."""
        may_be = file.item.etag and file.path in file.channel.present.files
        status = file.landing.status() if may_be else None
        return status is not None and self._marks.has(self._marks.of(file.place, file.version, status))

    def _is_same(self, file: File, halted: Halted) -> bool:
        """Whether the file that lies there is the object, by its checksum."""
        present, md5 = file.channel.present.files[file.path], keys.plain_md5(file.item.etag)
        if present.size != file.item.size or md5 is None:
            return False
        try:
            return file_md5(self._root, file.place, halted) == md5
        except OSError:
            return False

    def _finish(self, file: File, halted: Halted) -> None:
        if halted():
            raise Cancelled
        executable = file.channel.want.kind == "code" and file.path.endswith(".sh")
        self._arrived(file, file.landing.place(executable=executable), kept=False)

    def _arrived(self, file: File, status: os.stat_result | None, *, kept: bool) -> None:
        """Note that a file is in its place."""
        channel, size = file.channel, file.item.size
        if size < 0:
            size = 0 if status is None else status.st_size
        elif status is not None:
            self._marks.add(self._marks.of(file.place, file.version, status))
        with self._lock:
            file.landing.folder.leave()
            if status is not None and channel.want.kind == "output":
                channel.stamps[file.path] = disk.stamp_of(status)
            over = channel.arrived(file.path, file.known, size, kept=kept, cached=file.cached)
        if over:
            self._done(channel)

    def _count(self, file: File, size: int, *, reckoned: bool = True) -> None:
        with self._lock:
            self._counted(file, size, reckoned=reckoned)

    def _counted(self, file: File, size: int, *, reckoned: bool = True) -> None:
        file.channel.moved(size, reckoned=reckoned and file.known >= 0)

    def _leave(self, folder: Folder) -> None:
        with self._lock:
            folder.leave()
