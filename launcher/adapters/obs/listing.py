"""A listing as obstore gives it, page by page, with what it cannot tell apart set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.core.stored import StoredObject
from launcher.core.storefault import verdict
from launcher.core.urls import wrong_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.adapters.obs.client import Client
    from launcher.core.urls import Location

PAGE = 1000


def bare(etag: str | None) -> str:
    """An ETag without its quotes: some stores leave them away in a listing, none in an answer."""
    return (etag or "").strip('"')


def as_shown(item: StoredObject) -> StoredObject:
    """How obstore lists an object: a marker like a file of its name."""
    return StoredObject(item.key.rstrip("/"), item.size, item.etag)


class Listing:
    """The objects below one folder. After `certain` is through, `doubtful` holds those that may be markers."""

    def __init__(self, client: Client, top: Location) -> None:
        self._client = client
        self._top = top
        self._stream: Any = None
        self._store: Any = None
        self._pages = 0
        self.doubtful: list[StoredObject] = []
        self._last: str | None = None

    def certain(self) -> Iterator[StoredObject]:
        """Every object that is surely a file of this very key; raises "store-odd-key" at one that cannot be said."""
        own = self._top.key.rstrip("/")
        if wrong_key(self._top.key):
            raise verdict("list", self._top.url, "odd")
        if not own:
            self._check_root()
        before: StoredObject | None = None
        for item in self._entries():
            if before is not None:
                yield from self._sorted_out(before, holds=item.key.startswith(before.key + "/"))
            # the folder's own marker is shown as the folder without its `/`
            before = item if item.key != own else None
        if before is not None:
            yield from self._sorted_out(before, holds=False)
        if not self._pages:
            self._check_answer()

    def elsewhere(self, items: Iterator[StoredObject]) -> Iterator[StoredObject]:
        """The rest of the listing, as another engine gives the whole of it in the same order."""
        doubtful = set(self.doubtful)
        told = self._last is None
        for item in items:
            if (told or as_shown(item) in doubtful) and item.key != self._top.key:
                yield item
            told = told or item.key == self._last
        if not told:
            raise verdict("list", self._top.url, "changed")

    def _sorted_out(self, item: StoredObject, *, holds: bool) -> Iterator[StoredObject]:
        if item.size == 0 or holds:
            self.doubtful.append(item)
        else:
            self._last = item.key
            yield item

    def _entries(self) -> Iterator[StoredObject]:
        while page := self._client.call("list", self._top, self._page):
            self._pages += 1
            for entry in page:
                yield StoredObject(entry["path"], entry["size"], bare(entry["e_tag"]))

    def _page(self, store: Any) -> Any:
        """The next page; a listing that broke off, or whose credentials ran out, is begun again and wound forward."""
        import obstore

        if self._stream is None or store is not self._store:
            stream = obstore.list(store, self._top.key or None, chunk_size=PAGE)
            for _ in range(self._pages):
                next(stream, None)
            self._stream, self._store = stream, store
        try:
            return next(self._stream, None)
        except BaseException:
            self._stream = None
            raise

    def _check_answer(self) -> None:
        """An empty listing is also what a page of HTML looks like: ask for something that only a store answers well."""
        import obstore

        from launcher.core.errors import StoreError

        name = self._top.key.rstrip("/") or ".launcher"
        try:
            meta = self._client.call("list", self._top, lambda store: obstore.head(store, name))
        except StoreError:
            return
        if not meta["e_tag"]:
            self._client.not_a_store("list", self._top)

    def _check_root(self) -> None:
        """In a bucket's root obstore shows the key `/a` as `a`; only the list of first folders gives it away."""
        import obstore

        found = self._client.call(
            "list", self._top, lambda store: obstore.list_with_delimiter(store)["common_prefixes"]
        )
        if "" in found:
            raise verdict("list", self._top.url, "odd")
