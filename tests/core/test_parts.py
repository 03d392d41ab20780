from __future__ import annotations

import pytest

from launcher.core.parts import MEBIBYTE, MOST_PARTS, SMALL_BYTES, part_bytes


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES, 70 * 1024**3, 71 * 1024**3, 1024**4, 5 * 1024**4])
def test_no_object_has_more_parts_than_a_store_takes(size: int) -> None:
    part = part_bytes(size)
    assert part >= SMALL_BYTES
    assert part % MEBIBYTE == 0
    assert -(-size // part) <= MOST_PARTS
    assert part == SMALL_BYTES or -(-size // (part - MEBIBYTE)) > MOST_PARTS
