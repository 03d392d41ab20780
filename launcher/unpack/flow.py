"""Bytes that come in pieces, taken in the lengths that a format wants; never more than a piece is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    Read = Callable[[int, int], Iterator[Buffer]]
    Stopped = Callable[[], bool]


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """One archive: its name, of which the ending tells the format, its size, and how its bytes are read.

    `read(start, end)` yields the bytes of that range in pieces of about 1 MiB and raises `StoreError`; with the code
    `store-unranged` where a part was asked of a store that only sends the whole.
    """

    name: str
    size: int
    read: Read


class Ended(Exception):  # noqa: N818 - an end is one where more was wanted; each format says what it means
    """The bytes ended before all that was wanted came."""


class Flow:
    """A forward-only reader. `position` counts what was taken, from where the pieces begin."""

    def __init__(self, pieces: Iterator[Buffer], stopped: Stopped, position: int = 0) -> None:
        self.position = position
        self._pieces = pieces
        self._stopped = stopped
        self._piece = memoryview(b"")

    def take(self, size: int) -> bytes:
        """Take exactly so many bytes, few enough to be held."""
        piece = self._piece
        if len(piece) >= size:
            self._piece = piece[size:]
            self.position += size
            return bytes(piece[:size])
        return b"".join(self.parts(size))

    def parts(self, size: int) -> Iterator[memoryview]:
        """Take exactly so many bytes, as they come."""
        while size:
            part = self._some()[:size]
            if not part:
                raise Ended
            self._piece = self._piece[len(part) :]
            self.position += len(part)
            size -= len(part)
            yield part

    def skip(self, size: int) -> None:
        """Pass over exactly so many bytes."""
        for _ in self.parts(size):
            pass

    def rest(self) -> Iterator[memoryview]:
        """Take all that is left."""
        while part := self._some():
            self._piece = memoryview(b"")
            self.position += len(part)
            yield part

    def _some(self) -> memoryview:
        """What is at hand, or the next piece; empty at the end only."""
        while not self._piece:
            if self._stopped():
                raise Cancelled
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._piece = memoryview(piece).cast("B")
        return self._piece
