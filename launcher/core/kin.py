"""A process among its relatives, as /proc shows it: what a person wants to know of one that does not move."""

from __future__ import annotations

import msgspec

GONE = "ZX"
"""The states of what has ended."""


class Relative(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a boot process's family. `state` is the letter of ps(1); `waits_in` a kernel function, if told."""

    pid: int
    parent: int
    name: str
    state: str
    threads: int
    waits_in: str | None
    catches_quit: bool

    @property
    def python(self) -> bool:
        """Whether its program is a Python interpreter, as far as names tell."""
        return "python" in self.name

    @property
    def ended(self) -> bool:
        """Whether it has ended and only its number is left."""
        return self.state in GONE


def describe(relative: Relative) -> str:
    """One line about a process for people."""
    doing = STATES.get(relative.state, "is in a state that has no word here")
    where = "" if relative.waits_in is None else f" in {relative.waits_in}"
    threads = "1 thread" if relative.threads == 1 else f"{relative.threads} threads"
    return f"{relative.pid} {relative.name}: {doing} (state {relative.state}){where}, {threads}"


STATES = {
    "R": "runs",
    "S": "sleeps",
    "D": "waits in the kernel and cannot be killed",
    "T": "is stopped",
    "t": "is stopped by a tracer",
    "Z": "has ended and is not reaped",
    "X": "has ended",
    "I": "is idle",
    "P": "is parked",
}
"""The letters of ps(1) in words."""
