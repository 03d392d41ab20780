"""The bytes of a file in pieces, and pieces into a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.core.errors import Cancelled
from launcher.core.storefault import file_fault, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.urls import Location

PIECE_BYTES = 1024**2


def pieces(at: Location, source: int, start: int, end: int, stopped: Callable[[], bool]) -> Iterator[bytes]:
    """The bytes from `start` to before `end` of an open file. Raises StoreError: it has become shorter."""
    while start < end:
        if stopped():
            raise Cancelled
        try:
            piece = os.pread(source, min(PIECE_BYTES, end - start), start)
        except OSError as error:
            raise file_fault("read", at.url, error, lambda _: False) from error
        if not piece:
            raise verdict("read", at.url, "changed", f"{end - start} bytes are missing")
        start += len(piece)
        yield piece


def write_all(target: int, chunk: bytes) -> None:
    """Write every byte."""
    left = memoryview(chunk)
    while left:
        left = left[os.write(target, left) :]
