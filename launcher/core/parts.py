"""How a large upload is cut into parts: as small as a store takes them, since several of them are in memory."""

from __future__ import annotations

MEBIBYTE = 1024**2
SMALL_BYTES = 8 * MEBIBYTE
"""Bytes up to which an object is put in one piece; no part but the last is smaller."""
MOST_PARTS = 9_000
"""S3 takes 10,000; the rest is left for a file that grows while it is sent."""


def part_bytes(size: int) -> int:
    """How large each part must be, in whole MiB, so that they are not too many."""
    return max(SMALL_BYTES, -(-size // (MOST_PARTS * MEBIBYTE)) * MEBIBYTE)
