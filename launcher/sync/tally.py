"""How much of an upload has moved: what has arrived, and what of the files under way has been read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.core.record import Moving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.sync.reader import FileReader


class Tally:
    """Of one folder, of which so much is to move. Whoever counts holds a lock; anyone may ask."""

    def __init__(self, objects: int = 0, size: int = 0) -> None:
        self._known = objects, size
        self._objects = self._bytes = 0
        self._readers: set[FileReader] = set()

    def arrived(self, size: int) -> None:
        """One more object is in its place."""
        self._objects += 1
        self._bytes += size

    @contextmanager
    def watching(self, reader: FileReader) -> Iterator[None]:
        """Count what is read of a file for as long as it is under way."""
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.discard(reader)

    def moving(self, label: str) -> Moving:
        """How far it is."""
        objects, size = self._known
        moved = self._bytes + sum(reader.sent for reader in tuple(self._readers))
        return Moving(
            label=label,
            objects=self._objects,
            bytes=min(moved, size),
            known_objects=objects,
            known_bytes=size,
            listed=True,
        )
