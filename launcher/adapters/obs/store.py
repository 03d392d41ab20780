"""The store as the steps see it: walk, stat, fetch, put, remove, occupied, over obstore's synchronous interface.

obstore shows a marker `d/` as an empty `d`, strips a leading `/`, and cannot say or list keys with empty, `.` or `..`
segments and control characters; where that matters the answer is found by another request or by the engine for odd
keys, so that a listing is what the store holds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from launcher.adapters.obs.client import Client
from launcher.adapters.obs.fetch import RANGED_FROM, Fetch, NewFile, plain_md5, spread
from launcher.adapters.obs.listing import Listing, as_shown, bare
from launcher.adapters.obs.uploads import SMALL_BYTES, body_of, part_bytes
from launcher.core.errors import StoreError
from launcher.core.stored import StoredObject
from launcher.core.storefault import verdict
from launcher.core.urls import Location, wrong_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.adapters.obs.client import Credentials, Settings

log = logging.getLogger(__name__)
ASKED_ONE_BY_ONE = 64
_ASKERS = 16


class OddKeys(Protocol):
    """The engine for keys that obstore cannot address; every method raises `StoreError`."""

    def walk(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins so, faithfully."""
        ...

    def stat(self, bucket: str, key: str) -> StoredObject | None:
        """The object at exactly this key, or None."""
        ...

    def read(self, bucket: str, item: StoredObject) -> Iterator[bytes]:
        """The bytes of that very version."""
        ...

    def remove(self, bucket: str, key: str) -> None:
        """Delete one object."""
        ...

    def encrypted(self, bucket: str, key: str) -> bool:
        """Whether the store encrypts the object, so that its ETag is no MD5 of its content."""
        ...


class ObsStore:
    """A store that speaks S3. Call it from worker threads, as many as you like, never from the main one."""

    def __init__(self, settings: Settings, provider: Callable[[], Credentials], odd: OddKeys) -> None:
        self._client = Client(settings, provider)
        self._odd = odd
        self._unranged = False
        self._encrypted: set[str] = set()

    def walk(self, folder: Location) -> Iterator[StoredObject]:
        """Every object below a folder, its own marker left out; a folder that is not there holds nothing."""
        top = folder.folder
        listing = Listing(self._client, top)
        try:
            yield from listing.certain()
        except StoreError as fault:
            if fault.code != "store-odd-key":
                raise
            # the whole listing is spoilt by one key that obstore cannot say; take the rest from the other engine
            yield from listing.elsewhere(self._odd.walk(top.bucket, top.key))
        else:
            yield from self._doubtful(top, listing)

    def stat(self, at: Location) -> StoredObject | None:
        """The object at exactly this key, or None; a folder is only there if it has a marker."""
        if not _plain(at.key):
            return self._odd.stat(at.bucket, at.key) if at.key else None
        try:
            return self._head(at)
        except StoreError as fault:
            # an answer to HEAD has no body, so what it means is asked for by a GET
            if fault.code not in {"store-missing", "store-refused", "store-rejected"}:
                raise
            return self._explained(at, fault)

    def fetch(self, bucket: str, item: StoredObject, path: str, stopped: Callable[[], bool]) -> None:
        """Bring that very version of an object to a new file, or leave none."""
        with NewFile(path) as target:
            one = Fetch(self._client, bucket, item, target, stopped)
            if not _plain(item.key):
                one.taken(self._odd.read(bucket, item))
            elif item.size <= RANGED_FROM or not self._in_ranges(one):
                self._summed(one, bucket, item)

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        """Store the chunks as one object, in parts where they are many; nothing of it shows until it is whole."""
        import obstore

        if not _plain(at.key):
            raise verdict("write", at.url, "odd")
        body = body_of(chunks)
        if isinstance(body, bytes):
            self._client.call(
                "write", at, lambda store: obstore.put(store, at.key, body, use_multipart=False), upload=True
            )
            return
        part = part_bytes(max(size, SMALL_BYTES))
        self._client.call(
            "write",
            at,
            lambda store: obstore.put(store, at.key, body, chunk_size=part, max_concurrency=4),
            upload=True,
            replay=False,
        )

    def remove(self, at: Location) -> None:
        """Delete one object; one that is not there is no error."""
        import obstore

        if not _plain(at.key):
            self._odd.remove(at.bucket, at.key)
            return
        try:
            self._client.call("delete", at, lambda store: obstore.delete(store, at.key))
        except StoreError as fault:
            if fault.code != "store-missing":
                raise

    def occupied(self, folder: Location) -> bool:
        """Whether any object lies below a folder; markers are none."""
        return any(not item.key.endswith("/") for item in self.walk(folder))

    def _doubtful(self, top: Location, listing: Listing) -> Iterator[StoredObject]:
        """Tell empty files from markers: ask for each, or for the true listing if they are many."""
        doubtful = listing.doubtful
        if len(doubtful) > ASKED_ONE_BY_ONE:
            shown = set(doubtful)
            yield from (item for item in self._odd.walk(top.bucket, top.key) if as_shown(item) in shown)
            return
        found: dict[str, StoredObject] = {}

        def ask(item: StoredObject, _: Callable[[], bool]) -> None:
            at = Location(top.bucket, item.key)
            try:
                found[item.key] = self._head(at)
            except StoreError as fault:
                if fault.code != "store-missing":
                    raise

        spread({item.key: item for item in doubtful}.values(), ask, min(_ASKERS, len(doubtful)), bool)
        for item in doubtful:
            # a file and a marker of one name are two entries; the file is the one that HEAD describes
            marker = StoredObject(item.key + "/", item.size, item.etag)
            yield found.pop(item.key) if found.get(item.key) == item else marker

    def _head(self, at: Location) -> StoredObject:
        import obstore

        return self._as_object("look up", at, self._client.call("look up", at, lambda one: obstore.head(one, at.key)))

    def _explained(self, at: Location, fault: StoreError) -> StoredObject | None:
        import obstore

        first: Any = {"range": (0, 1)}
        try:
            meta = self._client.call("look up", at, lambda store: obstore.get(store, at.key, options=first).meta)
        except StoreError as told:
            if told.code == "store-missing":
                return None
            raise (fault if told.code in {"store-changed", "store-unranged"} else told) from told
        return self._as_object("look up", at, meta)

    def _as_object(self, operation: Any, at: Location, meta: Any) -> StoredObject:
        if not meta["e_tag"]:
            self._client.not_a_store(operation, at)
        return StoredObject(at.key, meta["size"], bare(meta["e_tag"]))

    def _in_ranges(self, one: Fetch) -> bool:
        if not self._unranged:
            try:
                one.in_ranges()
            except StoreError as fault:
                if fault.code != "store-unranged":
                    raise
                log.info("the store answers no ranges: objects are read as a whole")
                self._unranged = True
        return not self._unranged

    def _summed(self, one: Fetch, bucket: str, item: StoredObject) -> None:
        """Read in one stream, and hold the MD5 against the ETag unless the store encrypts what it keeps."""
        expected = None if bucket in self._encrypted else plain_md5(item.etag)
        for _ in range(2):
            if one.as_one() == expected or expected is None:
                return
            if self._odd.encrypted(bucket, item.key):
                log.info("obs://%s/ is encrypted by the store, so its ETags are no MD5: length checked only", bucket)
                self._encrypted.add(bucket)
                return
        raise verdict("read", Location(bucket, item.key).url, "broken", f"its MD5 is not {expected}")


def _plain(key: str) -> bool:
    """Whether obstore says this key as it is."""
    return bool(key) and not key.endswith("/") and wrong_key(key) is None
