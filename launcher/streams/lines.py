"""The launcher's own lines: their form, and the way from our loggers to stderr and to the log file."""

from __future__ import annotations

import logging
import time
import traceback
from typing import Protocol

PREFIX = "[ModelArts Service Log]"
_EARLY_LINES = 1000


class Page(Protocol):
    """What takes a line of the launcher's own and never fails."""

    def line(self, line: bytes) -> None:
        """Write it, on a line of its own."""
        ...


class ServiceLog(logging.Handler):
    """The launcher's own lines, to stderr and to the log file, which gets the early ones when it is opened."""

    def __init__(self, stderr: Page) -> None:
        super().__init__()
        self._stderr = stderr
        self._file: Page | None = None
        self._early: list[bytes] = []

    def open(self, file: Page) -> None:
        """Write to the log file as well from now on."""
        self.acquire()
        try:
            early, self._early, self._file = self._early, [], file
        finally:
            self.release()
        for line in early:
            file.line(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a bad format string is told the way logging tells it
            self.handleError(record)
            return
        self._stderr.line(line)
        if self._file is not None:
            self._file.line(line)
        elif len(self._early) < _EARLY_LINES:
            self._early.append(line)

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in it; only a traceback has more."""
        text = service_line(record.levelname, record.getMessage(), record.created)
        if record.exc_info and record.exc_info[1] is not None:
            lines = "".join(traceback.format_exception(record.exc_info[1])).splitlines()
            text += "".join(f"{plain(line)}\n" for line in lines)
        return text


def service_line(level: str, message: str, moment: float) -> str:
    """One line in the service's form; `moment` is seconds since the epoch."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    return f"{PREFIX}{when},{int(moment * 1000) % 1000:03d} - {level} - {plain(message)}\n"


def plain(text: str) -> str:
    """Make control characters visible: what a file name or a server says must not forge a line or steer a terminal."""
    return text if text.isascii() and text.isprintable() else text.translate(_CONTROLS)


_CONTROLS = {
    number: ascii(chr(number))[1:-1]
    for span in ((0, 0x20), (0x7F, 0xA0), (0x2028, 0x202F), (0x2066, 0x206A))
    for number in range(*span)
}
