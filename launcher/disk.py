"""The node's own files, met without following a link: folders made, trees scanned, files opened, room measured.

It never decides what becomes of a file and never writes a file's content.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from launcher.core.errors import Exit, StageError
from launcher.core.keys import human_size

CHUNK = 1 << 20
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that took the file's place must not hold the launcher
REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Stamp(msgspec.Struct, frozen=True):
    """What tells one state of a file from another without reading it."""

    size: int
    mtime_ns: int
    inode: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a tree, by relative path: regular files, what is neither file nor folder, what could not be read."""

    files: Mapping[str, Stamp]
    odd: Mapping[str, str]
    errors: Mapping[str, str]


def stamp_of(status: os.stat_result) -> Stamp:
    """Take what we compare from a stat."""
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino)


def scan(base: str) -> Found:
    """Look at every entry below a folder, following no link; one that is not there is empty."""
    files: dict[str, Stamp] = {}
    odd: dict[str, str] = {}
    errors: dict[str, str] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(base, folder)) as entries:
                for entry in entries:
                    path = folder + entry.name
                    status = _status(entry)
                    if status is None:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(path + "/")
                    elif stat.S_ISREG(status.st_mode):
                        files[path] = stamp_of(status)
                    else:
                        odd[path] = KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            errors[folder or "."] = reason(error)
    return Found(files=files, odd=odd, errors=errors)


def open_regular(root: str, path: str) -> int:
    """Open a regular file for reading, component by component from `root`, so that no link can lead elsewhere.

    Raises FileNotFoundError when it is gone, and OSError with ELOOP when something else stands there.
    """
    base, segments = _below(root, path)
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for segment in segments[:-1]:
            deeper = os.open(segment, DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = deeper
        descriptor = os.open(segments[-1], REGULAR, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ENXIO):
            raise OSError(errno.ELOOP, "a link or a special file stands there", path) from error
        raise
    finally:
        os.close(folder)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ELOOP, "no regular file stands there", path)


def blocks(path: str) -> int:
    """Bytes that a file takes on the disk, which are fewer than its size where it has holes; 0 for one that is gone."""
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0


def is_there(root: str, path: str) -> bool:
    """Whether a folder stands at `path`; raises `StageError` where a link or a file stands in the way below `root`."""
    try:
        return _descend(root, path, make=False)
    except OSError as error:
        raise refusal(error, f"look at {path}") from error


def make_folder(root: str, path: str) -> None:
    """Make a folder and what is missing above it below `root`; raises `StageError` as `is_there` does."""
    try:
        os.makedirs(root, exist_ok=True)
        _descend(root, path, make=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _occupied(error.filename or root, "a file") from error
    except OSError as error:
        raise refusal(error, f"make the folder {path}") from error


def open_folder(root: str, path: str) -> int:
    """Open a folder, made where it is missing, component by component below `root`, so that no link can lead elsewhere.

    Raises `StageError` as `is_there` does.
    """
    base, segments = _below(root, path)
    here = base
    try:
        os.makedirs(root, exist_ok=True)
        folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for segment in segments:
            here = os.path.join(here, segment)
            above, folder = folder, _enter(folder, segment)
            os.close(above)
    except (NotADirectoryError, FileExistsError) as error:
        raise _occupied(here, _kind_of(here)) from error
    except OSError as error:
        raise refusal(error, f"make the folder {path}") from error
    return folder


def folds_case(folder: str) -> bool:
    """Whether a folder's file system takes `a` and `A` for one name, asked by a name that is there."""
    upper = os.path.join(folder, ".LAUNCHER-PART-CASE")
    lower = os.path.join(folder, ".launcher-part-case")
    try:
        os.close(os.open(lower, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            return os.path.lexists(upper)
        finally:
            os.unlink(lower)
    except OSError as error:
        raise refusal(error, f"write in {folder}") from error


def mount_of(path: str) -> str:
    """Find the top of the file system that a path lies, or will lie, on."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    while path != "/" and os.stat(os.path.dirname(path)).st_dev == device:
        path = os.path.dirname(path)
    return path


def free(mount: str) -> int:
    """Bytes that this user may still write on a file system."""
    room = os.statvfs(mount)
    return room.f_bavail * room.f_frsize


def shortage(mount: str, size: int, entries: int) -> str | None:
    """Say what a file system lacks for so many more bytes and entries; one that counts no inodes lacks none."""
    room = os.statvfs(mount)
    free = room.f_bavail * room.f_frsize
    if size > free:
        return f"{human_size(size)} wanted, {human_size(free)} free"
    if room.f_files and entries > room.f_favail:
        return f"{entries:,} files and folders wanted, {room.f_favail:,} inodes free"
    return None


def reason(error: OSError) -> str:
    """Put an OSError in a few words."""
    return (error.strerror or str(error)).lower()


def refusal(error: OSError, wanted: str) -> StageError:
    """Turn what the file system refused into a sentence, with the exit code of its kind."""
    if error.errno in FULL:
        return StageError(
            f"could not {wanted}: {reason(error)}",
            code="file-no-space",
            action="Free space or inodes there, or give the node a larger disk or quota.",
            exit_code=Exit.NODE,
        )
    if error.errno in REFUSED:
        return StageError(
            f"could not {wanted}: {reason(error)} (we are uid {os.geteuid()}, gid {os.getegid()})",
            code="file-refused",
            action="Give this user write access there, or choose another folder or --root.",
            exit_code=Exit.REFUSED,
        )
    return StageError(
        f"could not {wanted}: {reason(error)}",
        code="file-broken",
        action="Look at this file system and at the node's kernel log.",
        exit_code=Exit.NODE,
    )


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _below(root: str, path: str) -> tuple[str, list[str]]:
    """Split a path into the part that is trusted and the components that are looked at one by one."""
    top = root.rstrip("/") + "/"
    if path.startswith(top):
        return top, [segment for segment in path[len(top) :].split("/") if segment]
    return os.path.dirname(path), [os.path.basename(path)]


def _descend(root: str, path: str, *, make: bool) -> bool:
    here, segments = _below(root, path)
    for segment in segments:
        here = os.path.join(here, segment)
        try:
            mode = os.lstat(here).st_mode
        except FileNotFoundError:
            if not make:
                return False
            os.mkdir(here)
            continue
        if not stat.S_ISDIR(mode):
            raise _occupied(here, KINDS.get(stat.S_IFMT(mode), "a file"))
    return True


def _enter(folder: int, name: str) -> int:
    """Open a folder in an open folder, made where it is missing; the outer one stays open, or is closed by an error."""
    try:
        try:
            return os.open(name, DIRECTORY, dir_fd=folder)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
            return os.open(name, DIRECTORY, dir_fd=folder)
    except OSError as error:
        os.close(folder)
        if error.errno == errno.ELOOP:
            raise NotADirectoryError(errno.ENOTDIR, "a link stands there", name) from error
        raise


def _kind_of(path: str) -> str:
    try:
        return KINDS.get(stat.S_IFMT(os.lstat(path).st_mode), "a file")
    except OSError:
        return "no folder"


def _occupied(path: str, kind: str) -> StageError:
    return StageError(
        f"{path} is {kind}, a folder of the job's own was wanted",
        code="folder-occupied",
        action="Remove it, or choose another folder or --root; links are not followed.",
        exit_code=Exit.NODE,
    )
