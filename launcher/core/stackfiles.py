"""The names of files with stacks: numbered beside the log, and known by a run's label at its target."""

from __future__ import annotations

import re
from posixpath import basename
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.core.plan import Plan

KEPT = 8
"""So many requests' files are kept, the newest."""
_END = re.compile(r"-([1-9][0-9]{0,6})(?:\.txt|-[a-z]{1,10}-rank-[0-9]{1,7})")


def file_name(stem: str, number: int, kind: str = "", rank: int = 0) -> str:
    """The file of one request: all its stacks, or a rank's record of some kind."""
    return f"{stem}-{number}" + (f"-{kind}-rank-{rank}" if kind else ".txt")


def next_number(names: Iterable[str], stem: str) -> int:
    """The number of the next request, among what lies in the folder."""
    return max((number for _, number in _numbered(names, stem)), default=0) + 1


def older(names: Iterable[str], stem: str) -> list[str]:
    """Which files are none of the newest requests'."""
    found = _numbered(names, stem)
    kept = sorted({number for _, number in found})[-KEPT:]
    return [name for name, number in found if number not in kept]


def listed(names: Iterable[str], stem: str) -> list[str]:
    """The files with stacks in a folder, the newest request's first."""
    return [name for name, _ in sorted(_numbered(names, stem), key=lambda one: (-one[1], one[0]))]


def object_name(plan: Plan, path: str) -> str | None:
    """The name at the log's target of a file with stacks; None for any other."""
    name, stem = basename(path), basename(plan.files.stacks)
    if not stem or not _numbered((name,), stem):
        return None
    return f"{plan.job.label}.stacks{name[len(stem) :]}"


def _numbered(names: Iterable[str], stem: str) -> list[tuple[str, int]]:
    ends = ((name, _END.fullmatch(name[len(stem) :])) for name in names if name.startswith(stem))
    return [(name, int(end[1])) for name, end in ends if end is not None]
