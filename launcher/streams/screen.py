"""A terminal with the launcher's own lines and, below them, rows that are drawn over: the bars of a step on its way."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.streams.lines import Page


class Screen:
    """A terminal: the launcher's own lines run through it, and bars stand below them. Safe from any thread.

    A line goes to the page as ever, once the bars are out of its way. The bars never wait for the terminal: one that is
    stopped shows old ones, and one that went away has none any more.
    """

    def __init__(self, page: Page, fd: int, encoding: str) -> None:
        """Raises OSError where the terminal cannot be had without waiting for it."""
        self._page = page
        self._fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        self._encoding = encoding
        self._drawing = threading.Lock()
        self._rows = 0
        self._text = ""
        self._rest = b""
        self.gone = False
        self.ascii = encoding.lower().replace("-", "") != "utf8"

    def line(self, line: bytes) -> None:
        """Write a line of the launcher's own above the bars."""
        with self._drawing:
            drawn = self._rows
            # in one piece with what takes the bars away: the page waits for a slow terminal, and writes all or nothing
            self._page.line(self._rest + self._frame("") + line if drawn and not self.gone else line)
            self._rest, self._rows = b"", 0
            if drawn:
                self._put(self._text)

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24
        return columns or 80, rows or 24

    def draw(self, rows: Sequence[str], over: Callable[[], bool]) -> None:
        """Show these rows at the foot in place of the last ones, unless it is over by now."""
        with self._drawing:
            if not over():
                self._text = "".join(f"\r{row}\x1b[K\n" for row in rows)
                self._put(self._text)

    def clear(self) -> None:
        """Take the bars away."""
        with self._drawing:
            if self._rows:
                self._put("")

    def close(self) -> None:
        """Take the bars away for good: what is said from now on may pass it by."""
        self.clear()
        self.gone = True

    def _frame(self, text: str) -> bytes:
        """Overwrite the rows above the cursor; each of the new ones ends its line, and no half one stays."""
        up = f"\x1b[{self._rows}A" if self._rows else ""
        return f"{up}{text}\r\x1b[J".encode(self._encoding, "replace")

    def _put(self, text: str) -> None:
        """Write a frame if the terminal takes one; what it did not take of the last one goes first."""
        if self._sent() and not self.gone:
            self._rest, self._rows = self._frame(text), text.count("\n")
            self._sent()

    def _sent(self) -> bool:
        """Go on with the frame on its way; whether there is none any more."""
        try:
            while self._rest and not self.gone:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except BlockingIOError:
            return False
        except OSError:
            self.gone = True
        return True


def screen(page: Page, fd: int, environ: Mapping[str, str], encoding: str) -> Screen | None:
    """Open what stands behind `fd` for bars, if it is a terminal that can show them and whose user wants them."""
    if not os.isatty(fd) or environ.get("TERM", "dumb") == "dumb" or environ.get("NO_COLOR"):
        return None
    try:
        return Screen(page, fd, encoding)
    except OSError:
        return None
