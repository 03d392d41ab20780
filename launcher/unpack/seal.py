"""A mark of a whole folder, so that a second start sees without reading it that nothing has changed."""

from __future__ import annotations

import os
import stat
import struct

from launcher import disk
from launcher.core.keys import PART

DIGEST_BYTES = 16
_STAMP = struct.Struct("<BQqQ")


def seal(root: str, folder: str) -> bytes:
    """Digest every path below a folder, in order, with kind, size, time and inode of what is no folder; 16 bytes.

    Raises `StageError` where the folder, or one in it, is missing or cannot be read.
    """
    from hashlib import blake2b  # noqa: PLC0415 - only where something is unpacked

    if not disk.is_there(root, folder):
        raise disk.refusal(FileNotFoundError(2, "no such folder"), f"seal {folder}")
    digest = blake2b(digest_size=DIGEST_BYTES)
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        digest.update(path + b"/\0")
        below = []
        for name, status in _entries(folder, path):
            if stat.S_ISDIR(status.st_mode):
                below.append(path + b"/" + name)
            else:
                kind = stat.S_IFMT(status.st_mode) >> 12
                digest.update(name + b"\0" + _STAMP.pack(kind, status.st_size, status.st_mtime_ns, status.st_ino))
        waiting.extend(reversed(below))
    return digest.digest()


def _entries(folder: str, path: bytes) -> list[tuple[bytes, os.stat_result]]:
    """One folder's entries in the order of their names; what is still on its way is none."""
    try:
        with os.scandir(os.fsencode(folder) + path) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        raise disk.refusal(error, f"seal {folder}") from error
    return sorted((name, status) for name, status in found if not name.startswith(PART.encode()))
