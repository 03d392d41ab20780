"""What each channel is to hold: a folder as its store lists it, one object, an archive's object, a dataset's samples.

It runs ahead of the transfers, on a thread for each channel. Of a dataset it brings the manifest itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core import keys
from launcher.core.errors import Cancelled, Exit, StageError
from launcher.core.listed import MANIFEST
from launcher.core.stored import StoredObject
from launcher.core.urls import Location
from launcher.listing import objects
from launcher.stage.landing import Folder, Landing
from launcher.stage.wanted import arrange_code, single

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from launcher.core.dataset import Rules
    from launcher.core.plan import Plan
    from launcher.protocols import Store
    from launcher.stage.channel import Channel, Entry
    from launcher.stage.dataset import Summary

    Stopped = Callable[[], bool]


class Supply:
    """The entries of a plan's channels. `warnings` holds what is strange about them."""

    def __init__(self, plan: Plan, store: Store, stopped: Stopped) -> None:
        self._plan = plan
        self._store = store
        self._over = False
        self._stopped = lambda: self._over or stopped()
        self.warnings: list[str] = []

    def entries(self, channel: Channel) -> Iterator[Entry]:
        """What one channel is to hold, listed and counted on the way. Raises `LauncherError`, `Cancelled`."""
        for entry in self._entries(channel):
            path, _, item = entry
            if item is not None and item.size >= 0:  # of a dataset the manifest counts, which names all samples
                channel.tally.add(path, item)
            yield entry

    def _entries(self, channel: Channel) -> Iterator[Entry]:
        want = channel.want
        one = single(want, self._store, channel.retries, self._stopped)
        if want.extract:
            yield channel.archived(one or self._lone(channel))
        elif want.dataset is not None:
            yield from self._dataset(channel, one, want.dataset)
        elif one is not None:
            yield from channel.arranged(keys.arrange_one(one, want.source))
        elif want.kind == "code":
            yield from channel.arranged(self._code(channel))
        elif want.kind == "output":
            from launcher.stage.resume import Saved  # noqa: PLC0415 - for outputs that are filled before the start

            yield from Saved(self._plan, channel, self._store, self._stopped, self.warnings).entries()
        else:
            yield from channel.ordered(self._objects(channel))

    def deliver(self, channel: Channel) -> None:
        """Write the manifests of a dataset whose samples are there now."""
        if channel.dataset is None:
            return
        summary = channel.dataset.write()
        channel.foreign.difference_update(summary.manifests)
        if summary.missing:
            self.warnings.append(f"{channel.want.label}: {_lacking(summary)}")

    def close(self, channels: Iterable[Channel]) -> None:
        """Nobody waits for more: what still goes on ends soon, and no manifest is left on its way."""
        self._over = True
        for channel in channels:
            if channel.manifest:
                with suppress(OSError):
                    os.unlink(channel.manifest)

    def _objects(self, channel: Channel) -> Iterator[StoredObject]:
        return objects(channel.want.source.folder, self._store, channel.retries, self._stopped)

    def _code(self, channel: Channel) -> keys.Arrangement[StoredObject]:
        """The code directory is taken in whole, and held against its limits, before any of it is brought."""
        found = arrange_code(channel.want, self._objects(channel), self._plan.limits)
        large = keys.large_code(found.bytes)
        self.warnings += [large] if large else []
        return found

    def _lone(self, channel: Channel) -> StoredObject:
        """The one object of a folder that is an archive."""
        found: list[StoredObject] = []
        for item in self._objects(channel):
            if not item.key.endswith("/") and not keys.is_own(item.key[len(channel.want.source.folder.key) :]):
                found.append(item)
            if len(found) > 1:
                break
        if len(found) == 1:
            return found[0]
        raise StageError(
            f"an archive was to be extracted, and {channel.want.source.url} holds "
            f"{'more than one object' if found else 'no object'}",
            code="archive-unclear",
            action="Name the archive itself in obs_url, or take the annotation launcher/extract away.",
            exit_code=Exit.INVALID if found else Exit.MISSING,
        )

    def _dataset(self, channel: Channel, one: StoredObject | None, rules: Rules) -> Iterator[Entry]:
        """The objects that a manifest names; a folder without one is brought as it is."""
        from launcher.core.dataset.names import choose_manifest  # noqa: PLC0415 - for datasets only
        from launcher.stage.dataset import Dataset  # noqa: PLC0415

        want = channel.want
        if one is None:
            listed = {item.key: item for item in self._objects(channel) if item.key.endswith(".manifest")}
            chosen = choose_manifest(listed)
            one = listed[chosen] if chosen is not None else None
        if one is None:
            self.warnings.append(f"{want.label}: {want.source.url} holds no manifest; it is brought as a plain folder")
            yield from channel.ordered(self._objects(channel))
            return
        channel.tally.add(MANIFEST, one)
        channel.manifest = self._bring_manifest(channel, one)
        if self._over:
            self.close([channel])
            raise Cancelled
        channel.dataset = Dataset(
            channel=want.name,
            at=Location(want.source.bucket, one.key),
            root=self._plan.root,
            source=channel.manifest,
            folder=want.path,
            rules=rules,
            stopped=self._stopped,
        )
        for sample in channel.dataset.objects():
            yield channel.known(sample.path, StoredObject(sample.key, -1, ""), sample.bucket)

    def _bring_manifest(self, channel: Channel, item: StoredObject) -> str:
        """Bring a manifest beside the data; its path, which no earlier start has used."""
        want = channel.want
        folder = Folder(self._plan.root, want.path)
        landing = Landing(folder, "", f"{keys.PART}manifest-{os.urandom(8).hex()}")
        try:
            landing.open()
            channel.retries.call(lambda: self._read_into(landing, want.source.bucket, item), self._stopped)
        except BaseException:
            landing.give_up()
            raise
        finally:
            landing.close()
            folder.leave()
        return f"{want.path}/{landing.part}"

    def _read_into(self, landing: Landing, bucket: str, item: StoredObject) -> None:
        offset = 0
        for piece in self._store.read(bucket, item, 0, item.size, self._stopped):
            offset = landing.write(piece, offset)


def _lacking(summary: Summary) -> str:
    return (
        f"{summary.missing:,} samples lack an object and are left out of the manifests, {summary.samples:,} are there"
    )
