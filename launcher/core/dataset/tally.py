"""How many samples name each object, in 12 bytes an entry: a dict of Python's would need a hundred more."""

from __future__ import annotations

_LEAST = 1024
_MASK = (1 << 64) - 1


class Tally:
    """Counts by 64-bit digest, in an open table that is at most half full; 0 marks a free slot.

    Two of a million objects have one digest in about one of 10^7 datasets.
    """

    def __init__(self) -> None:
        self._keys, self._counts = _table(_LEAST)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def add(self, bucket: str, key: str) -> bool:
        """Count one more; whether it is the first."""
        digest, slot = self._find(bucket, key)
        self._counts[slot] += 1
        if self._keys[slot]:
            return False
        self._keys[slot] = digest
        self._used += 1
        if self._used * 2 > len(self._keys):
            self._grow()
        return True

    def count(self, bucket: str, key: str) -> int:
        """How often it was counted."""
        return self._counts[self._find(bucket, key)[1]]

    def _find(self, bucket: str, key: str) -> tuple[int, int]:
        digest = (hash((bucket, key)) & _MASK) or 1
        return digest, _slot(self._keys, digest)

    def _grow(self) -> None:
        keys, counts = _table(2 * len(self._keys))
        for digest, count in zip(self._keys, self._counts, strict=True):
            if digest:
                slot = _slot(keys, digest)
                keys[slot], counts[slot] = digest, count
        self._keys, self._counts = keys, counts


def _table(size: int) -> tuple[memoryview, memoryview]:
    return memoryview(bytearray(8 * size)).cast("Q"), memoryview(bytearray(4 * size)).cast("I")


def _slot(keys: memoryview, digest: int) -> int:
    last = len(keys) - 1
    slot = digest & last
    while keys[slot] and keys[slot] != digest:
        slot = (slot + 1) & last
    return slot
