"""What an output is filled with before the start: its own objects, those of `--resume-from`, and what to say of them.

Its own come first: of a checkpoint that lies in both places no file of the other's is mixed in. What is said of them
comes of the listing, which passes through here, and of some small objects that are read when it has ended.
"""

from __future__ import annotations

import logging
import re
from itertools import chain
from typing import TYPE_CHECKING

from launcher.core import keys
from launcher.core.checkpoints import File, Gathering, newest, part_of
from launcher.core.errors import Exit, StageError, StoreError
from launcher.core.manifest import parse_manifest
from launcher.core.occupancy import MOST_BYTES, is_marker, is_peer, last_seen, parse_marker
from launcher.core.plan import Patterns
from launcher.core.urls import Location, wrong_key
from launcher.core.wholeness import POINTER_BYTES, Evidence, evidence_of, has, is_named, is_pointer, judge, pointed_at
from launcher.listing import objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from launcher.core.checkpoints import Checkpoint
    from launcher.core.manifest import Manifest
    from launcher.core.plan import Plan
    from launcher.core.stored import StoredObject
    from launcher.protocols import Store
    from launcher.stage.channel import Channel, Entry

    Stopped = Callable[[], bool]

MOST_MANIFESTS = 64 * 1024**2
"""Bytes of all manifests of an output that are read."""
MOST_READ = 64
"""Other small objects that are read: signs of other runs, and files that name the newest checkpoint."""
_MANIFEST = re.compile(rf"{re.escape(keys.OWN)}/manifest-worker-([0-9]{{1,9}})\.json", re.ASCII)

_log = logging.getLogger(__name__)


class Saved:
    """What earlier runs have saved, for one output. `warnings` takes what is to be said of it."""

    def __init__(self, plan: Plan, channel: Channel, store: Store, stopped: Stopped, warnings: list[str]) -> None:
        self._plan = plan
        self._channel = channel
        self._store = store
        self._stopped = stopped
        self._warnings = warnings
        patterns = plan.resilience.gain.checkpoints
        self._patterns = Patterns(include=patterns) if patterns else None
        self._names: set[str] = set()
        self._units: set[str] = set()

    def entries(self) -> Iterator[Entry]:
        """What the output's folder is to hold, listed on the way.

        Raises `StageError` where `--resume-from` names a place that holds nothing.
        """
        want = self._channel.want
        if want.resume is None:
            yield from self._listed(want.source.folder)
            return
        folder, others = self._others(want.resume)
        if want.source != want.resume:
            for entry in self._listed(want.source.folder):
                part = part_of(entry[0], self._patterns)
                self._names.add(entry[0])
                self._units.update(() if part is None else (part.unit,))
                yield entry
        yield from self._listed(folder, others, self._is_new)

    def _listed(
        self,
        folder: Location,
        listing: Iterable[StoredObject] | None = None,
        counts: Callable[[str], bool] = bool,
    ) -> Iterator[Entry]:
        """The entries of one place, and in the end a word on the newest checkpoint there."""
        if listing is None:
            listing = self._objects(folder)
        look = _Look(folder, self._plan.resilience.gain.checkpoints)
        yield from self._channel.ordered(look.passing(listing), folder, counts)
        asked = _Asked(self._plan, self._channel, self._store, self._stopped)
        label = self._channel.want.label
        for said in asked.judged(look):
            self._warnings.append(f"{label}: {folder.url}: {said}")

    def _is_new(self, path: str) -> bool:
        """Whether nothing of the output's own stands for a file of another's."""
        if path in self._names:
            return False
        part = part_of(path, self._patterns) if self._units else None
        return part is None or part.unit not in self._units

    def _others(self, at: Location) -> tuple[Location, Iterator[StoredObject]]:
        """The objects of `--resume-from`, and their folder; the first is looked at now, before anything moves."""
        retries = self._channel.retries
        one = None if at.is_folder else retries.call(lambda: self._store.stat(at), self._stopped)
        if one is not None:
            return Location(at.bucket, at.key[: at.key.rfind("/") + 1]), iter((one,))
        seen: list[StoredObject] = []
        folder = at.folder
        listing = self._objects(folder)
        for item in listing:
            seen.append(item)
            if not item.key.endswith("/") and not keys.is_own(item.key[len(folder.key) :]):
                return folder, chain(seen, listing)
        looked = (
            f"neither the object {at.url} nor one under {folder.url}" if at != folder else f"no object under {at.url}"
        )
        raise StageError(
            f"--resume-from: {looked}",
            code="nothing-there",
            action="Name the folder of a checkpoint, or one that holds checkpoints, as launcher verify and ls show it.",
        )

    def _objects(self, folder: Location) -> Iterator[StoredObject]:
        return objects(folder, self._store, self._channel.retries, self._stopped)


