"""The folder that an archive is unpacked into: every file whole under its name or not at all, and no link followed.

Whatever stands in a path is opened component by component, so a link that an earlier member left leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core import members
from launcher.core.errors import Cancelled, Exit, StageError
from launcher.core.keys import PART, PATH_MOST, is_own
from launcher.core.members import Member, Unpacked, UnpackRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer, Self

    from launcher.unpack.flow import Archive, Stopped

CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PART_NAME = f"{PART}unpack"
"""One file at a time is on its way, and the folder is ours; what a killed launcher left bears this name too."""
STEP_BYTES = 8 << 20
STEP_ENTRIES = 1024
"""How much may be written before the file system is asked again what room it has."""
_NOT_COPIED = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY)


class Tree:
    """What becomes of the members of one archive, within its limits. A `with` closes the folders that it holds."""

    def __init__(self, archive: Archive, root: str, folder: str, rules: UnpackRules, stopped: Stopped) -> None:
        disk.make_folder(root, folder)
        self.room = PATH_MOST - len(os.fsencode(folder)) - len(PART_NAME) - 1
        self._archive = archive
        self._folder = folder
        self._rules = rules
        self._most = rules.most(archive.size)
        self._stopped = stopped
        self._files = self._folders = self._links = self._bytes = self._left_out = 0
        self._new_bytes = self._new_entries = 0
        self._top = self._parent = os.open(folder, disk.DIRECTORY)
        self._parent_path = ""

    def write(self, member: Member, content: Callable[[int], Iterable[Buffer]]) -> None:
        """Let a member be there; `content(size)` yields a file's bytes, or raises. Raises `StageError`."""
        if is_own(member.path):
            self._left_out += 1
            for _ in content(member.size):
                pass
            return
        self._admit(member.size)
        try:
            self._place(member, content)
        except OSError as error:
            if error.errno in _IN_THE_WAY:
                what = "something of another kind stands there or above it"
                raise members.clash(self._archive.name, member.path, what) from error
            raise disk.refusal(error, f"unpack {member.path} of {self._archive.name}") from error

    def check(self, size: int, entries: int) -> None:
        """Refuse so many more bytes and members where they break a limit."""
        if self._bytes + size > self._most:
            raise members.grown(self._archive.name, self._archive.size, self._rules)
        if self._files + self._folders + self._links + self._left_out + entries > self._rules.entries:
            raise members.too_much(
                self._archive.name, f"holds more than {self._rules.entries:,} files and folders", "split it if it is"
            )

    def spool(self, pieces: Iterator[Buffer]) -> int:
        """Keep the whole archive in a file without a name, and hand over its descriptor."""
        self._watch(self._archive.size)
        try:
            with self._part(0o600) as descriptor:
                for piece in pieces:
                    self._put(descriptor, piece)
                os.unlink(PART_NAME, dir_fd=self._parent)
                return os.dup(descriptor)
        except OSError as error:
            raise disk.refusal(error, f"keep {self._archive.name} in {self._folder}") from error

    def done(self) -> Unpacked:
        """Tell what was written."""
        return Unpacked(
            files=self._files,
            folders=self._folders,
            links=self._links,
            bytes=self._bytes,
            left_out=self._left_out,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._parent != self._top:
            os.close(self._parent)
        os.close(self._top)

    def _place(self, member: Member, content: Callable[[int], Iterable[Buffer]]) -> None:
        if member.kind == "folder":
            self._go(member.path)
            return
        above, _, name = member.path.rpartition("/")
        self._go(above)
        if member.kind == "link":
            self._link(member.target, name)
        elif member.kind == "copy":
            self._copy(member, name)
        else:
            with self._part(member.mode) as descriptor:
                for piece in content(member.size):
                    self._put(descriptor, piece)
                os.rename(PART_NAME, name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
            self._files += 1
            self._bytes += member.size

    def _copy(self, member: Member, name: str) -> None:
        """A hard link becomes a copy, so that a program that writes to one name changes no other."""
        try:
            source = disk.open_regular(self._folder, f"{self._folder}/{member.target}")
        except OSError as error:
            if error.errno not in (errno.ENOENT, *_IN_THE_WAY):
                raise
            what = f"a hard link to {member.target!r}, which is no regular file that came before it"
            raise members.refused(self._archive.name, member.path, what) from error
        try:
            status = os.fstat(source)
            self._admit(status.st_size)
            with self._part(stat.S_IMODE(status.st_mode)) as descriptor:
                self._fill(source, descriptor, status.st_size)
                os.rename(PART_NAME, name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        finally:
            os.close(source)
        self._files += 1
        self._bytes += status.st_size

    def _fill(self, source: int, target: int, left: int) -> None:
        cloned = True
        while left:
            if self._stopped():
                raise Cancelled
            try:
                copied = os.copy_file_range(source, target, min(left, STEP_BYTES)) if cloned else 0
            except OSError as error:
                if error.errno not in _NOT_COPIED:
                    raise
                copied = 0
            if copied:
                self._watch(copied)
            else:
                cloned = False
                piece = os.read(source, min(left, disk.CHUNK))
                if not piece:
                    raise OSError(errno.EIO, "a file became shorter while it was copied")
                self._put(target, piece)
                copied = len(piece)
            left -= copied

    def _link(self, target: str, name: str) -> None:
        try:
            os.symlink(target, PART_NAME, dir_fd=self._parent)
        except FileExistsError:
            os.unlink(PART_NAME, dir_fd=self._parent)
            os.symlink(target, PART_NAME, dir_fd=self._parent)
        try:
            os.rename(PART_NAME, name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        except OSError:
            os.unlink(PART_NAME, dir_fd=self._parent)
            raise
        self._links += 1

    @contextlib.contextmanager
    def _part(self, mode: int) -> Iterator[int]:
        """Open the file that is on its way; what was not renamed when this ends is removed."""
        mode = mode & members.PERMISSIONS | members.OWNER  # the kernel takes the umask off, for a file that is new
        try:
            descriptor = os.open(PART_NAME, CREATE, mode, dir_fd=self._parent)
        except FileExistsError:
            os.unlink(PART_NAME, dir_fd=self._parent)
            descriptor = os.open(PART_NAME, CREATE, mode, dir_fd=self._parent)
        try:
            yield descriptor
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(PART_NAME, dir_fd=self._parent)
            raise
        finally:
            os.close(descriptor)

    def _put(self, descriptor: int, piece: Buffer) -> None:
        view = memoryview(piece)
        self._watch(len(view))
        while view:
            view = view[os.write(descriptor, view) :]

    def _go(self, path: str) -> None:
        """Stand in a folder, and make what is missing of it."""
        if path == self._parent_path:
            return
        here = self._top
        for segment in path.split("/") if path else ():
            try:
                deeper = self._enter(here, segment)
            finally:
                if here != self._top:
                    os.close(here)
            here = deeper
        if self._parent != self._top:
            os.close(self._parent)
        self._parent, self._parent_path = here, path

    def _enter(self, here: int, segment: str) -> int:
        try:
            return os.open(segment, disk.DIRECTORY, dir_fd=here)
        except FileNotFoundError:
            self._admit(0)
            os.mkdir(segment, dir_fd=here)
            self._folders += 1
            return os.open(segment, disk.DIRECTORY, dir_fd=here)

    def _admit(self, size: int) -> None:
        """Take one more entry of so many bytes, before a byte of it is written."""
        self.check(size, 1)
        self._new_entries += 1
        if size >= STEP_BYTES or self._new_entries >= STEP_ENTRIES:
            self._ask(size)

    def _watch(self, size: int) -> None:
        self._new_bytes += size
        if self._new_bytes >= STEP_BYTES:
            self._ask(size)

    def _ask(self, size: int) -> None:
        """Ask for a step more than what is written next: so the sentence comes before the disk is full."""
        self._new_bytes = self._new_entries = 0
        short = disk.shortage(self._folder, size + STEP_BYTES, STEP_ENTRIES)
        if short:
            raise StageError(
                f"no room in {self._folder} to go on unpacking {self._archive.name}: {short}",
                code="file-no-space",
                action="Free space or inodes there, or give the node a larger disk or quota.",
                exit_code=Exit.NODE,
            )
