"""This worker's manifest in an output: taken away before the first upload, written after the last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, StoreError
from launcher.core.keys import plain_md5
from launcher.core.manifest import Entry, Manifest, dump_manifest, manifest_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from launcher.core.plan import Output, Plan
    from launcher.protocols import Store
    from launcher.retry import Retries

    Stopped = Callable[[], bool]


class Seal:
    """The manifest of one output: `url` once it is written. Methods raise StoreError, and `Cancelled` in a pause."""

    def __init__(self, plan: Plan, output: Output, store: Store, retries: Retries) -> None:
        self._plan = plan
        self._store = store
        self._retries = retries
        self._at = manifest_at(output.target.folder, plan.node.index)
        self.key = self._at.key[len(output.target.folder.key) :]
        self.broken = False
        self.url: str | None = None

    def take_away(self, stopped: Stopped) -> None:
        """See that no old manifest stands, once: from now on the output is not whole until the new one is there."""
        if self.broken or self.url is not None:
            return
        try:
            self._retries.call(partial(self._store.remove, self._at), stopped)
        except StoreError as error:
            if error.exit_code != Exit.REFUSED:
                raise
            # who may write but not delete can still make sure that the old one is no manifest any more
            self._put(b"", stopped)
        self.broken = True

    def write(self, entries: Iterable[Entry], stopped: Stopped) -> None:
        """Say that this worker's part is whole."""
        if self.url is None:
            self._put(self._text(entries), stopped)
            self.url = self._at.url

    def stands(self, entries: Iterable[Entry], stopped: Stopped) -> bool:
        """Whether the store has the manifest of these entries; if it must not be read, it has not."""
        raw = self._text(entries)
        try:
            found = self._retries.call(partial(self._store.stat, self._at), stopped)
        except StoreError as error:
            if error.exit_code != Exit.REFUSED:
                raise
            return False  # who may write but not read puts it anew
        if found is None or found.size != len(raw) or plain_md5(found.etag) not in (None, _md5(raw)):
            return False
        self.url = self._at.url
        return True

    def _put(self, raw: bytes, stopped: Stopped) -> None:
        self._retries.call(lambda: self._store.put(self._at, iter((raw,) if raw else ()), len(raw)), stopped)

    def _text(self, entries: Iterable[Entry]) -> bytes:
        node = self._plan.node
        return dump_manifest(
            Manifest(job=self._plan.job.id, worker=node.index, workers=node.count, objects=tuple(entries))
        )


def _md5(content: bytes) -> str:
    from hashlib import md5  # noqa: PLC0415 - asked only where an earlier run is gone on with

    return md5(content, usedforsecurity=False).hexdigest()
