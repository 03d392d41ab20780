"""What of an output folder is not in its place yet: found by looking at all of it, at little cost for what is.

It follows no link and reads no content. A file that stands as it was placed costs one stat and one comparison.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from launcher import disk
from launcher.core.errors import Cancelled
from launcher.core.keys import is_own

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 0.05
"""Seconds of the coarsest clock that marks files, of those that count parts of a second: a kernel's tick is 10 ms."""
SHOWN = 5
WHOLE = 1_000_000_000
_WRITERS = 0o222
_LEFT = b""
"""The state of a file that is none of the output's, whatever becomes of it."""
_pack = struct.Struct("=qqQ").pack


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """One look, by relative path: the files that are not in their place, and those of them that nobody may write.

    `odd` is what is neither file nor folder, `own` what is the launcher's, `errors` what could not be read; `left`
    counts the files that are none of the output's.
    """

    due: Mapping[str, disk.Stamp]
    sealed: frozenset[str]
    odd: Mapping[str, str]
    own: tuple[str, ...]
    errors: Mapping[str, str]
    left: int


class Watch:
    """A folder, and the states of its files that are in their place. `counts` tells which files are the output's.

    States are kept as 24 bytes each, by folder and name, so that a million of them are bearable.
    """

    def __init__(
        self,
        base: str,
        placed: Mapping[str, disk.Stamp],
        counts: Callable[[str], bool] | None = None,
        *,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._base = base
        self._counts = counts
        self._now = now
        self._placed: dict[str, dict[str, bytes]] = {}
        for path, stamp in placed.items():
            self.place(path, stamp)

    def place(self, path: str, stamp: disk.Stamp) -> None:
        """Take a file for one that is in its place in this state."""
        self._keep(path, _pack(stamp.size, stamp.mtime_ns, stamp.inode))

    def is_placed(self, path: str, stamp: disk.Stamp) -> bool:
        """Whether a file is in its place in this state."""
        folder, slash, name = path.rpartition("/")
        return self._placed.get(folder + slash, {}).get(name) == _pack(stamp.size, stamp.mtime_ns, stamp.inode)

    def look(self, stopped: Callable[[], bool] = lambda: False) -> Sight:
        """Look at every entry; a folder that is not there is empty. Raises `Cancelled` between two folders."""
        look = _Look(self._now())
        waiting = [""]
        while waiting:
            if stopped():
                raise Cancelled
            folder = waiting.pop()
            try:
                self._look_into(folder, waiting, look)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                look.errors[folder or "."] = disk.reason(error)
        return look.sight()

    def _look_into(self, folder: str, waiting: list[str], look: _Look) -> None:
        get = self._placed.get(folder, {}).get
        # by a descriptor: a link that took the folder's place is not followed, and no path is resolved for each file
        descriptor = os.open(f"{self._base}/{folder}".rstrip("/"), disk.DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    name = entry.name
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    kind = stat.S_IFMT(status.st_mode)
                    if kind == stat.S_IFREG:
                        state = get(name)
                        if state != _pack(status.st_size, status.st_mtime_ns, status.st_ino):
                            self._meet(folder + name, status, state, look)
                    elif kind == stat.S_IFDIR:
                        waiting.append(f"{folder}{name}/")
                    else:
                        look.odd[folder + name] = disk.KINDS.get(kind, "no regular file")
        finally:
            os.close(descriptor)

    def _meet(self, path: str, status: os.stat_result, state: bytes | None, look: _Look) -> None:
        """Take a file that does not stand as it was placed."""
        if state == _LEFT:
            look.left += 1
        elif is_own(path):
            look.own.append(path)
        elif self._counts is not None and not self._counts(path):
            look.left += 1
            self._keep(path, _LEFT)
        else:
            look.take(path, status)

    def _keep(self, path: str, state: bytes) -> None:
        folder, slash, name = path.rpartition("/")
        self._placed.setdefault(folder + slash, {})[name] = state


class _Look:
    """A look that goes on."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._due: dict[str, disk.Stamp] = {}
        self._sealed: list[str] = []
        self.odd: dict[str, str] = {}
        self.own: list[str] = []
        self.errors: dict[str, str] = {}
        self.left = 0

    def take(self, path: str, status: os.stat_result) -> None:
        self._due[path] = disk.stamp_of(status)
        if not status.st_mode & _WRITERS and not unsure(status.st_ctime_ns, self._now):
            self._sealed.append(path)

    def sight(self) -> Sight:
        return Sight(
            due=self._due,
            sealed=frozenset(self._sealed),
            odd=self.odd,
            own=tuple(self.own),
            errors=self.errors,
            left=self.left,
        )


def shown(odd: Mapping[str, str]) -> str:
    """Name what is odd, the first few of it."""
    named = ", ".join(f"{path!r} is {kind}" for path, kind in sorted(odd.items())[:SHOWN])
    return named + (f" and {len(odd) - SHOWN:,} more" if len(odd) > SHOWN else "")


def unsure(ctime_ns: int, now_ns: int) -> float:
    """Seconds until every later change of a file must show in its times; 0 if it must already.

    File systems mark changes by a clock that goes in steps: two within one step look like one. Whole seconds are the
    steps of old ones. A time ahead of ours says nothing.
    """
    step = 1.0 if ctime_ns % WHOLE == 0 else STEP
    age = (now_ns - ctime_ns) / WHOLE
    return step if age < 0 else max(0.0, step - age)