class _Look:
    """What a listing shows of checkpoints, and the small objects that tell of them."""

    def __init__(self, folder: Location, patterns: tuple[str, ...]) -> None:
        self.folder = folder
        self.gathering = Gathering(patterns)
        self.manifests: list[StoredObject] = []
        self.markers: list[StoredObject] = []
        self.pointers: list[StoredObject] = []

    def passing(self, listing: Iterable[StoredObject]) -> Iterator[StoredObject]:
        """The same objects, looked at."""
        start = len(self.folder.key)
        for item in listing:
            path = item.key[start:]
            if keys.is_own(path):
                self._note(path, item)
            elif is_pointer(path) and item.size <= POINTER_BYTES and len(self.pointers) < MOST_READ:
                self.pointers.append(item)
            elif (part := self.gathering.part(path)) is not None:
                self.gathering.add(part, File(path=path, size=item.size))
            yield item

    def _note(self, path: str, item: StoredObject) -> None:
        if _MANIFEST.fullmatch(path):
            self.manifests.append(item)
        elif is_marker(path) and item.size <= MOST_BYTES and len(self.markers) < MOST_READ:
            self.markers.append(item)


class _Asked:
    """The store, asked about what a listing has shown. Where it does not answer, that is said, and nothing stops."""

    def __init__(self, plan: Plan, channel: Channel, store: Store, stopped: Stopped) -> None:
        self._plan = plan
        self._channel = channel
        self._store = store
        self._stopped = stopped

    def judged(self, look: _Look) -> Iterator[str]:
        """What is to be said of the newest checkpoint, and of files that name one which is not there."""
        found = look.gathering.found()
        if look.gathering.cut:
            yield "there are more checkpoints than can be looked at; whether the newest is whole is not known"
            return
        try:
            if found:
                said = judge(found, self._evidence(look, newest(found)))
                if said.note:
                    _log.info("%s: %s: %s", self._channel.want.label, look.folder.url, said.note)
                yield from (said.warning,) if said.warning else ()
            for item in look.pointers:
                yield from self._astray(look.folder, item, found)
        except StoreError as error:
            yield f"whether the newest checkpoint is whole is not known: {error}"

    def _evidence(self, look: _Look, first: Checkpoint | None) -> Evidence:
        """What the store says of checkpoints; where it proves the first of them, nothing more is asked."""
        manifests: dict[int, Manifest] = {}
        sizes: dict[str, int] = {}
        signs: list[str] = []
        room = MOST_MANIFESTS
        for item in look.manifests:
            path = item.key[len(look.folder.key) :]
            room -= item.size
            if room < 0:
                signs.append(f"its manifests are larger than {MOST_MANIFESTS:,} bytes")
                continue
            try:
                manifest = parse_manifest(self._raw(look.folder.bucket, item))
            except ValueError as error:
                signs.append(
                    f"{path} is no manifest ({error})" if item.size else f"{path} is empty: its run was cut off"
                )
            else:
                manifests[manifest.worker] = manifest
                sizes.update((entry.key, entry.size) for entry in manifest.objects)
                if first is not None and is_named(first, Evidence(sizes=sizes)):
                    return evidence_of(manifests, ())
        signs += self._cut_off(look)
        return evidence_of(manifests, signs)

    def _cut_off(self, look: _Look) -> Iterator[str]:
        """Runs that have not taken their sign away, or in whose place this one came: its own sign tells of them."""
        job, own = self._plan.job, any(output.target.folder == look.folder for output in self._plan.outputs)
        for item in look.markers:
            path = item.key[len(look.folder.key) :]
            try:
                marker = parse_marker(self._raw(look.folder.bucket, item), path)
            except (ValueError, StoreError):  # no marker, or not there any more
                continue
            of_ours = own and (marker.label == job.label or is_peer(path, job))
            if of_ours and marker.after:
                yield f"{marker.after}: it has not ended well there"
            elif not of_ours and not marker.ended:
                yield f"{last_seen(marker)}: it has not ended well there"

    def _astray(self, folder: Location, item: StoredObject, found: Sequence[Checkpoint]) -> Iterator[str]:
        """A file that names a checkpoint which is not there."""
        path = item.key[len(folder.key) :]
        target = pointed_at(path, self._raw(folder.bucket, item))
        if target is None or has(found, path, target):
            return
        at = folder.child(path[: path.rfind("/") + 1] + target)
        if wrong_key(at.key):
            return
        try:
            there = self._channel.retries.call(lambda: self._is_there(at), self._stopped)
        except StoreError as error:
            if error.exit_code == Exit.REFUSED:
                return
            raise
        if not there:
            yield f"{keys.readable(path)} names {keys.readable(target)!r}, which is not there"

    def _is_there(self, at: Location) -> bool:
        return self._store.stat(at) is not None or next(iter(self._store.walk(at.folder)), None) is not None

    def _raw(self, bucket: str, item: StoredObject) -> bytes:
        def read() -> bytes:
            return b"".join(self._store.read(bucket, item, 0, item.size, self._stopped))

        return self._channel.retries.call(read, self._stopped) if item.size else b""
