"""Who belongs to whom among processes, as the kernel and /proc tell it; it only looks."""

from __future__ import annotations

import os

_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def ended(kind: int, pid: int) -> int | None:
    """A child of ours that has ended, one (P_PID) or any (P_ALL); it is not taken. None when there is none."""
    try:
        found = os.waitid(kind, pid, _LOOK)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def lives(pid: int) -> bool:
    """Whether this is a child of ours that has not ended; the kernel is asked, not /proc."""
    try:
        return os.waitid(os.P_PID, pid, _LOOK) is None
    except ChildProcessError:
        return False


def session(pid: int) -> int:
    """The session of a process; -1 when it is gone."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def group(pid: int) -> int:
    """The group of a process; -1 when it is gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def children() -> list[int]:
    """Our children as /proc tells them: a hint, for it may miss one, and may even be another namespace's."""
    lists = {task: _children_of_task(task) for task in _numbers("/proc/self/task")}
    if lists.get(os.getpid()) is None:
        return _children_by_parent()
    # A thread without a list has just ended; its children went to another one.
    return [pid for found in lists.values() for pid in found or ()]


def _children_of_task(task: int) -> list[int] | None:
    try:
        with open(f"/proc/self/task/{task}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return None


def _children_by_parent() -> list[int]:
    """The same where the kernel has no `children` files: 15 ms for a thousand processes."""
    return [pid for pid in _numbers("/proc") if _parent(pid) == os.getpid()]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return -1


def _numbers(folder: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdecimal()]
    except OSError:
        # No /proc, or no file can be opened any more: nothing is known then, and that is all.
        return []


def catches(pid: int, number: int) -> bool:
    """Whether a process catches a signal."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            caught = next((line for line in file if line.startswith(b"SigCgt:")), b"SigCgt: 0")
    except OSError:
        return False
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
