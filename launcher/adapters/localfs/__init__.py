"""A directory as the object store: its first level are the buckets, so that a job's own obs:// URLs run with no server.

Links that stay inside the directory are followed; it never reads or writes outside, never shows half an object (what is
being written is called `.launcher-part-*` and is no object to anyone), and never leaves out in silence what it cannot
take. A folder with nothing in it is listed as S3 lists one: the key of a marker, `folder/`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from launcher.adapters.localfs.buckets import bucket_folder
from launcher.adapters.localfs.entries import PART_PREFIX, entries, etag, is_empty, refusal
from launcher.adapters.localfs.parts import create, sweep
from launcher.adapters.localfs.pieces import pieces, write_all
from launcher.core.stored import StoredObject
from launcher.core.storefault import file_fault, verdict
from launcher.core.urls import Location, wrong_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.storefault import Operation

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class LocalStore:
    """A store in a directory. Every method may be called from any thread."""

    def __init__(self, directory: str) -> None:
        self._root = os.path.realpath(directory)
        self._swept: set[tuple[str, str]] = set()

    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        """Every object below a folder whose key comes after `after`, in the order of keys; none if it is not there."""
        top = folder.folder
        real = self._real("list", top)
        found = None if real is None else _status("list", real)
        if real is None or found is None or not stat.S_ISDIR(found.st_mode):
            return
        prefixes, trail, levels = [top.key], [real], [entries(top, real, after, self._check_link)]
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                for stack in (prefixes, trail, levels):
                    stack.pop()
                continue
            key = prefixes[-1] + entry.name
            if not entry.folder:
                yield StoredObject(key, entry.found.st_size, etag(entry.found))
                continue
            at = Location(top.bucket, key + "/")
            if entry.linked and entry.real in trail:
                raise refusal("list", at.url, "a link to a folder above itself", "Remove the link.")
            if at.key > after and is_empty(entry.real):
                yield StoredObject(at.key, 0, "")
                continue
            prefixes.append(at.key)
            trail.append(entry.real)
            levels.append(entries(at, entry.real, after, self._check_link))

    def stat(self, at: Location) -> StoredObject | None:
        """The object at exactly this key; a folder is there under its key with the `/`."""
        real = self._real("look up", at)
        if real is None or not at.key:
            return None
        found = _status("look up", real)
        if found is None:
            return None
        if stat.S_ISDIR(found.st_mode):
            return StoredObject(at.key, 0, "") if at.is_folder else None
        if at.is_folder or not stat.S_ISREG(found.st_mode):
            return None
        return StoredObject(at.key, found.st_size, etag(found))

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        """The bytes from `start` to before `end` of that very version; an item without a size is read to its end."""
        at = Location(bucket, item.key)
        source = self._open(at)
        try:
            before = os.fstat(source)
            _same(at, item, before)
            yield from pieces(at, source, start, before.st_size if end < 0 else end, stopped)
            after = os.fstat(source)
            if (before.st_size, etag(before)) != (after.st_size, etag(after)):
                raise verdict("read", at.url, "changed")
        finally:
            os.close(source)

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:  # noqa: ARG002 - a file takes what comes
        """Write the chunks beside the target and rename: the object appears whole or not at all."""
        wrong = wrong_key(at.key) or ("" if at.key.strip("/") else "no key")
        if at.name.startswith(PART_PREFIX):
            wrong = f"{PART_PREFIX}* is kept for unfinished files"
        if wrong:
            raise refusal("write", at.url, wrong, "Rename it.")
        with self._told(at):
            parent = self._enter(at)
        try:
            if not at.is_folder:
                self._place(parent, at, chunks)
        finally:
            os.close(parent)

    def remove(self, at: Location) -> None:
        """Delete one object, or one empty folder; what is not there is no error."""
        parent, _, name = at.key.rstrip("/").rpartition("/")
        real = self._real("delete", Location(at.bucket, parent))
        if real is None or wrong_key(at.key) or not at.key:
            return
        try:
            (os.rmdir if at.is_folder else os.unlink)(os.path.join(real, name))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise file_fault("delete", self._path(at), error, os.path.ismount) from error

    def modified(self, at: Location) -> float:
        """When the file was written, by the clock of its file system: another machine's, where that is a network's."""
        real = self._real("look up", at)
        found = None if real is None else _status("look up", real)
        if found is None:
            raise verdict("look up", at.url, "key")
        return found.st_mtime

    def _path(self, at: Location) -> str:
        return os.path.join(self._root, at.bucket, at.key)

    def _real(self, operation: Operation, at: Location) -> str | None:
        """Where a place is with all links followed, refused when that is outside of the store; None: no such key."""
        path = os.path.join(bucket_folder(operation, at, self._root), at.key)
        if wrong_key(at.key) or at.name.startswith(PART_PREFIX):
            return None
        real = os.path.realpath(path)
        self._check(operation, at, real)
        return real

    def _check(self, operation: Operation, at: Location, real: str) -> None:
        if real != self._root and not real.startswith(self._root.rstrip("/") + "/"):
            why = f"a link leads out of the store, to {real}"
            raise refusal(operation, at.url, why, f"Lay the files themselves below {self._root}.")

    def _check_link(self, at: Location, real: str) -> None:
        self._check("list", at, real)

    def _open(self, at: Location) -> int:
        real = self._real("read", at)
        if real is None or at.is_folder:
            raise verdict("read", at.url, "key")
        try:
            source = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise verdict("read", at.url, "key") from None
        except OSError as error:
            raise file_fault("read", real, error, os.path.ismount) from error
        try:
            # a folder on the way may have been replaced by a link since: ask what was really opened
            self._check("read", at, os.readlink(f"/proc/self/fd/{source}"))
            self._check_file(at, source)
        except BaseException:
            os.close(source)
            raise
        return source

    def _check_file(self, at: Location, source: int) -> None:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise verdict("read", at.url, "key", "it is no file")

    def _enter(self, at: Location) -> int:
        """Open the folder that an object goes into, making it; each step is checked before anything is made in it."""
        current = os.open(self._real("write", Location(at.bucket)) or self._root, _FOLDER)
        try:
            for name in at.key.split("/")[:-1]:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=current)
                inner = os.open(name, _FOLDER, dir_fd=current)
                os.close(current)
                current = inner
                self._check("write", at, os.readlink(f"/proc/self/fd/{current}"))
        except BaseException:
            os.close(current)
            raise
        return current

    def _place(self, parent: int, at: Location, chunks: Iterator[bytes]) -> None:
        folder = at.bucket, at.key[: -len(at.name)]
        if folder not in self._swept:
            self._swept.add(folder)
            sweep(parent)
        with self._told(at):
            part, target = create(parent)
        try:
            for chunk in chunks:
                with self._told(at):
                    write_all(target, chunk)
            with self._told(at):
                # what a network's file system says only at a close, while the file is still held
                os.close(os.dup(target))
                os.replace(part, at.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)
            raise
        finally:
            os.close(target)

    @contextlib.contextmanager
    def _told(self, at: Location) -> Iterator[None]:
        """Only the store's own failures are told as such: those of the chunks are their reader's."""
        try:
            yield
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            why = "a directory cannot hold x beside x/y"
            raise refusal("write", at.url, why, "Give one of the two another name.") from error
        except OSError as error:
            raise file_fault("write", self._path(at), error, os.path.ismount) from error


def _status(operation: Operation, real: str) -> os.stat_result | None:
    try:
        return os.stat(real)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise file_fault(operation, real, error, os.path.ismount) from error


def _same(at: Location, item: StoredObject, found: os.stat_result) -> None:
    if item.size not in {-1, found.st_size} or item.etag not in {"", etag(found)}:
        raise verdict("read", at.url, "changed", f"{item.size} bytes were listed")
