"""The node's cache of objects that were brought before: cloned or copied into new files, checked, and never linked to.

One object is one file: its content, and then a SHA-256 of what it is called and what it holds. Whatever is wrong with
the cache (spoilt, full, slow to be locked), the object is downloaded as if there were none; no job ever fails by it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from launcher import disk
from launcher.cache.eviction import Room, create
from launcher.core.errors import Cancelled, Exit, StageError
from launcher.core.keys import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from launcher.core.stored import StoredObject

    class Digest(Protocol):
        """What hashlib gives."""

        def update(self, data: memoryview, /) -> None:
            """Take in more."""
            ...

        def digest(self) -> bytes:
            """The sum of all."""
            ...


_FORM = b"launcher cache 1"
_SEAL_BYTES = 32
_CHUNK = 256 * 1024
_CLONE = 0x40049409  # FICLONE of linux/fs.h
_CLONE_FROM = 1024**2  # a clone changes the file system's trees, which costs more than a small copy
_FRESH_S = 60  # the use of an entry is noted once a minute at most
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_log = logging.getLogger(__name__)


class Cache:
    """A folder of entries of one user, shared by any number of launchers; every method may be called from any thread.

    `room` says what may still come in.
    """

    def __init__(self, folder: str, limit_bytes: int, endpoint: str) -> None:
        from hashlib import sha256  # noqa: PLC0415 - only where there is a cache

        self._sha256 = sha256
        self._path, self._endpoint = folder, endpoint
        self._folder = _open_cache(folder)
        self.room = Room(self._folder, limit_bytes)
        self._apart: set[tuple[int, int]] = set()  # file systems of targets that can share no blocks with the cache
        self._counting = threading.Lock()
        self._off = False

    def close(self) -> None:
        """Let go of the folder; no thread may be inside."""
        os.close(self._folder)

    def fill(self, bucket: str, item: StoredObject, target: int, stopped: Callable[[], bool]) -> bool:
        """Put the object's content into the open, empty file; whether it was here, else the file is left empty.

        The file's offset stays at its start. Raises Cancelled, and OSError where the file cannot even be emptied.
        """
        name = self._name(bucket, item)
        try:
            delivered = name is not None and self._deliver(name, item, target, stopped)
        except FileNotFoundError:
            delivered = False
        except OSError as error:  # no room for the target is the download's to tell
            _log.debug("no use of the cache for %r: %s", readable(item.key), disk.reason(error))
            delivered = False
        if not delivered:
            os.ftruncate(target, 0)
        return delivered

    def keep(self, bucket: str, item: StoredObject, source: int, spare: int, stopped: Callable[[], bool]) -> None:
        """Take in a finished file that is open for reading; where that fails, the cache takes in nothing any more.

        Its disk keeps `spare` bytes free. Raises nothing but Cancelled. The file's offset stays where it is.
        """
        name = self._name(bucket, item)
        if name is None or self._off:
            return
        try:
            with self._shard(name, make=True) as shard:
                if not _is_there(shard, name) and self.room.admit(item.size, spare, stopped):
                    try:
                        self._take_in(shard, name, item.size, source, stopped)
                    finally:
                        self.room.settle(item.size)
        except OSError as error:
            with self._counting:
                said, self._off = self._off, True
            if not said:
                _log.warning("the cache %s takes in nothing more: %s", self._path, disk.reason(error))

    def free(self, path: str, wanted: int) -> bool:
        """Give so many bytes back to the file system of `path`; False where that is another one, or nothing went."""
        try:
            same = os.stat(path).st_dev == os.fstat(self._folder).st_dev
            return same and self.room.release(wanted) > 0
        except OSError as error:
            _log.debug("the cache %s gives nothing back: %s", self._path, disk.reason(error))
            return False

    def _name(self, bucket: str, item: StoredObject) -> str | None:
        """What the entry is called; None for an object whose mark does not vouch for its content."""
        if item.size < 0 or not item.etag.strip('"') or item.etag.startswith("W/"):
            return None
        parts = (self._endpoint, bucket, item.key, item.etag.strip('"'), str(item.size))
        # no part can hold what stands between them: each says how long it is
        texts = [part.encode("utf-8", "surrogateescape") for part in parts]
        return self._sha256(_FORM + b"".join(b"%d:%s" % (len(text), text) for text in texts)).hexdigest()

    @contextmanager
    def _shard(self, name: str, *, make: bool = False) -> Iterator[int]:
        """The open folder that an entry lies in: 256 of them, so that none gets long."""
        try:
            shard = os.open(name[:2], disk.DIRECTORY, dir_fd=self._folder)
        except FileNotFoundError:
            if not make:
                raise
            with suppress(FileExistsError):
                os.mkdir(name[:2], 0o700, dir_fd=self._folder)
            shard = os.open(name[:2], disk.DIRECTORY, dir_fd=self._folder)
        try:
            if not _is_ours(os.fstat(shard)):
                raise OSError(errno.EPERM, f"the folder {name[:2]} is not this user's alone")
            yield shard
        finally:
            os.close(shard)

    def _deliver(self, name: str, item: StoredObject, target: int, stopped: Callable[[], bool]) -> bool:
        with self._shard(name) as shard:
            try:
                wrong = self._poured(shard, name, item.size, target, stopped)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                wrong = "cannot be read"
            if wrong is None:
                return True
            _log.warning("the cache's copy of %r %s: removed, the object is downloaded", readable(item.key), wrong)
            with suppress(OSError):
                os.unlink(name, dir_fd=shard)
        return False

    def _poured(self, shard: int, name: str, size: int, target: int, stopped: Callable[[], bool]) -> str | None:
        """Fill the target; what is wrong with the entry."""
        try:
            entry = os.open(name, disk.REGULAR, dir_fd=shard)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                return "is no file"
            raise
        try:
            found = os.fstat(entry)
            if not stat.S_ISREG(found.st_mode) or not _is_ours(found):
                return "is no file of this user's alone"
            if found.st_size != size + _SEAL_BYTES:
                return "has another size"
            cloned = self._cloned(entry, target, size)
            if cloned:
                os.ftruncate(target, size)
            # what was cloned is read here after that: it is the same as long as it is right
            if self._read(name, entry, size, None if cloned else target, stopped) != os.pread(entry, _SEAL_BYTES, size):
                return "is spoilt"
            if time.time() - found.st_mtime > _FRESH_S:
                os.utime(entry)
            return None
        finally:
            os.close(entry)

    def _read(self, name: str, source: int, size: int, sink: int | None, stopped: Callable[[], bool]) -> bytes | None:
        """Read so many bytes, copy them if they are to go anywhere, and seal them; None when fewer came."""
        seal: Digest = self._sha256(name.encode())
        buffer = memoryview(bytearray(min(size, _CHUNK)))
        done = 0
        while done < size:
            if stopped():
                raise Cancelled
            piece = buffer[: os.preadv(source, [buffer[: size - done]], done)]
            if not piece:
                return None
            seal.update(piece)
            if sink is not None:
                _write_at(sink, piece, done)
            done += len(piece)
        return seal.digest()

    def _cloned(self, source: int, target: int, size: int) -> bool:
        """Let the target share the source's blocks until either is written to, where the file system can."""
        if size < _CLONE_FROM:
            return False
        pair = (os.fstat(source).st_dev, os.fstat(target).st_dev)
        if pair in self._apart:
            return False
        try:
            fcntl.ioctl(target, _CLONE, source)
        except OSError:
            self._apart.add(pair)
            return False
        return True

    def _take_in(self, shard: int, name: str, size: int, source: int, stopped: Callable[[], bool]) -> None:
        """Make the entry beside its place, then put it there; two that do so at once made the same."""
        part, entry = create(shard)
        placed = False
        try:
            cloned = self._cloned(source, entry, size)
            if cloned:
                os.ftruncate(entry, size)
            seal = self._read(name, source, size, None if cloned else entry, stopped)
            if seal is not None and os.fstat(source).st_size == size:
                _write_at(entry, memoryview(seal), size)
                os.rename(part, name, src_dir_fd=shard, dst_dir_fd=shard)
                placed = True
        finally:
            os.close(entry)
            if not placed:
                with suppress(OSError):
                    os.unlink(part, dir_fd=shard)


def _open_cache(folder: str) -> int:
    """Open the cache's folder, made where it is missing; it must be this user's alone to write."""
    folder = folder.rstrip("/") or "/"
    try:
        os.makedirs(os.path.dirname(folder) or ".", exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        opened = os.open(folder, disk.DIRECTORY)
    except (NotADirectoryError, FileExistsError) as error:
        raise _refused(f"the cache {folder} is a link or no folder", Exit.NODE) from error
    except OSError as error:
        raise disk.refusal(error, f"use the cache folder {folder}") from error
    found = os.fstat(opened)
    if _is_ours(found):
        return opened
    os.close(opened)
    whose = f"uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}"
    raise _refused(
        f"the cache {folder} is not this user's alone to write ({whose}; we are uid {os.geteuid()})", Exit.REFUSED
    )


def _refused(message: str, code: Exit) -> StageError:
    action = "Give LAUNCHER_CACHE a folder that belongs to this user (chmod go-w), or none."
    return StageError(message, code="cache-refused", action=action, exit_code=code)


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE


def _is_there(shard: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=shard, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write_at(target: int, piece: memoryview, start: int) -> None:
    done = 0
    while done < len(piece):
        done += os.pwrite(target, piece[done:], start + done)
