"""The bytes of one version of an object, as they come: pinned, counted, and summed up where they come as a whole.

A request is pinned to the version that was listed (If-Match, and size and ETag of each answer). The MD5 is held
against the ETag where that is one and the whole object was read; ranges are pinned and counted only, for MD5 must see
all bytes in their order. A little object comes by a shorter way, and its MD5 alone says that it is that version.
A generator that is closed lets go of its connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.adapters.obs.listing import bare
from launcher.core.errors import Cancelled, StoreError
from launcher.core.keys import plain_md5
from launcher.core.storefault import verdict
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.adapters.obs.client import Client
    from launcher.core.stored import StoredObject

PIECE_BYTES = 1024**2
LITTLE_BYTES = 128 * 1024
_DOUBTFUL = {"store-unranged", "store-rejected", "store-endpoint", "store-changed"}
"""Faults by which a store that knows no ranges may answer one, or one that has a shorter object by now."""


class Reader:
    """Reads of one store. `encrypted` looks whether an object's ETag is no MD5 because the store encrypts it."""

    def __init__(self, client: Client, encrypted: Callable[[str, str], bool]) -> None:
        self._client = client
        self._encrypted = encrypted
        self._unranged = False
        self._briefly = True

    def read(self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]) -> Iterator[Any]:
        """The pieces from `start` to before `end`; an item without a size is read to its end."""
        at = Location(bucket, item.key)
        if start == 0 and end == item.size and 0 < end <= LITTLE_BYTES and self._briefly:
            little = self._brief(at, item)
            if stopped():
                raise Cancelled
            if little is not None:
                return iter((little,))
        return self._pieces(at, item, start, end, stopped)

    def _brief(self, at: Location, item: StoredObject) -> Any:
        """All of a little object without the head of its answer, which costs up to a fifth; None: look closer."""
        import obstore

        md5 = _summer(item.etag)
        if md5 is None:
            return None
        try:
            found = self._client.call(
                "read", at, lambda store: obstore.get_range(store, at.key, start=0, end=item.size)
            )
        except StoreError as fault:
            if fault.code not in _DOUBTFUL:
                raise
            self._briefly = False
            return None
        md5.update(found)
        return found if md5.hexdigest() == item.etag.lower() else None

    def _pieces(
        self, at: Location, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[Any]:
        whole = start == 0 and end in {item.size, -1}
        result = self._answer(at, item, None if whole else (start, end))
        meta = result.meta
        etag = bare(meta["e_tag"])
        end = meta["size"] if end < 0 else end
        came = start
        md5 = _summer(etag) if whole else None
        try:
            for piece in (result.bytes(),) if end - start <= PIECE_BYTES else result.stream(PIECE_BYTES):
                if stopped():
                    raise Cancelled
                came += len(piece)
                if md5 is not None:
                    md5.update(piece)
                yield piece
        except self._client.raised as error:
            raise self._client.fault("read", at, error) from error
        if came != end:
            raise verdict("read", at.url, "broken", f"{came} bytes came of {end}")
        if md5 is not None and md5.hexdigest() != etag.lower():
            if not self._encrypted(at.bucket, item.key):
                raise verdict("read", at.url, "broken", f"its MD5 is not {etag}")
            self._briefly = False  # no MD5 says which version it is

    def _answer(self, at: Location, item: StoredObject, part: tuple[int, int] | None) -> Any:
        """The store's answer, of which no more than the head has come; it is of the version that is wanted."""
        import obstore

        if part and self._unranged:
            raise verdict("read", at.url, "unranged")
        options: Any = {}
        if item.etag and not item.etag.startswith("W/"):
            options["if_match"] = f'"{item.etag}"'
        if part:
            options["range"] = part
        try:
            result = self._client.call("read", at, lambda store: obstore.get(store, at.key, options=options))
        except StoreError as fault:
            self._unranged = self._unranged or fault.code == "store-unranged"
            raise
        meta = result.meta
        if item.etag and not meta["e_tag"]:
            self._client.not_a_store("read", at)
        if (item.size >= 0 and meta["size"] != item.size) or (item.etag and bare(meta["e_tag"]) != item.etag):
            raise verdict("read", at.url, "changed")
        if part and tuple(result.range) != part:
            raise verdict("read", at.url, "unranged")
        return result


def _summer(etag: str | None) -> Any:
    """What sums up the bytes of an object whose ETag is their MD5; None for any other."""
    if not etag or plain_md5(etag) is None:
        return None
    import hashlib

    return hashlib.md5(usedforsecurity=False)
