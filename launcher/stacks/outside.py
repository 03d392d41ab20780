"""What can be told of a process from outside, as /proc shows it: itself, its threads, and its way into the kernel."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from launcher.core.kin import describe

if TYPE_CHECKING:
    from launcher.core.kin import Relative
    from launcher.protocols import Processes

LINES = 64
"""How many processes are described."""
THREADS, KINDS, FRAMES = 512, 8, 16
"""Of each: how many threads are asked, how many kinds of them are told, and how deep into the kernel."""


def left_behind(processes: Processes, pid: int, *, proc: str = "/proc") -> list[str]:
    """Who of a child's family is still there after a SIGKILL, and what keeps each; for people, a line at a time."""
    family = [one for one in processes.family(pid) if not one.ended]
    lines = [line for one in family[:LINES] for line in from_outside(one, proc)]
    return lines + ([f"{len(family) - LINES} more processes are left out"] if family[LINES:] else [])


def from_outside(one: Relative, proc: str = "/proc") -> list[str]:
    """What can be told of a process without its help: itself, its threads by what they do, its way into the kernel."""
    lines = [describe(one)]
    if one.threads > 1 and (threads := _threads(f"{proc}/{one.pid}/task")):
        lines.append(f"{one.pid} threads: {threads}")
    if one.state == "D":
        lines += (f"{one.pid} in the kernel: {line}" for line in _way_in(f"{proc}/{one.pid}/task")[:FRAMES])
    return lines


def _threads(folder: str) -> str:
    """How many threads do the same: `11 S in futex_wait_queue, 1 R`."""
    tasks = _tasks(folder)
    kinds = Counter(word for task in tasks[:THREADS] if (word := _doing(f"{folder}/{task}"))).most_common(KINDS)
    left = len(tasks) - sum(count for _, count in kinds)
    words = [f"{count} {word}" for word, count in kinds]
    return ", ".join(words) + (f", {left} others" if words and left else "")


def _way_in(folder: str) -> list[str]:
    """How a thread that waits in the kernel came there; only root is told."""
    stuck = next((task for task in _tasks(folder)[:THREADS] if _doing(f"{folder}/{task}").startswith("D")), None)
    return [] if stuck is None else _lines(f"{folder}/{stuck}/stack")


def _tasks(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _doing(folder: str) -> str:
    stat = "".join(_lines(f"{folder}/stat")).rpartition(") ")[2]
    waits_in = "".join(_lines(f"{folder}/wchan"))
    return stat[:1] + (f" in {waits_in}" if waits_in not in {"", "0"} else "")


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read().splitlines()
    except OSError:
        return []
