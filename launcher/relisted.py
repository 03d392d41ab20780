"""What the sources of a plan hold now, listed and summed up as staging does it, and nothing brought to the node."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, StoreError
from launcher.core.listed import MANIFEST
from launcher.core.reproduce import is_code
from launcher.core.urls import Location
from launcher.listing import objects
from launcher.retry import Retries
from launcher.snapshot import Summed
from launcher.stage.channel import Channel
from launcher.stage.room import Room
from launcher.stage.supply import Supply
from launcher.stage.wanted import Present, single, wanted
from launcher.summing import new_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.listed import Listed
    from launcher.core.plan import Plan
    from launcher.core.stored import StoredObject
    from launcher.protocols import Store
    from launcher.stage.wanted import Wanted

    Stopped = Callable[[], bool]


class _Nowhere(Room):
    """Takes everything: nothing will be brought."""

    def want(self, path: str, size: int, replaced: int | None = None) -> None:
        """Ask no file system."""


def relisted(plan: Plan, store: Store, stopped: Stopped) -> Iterator[Listed]:
    """Every source as its store lists it now. Raises `LauncherError`, `Cancelled`."""
    supply = Supply(plan, store, stopped)
    for want in wanted(plan):
        retries = Retries(patience=plan.transfers.patience)
        channel = Channel(want, Present(files={}, parts=()), retries, room=_Nowhere(), lock=threading.Lock(), began=0.0)
        channel.decide(folds=False)
        manifest = _manifest(want, store, retries, stopped) if want.dataset is not None else None
        if manifest is not None:
            channel.tally.add(MANIFEST, manifest)
        else:
            for _ in supply.entries(channel):
                pass
        yield channel.tally.listed(name=want.name, kind=want.kind, source=want.source.url)


def code_contents(listed: Listed, folder: Location, store: Store, stopped: Stopped) -> dict[str, Summed]:
    """Every file of a listed code directory, summed up out of the store as it would lie on the node."""
    return {
        path: Summed(size=size, runs=path.endswith(".sh"), sha256=_sum(folder, path, store, stopped))
        for path, size, _ in listed.files
        if is_code(path)
    }


def hashes(listed: Listed, source: Location, store: Store, stopped: Stopped) -> dict[str, str]:
    """What a channel would bring, summed up."""
    # a single object is listed by its own name
    folder = source if source.is_folder else Location(source.bucket, source.key.rpartition("/")[0]).folder
    return {path: _sum(folder, path, store, stopped) for path, _, _ in listed.files}


def _sum(folder: Location, path: str, store: Store, stopped: Stopped) -> str:
    at = folder.child(path)
    item = store.stat(at)
    if item is None:
        raise StoreError(
            f"no object at {at.url} any more",
            code="store-missing",
            action="Try again when nobody changes it.",
            exit_code=Exit.MISSING,
        )
    return Retries().call(lambda: _read(at, item, store, stopped), stopped)


def _read(at: Location, item: StoredObject, store: Store, stopped: Stopped) -> str:
    digest = new_sha256()
    for piece in store.read(at.bucket, item, 0, item.size, stopped):
        digest.update(piece)
    return digest.hexdigest()


def _manifest(want: Wanted, store: Store, retries: Retries, stopped: Stopped) -> StoredObject | None:
    """The manifest that a dataset would be brought by."""
    from launcher.core.dataset.names import choose_manifest  # noqa: PLC0415 - for datasets only

    one = single(want, store, retries, stopped)
    if one is not None:
        return one
    found = objects(want.source.folder, store, retries, stopped)
    listed = {item.key: item for item in found if item.key.endswith(".manifest")}
    chosen = choose_manifest(listed)
    return listed[chosen] if chosen is not None else None
