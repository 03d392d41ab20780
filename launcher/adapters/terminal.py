"""The terminal that the launcher was started at: its size, and every key as it is pressed."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal:
    """Standard input where it is a terminal, which standard output is too."""

    def size(self) -> tuple[int, int] | None:
        """Rows and columns; None where there is no terminal to work at."""
        try:
            if not (os.isatty(0) and os.isatty(1)):
                return None
            found = os.get_terminal_size(0)
        except OSError:
            return None
        return found.lines, found.columns

    @contextmanager
    def raw(self) -> Iterator[None]:
        """Have every key passed on as it is, Ctrl-C too; in the end it is what it was before, whatever happened."""
        import termios
        import tty

        before = termios.tcgetattr(0)
        try:
            tty.setraw(0, termios.TCSANOW)
            yield
        finally:
            with suppress(termios.error):  # its window was closed; and at once, for nobody may read what it shows
                termios.tcsetattr(0, termios.TCSANOW, before)
