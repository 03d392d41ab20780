"""One object's file on its way: made beside its place, filled in any order, then renamed into it, whole or not at all.

Everything happens by names in an open folder, so that nothing that is swapped for a link meanwhile leads elsewhere.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import StageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOUND = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """An open folder, closed when the last file on its way into it has arrived.

    `enter` is called by the one thread that hands the files out, which leaves last; `leave` under a lock.
    """

    def __init__(self, root: str, path: str) -> None:
        self.path = path
        self.descriptor = disk.open_folder(root, path)
        self._entered, self._left = 1, 0

    def enter(self) -> None:
        """One file more is on its way here."""
        self._entered += 1

    def leave(self) -> None:
        """One file less; the folder is closed when it was the last."""
        self._left += 1
        if self._left == self._entered:
            os.close(self.descriptor)


class Landing:
    """One file on its way into a folder. Every method but `write` is called by one thread at a time."""

    def __init__(self, folder: Folder, name: str, part: str) -> None:
        self.folder = folder
        self.name = name
        self.part = part
        self.descriptor = -1

    @property
    def path(self) -> str:
        """Where it will be."""
        return f"{self.folder.path}/{self.name}"

    @property
    def part_path(self) -> str:
        """Where it is until then."""
        return f"{self.folder.path}/{self.part}"

    def status(self) -> os.stat_result | None:
        """What lies in its place now, no link followed."""
        try:
            return os.stat(self.name, dir_fd=self.folder.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open(self) -> None:
        """Begin a file of its own; what an earlier one has left there is gone. Raises `StageError`."""
        try:
            try:
                self.descriptor = os.open(self.part, _NEW, 0o666, dir_fd=self.folder.descriptor)
            except FileExistsError:
                os.unlink(self.part, dir_fd=self.folder.descriptor)
                self.descriptor = os.open(self.part, _NEW, 0o666, dir_fd=self.folder.descriptor)
        except OSError as error:
            raise self._refusal(error) from error

    def resume(self, size: int) -> bool:
        """Go on with a file of this size that an earlier start has left; False: there was none, a new one is begun."""
        with suppress(OSError):
            self.descriptor = os.open(self.part, _FOUND, dir_fd=self.folder.descriptor)
            found = os.fstat(self.descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size == size:
                return True
            self.close()
        self.open()
        return False

    def stretch(self, size: int) -> None:
        """Make the file so long, or short. Raises `StageError`."""
        try:
            os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise self._refusal(error) from error

    @property
    def inode(self) -> int:
        """What tells this file from others of its name."""
        return os.fstat(self.descriptor).st_ino

    def write(self, piece: Buffer, offset: int) -> int:
        """Write every byte, from this offset on; where the next one goes. Raises `StageError`."""
        left = memoryview(piece)
        try:
            while left:
                written = os.pwrite(self.descriptor, left, offset)
                left, offset = left[written:], offset + written
        except OSError as error:
            raise self._refusal(error) from error
        return offset

    def place(self, *, executable: bool) -> os.stat_result:
        """Put the file in its place; what it is there. Raises `StageError`."""
        here = self.folder.descriptor
        try:
            if executable:
                mode = os.fstat(self.descriptor).st_mode
                os.fchmod(self.descriptor, mode | (mode & 0o444) >> 2)  # who may read it may run it
            self.close()
            os.rename(self.part, self.name, src_dir_fd=here, dst_dir_fd=here)
            return os.stat(self.name, dir_fd=here, follow_symlinks=False)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            raise StageError(
                f"{self.path} is a folder, the file of that name has no place",
                code="folder-occupied",
                action="Remove the folder, or rename the object.",
            ) from error
        except OSError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Close the file, if it is open."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def give_up(self) -> None:
        """Leave nothing unfinished behind."""
        self.close()
        self.remove_part()

    def remove_part(self) -> None:
        """Remove the file on its way, whoever writes to it."""
        with suppress(OSError):
            os.unlink(self.part, dir_fd=self.folder.descriptor)

    def _refusal(self, error: OSError) -> StageError:
        return disk.refusal(error, f"write {self.path}")
