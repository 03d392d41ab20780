"""One file on its way: what it is of, where it goes, how many of its transfers are still to end; its checksum."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.core.stored import StoredObject
    from launcher.stage.channel import Channel, Entry
    from launcher.stage.landing import Landing


class File:
    """One file on its way, and how many of its transfers are still to end."""

    __slots__ = (
        *("begun", "bucket", "cached", "channel", "inode", "item", "known", "landing", "left", "lock", "path", "whole"),
    )

    def __init__(self, channel: Channel, entry: Entry, item: StoredObject, landing: Landing, ranges: int) -> None:
        self.channel = channel
        self.path, self.bucket, _ = entry
        self.item = item
        self.known = item.size
        self.landing = landing
        self.left = ranges
        self.lock = threading.Lock()
        self.begun = self.whole = self.cached = False
        self.inode = 0

    @property
    def place(self) -> str:
        """Where it goes, absolute."""
        return f"{self.channel.want.path}/{self.path}"

    @property
    def version(self) -> str:
        """What tells this content from any other."""
        return f"{self.bucket}/{self.item.key} {self.item.etag} {self.item.size}"


def file_md5(root: str, path: str, stopped: Callable[[], bool]) -> str:
    """Take the MD5 of a regular file, the mark that a store keeps of a plain object; raises as `open_regular` does."""
    from hashlib import md5  # noqa: PLC0415 - only where a file may be kept

    digest = md5(usedforsecurity=False)
    with open(disk.open_regular(root, path), "rb", buffering=0) as file:
        while chunk := file.read(disk.CHUNK):
            if stopped():
                raise Cancelled
            digest.update(chunk)
    return digest.hexdigest()
