"""The store as the steps see it: walk, stat, read, put and remove, over obstore's synchronous interface.

obstore shows a marker `d/` as an empty `d`, strips a leading `/`, and cannot say or list keys with empty, `.` or `..`
segments and control characters; where that matters the answer is found by another request or by the engine for odd
keys, so that a listing is what the store holds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from launcher.adapters.obs.client import Client
from launcher.adapters.obs.listing import Listing, bare
from launcher.adapters.obs.reading import Reader
from launcher.adapters.obs.uploads import Upload
from launcher.core.errors import StoreError
from launcher.core.stored import StoredObject
from launcher.core.storefault import verdict
from launcher.core.urls import Location, wrong_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.adapters.obs.settings import Credentials, Settings

log = logging.getLogger(__name__)


class OddKeys(Protocol):
    """The engine for keys that obstore cannot address; every method raises `StoreError`."""

    def walk(self, bucket: str, prefix: str, after: str) -> Iterator[StoredObject]:
        """Every object whose key begins so and comes after `after`, faithfully and in the order of keys."""
        ...

    def stat(self, bucket: str, key: str) -> StoredObject | None:
        """The object at exactly this key, or None."""
        ...

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        """The bytes of that very version, as `Source.read` gives them."""
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
        self._encrypted: set[str] = set()
        self._reader = Reader(self._client, self._is_encrypted)

    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        """Every object below a folder, its own marker left out; a folder that is not there holds nothing."""
        return Listing(self._client, self._odd, folder.folder, after).items()

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

    def read(self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]) -> Iterator[Any]:
        """The bytes from `start` to before `end` of that very version, in pieces."""
        engine = self._reader if _plain(item.key) else self._odd
        return engine.read(bucket, item, start, end, stopped)

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        """Store the chunks as one object, in parts where they are many; nothing of it shows until it is whole."""
        if not _plain(at.key):
            raise verdict("write", at.url, "odd")
        Upload(self._client, at, self._is_encrypted).send(chunks, size)

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

    def modified(self, at: Location) -> float:
        """When the object came there by the store's clock, in whole seconds since 1970."""
        import obstore

        meta = self._client.call("look up", at, lambda store: obstore.head(store, at.key))
        return float(meta["last_modified"].timestamp())

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

    def _is_encrypted(self, bucket: str, key: str) -> bool:
        """Whether the store encrypts what this bucket holds; asked where an ETag does not fit, and then known."""
        if bucket not in self._encrypted and self._odd.encrypted(bucket, key):
            log.info("obs://%s/ is encrypted by the store, so its ETags are no MD5: length checked only", bucket)
            self._encrypted.add(bucket)
        return bucket in self._encrypted


def _plain(key: str) -> bool:
    """Whether obstore says this key as it is."""
    return bool(key) and not key.endswith("/") and wrong_key(key) is None
