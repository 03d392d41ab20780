"""Which of the logs that CANN and engines write of each rank go with the job's own, and under which names."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import msgspec

from launcher.core.keys import KEY_MOST
from launcher.core.urls import wrong_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.plan import Plan

VARIABLE = "ASCEND_PROCESS_LOG_PATH"
OF_ENGINES = ("torchrun", "mpi", "msrun")
"""Engines that write a log of each rank into a folder of their name, below the launcher's own log folder."""
MOST_BYTES = 64 * 1024**2
"""Of one folder; CANN itself keeps many times that of a rank."""
MOST_FILES = 1000


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What goes, newest first; how many files stay because of their number or size; what no object can be named."""

    names: tuple[str, ...]
    left: int = 0
    odd: tuple[str, ...] = ()


class Aged(msgspec.Struct, frozen=True):
    """A file as far as it matters here."""

    changed: int
    size: int


def rank_log_folders(plan: Plan) -> Mapping[str, str]:
    """The folders of the ranks' own logs, each with how its files' names at the target begin.

    Only those below the launcher's own log folder: whoever names another place has one for them already.
    """
    base, engine = posixpath.dirname(plan.files.log), plan.engine
    found = {f"{base}/{engine}": f"{plan.job.label}/{engine}/"} if engine in OF_ENGINES else {}
    for process in plan.processes:
        folder = process.env.get(VARIABLE, "")
        if folder.startswith(f"{base}/") and posixpath.normpath(folder) == folder:
            found.setdefault(folder, f"{plan.job.label}/ascend/process_log/rank_{process.rank}/")
    return found


def newest(files: Mapping[str, Aged], prefix: str, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> Kept:
    """Choose among the files of a rank, by their relative names; one that is too large leaves room for others."""
    names: list[str] = []
    odd: list[str] = []
    left, room = 0, most_bytes
    for name in sorted(files, key=lambda each: (-files[each].changed, each)):
        size = files[name].size
        if wrong_key(name) or len((prefix + name).encode()) > KEY_MOST:
            odd.append(name)
        elif size > room or len(names) == most_files:
            left += 1
        else:
            names.append(name)
            room -= size
    return Kept(names=tuple(names), left=left, odd=tuple(odd))
