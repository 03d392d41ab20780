"""Where a stream of bytes may be cut: at line ends, so that no secret lies on both sides; found by whole chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OVER_BYTES = 64 * 1024
"""How far a boundary gives way for the end of a line that has begun; a longer line is cut anywhere."""
ENDLESS = -2 * OVER_BYTES
"""From so far past a boundary on no secret is waited for: where one overlaps itself, it may never end."""
TAIL_BYTES = 64 * 1024
"""What a tail keeps: a complete traceback, of several exceptions too."""


def cut(chunk: memoryview, room: int, *, begun: bool, over: int = OVER_BYTES) -> int:
    """How much of a chunk comes before a boundary that lies `room` bytes on (fewer than none: it was passed).

    Whole lines as far as they fit, else what ends the line that was `begun` before, `over` bytes past the boundary at
    most; all of it where no end of that line is in sight yet.
    """
    ahead = bytes(chunk[: max(room, 0)])
    end = ahead.rfind(b"\n") if b"\n" in ahead else ahead.rfind(b"\r")
    if end >= 0 or not begun:
        return end + 1
    ahead = bytes(chunk[: max(room + over, 0)])
    return line_end(ahead) or len(ahead)


def line_end(text: bytes) -> int:
    """Where the first line ends, its end included; 0 where none does."""
    ends = [end for end in (text.find(b"\n"), text.find(b"\r")) if end >= 0]
    return min(ends) + 1 if ends else 0


def last_line_end(text: bytes) -> int:
    """Where the last whole line ends, its end included; 0 where none does."""
    return max(text.rfind(b"\n"), text.rfind(b"\r")) + 1


class Seams:
    """Where a stream may be parted so that none of the secrets lies on both sides; the fewer cuts, the cheaper."""

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) > 1)
        self.reach = max((len(secret) - 1 for secret in self._secrets), default=0)
        """How much must be known of what comes before a chunk."""

    def near(self, count: int, before: bytes, chunk: memoryview, *, least: int = 0) -> int:
        """Where to part a chunk instead of after `count` bytes: before the secret that lies there, or else behind it.

        Never before `least`; all of the chunk where the end of a secret that may have begun is not in sight yet.
        """
        if not self._secrets or count >= len(chunk):
            return count
        start = max(count - OVER_BYTES - self.reach, 0)
        end = count + OVER_BYTES + self.reach
        text = before + bytes(chunk[:end]) if start == 0 else bytes(chunk[start:end])
        start -= len(before) if start == 0 else 0
        for first, last in self._spans(text, open_end=end >= len(chunk)):
            if start + first < count < start + last:
                return start + first if start + first >= least else min(start + last, len(chunk))
        return count

    def held(self, text: bytes) -> int:
        """How much of the end of a text belongs to what may be the begin of a secret."""
        spans = self._spans(text, open_end=True)
        return len(text) - spans[-1][0] if spans and spans[-1][1] > len(text) else 0

    def _spans(self, text: bytes, *, open_end: bool) -> list[tuple[int, int]]:
        """Where secrets lie, those that overlap as one; one that may have begun goes on beyond the open end."""
        begun = max((_begun(text, secret) for secret in self._secrets), default=0) if open_end else 0
        found = [(len(text) - begun, len(text) + 1)] if begun else []
        for secret in self._secrets:
            at = text.find(secret)
            while at >= 0:
                found.append((at, at + len(secret)))
                at = text.find(secret, at + 1)
        spans: list[tuple[int, int]] = []
        for first, last in sorted(found):
            if spans and first < spans[-1][1]:
                spans[-1] = spans[-1][0], max(spans[-1][1], last)
            else:
                spans.append((first, last))
        return spans


def _begun(text: bytes, secret: bytes) -> int:
    """How many bytes at the end of a text are the begin of a secret that is not whole yet."""
    return next((size for size in range(min(len(secret) - 1, len(text)), 0, -1) if text.endswith(secret[:size])), 0)


class Tail:
    """The last of many bytes. A large chunk replaces it, small ones are gathered and cut rarely."""

    def __init__(self, seams: Seams | None = None) -> None:
        self._seams = seams or Seams()
        self._kept = bytearray()
        self._cut = False

    def add(self, chunk: memoryview) -> None:
        """Take more."""
        if len(chunk) >= TAIL_BYTES:
            self._cut = self._cut or bool(self._kept) or len(chunk) > TAIL_BYTES
            self._kept[:] = chunk[-TAIL_BYTES:]
            return
        self._kept += chunk
        if len(self._kept) > 2 * TAIL_BYTES:
            self._cut = True
            del self._kept[:-TAIL_BYTES]

    def text(self) -> bytes:
        """The last lines, at most 64 KiB: what was cut may begin inside a secret, and is left out to the line's end."""
        cut_off = self._cut or len(self._kept) > TAIL_BYTES
        kept = bytes(self._kept[-TAIL_BYTES:])
        if not cut_off:
            return kept
        # What begins before its first bytes is out of sight.
        half = self._seams.near(TAIL_BYTES // 2, b"", memoryview(kept), least=self._seams.reach)
        return kept[line_end(kept) or half :]
