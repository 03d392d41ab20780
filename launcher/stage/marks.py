"""Marks of what staging has finished: which file of this root is which version of which object, 16 bytes each.

With them a second start downloads nothing again that is as it was left. They lie where the boot file may write, and are
no more than a hint about files that it may write as well. Nothing that goes wrong with them stops a run.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher import disk

try:
    from _blake2 import (
        blake2b,
    )  # all of hashlib that is needed here; the rest brings OpenSSL along, 3 ms of every start
except ImportError:
    from hashlib import blake2b

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger(__name__)

BYTES = 16
HELD = 64
"""Marks that are written together."""
MOST = 64 * 1024**2
"""Bytes of marks that are read, some four million files: what comes after them is looked at by its checksum."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Marks:
    """The marks of a root, in the files `path` (the last whole staging) and `path`.new (those that came after it).

    `boot_id` is where the kernel tells its run. `add` may be called from any thread: marks are never cut by others.
    """

    def __init__(self, path: str, boot_id: str = BOOT_ID) -> None:
        self._path = path
        self._key = _kernel(boot_id)
        self._noted = set(_load(f"{path}.new"))
        self._known = self._noted | set(_load(path))
        self._held: deque[bytes] = deque()
        self._descriptor = self._open(f"{path}.new")

    def of(self, place: str, version: str, status: os.stat_result) -> bytes:
        """Mark the file at `place` in this state as that version of an object.

        A mark ends with the kernel that made it: after a crash of the node a file may not be what was written.
        """
        state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        return self._digest(f"{place}\0{version}\0{state}")

    def of_range(self, part: str, version: str, start: int, inode: int) -> bytes:
        """Mark one finished range of a file that is still on its way, by what of it does not change any more.

        An inode's number is used again, so `part`, the whole path of that file, must never be.
        """
        return self._digest(f"{part}\0{version}\0{start} {inode}")

    def of_sealed(self, place: str, version: str, sealed: bytes) -> bytes:
        """Mark what was unpacked at `place` from that version of an archive, by the seal of all its files."""
        return self._digest(f"{place}\0{version}\0{sealed.hex()}")

    def has(self, mark: bytes) -> bool:
        """Whether an earlier start has made this mark."""
        return mark in self._known

    def add(self, mark: bytes, *, soon: bool = False) -> None:
        """Note a mark; one that was there counts for the next start as well. `soon`: with others, at `flush` or before.

        Those are for what can be told without its mark too, if more slowly: a kill may take the last of them along.
        """
        if self._descriptor is None or mark in self._noted:
            return
        self._held.append(mark)
        if not soon or len(self._held) >= HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        held = []
        with suppress(IndexError):
            while True:
                held.append(self._held.popleft())
        if held:
            self._write(b"".join(held))

    def _write(self, marks: bytes) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            return
        why = "a mark was cut off"  # by a disk that is full; those after it would not be read as they were written
        try:
            if os.write(descriptor, marks) == len(marks):
                return
        except OSError as error:
            why = str(error)
        _log.warning("%s cannot be written (%s); after a kill more is downloaded again", self._path, why)
        self._descriptor = None

    def settle(self) -> None:
        """From now on only what this staging has marked counts: it was whole.

        The file stays open: a transfer that hangs, and was left behind, may still end.
        """
        self.flush()
        if self._descriptor is not None:
            with suppress(OSError):
                os.replace(f"{self._path}.new", self._path)

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode(errors="surrogatepass"), digest_size=BYTES, key=self._key).digest()

    def _open(self, path: str) -> int | None:
        """Open the file that takes new marks; what an earlier start noted there stays, up to a whole mark."""
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # a second name may lead to somebody else's file
            os.close(descriptor)
            return None
        with suppress(OSError):
            os.ftruncate(descriptor, min(status.st_size, MOST) // BYTES * BYTES)
        return descriptor


def _load(path: str) -> Iterable[bytes]:
    try:
        with open(disk.open_regular(os.path.dirname(path), path), "rb") as file:
            raw = file.read(MOST)
    except OSError:
        return ()
    return (raw[at : at + BYTES] for at in range(0, len(raw) - BYTES + 1, BYTES))


def _kernel(boot_id: str) -> bytes:
    try:
        with open(boot_id, "rb") as file:
            return file.read(36)
    except OSError:
        return os.urandom(BYTES)  # nothing that is marked now counts later
