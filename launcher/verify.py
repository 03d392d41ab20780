"""A finished output against the manifests that its workers left: whether it is whole, and all that differs.

It only reads. The listing is compared as it comes and never held; what is held are the manifests, up to a bound.
"""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit, LauncherError, StoreError
from launcher.core.keys import OWN, is_own
from launcher.core.manifest import manifest_at, parse_manifest
from launcher.core.occupancy import MOST_BYTES, Marker, described, is_marker, parse_marker
from launcher.listing import objects
from launcher.pool import each
from launcher.retry import PATIENCE, Retries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from launcher.core.manifest import Entry, Manifest
    from launcher.core.stored import StoredObject
    from launcher.core.urls import Location
    from launcher.protocols import Stopped, Store

MOST_MANIFESTS = 256 * 1024**2
"""Bytes of all manifests of an output: 1.4 million objects."""
MOST_MARKERS = 64
SHOWN = 20
"""So many of a list are told to a person."""
THREADS = 16
_MANIFEST = re.compile(rf"{re.escape(OWN)}/manifest-worker-([0-9]{{1,9}})\.json", re.ASCII)
_GONE = {"store-missing", "store-changed", "file-missing"}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be; `key` is below the output."""

    key: str
    expected: str
    found: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What an output was found to be. `objects` and `bytes` are what manifests name and was found so.

    `unnamed` counts objects that no manifest names, `content` says whether what is in them was compared too.
    """

    url: str
    whole: bool
    job: str
    workers: int
    objects: int
    bytes: int
    content: bool
    unnamed: int
    running: tuple[Marker, ...]
    problems: tuple[Difference, ...]


def verify(
    store: Store, folder: Location, stopped: Stopped, *, content: bool = False, patience: float = PATIENCE
) -> Verified:
    """Compare an output with its manifests: keys and sizes, and with `content` every byte by its SHA-256.

    For `patience` seconds a store is waited for that has answered before.
    Raises `LauncherError` "no-manifest" where there is nothing to compare with, StoreError, and `Cancelled`.
    """
    found: list[Verified] = []

    def work(_: None, halted: Stopped) -> None:
        found.append(_Verifying(store, folder.folder, halted, Retries(patience=patience), content=content).run())

    each(work, (None,), 1, stopped, apart=True)
    return found[0]


