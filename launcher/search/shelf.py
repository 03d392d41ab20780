"""Code and inputs that all trials share: closed to writing while they run; root writes nevertheless, and is told of.

It changes rights and looks, and never touches a file's content.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.core.plan import Plan

_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
SHOWN = 3


class Shelf:
    """The staged folders of a plan. A file of the code cannot be written, nor anything be put into any folder."""

    def __init__(self, plan: Plan) -> None:
        self._code = plan.code.path if plan.code is not None and plan.code.source is not None else None
        self._inputs = tuple(each.path for each in plan.inputs)
        self._known: dict[str, tuple[int, int, int]] = {}

    def close(self) -> None:
        """Take the right to write away, and remember the code as it is."""
        self._set(writable=False)
        self._known = self._look()

    def reopen(self) -> None:
        """Give it back, also after a search that was killed."""
        self._set(writable=True)

    def reopen_if_closed(self) -> None:
        """The same, where one of them is closed."""
        tops = [*((self._code,) if self._code else ()), *self._inputs]
        if any(os.path.isdir(top) and not os.access(top, os.W_OK) for top in tops):
            self.reopen()

    def changed(self) -> Sequence[str]:
        """The files of the code that are not as they were, each told once."""
        now = self._look()
        names = sorted(name for name in now.keys() | self._known.keys() if now.get(name) != self._known.get(name))
        self._known = now
        return names

    def _set(self, *, writable: bool) -> None:
        """The top is closed first and opened last: it tells whether anything below is closed."""
        given = 0o222 & ~_umask()
        tops = [*(((self._code, True),) if self._code else ()), *((each, False) for each in self._inputs)]
        for top, files in tops:
            for path, status in _below(top, files=files, top_first=not writable):
                mode = status.st_mode
                _chmod(path, mode, mode | given if writable else mode & ~_WRITE)

    def _look(self) -> dict[str, tuple[int, int, int]]:
        """Every file of the code; what Python itself puts beside it is no change."""
        return {
            path: (status.st_size, status.st_mtime_ns, status.st_ino)
            for path, status in (_below(self._code, files=True) if self._code else ())
            if stat.S_ISREG(status.st_mode) and "/__pycache__/" not in path
        }


def _umask() -> int:
    """What staging leaves away of the rights of what it makes."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
    except (OSError, StopIteration, ValueError):
        return 0o022


def _chmod(path: str, old: int, new: int) -> None:
    if old != new:
        with suppress(OSError):  # somebody else's, or gone: it stays as it is
            os.chmod(path, stat.S_IMODE(new))


def _below(top: str, *, files: bool, top_first: bool = True) -> Iterator[tuple[str, os.stat_result]]:
    """A folder and all folders below it, and their plain `files`, as they are; no link is followed.

    What cannot be read is left out.
    """
    try:
        own = os.lstat(top)
        with os.scandir(top) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError:
        return
    if top_first:
        yield top, own
    for path, folder in found:
        if folder:
            yield from _below(path, files=files, top_first=top_first)
        elif files:
            with suppress(OSError):
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    yield path, status
    if not top_first:
        yield top, own
