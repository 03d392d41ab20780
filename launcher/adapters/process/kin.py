"""Who belongs to whom among processes, as the kernel and /proc tell it; it only looks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.core.kin import GONE, Relative

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FAMILY = 4096
"""More relatives than these are not looked for."""
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


def in_group(number: int) -> list[int]:
    """Every member of a group."""
    return [pid for pid in _numbers("/proc") if group(pid) == number]


def in_session(number: int) -> list[int]:
    """Every member of a session."""
    return [pid for pid in _numbers("/proc") if session(pid) == number]


def children() -> list[int]:
    """Our children as /proc tells them: a hint, for it may miss one, and may even be another namespace's."""
    lists = {task: _children_of_task("self", task) for task in _numbers("/proc/self/task")}
    if lists.get(os.getpid()) is None:
        return _by_parent().get(os.getpid(), [])
    # A thread without a list has just ended; its children went to another one.
    return [pid for found in lists.values() for pid in found or ()]


def descendants(roots: Iterable[int], below: Callable[[int], Iterable[int]] | None = None) -> list[int]:
    """These and all that descend from them, each before its own children; `below` says whose children are whose."""
    if below is None:
        below = by_scan() if _children_of_task("self", os.getpid()) is None else _children_of
    found = dict.fromkeys(roots)
    queue = list(found)
    for pid in queue:
        new = [child for child in below(pid) if child not in found][: max(0, FAMILY - len(queue))]
        found.update(dict.fromkeys(new))
        queue += new
    return queue


def by_scan() -> Callable[[int], Iterable[int]]:
    """The children of each process as one look at all of them tells, where the kernel keeps no lists."""
    parents = _by_parent()
    return lambda pid: parents.get(pid, ())


def _children_of(pid: int) -> list[int]:
    return [child for task in _numbers(f"/proc/{pid}/task") for child in _children_of_task(str(pid), task) or ()]


def _children_of_task(pid: str, task: int) -> list[int] | None:
    try:
        with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return None


def _by_parent() -> dict[int, list[int]]:
    """All children of all, where the kernel has no `children` files: 15 ms for a thousand processes."""
    found: dict[int, list[int]] = {}
    for pid in _numbers("/proc"):
        found.setdefault(parent(pid), []).append(pid)
    return found


def parent(pid: int) -> int:
    """Whose child a process is; -1 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return -1


def relative(pid: int) -> Relative | None:
    """What /proc tells of a process; None when it is gone."""
    facts = _status(f"/proc/{pid}")
    if b"State" not in facts:
        return None
    threads = int(facts.get(b"Threads", b"1"))
    state, thread = _state(facts), f"/proc/{pid}"
    if state in GONE and threads > 1:
        # Its first thread has ended and waits for the others: what holds it up is one of them.
        state, thread = _living(pid)
    return Relative(
        pid=pid,
        parent=int(facts.get(b"PPid", b"-1")),
        name=_name(pid, facts.get(b"Name", b"?").decode("utf-8", "backslashreplace")),
        state=state,
        threads=threads,
        waits_in=_waits_in(thread),
        catches_quit=bool(_mask(facts, b"SigCgt") >> 2 & 1),
    )


def _living(pid: int) -> tuple[str, str]:
    """The state and the folder of a thread that has not ended, one in state D first."""
    threads = [f"/proc/{pid}/task/{task}" for task in _numbers(f"/proc/{pid}/task")]
    states = {thread: _state(_status(thread)) for thread in threads}
    living = [thread for thread, state in states.items() if state not in GONE]
    stuck = next((thread for thread in living if states[thread] == "D"), None)
    thread = stuck or next(iter(living), None)
    return ("Z", f"/proc/{pid}") if thread is None else (states[thread], thread)


def takes(pid: int, number: int) -> bool | None:
    """Whether a process catches a signal; None when it ignores it, False when the signal does what it does to all."""
    facts = _status(f"/proc/{pid}")
    if _mask(facts, b"SigIgn") >> (number - 1) & 1:
        return None
    return bool(_mask(facts, b"SigCgt") >> (number - 1) & 1)


def _state(facts: dict[bytes, bytes]) -> str:
    return facts.get(b"State", b"Z")[:1].decode("ascii", "replace")


def _status(folder: str) -> dict[bytes, bytes]:
    try:
        with open(f"{folder}/status", "rb") as file:
            pairs = (line.partition(b":") for line in file)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


def _mask(facts: dict[bytes, bytes], name: bytes) -> int:
    return int(facts.get(name, b"0"), 16)


def _name(pid: int, comm: str) -> str:
    """The name that a process gives itself, with its program's where that is a Python and does not look like one."""
    if "python" in comm:
        return comm
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return comm
    return f"{program} ({comm})" if program.startswith("python") else comm


def _waits_in(folder: str) -> str | None:
    try:
        with open(f"{folder}/wchan", encoding="ascii", errors="replace") as file:
            told = file.read().strip()
    except OSError:
        return None
    return None if told in {"", "0"} else told


def _numbers(folder: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdecimal()]
    except OSError:
        # No /proc, or no file can be opened any more: nothing is known then, and that is all.
        return []