class _Verifying:
    def __init__(self, store: Store, folder: Location, halted: Stopped, retries: Retries, *, content: bool) -> None:
        self._store = store
        self._folder = folder
        self._halted = halted
        self._content = content
        self._retries = retries
        self._problems: list[Difference] = []
        self._objects = self._bytes = self._unnamed = 0

    def run(self) -> Verified:
        own = tuple(self._listed(self._folder.child(f"{OWN}/")))
        running = tuple(self._running(own))
        manifests = dict(self._manifests(own))
        if not manifests and not self._problems:
            raise self._no_manifest(running)
        first = next(iter(manifests.values()), None)
        workers = max((manifest.workers for manifest in manifests.values()), default=0)
        self._problems += _disagreements(manifests, workers)
        each(self._check, self._matched(manifests.values()), THREADS if self._content else 1, self._halted)
        return Verified(
            url=self._folder.url,
            whole=not self._problems,
            job=first.job if first else "",
            workers=workers,
            objects=self._objects,
            bytes=self._bytes,
            content=self._content,
            unnamed=self._unnamed,
            running=running,
            problems=tuple(sorted(self._problems, key=lambda each: (not each.key.startswith(OWN), each.key))),
        )

    def _listed(self, folder: Location) -> Iterator[StoredObject]:
        return objects(folder, self._store, self._retries, self._halted)

    def _relative(self, item: StoredObject) -> str:
        return item.key[len(self._folder.key) :]

    def _raw(self, item: StoredObject) -> bytes:
        def read() -> bytes:
            return b"".join(self._store.read(self._folder.bucket, item, 0, item.size, self._halted))

        return self._retries.call(read, self._halted) if item.size else b""

    def _running(self, own: Iterable[StoredObject]) -> Iterator[Marker]:
        """The runs that say that they are still at it, as far as they are read."""
        named = ((self._relative(item), item) for item in own if item.size <= MOST_BYTES)
        for relative, item in islice((one for one in named if is_marker(one[0])), MOST_MARKERS):
            try:
                marker = parse_marker(self._raw(item), relative)
            except (ValueError, StoreError):  # no marker, or not there any more
                continue
            if not marker.ended:
                yield marker

    def _manifests(self, own: Iterable[StoredObject]) -> Iterator[tuple[int, Manifest]]:
        """The manifests by worker, as their names say; one that is none is a problem."""
        room = MOST_MANIFESTS
        for item in own:
            relative = self._relative(item)
            name = _MANIFEST.fullmatch(relative)
            if name is None:
                continue
            room -= item.size
            if room < 0:
                self._differs(relative, f"manifests of {MOST_MANIFESTS:,} bytes at most in all", f"{item.size:,} bytes")
                continue
            try:
                manifest = parse_manifest(self._raw(item))
            except ValueError as error:
                empty = "nothing in it: its run has not put everything in its place"
                self._differs(relative, "the manifest of a worker", str(error) if item.size else empty)
                continue
            if manifest.worker != int(name[1]):
                self._differs(relative, f"the manifest of worker {name[1]}", f"that of worker {manifest.worker}")
            yield int(name[1]), manifest

    def _matched(self, manifests: Iterable[Manifest]) -> Iterator[tuple[StoredObject, tuple[Entry, ...]]]:
        """Objects that have the size that a manifest names, as the listing goes; what differs is noted."""
        entries = sorted(chain.from_iterable(manifest.objects for manifest in manifests), key=_order)
        wanted = (tuple(group) for _, group in groupby(entries, attrgetter("key")))
        due = next(wanted, None)
        for item in self._listed(self._folder):
            relative = self._relative(item)
            if is_own(relative) or relative.endswith("/"):
                continue
            while due is not None and _order(due[0]) < _encoded(relative):
                self._missing(due)
                due = next(wanted, None)
            if due is None or due[0].key != relative:
                self._unnamed += 1
                continue
            if self._has_its_size(item, due):
                yield item, due
            due = next(wanted, None)
        while due is not None:
            self._missing(due)
            due = next(wanted, None)

    def _missing(self, due: tuple[Entry, ...]) -> None:
        self._differs(due[0].key, f"{due[0].size:,} bytes", "no object")

    def _has_its_size(self, item: StoredObject, due: tuple[Entry, ...]) -> bool:
        """Whether the size is right; workers that put different things under one key are a problem anyway."""
        if len({(entry.size, entry.sha256) for entry in due}) > 1:
            said = "; ".join(f"{entry.size:,} bytes, SHA-256 {entry.sha256[:12]}…" for entry in due[:3])
            self._differs(due[0].key, "one content", f"{len(due)} workers put there: {said}")
        elif item.size != due[0].size:
            self._differs(due[0].key, f"{due[0].size:,} bytes", f"{item.size:,} bytes")
        else:
            self._objects += 1
            self._bytes += item.size
            return True
        return False

    def _check(self, match: tuple[StoredObject, tuple[Entry, ...]], halted: Stopped) -> None:
        """Compare the content, where that is asked for."""
        if not self._content:
            return
        item, due = match

        def read() -> str:
            digest = sha256()
            for piece in self._store.read(self._folder.bucket, item, 0, item.size, halted) if item.size else ():
                digest.update(piece)
            return digest.hexdigest()

        try:
            found = self._retries.call(read, halted)
        except StoreError as error:
            if error.code not in _GONE:
                raise
            self._differs(due[0].key, f"SHA-256 {due[0].sha256}", f"an object that changed meanwhile: {error}")
            return
        if found != due[0].sha256:
            self._differs(due[0].key, f"SHA-256 {due[0].sha256}", f"SHA-256 {found}")

    def _differs(self, key: str, expected: str, found: str) -> None:
        self._problems.append(Difference(key=key, expected=expected, found=found))

    def _no_manifest(self, running: tuple[Marker, ...]) -> LauncherError:
        url = self._folder.url
        if running:
            why = f"{described(running[0])} writes there, last sign of it {running[0].beat}"
        elif next(self._listed(self._folder), None) is None:
            why = "nothing lies there at all"
        else:
            why = "no run has put the whole of its output there"
        return LauncherError(
            f"{url}: no manifest at {manifest_at(self._folder, 0).url}: {why}",
            code="no-manifest",
            action="Check the URL: it is the obs_url of an output. What a run could not put, launcher sync does.",
            exit_code=Exit.MISSING,
        )


def _disagreements(manifests: Mapping[int, Manifest], workers: int) -> Iterator[Difference]:
    """Where the manifests do not make one output: workers that are missing, other jobs, other numbers of workers."""
    missing = (worker for worker in range(workers) if worker not in manifests)
    count = workers - sum(worker < workers for worker in manifests)
    if count:
        named = ", ".join(map(str, islice(missing, SHOWN)))
        more = f" and {count - SHOWN:,} more" if count > SHOWN else ""
        yield Difference(
            key=OWN, expected=f"the manifests of {workers:,} workers", found=f"none of worker {named}{more}"
        )
    for worker, manifest in manifests.items():
        first = next(iter(manifests.values()))
        if (manifest.job, manifest.workers) != (first.job, first.workers):
            yield Difference(
                key=f"{OWN}/manifest-worker-{worker}.json",
                expected=f"job {first.job!r} with {first.workers:,} workers, as the first manifest",
                found=f"job {manifest.job!r} with {manifest.workers:,} workers",
            )


def _order(entry: Entry) -> bytes:
    return _encoded(entry.key)


def _encoded(key: str) -> bytes:
    """A key as stores order it: by its bytes, also where they are a file's name and no UTF-8."""
    return key.encode(errors="surrogateescape")
