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
    from collections.abc import Callable, Iterator

    from launcher.core.storefault import Operation

PART_PREFIX = ".launcher-part-"
"""How a file is called while it is being written; no object to anyone."""
_PART = PART_PREFIX.encode()


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


def entries(at: Location, real: str, after: str, check: Callable[[Location, str], None]) -> Iterator[Entry]:
    """The names in the folder `real` in the order of their keys, from `after` on; `check` refuses where a link leads.

    Names alone are held, for the order of a large folder; what they stand for is looked at one by one.
    """
    try:
        with os.scandir(real) as found:
            # a folder stands where its keys do: `a-` and `a.txt` come before what is below `a/`
            orders = [os.fsencode(one.name) + b"/" * _is_folder(one) for one in found]
    except OSError as error:
        raise file_fault("list", real, error, os.path.ismount) from error
    orders.sort()
    for order in orders:
        if order.startswith(_PART):
            continue
        key = at.key + _named(at, order)
        if key <= after and not (key.endswith("/") and after.startswith(key)):
            continue
        entry = _entry(at, real, key[len(at.key) :].rstrip("/"), check)
        if entry is not None:
            yield entry


def is_empty(real: str) -> bool:
    """Whether a folder holds nothing that is an object or could hold one."""
    try:
        with os.scandir(real) as found:
            return all(one.name.startswith(PART_PREFIX) for one in found)
    except OSError as error:
        raise file_fault("list", real, error, os.path.ismount) from error


def _is_folder(one: os.DirEntry[str]) -> bool:
    try:
        return one.is_dir()
    except OSError:
        return False  # a link in a circle, which is told when its turn comes


def _named(at: Location, order: bytes) -> str:
    try:
        return order.decode()
    except UnicodeDecodeError:
        raise refusal("list", f"{at.url}{order!r}", "the name is not UTF-8", "Rename it.") from None


def _entry(at: Location, folder: str, name: str, check: Callable[[Location, str], None]) -> Entry | None:
    """What a name stands for; None: it was removed meanwhile."""
    url, real = at.url + name, os.path.join(folder, name)
    try:
        found = os.lstat(real)
        linked = stat.S_ISLNK(found.st_mode)
        points = os.readlink(real) if linked else ""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_fault("list", real, error, os.path.ismount) from error
    if linked:
        real = os.path.realpath(real)
        check(Location(at.bucket, at.key + name), real)
        try:
            found = os.stat(real)
        except OSError as error:
            raise refusal("list", url, f"a link to {points}, which is not there", "Remove the link.") from error
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise refusal("list", url, "neither a file nor a folder", "Remove it: fifos and devices are no objects.")
    return Entry(name, real, found, linked)


def refusal(operation: Operation, url: str, why: str, action: str) -> StoreError:
    """Something that cannot be an object here."""
    return StoreError(f"could not {operation} {url}: {why}", code="store-key", action=action, exit_code=Exit.REFUSED)


def etag(found: os.stat_result) -> str:
    """The mark of a file's content: it changes with time, size and inode."""
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
