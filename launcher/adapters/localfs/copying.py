"""Copy a file into another by the fastest way that the two allow, asking between parts whether to go on."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from launcher.core.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

PART_BYTES = 16 * 1024**2
_HAND_BYTES = 1024**2
_UNSUPPORTED = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}


def copy(source: int, target: int, most: int, stopped: Callable[[], bool]) -> int:
    """Copy from here to the end, or until more than `most` bytes came; how many came. Raises OSError, Cancelled."""
    done = 0
    ways = [_by_range, _by_sendfile, _by_hand]
    while done <= most:
        if stopped():
            raise Cancelled
        try:
            moved = ways[0](source, target)
        except OSError as error:
            # both files stand where the last way left them, so the next one takes over from there
            if error.errno not in _UNSUPPORTED or len(ways) == 1:
                raise
            del ways[0]
            continue
        if not moved:
            break
        done += moved
    return done


def write_all(target: int, chunk: bytes) -> None:
    """Write every byte."""
    left = memoryview(chunk)
    while left:
        left = left[os.write(target, left) :]


def _by_range(source: int, target: int) -> int:
    return os.copy_file_range(source, target, PART_BYTES)


def _by_sendfile(source: int, target: int) -> int:
    return os.sendfile(target, source, None, PART_BYTES)


def _by_hand(source: int, target: int) -> int:
    chunk = os.read(source, _HAND_BYTES)
    write_all(target, chunk)
    return len(chunk)
