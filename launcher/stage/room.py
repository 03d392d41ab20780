"""Whether what is still to come fits: asked for each object as it is listed, and of the file system while it fills up.

It reserves nothing and changes nothing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Exit, StageError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK = 1.0
"""Seconds between two looks at a file system that fills up: others write to it too."""


class _Mount:
    """What one file system still has to take, in bytes of whole blocks and in files and folders."""

    def __init__(self, path: str) -> None:
        found = os.statvfs(path)
        self.path = path
        self.block = found.f_frsize or 1
        self.users: list[str] = []
        self.bytes = self.beside = self.replacing = self.entries = 0
        self.looked = -LOOK

    def rounded(self, size: int) -> int:
        """What a file of so many bytes takes."""
        return -(-size // self.block) * self.block

    def growth(self, size: int, replaced: int | None) -> int:
        """By how much a file of so many bytes makes what is there grow; 0 where nobody knows its size."""
        return 0 if size < 0 else self.rounded(size) - (0 if replaced is None else self.rounded(replaced))


class Room:
    """The file systems of a staging. Whoever calls holds a lock. `free` may give back what the node can do without."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        free: Callable[[str, int], bool] = lambda _path, _wanted: False,
    ) -> None:
        self._monotonic = monotonic
        self._free = free
        self._mounts: dict[str, _Mount] = {}
        self._of: dict[str, _Mount] = {}

    def user(self, label: str, folder: str, found: int = 0) -> None:
        """A channel will fill this folder; so many bytes of what it brings lie there already, unfinished."""
        path = disk.mount_of(folder)
        mount = self._mounts.get(path) or self._mounts.setdefault(path, _Mount(path))
        mount.users.append(label)
        mount.bytes -= found
        self._of[folder] = mount

    def want(self, folder: str, size: int, replaced: int | None = None) -> None:
        """One more file is to come, of a size below 0 where nobody knows it; one that it replaces brings its room.

        Raises `StageError` where all that is known does not fit, with 1 % to spare.
        """
        mount = self._of[folder]
        mount.bytes += mount.growth(size, replaced)
        if replaced is not None:  # the new one is written beside the old one
            mount.replacing += 1
            mount.beside = max(mount.beside, min(mount.rounded(size), mount.rounded(replaced)))
        mount.entries += replaced is None
        self._look(mount)

    def wrote(self, folder: str, size: int) -> None:
        """So many bytes of a file of known size are written, or fewer than it seemed. Raises as `want` does."""
        mount = self._of[folder]
        mount.bytes -= size
        self._look(mount)

    def arrived(self, folder: str, size: int, replaced: int | None = None, *, written: bool) -> None:
        """A file that was wanted is there, and nothing of it to come; its bytes were `written`, or there before."""
        mount = self._of[folder]
        mount.bytes -= mount.growth(size, replaced) - (max(size, 0) if written else 0)
        mount.entries -= replaced is None
        mount.replacing -= replaced is not None
        mount.beside = mount.beside if mount.replacing else 0

    def to_come(self) -> int:
        """Bytes that all files still need together, wherever they go."""
        return sum(max(mount.bytes, 0) for mount in self._mounts.values())

    def check_all(self) -> None:
        """Look at every file system now."""
        for mount in self._mounts.values():
            self.check(mount, self._monotonic())

    def _look(self, mount: _Mount) -> None:
        now = self._monotonic()
        if now - mount.looked >= LOOK:
            self.check(mount, now)

    def check(self, mount: _Mount, now: float) -> None:
        """See that what is still to come fits what is free now."""
        mount.looked = now
        size = max(mount.bytes + mount.beside, 0)
        wanted = size + size // 100, max(mount.entries, 0)
        lacking = disk.shortage(mount.path, *wanted)
        if lacking and self._free(mount.path, max(wanted[0] - disk.free(mount.path), 1)):
            lacking = disk.shortage(mount.path, *wanted)
        if lacking:
            raise StageError(
                f"no room on the file system at {mount.path} for {', '.join(mount.users)}: {lacking}",
                code="no-space",
                action="Free space there, give the node a larger disk, or stage less.",
                exit_code=Exit.NODE,
            )
