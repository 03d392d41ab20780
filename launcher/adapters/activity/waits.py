"""What processes wait for that do nothing: a timer of their own, somebody who continues them, the kernel.

`/proc/<pid>/syscall` tells the call that a process is in and its arguments; where it may not be read, `wchan` tells
the function of the kernel, and where that is hidden too, only the outer form of a process is left.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_LIMIT = 0xFFFFFFFF
_SLEEPS = {"x86_64": (35, 230), "aarch64": (101, 115)}
"""nanosleep, clock_nanosleep."""
_POLLS = {"x86_64": {23: 0, 270: 0, 7: 1, 271: 1}, "aarch64": {72: 0, 73: 1}}
"""select, pselect6, poll, ppoll, and which argument is the number of files: without any, it is a sleep."""
_EPOLLS = {"x86_64": (232, 281), "aarch64": (22,)}
"""epoll_wait, epoll_pwait: argument 3 is the limit, in ms. An event loop waits there for its next timer."""

Member = tuple[int, int, str, int, int]
"""Of a process: pid, start, state, threads, parent."""


class Waiting(NamedTuple):
    """The names of those that wait, by what for. `traced`: one is stopped by a debugger."""

    sleeping: tuple[str, ...]
    stopped: tuple[str, ...]
    stuck: tuple[str, ...]
    traced: bool


class Waits:
    """Looks at a family from time to time, and knows who has not been woken in between."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._switches: dict[tuple[int, int], bytes] = {}

    def look(self, family: Sequence[Member]) -> Waiting:
        """Who waits for what."""
        parents = {parent for *_, parent in family}
        switches = {(pid, start): self._voluntary(pid) for pid, start, *_ in family}
        sleeping = []
        for pid, start, state, threads, _ in family:
            alone = threads == 1 and pid not in parents
            # Who was woken meanwhile and waits again looks after something; who was not, sleeps.
            slept = self._switches.get((pid, start), switches[pid, start]) == switches[pid, start]
            if state == "S" and (alone or slept) and self._has_a_timer(pid, alone=alone):
                sleeping.append(self._named(pid))
        self._switches = switches
        return Waiting(
            sleeping=tuple(sleeping),
            stopped=tuple(self._named(pid) for pid, _, state, *_ in family if state == "T"),
            stuck=tuple(self._named(pid) for pid, _, state, *_ in family if state == "D"),
            traced=any(state == "t" for _, _, state, *_ in family),
        )

    def _has_a_timer(self, pid: int, *, alone: bool) -> bool:
        """Whether the first thread of a process waits for nothing but time; `alone` decides where nothing is told."""
        told = self._read(pid, "syscall").split()
        machine = os.uname().machine
        if len(told) > 4 and machine in _SLEEPS:  # noqa: PLR2004 - a number and the arguments that count
            number, arguments = int(told[0]), [int(each, 16) for each in told[1:7]]
            if number in _SLEEPS[machine]:
                return True
            if number in _POLLS[machine]:
                return arguments[_POLLS[machine][number]] == 0
            return number in _EPOLLS[machine] and arguments[3] & _NO_LIMIT != _NO_LIMIT
        waits_in = self._read(pid, "wchan").strip()
        return b"nanosleep" in waits_in if waits_in not in (b"", b"0") else alone

    def _voluntary(self, pid: int) -> bytes:
        """How often its first thread went to sleep."""
        return self._read(pid, "status").partition(b"\nvoluntary_ctxt_switches:")[2].partition(b"\n")[0]

    def _named(self, pid: int) -> str:
        told = self._read(pid, "comm").decode("utf-8", "backslashreplace").strip()
        name = "".join(each if each.isprintable() else "?" for each in told)  # a program names itself as it likes
        return f"process {pid} ({name})" if name else f"process {pid}"

    def _read(self, pid: int, name: str) -> bytes:
        try:
            with open(f"{self._proc}/{pid}/{name}", "rb", buffering=0) as file:
                return file.read(8192)
        except OSError:
            return b""
