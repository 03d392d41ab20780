"""The roll of a run that did not remove it, read with suspicion."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

import msgspec

from launcher.adapters.roll import is_mark
from launcher.adapters.roll.proc import namespace

MOST_BYTES = 64 * 1024
_MOST_TIME = 40
_MOST_PROCESSES = 4096
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What a roll tells of a run that did not remove it. `here`: its pids may still mean the same processes."""

    mark: str
    started: str
    processes: tuple[tuple[int, int], ...]
    here: bool


def read_roll(path: str) -> Left:
    """What an earlier run left. Raises ValueError for what no launcher of ours wrote."""
    try:
        with os.fdopen(os.open(path, _READ), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise ValueError("it is not a file of ours")
            content = file.read(MOST_BYTES + 1) if status.st_size <= MOST_BYTES else b""
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from error
    try:
        return _left(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise ValueError("its content is not a roll") from error


def _left(document: Any) -> Left:
    """A roll from its JSON. Raises ValueError for anything that `Roll` does not write."""
    if not isinstance(document, dict) or set(document) != {"boot_id", "pid_namespace", "mark", "started", "processes"}:
        raise ValueError("other members")
    mark, started, processes = document["mark"], document["started"], document["processes"]
    if not is_mark(mark) or not _is_time(started):
        raise ValueError("no mark, or no time")
    if not isinstance(processes, list) or len(processes) > _MOST_PROCESSES or not all(map(_is_process, processes)):
        raise ValueError("no processes")
    here = namespace() == (document["boot_id"], document["pid_namespace"])
    return Left(mark=mark, started=started, processes=tuple((pid, start) for pid, start in processes), here=here)


def _is_time(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_TIME and set(value) <= set("0123456789-:.TZ+")


def _is_process(value: object) -> bool:
    return isinstance(value, list) and len(value) == len(("pid", "start")) and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 63
