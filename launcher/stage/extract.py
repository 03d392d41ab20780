"""One archive of one channel: unpacked as it streams from the store, unless an earlier start has done it already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import StoreError
from launcher.retry import Trial

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from launcher.core.stored import StoredObject
    from launcher.protocols import Store
    from launcher.stage.channel import Channel
    from launcher.stage.marks import Marks

    Halted = Callable[[], bool]


class Extraction:
    """How the archives of a staging are unpacked; `ratio` is how many times its size one may grow to."""

    def __init__(self, store: Store, marks: Marks, root: str, ratio: int, lock: threading.Lock) -> None:
        self._store = store
        self._marks = marks
        self._root = root
        self._ratio = ratio
        self._lock = lock

    def unpack(self, channel: Channel, item: StoredObject, halted: Halted) -> bool:
        """Unpack an archive into its channel's folder; False: what an earlier start unpacked there is as it was left.

        Raises `LauncherError` and `Cancelled`.
        """
        from launcher.unpack import Archive, UnpackRules, unpack  # noqa: PLC0415 - most runs unpack nothing

        if channel.present.files:
            earlier = self._mark(channel, item)
            if self._marks.has(earlier):
                self._marks.add(earlier)
                channel.foreign.clear()
                return False
        before = channel.moved_bytes
        archive = Archive(
            name=item.key.rpartition("/")[2],
            size=item.size,
            read=lambda start, end: self._steady(channel, item, (start, end), halted),
        )
        unpack(archive, self._root, channel.want.path, UnpackRules(ratio=self._ratio), halted)
        self._marks.add(self._mark(channel, item))
        self._count(channel, before + item.size - channel.moved_bytes)
        found = disk.scan(channel.want.path).files if channel.foreign else {}
        channel.foreign = {path for path in channel.foreign if found.get(path) == channel.present.files[path]}
        return True

    def _count(self, channel: Channel, size: int) -> None:
        with self._lock:
            channel.moved(size)

    def _mark(self, channel: Channel, item: StoredObject) -> bytes:
        from launcher.unpack import seal  # noqa: PLC0415 - as above

        want = channel.want
        version = f"{want.source.bucket}/{item.key} {item.etag} {item.size}"
        return self._marks.of_sealed(want.path, version, seal(self._root, want.path))

    def _steady(self, channel: Channel, item: StoredObject, span: tuple[int, int], halted: Halted) -> Iterator[Buffer]:
        """Read a range of an object to its end: a stream that breaks off goes on where it was."""
        start, end = span
        trial: Trial | None = None
        while start < end:
            try:
                for piece in self._store.read(channel.want.source.bucket, item, start, end, halted):
                    size = memoryview(piece).nbytes
                    start += size
                    if trial is not None:
                        trial = None
                        channel.retries.went_well()
                    self._count(channel, size)
                    yield piece
            except StoreError as error:  # noqa: PERF203 - a stream that breaks off is the rare case
                if error.code == "store-unranged":
                    raise
                trial = trial or Trial(channel.retries)
                trial.failed(error, halted)
            else:
                channel.retries.went_well()
                return
