"""Where a stream of bytes may be cut: at line ends, so that no secret lies on both sides; found by whole chunks."""

from __future__ import annotations

OVER_BYTES = 64 * 1024
"""How far a boundary gives way for the end of a line that has begun; a longer line is cut anywhere."""
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


class Tail:
    """The last of many bytes. A large chunk replaces it, small ones are gathered and cut rarely."""

    def __init__(self) -> None:
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
        return kept[line_end(kept) or TAIL_BYTES // 2 :]
