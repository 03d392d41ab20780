"""What lies in one folder of a directory that stands for a store, with links resolved and strange things named."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit, StoreError
from launcher.core.storefault import file_fault
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.core.storefault import Operation

PART_PREFIX = ".launcher-part-"
"""How a file is called while it is being written; no object to anyone."""


class Entry(msgspec.Struct, frozen=True):
    """One name in a folder, its links resolved."""

    name: str
    real: str
    found: os.stat_result
    linked: bool

    @property
    def folder(self) -> bool:
        """Whether it holds others."""
        return stat.S_ISDIR(self.found.st_mode)

    @property
    def order(self) -> bytes:
        """Where a store lists it: by the bytes of its key."""
        return (self.name + "/" * self.folder).encode()


def entries(at: Location, real: str, check: Callable[[Location, str], None]) -> list[Entry]:
    """The names in the folder `real`, in the order of their keys; `check` refuses where a link leads."""
    try:
        with os.scandir(real) as found:
            found_here = [_entry(at, one, check) for one in found if not one.name.startswith(PART_PREFIX)]
    except OSError as error:
        raise file_fault("list", real, error, os.path.ismount) from error
    return sorted(found_here, key=lambda entry: entry.order)


def _entry(at: Location, one: os.DirEntry[str], check: Callable[[Location, str], None]) -> Entry:
    try:
        one.name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(one.name)
        raise refusal("list", f"{at.url}{shown!r}", "the name is not UTF-8", "Rename it.") from None
    url, real, linked = at.url + one.name, one.path, one.is_symlink()
    if linked:
        points, real = os.readlink(real), os.path.realpath(real)
        check(Location(at.bucket, at.key + one.name), real)
        try:
            found = os.stat(real)
        except OSError as error:
            raise refusal("list", url, f"a link to {points}, which is not there", "Remove the link.") from error
    else:
        found = one.stat(follow_symlinks=False)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise refusal("list", url, "neither a file nor a folder", "Remove it: fifos and devices are no objects.")
    return Entry(one.name, real, found, linked)


def refusal(operation: Operation, url: str, why: str, action: str) -> StoreError:
    """Something that cannot be an object here."""
    return StoreError(f"could not {operation} {url}: {why}", code="store-key", action=action, exit_code=Exit.REFUSED)


def etag(found: os.stat_result) -> str:
    """The mark of a file's content: it changes with time, size and inode."""
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
