"""What a log file takes in a minute, and an account of what it did not: a bucket that is filled again all the time.

It never holds up who writes, and it keeps the last of what was dropped: the error that ends a flood is what counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.streams.cuts import ENDLESS, Seams, Tail, cut

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = 60.0
AGAIN = 1 / 6
"""The part of a minute's worth that must be free before the flow is accepted again: not a line of account per chunk."""


class Flood:
    """One log's budget. `dropped` counts the bytes that were left out and are not given back."""

    def __init__(self, bytes_per_minute: int, now: Callable[[], float], seams: Seams | None = None) -> None:
        self._seams = seams or Seams()
        self._most = bytes_per_minute
        self._now = now
        self._at = now()
        self._room: float = bytes_per_minute
        self._pending = self._held = 0
        self._tail = Tail(self._seams)
        self.on = False
        self.dropped = 0

    def takes(self, count: int) -> bool:
        """Whether so many bytes go in as they are; they are counted when they do."""
        now = self._now()
        self._room = min(self._most, self._room + (now - self._at) * self._most / MINUTE)
        self._at = now
        if self.on or count > self._room:
            return False
        self._room -= count
        return True

    def ebbs(self) -> bool:
        """Whether a flow that was dropped may be accepted again."""
        return self._room >= self._most * AGAIN

    def part(self, chunk: memoryview, *, begun: bool, before: bytes = b"") -> memoryview:
        """What of a chunk still goes in, to a line's end; the rest is dropped, and so is what follows.

        No secret is parted that lies in the chunk or begins in the bytes `before` it.
        """
        room = int(self._room)
        count = cut(chunk, room, begun=begun)
        if room > ENDLESS:
            count = self._seams.near(count, before, chunk)
        self._room -= count
        if count < len(chunk):
            self.drop(chunk[count:])
        return chunk[:count]

    def drop(self, chunk: memoryview) -> None:
        """Leave this out."""
        self.on = True
        self._pending += len(chunk)
        self._tail.add(chunk)

    @property
    def moved(self) -> bool:
        """Whether anything was dropped since the last account."""
        return self._pending > self._held

    def account(self, *, held: bool = False) -> tuple[int, bytes]:
        """How much was dropped since it was last asked, and the last of it, which goes in after all.

        With `held` more may come, but something else goes in before: the begin of a secret waits for its rest.
        """
        if not self._pending:
            return 0, b""
        last = self._tail.text()
        dropped = self._pending - len(last)
        self._held = self._pending = self._seams.held(last) if held else 0
        last, rest = last[: len(last) - self._held], last[len(last) - self._held :]
        self.dropped += dropped
        self._room -= len(last)
        self._tail = Tail(self._seams)
        self._tail.add(memoryview(rest))
        return dropped, last
