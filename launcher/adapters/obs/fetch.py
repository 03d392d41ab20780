"""One object into one new file, whole or not at all: small ones in one request, large ones in several ranges at a time.

Every request is pinned to the version that was listed (If-Match, and size and ETag of each answer), the length is
checked always, and the MD5 where the ETag is one and the object came as one stream. Ranges are not summed up again:
MD5 must see the bytes in their order, which would cost more time than the transfer, and each range is already pinned
and counted. At most `WORKERS` x 1 MiB of an object are in memory.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any

from launcher.adapters.obs.listing import bare
from launcher.core.errors import Cancelled
from launcher.core.storefault import file_fault, verdict
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self

    from launcher.adapters.obs.client import Client
    from launcher.core.errors import StoreError
    from launcher.core.stored import StoredObject

RANGE_BYTES = 16 * 1024**2
RANGED_FROM = 2 * RANGE_BYTES
CHUNK_BYTES = 1024**2
WORKERS = 4
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Fetch:
    """One transfer: of this object, into this open file, until it is stopped."""

    def __init__(
        self, client: Client, bucket: str, item: StoredObject, target: NewFile, stopped: Callable[[], bool]
    ) -> None:
        self._client = client
        self._at = Location(bucket, item.key)
        self._item = item
        self._target = target
        self._stopped = stopped

    def as_one(self) -> str:
        """Read the object in one request; its MD5, in hexadecimal. A broken stream is begun again."""
        return self._client.call("read", self._at, self._stream, self._stopped)

    def in_ranges(self) -> None:
        """Read the object in ranges, several at a time. Raises "store-unranged" where the store knows none."""
        spread(range(0, self._item.size, RANGE_BYTES), self._range, WORKERS, self._stopped)

    def taken(self, chunks: Iterable[bytes]) -> None:
        """Write what another engine reads, and check its length."""
        offset = 0
        for chunk in chunks:
            offset = self._keep(chunk, offset, self._item.size, self._stopped)
        self._check_length(offset, self._item.size)

    def _stream(self, store: Any) -> str:
        import hashlib

        result = self._get(store, {})
        summed = hashlib.md5(usedforsecurity=False)
        offset = 0
        pieces = [result.bytes()] if self._item.size <= CHUNK_BYTES else result.stream(min_chunk_size=CHUNK_BYTES)
        for piece in pieces:
            offset = self._keep(piece, offset, self._item.size, self._stopped)
            summed.update(piece)
        self._check_length(offset, self._item.size)
        return summed.hexdigest()

    def _range(self, start: int, halted: Callable[[], bool]) -> None:
        end = min(start + RANGE_BYTES, self._item.size)

        def part(store: Any) -> None:
            result = self._get(store, {"range": (start, end)})
            if tuple(result.range) != (start, end):
                raise verdict("read", self._at.url, "unranged")
            offset = start
            for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                offset = self._keep(chunk, offset, end, halted)
            self._check_length(offset, end)

        self._client.call("read", self._at, part, halted)

    def _get(self, store: Any, options: dict[str, Any]) -> Any:
        import obstore

        etag = self._item.etag
        if etag and not etag.startswith("W/"):
            options["if_match"] = f'"{etag}"'
        result = obstore.get(store, self._item.key, options=options)  # type: ignore[arg-type]
        meta = result.meta
        if etag and not meta["e_tag"]:
            self._client.not_a_store("read", self._at)
        if meta["size"] != self._item.size or (etag and bare(meta["e_tag"]) != etag):
            raise verdict("read", self._at.url, "changed")
        return result

    def _keep(self, piece: Any, offset: int, end: int, stopped: Callable[[], bool]) -> int:
        """Write one piece where it belongs; where the next one does."""
        if stopped():
            raise Cancelled
        if offset + len(piece) > end:
            raise verdict("read", self._at.url, "broken", "more bytes came than were announced")
        self._target.write(piece, offset)
        return offset + len(piece)

    def _check_length(self, offset: int, end: int) -> None:
        if offset != end:
            raise verdict("read", self._at.url, "broken", f"{end - offset} bytes are missing")


class NewFile:
    """A file that did not exist before, and does not afterwards unless the block that writes it ends well."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._number = -1

    def __enter__(self) -> Self:
        try:
            self._number = os.open(self._path, _CREATE, 0o666)
        except OSError as error:
            raise self._told(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._number)
        if kind is not None:
            os.unlink(self._path)

    def write(self, piece: Any, offset: int) -> None:
        """Write every byte, from this offset on; safe from any thread."""
        left = memoryview(piece)
        try:
            while left:
                written = os.pwrite(self._number, left, offset)
                left, offset = left[written:], offset + written
        except OSError as error:
            raise self._told(error) from error

    def _told(self, error: OSError) -> StoreError:
        return file_fault("write", self._path, error, os.path.ismount)


def plain_md5(etag: str) -> str | None:
    """The MD5 that an ETag is where the object was put in one piece; None for any other."""
    found = re.fullmatch(r"[0-9a-fA-F]{32}", etag)
    return found[0].lower() if found else None


def spread(
    jobs: Iterable[Any], work: Callable[[Any, Callable[[], bool]], None], workers: int, stopped: Callable[[], bool]
) -> None:
    """Do every job on a few threads; the first failure halts the others and is raised."""
    crew = _Crew(jobs, work, stopped)
    threads = [threading.Thread(target=crew.labour, name=f"store-{number}") for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if crew.failures:
        raise crew.failures[0]


class _Crew:
    """Threads that share one list of jobs."""

    def __init__(
        self, jobs: Iterable[Any], work: Callable[[Any, Callable[[], bool]], None], stopped: Callable[[], bool]
    ) -> None:
        self._todo = iter(jobs)
        self._work = work
        self._stopped = stopped
        self._lock = threading.Lock()
        self.failures: list[BaseException] = []

    def labour(self) -> None:
        try:
            for job in self._mine():
                self._work(job, self._halted)
        except BaseException as failure:  # noqa: BLE001 - carried over to the thread that waits
            self.failures.append(failure)

    def _mine(self) -> Iterator[Any]:
        while not self.failures:
            with self._lock:
                job = next(self._todo, self._todo)
            if job is self._todo:
                return
            yield job

    def _halted(self) -> bool:
        return bool(self.failures) or self._stopped()
