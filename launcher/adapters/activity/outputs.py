"""Whether something in the outputs has changed: a bounded look at their uppermost entries, which follows no link."""

from __future__ import annotations

import os
import stat
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 1000
"""Entries of all outputs; those that lie deepest are left out, for the sync looks at all of them anyway."""


def state_of(folders: Sequence[str]) -> tuple[int, ...]:
    """How many entries there are, their bytes, and when the newest of them was changed, as far as was looked."""
    count = size = newest = 0
    queue = deque(folders)
    while queue and count < MOST:
        with suppress(OSError), os.scandir(queue.popleft()) as entries:
            for entry in entries:
                with suppress(OSError):
                    about = entry.stat(follow_symlinks=False)
                    count, size, newest = count + 1, size + about.st_size, max(newest, about.st_mtime_ns)
                    if stat.S_ISDIR(about.st_mode):
                        queue.append(entry.path)
                if count >= MOST:
                    break
    return count, size, newest
