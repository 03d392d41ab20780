"""What an upload is sent as: small ones as one body that can be sent again, larger ones as parts that fit the store."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL_BYTES = 8 * 1024**2
MOST_PARTS = 9_000
"""S3 takes 10,000; the rest is left for a file that grows while it is sent."""


def body_of(chunks: Iterator[bytes]) -> bytes | Iterator[bytes]:
    """All of it, where that is little; else an iterator over everything, what was looked at included."""
    head: list[bytes] = []
    held = 0
    for chunk in chunks:
        head.append(chunk)
        held += len(chunk)
        if held > SMALL_BYTES:
            return chain(head, chunks)
    return b"".join(head)


def part_bytes(size: int) -> int:
    """How large each part must be, in whole MiB, so that they are not too many."""
    mebibyte = 1024**2
    return max(SMALL_BYTES, -(-size // (MOST_PARTS * mebibyte)) * mebibyte)
