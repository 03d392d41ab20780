"""The roll of a run: what outlives a launcher that is killed, so that the next one finds the processes it left.

It names this kernel, this pid namespace, a mark that every child carries in its environment, and the children. The
folder may be written by the boot file, so that a roll is a hint: only a process that carries the mark is believed.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.adapters.roll.proc import namespace, start_of
from launcher.core.keys import PART

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

VARIABLE = "MA_LAUNCHER_MARK"
"""Carries the marks of the launchers above a process, the nearest one last; not a setting, which no child would get."""

_MARK_DIGITS = 32
_MOST_MARKS = 16
_DIGITS = frozenset("0123456789abcdef")
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_log = logging.getLogger(__name__)


class Roll:
    """This run's own roll: written when it is opened, and gone when it is closed with nobody left.

    A roll that cannot be written is said once and stops nothing. It belongs to the main thread.
    """

    def __init__(self, path: str, started: str) -> None:
        self._path = path
        self._started = started
        self._mark = os.urandom(_MARK_DIGITS // 2).hex()
        self._boot_id, self._namespace = namespace() or ("", 0)
        self._processes: list[tuple[int, int]] = []
        self._said = self._kept = False

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept and not any(start_of(pid) == start for pid, start in self._processes):
            with suppress(OSError):
                os.unlink(self._path)

    def marked(self, environ: Mapping[str, str]) -> dict[str, str]:
        """An environment for children: this run's mark behind those of the launchers that this one runs under."""
        above = [mark for mark in environ.get(VARIABLE, "").split(".") if is_mark(mark)][1 - _MOST_MARKS :]
        return {**environ, VARIABLE: ".".join((*above, self._mark))}

    def enrol(self, pid: int) -> None:
        """Note a child that was just started."""
        start = start_of(pid)
        if start is not None:
            # of many that come and go, those that are gone are nobody's business
            self._processes = [*(each for each in self._processes if start_of(each[0]) == each[1]), (pid, start)]
            self._write()

    def keep(self) -> None:
        """Stay for the next start: somebody is left who may be no child of ours."""
        self._kept = True

    def _write(self) -> None:
        document = {
            "boot_id": self._boot_id,
            "pid_namespace": self._namespace,
            "mark": self._mark,
            "started": self._started,
            "processes": self._processes,
        }
        try:
            _write_whole(self._path, json.dumps(document).encode())
        except OSError as error:
            if not self._said:
                self._said = True
                _log.warning(
                    "%s cannot be written (%s): if this launcher is killed, the next one may not find its processes",
                    self._path,
                    error.strerror,
                )


def is_mark(value: object) -> bool:
    """Whether a value has the form of a mark."""
    return isinstance(value, str) and len(value) == _MARK_DIGITS and set(value) <= _DIGITS


def sweep(folder: str) -> int:
    """Remove the unfinished files of killed launchers that lie in a folder itself; how many there were."""
    count = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PART) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    os.unlink(entry.path)
                    count += 1
    return count


def _write_whole(path: str, content: bytes) -> None:
    # The folder is claimed by this launcher, so that the one name is enough.
    part = f"{os.path.dirname(path)}/{PART}roll"
    try:
        with suppress(FileNotFoundError):
            os.unlink(part)
        with os.fdopen(os.open(part, _WRITE, 0o600), "wb", buffering=0) as file:
            file.write(content)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            os.unlink(part)
        raise
