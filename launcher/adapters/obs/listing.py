"""A listing as obstore gives it, page by page in the order of keys, with what it cannot tell apart found out.

obstore shows a marker `d/` as an empty `d`, strips a leading `/`, and fails whole pages at keys that it cannot say.
The order tells much of it: what comes again after `d` and before `d/` is a marker. The rest is asked for, before the
page is given out. A key that is not above the last one is a page that came twice; a listing that has ended is asked
once more for what comes after its last key, for some end too early.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from launcher.core.errors import StoreError
from launcher.core.stored import StoredObject
from launcher.core.storefault import verdict
from launcher.core.urls import Location, wrong_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.adapters.obs.client import Client
    from launcher.adapters.obs.store import OddKeys

PAGE = 250
"""Entries that are looked at together: a part of what the store gives at once (1,000), which obstore waits to fill."""
ASKED_ONE_BY_ONE = 64
_ASKERS = 16
_PASSING = {"store-busy", "store-broken", "store-unreachable"}
_ABOVE_SLASH = "0"
"""The character after `/`: no key that begins with a slash comes from here on."""


def bare(etag: str | None) -> str:
    """An ETag without its quotes: some stores leave them away in a listing, none in an answer."""
    return (etag or "").strip('"')


class Listing:
    """The objects below one folder whose keys come after `after`."""

    def __init__(self, client: Client, odd: OddKeys, top: Location, after: str) -> None:
        self._client = client
        self._odd = odd
        self._top = top
        self._last = after

    def items(self) -> Iterator[StoredObject]:
        """Every object, its own marker left out. Raises StoreError; who goes on begins anew after the last key."""
        renewed = None
        while True:
            before = self._last
            try:
                yield from self._once()
            except StoreError as fault:
                if fault.code == "store-odd-key":
                    # one key that obstore cannot say spoils its page: the other engine gives this one and the rest
                    yield from self._elsewhere()
                    return
                if fault.code != "store-renewed" or renewed == self._last:
                    raise
                renewed = self._last
                continue
            if self._last == before:
                return

    def _once(self) -> Iterator[StoredObject]:
        """Go through the pages of one listing. Raises "store-odd-key" where they cannot be told in full."""
        if wrong_key(self._top.key) or wrong_key(self._last):
            raise verdict("list", self._top.url, "odd")
        a_pass = Pass(self._top, self._last)
        empty = True
        for page in self._pages():
            empty = False
            for entry in page:
                a_pass.take(StoredObject(entry["path"], entry["size"], bare(entry["e_tag"])))
            yield from self._given(a_pass.sorted_out())
        yield from self._given(a_pass.sorted_out(over=True))
        if empty and not self._last:
            self._check_answer()

    def _pages(self) -> Iterator[Any]:
        import obstore

        prefix, offset = self._top.key or None, below(self._last) or None
        stream: Any = None

        def page(store: Any) -> Any:
            nonlocal stream
            stream = stream or obstore.list(store, prefix, offset=offset, chunk_size=PAGE)
            return next(stream, None)

        while found := self._client.call("list", self._top, page, replay=False):
            yield found

    def _given(self, entries: list[Entry]) -> Iterator[StoredObject]:
        """Give out entries under their true keys."""
        entries = [entry for entry in entries if entry.edge or entry.item.key + "/" > self._last]
        doubtful = [entry.item for entry in entries if entry.doubtful]
        files = self._files(doubtful) if doubtful else frozenset()
        for entry in entries:
            item = entry.item
            if entry.edge and item.key not in files and self._slashed():
                raise verdict("list", self._top.url, "odd")
            if entry.marker or (entry.doubtful and (item.key not in files or self._is_twin(item.key))):
                item = StoredObject(item.key + "/", item.size, item.etag)
            if item.key > self._last:
                self._last = item.key
                yield item

    def _files(self, items: list[StoredObject]) -> frozenset[str]:
        """Which keys are files as shown, not markers: asked for one by one, or of the true listing if they are many."""
        if len(items) > ASKED_ONE_BY_ONE:
            return self._truly_listed(items)
        found: set[str] = set()

        def ask(item: StoredObject) -> None:
            import obstore

            at = Location(self._top.bucket, item.key)
            try:
                meta = self._client.call("look up", at, lambda store: obstore.head(store, at.key))
            except StoreError as fault:
                if fault.code != "store-missing":
                    raise
                return
            if not meta["e_tag"]:
                self._client.not_a_store("look up", at)
            if (meta["size"], bare(meta["e_tag"])) == (item.size, item.etag):
                found.add(item.key)

        together(ask, items)
        return frozenset(found)

    def _truly_listed(self, items: list[StoredObject]) -> frozenset[str]:
        shown, end = {item.key for item in items}, items[-1].key + "/"
        found: set[str] = set()
        for item in self._odd.walk(self._top.bucket, self._top.key, self._last):
            if item.key > end:
                break
            if item.key in shown:
                found.add(item.key)
        return frozenset(found)

    def _is_twin(self, key: str) -> bool:
        """Whether a key that was passed already comes again because it has a marker beside it."""
        return key <= self._last < key + "/" and self._odd.stat(self._top.bucket, key + "/") is not None

    def _slashed(self) -> bool:
        """Whether any key of the bucket begins with a slash."""
        return next(self._odd.walk(self._top.bucket, "/", ""), None) is not None

    def _elsewhere(self) -> Iterator[StoredObject]:
        for item in self._odd.walk(self._top.bucket, self._top.key, self._last):
            if item.key != self._top.key:
                self._last = item.key
                yield item

    def _check_answer(self) -> None:
        """An empty listing is also what a page of HTML looks like: ask for something that only a store answers well."""
        import obstore

        name = self._top.key.rstrip("/") or ".launcher"
        try:
            meta = self._client.call("list", self._top, lambda store: obstore.head(store, name))
        except StoreError as fault:
            if fault.code in _PASSING:
                raise
            return
        if not meta["e_tag"]:
            self._client.not_a_store("list", self._top)


class Entry:
    """What obstore showed, and what may be wrong with it: nothing, a marker for sure, or in doubt.

    `edge`: beside the place where keys with a leading slash would stand; those are shown without it.
    """

    __slots__ = ("doubtful", "edge", "item", "marker")

    def __init__(self, item: StoredObject, *, marker: bool) -> None:
        self.item = item
        self.marker = marker
        self.doubtful = False
        self.edge = False


class Pass:
    """One go through a listing: what each entry must be by its place in the order."""

    def __init__(self, top: Location, after: str) -> None:
        self._top = top
        self._own = top.key.rstrip("/")
        self._seen = ""
        self._held: Entry | None = None
        self._ready: list[Entry] = []
        self._edged = bool(self._own) or after >= _ABOVE_SLASH

    def take(self, item: StoredObject) -> None:
        """Take the next entry as it is shown. Raises StoreError: it is not above the last one."""
        shown = item.key
        if shown == self._own:
            return  # the folder's own marker
        marker = shown <= self._seen
        if marker and shown + "/" <= self._seen:
            raise verdict("list", self._top.url, "listing" if self._own else "odd", f"{shown!r} came late or twice")
        self._seen = shown + "/" if marker else shown
        entry = Entry(item, marker=marker)
        self._next(entry)
        self._held = entry

    def sorted_out(self, *, over: bool = False) -> list[Entry]:
        """The entries of which all is known that the order tells; the last one waits for the next, but at the end."""
        if over:
            self._next(None)
            self._held = None
        ready, self._ready = self._ready, []
        return ready

    def _next(self, entry: Entry | None) -> None:
        """Judge the entry held, now that it is known which one comes next."""
        held, shown = self._held, entry.item.key if entry else None
        if not self._edged and (shown is None or shown >= _ABOVE_SLASH):
            self._edged = True
            for one in filter(None, (held, entry)):
                one.doubtful = one.edge = not one.marker
        if held is None:
            return
        inner = held.item.key + "/"
        if shown is not None and shown.startswith(inner):
            held.doubtful = not held.marker
        elif held.item.size == 0 and (shown is None or shown > inner):
            held.doubtful = not held.marker  # else a marker would not stand here: `d-` is above `d` and below `d/`
        self._ready.append(held)


def below(key: str) -> str:
    """The place to list from, so that all after `key` comes and little before it: obstore takes no `/` at the end."""
    return key[:-1] + ".~" if key.endswith("/") else key


def together(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Do the work for a few items on threads of their own; the first failure is raised when all have ended."""
    todo = iter(items)
    lock = threading.Lock()
    failures: list[Exception] = []

    def labour() -> None:
        while not failures:
            with lock:
                item = next(todo, None)
            if item is None:
                return
            try:
                work(item)
            except Exception as failure:  # noqa: BLE001 - carried over to the thread that waits
                failures.append(failure)

    most = min(_ASKERS, len(items))
    threads = [threading.Thread(target=labour, name=f"store-{number}", daemon=True) for number in range(most)]
    started = [thread for thread in threads if _starts(thread)]
    if not started:
        labour()
    for thread in started:
        thread.join()
    if failures:
        raise failures[0]


def _starts(thread: threading.Thread) -> bool:
    """Start a thread; where the node allows no more, fewer do it, or whoever asked."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True
