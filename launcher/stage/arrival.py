"""What becomes of files on their way: put in their place, counted and marked, or given up.

A file that is there already, and is the object by its mark or its checksum, is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher import disk
from launcher.core import keys
from launcher.core.errors import Cancelled
from launcher.stage.file import file_md5

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable

    from launcher.core.window import Window
    from launcher.stage.channel import Channel
    from launcher.stage.dataset import Dataset
    from launcher.stage.file import File
    from launcher.stage.landing import Folder, Landing
    from launcher.stage.marks import Marks

    Halted = Callable[[], bool]


class Arrivals:
    """The files of one staging. `lock` guards all counts; `done` is told of a channel that is complete."""

    def __init__(
        self,
        root: str,
        *,
        marks: Marks,
        window: Window,
        lock: threading.Lock,
        monotonic: Callable[[], float],
        done: Callable[[Channel], None],
    ) -> None:
        self._root = root
        self._marks = marks
        self._window = window
        self._lock = lock
        self._monotonic = monotonic
        self._done = done
        self._open: set[Landing] = set()

    def is_here(self, file: File, halted: Halted) -> bool:
        """Whether the object lies in its place already, which is noted then."""
        there = file.path in file.channel.present.files and (self._is_marked(file) or self._is_same(file, halted))
        if there:
            self._arrived(file, file.landing.status(), kept=True)
        return there

    def begin(self, file: File) -> None:
        """Open a file of its own."""
        file.landing.open()
        self._open.add(file.landing)

    def finish(self, file: File, halted: Halted, *, little: bool = False) -> None:
        """Put a file in its place; of a `little` one its bytes are not counted yet."""
        if halted():
            raise Cancelled
        executable = file.channel.want.kind == "code" and file.path.endswith(".sh")
        status = file.landing.place(executable=executable)
        self._open.discard(file.landing)
        self._arrived(file, status, kept=False, little=little)

    def give_up(self, file: File) -> None:
        """Leave nothing of a file that does not come."""
        file.landing.give_up()
        self._open.discard(file.landing)
        self.leave(file.landing.folder)

    def gone(self, file: File, dataset: Dataset) -> None:
        """An object that a manifest names is not there. Raises `StageError` where too many are not."""
        dataset.missing(file.bucket, file.item.key)
        with self._lock:
            over = file.channel.gone()
        if over:
            self._done(file.channel)

    def unpacked(self, channel: Channel, size: int, *, came: bool) -> None:
        """An archive of so many bytes lies unpacked in its folder; `came`: it was unpacked now."""
        with self._lock:
            over = channel.arrived("", size, size, kept=not came)
        if over:
            self._done(channel)

    def listed(self, channel: Channel) -> None:
        """No more files of a channel will come."""
        with self._lock:
            channel.listed = True
            over = channel.is_done()
        if over:
            self._done(channel)

    def moved(self, file: File, size: int, *, reckoned: bool = True, transferred: int | None = None) -> None:
        """So many bytes more are on the node; a transfer of `transferred` bytes has ended with them."""
        with self._lock:
            self._moved(file, size, reckoned=reckoned)
            if transferred is not None:
                self._window.done(self._monotonic(), transferred)

    def leave(self, folder: Folder) -> None:
        """One file less is on its way to a folder."""
        with self._lock:
            folder.leave()

    def abandon(self) -> None:
        """Remove what a transfer that hangs, and is left behind, cannot remove itself."""
        for landing in tuple(self._open):
            landing.remove_part()

    def _is_marked(self, file: File) -> bool:
        """Whether an earlier start has brought this very version, and nobody has touched it since."""
        status = file.landing.status() if file.item.etag else None
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

    def _arrived(self, file: File, status: os.stat_result | None, *, kept: bool, little: bool = False) -> None:
        """Note that a file is in its place."""
        channel, size = file.channel, file.item.size
        if size < 0:
            size = 0 if status is None else status.st_size
        elif status is not None:
            # a little one that lacks its mark after a kill is known by its checksum as well
            soon = little and keys.plain_md5(file.item.etag) is not None
            self._marks.add(self._marks.of(file.place, file.version, status), soon=soon)
        with self._lock:
            if little:
                self._moved(file, size)
                self._window.done(self._monotonic(), size)
            file.landing.folder.leave()
            if status is not None and channel.want.kind == "output":
                channel.stamps[file.path] = disk.stamp_of(status)
            over = channel.arrived(file.path, file.known, size, kept=kept, cached=file.cached)
        if over:
            self._marks.flush()
            self._done(channel)

    def _moved(self, file: File, size: int, *, reckoned: bool = True) -> None:
        file.channel.moved(size, reckoned=reckoned and file.known >= 0)
