"""Real children under the real process adapter, and what a test waits for."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from launcher.core.lifecycle import Event, Exited

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.adapters.process import SystemProcesses

PATIENCE_S = 30.0
ENV = {"PATH": os.environ.get("PATH", os.defpath)}


def sh(processes: SystemProcesses, script: str, stdout: int) -> int:
    return processes.start(("sh", "-c", script), ENV, "/", stdout, stdout)


def until(processes: SystemProcesses, wanted: Callable[[Event], bool]) -> list[Event]:
    """Every event up to and with the first wanted one."""
    seen: list[Event] = []
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        seen += processes.wait(end - time.monotonic())
        if any(wanted(event) for event in seen):
            return seen
    raise AssertionError(f"never came; saw {seen}")


def exit_of(processes: SystemProcesses, pid: int) -> Exited:
    found = until(processes, lambda event: isinstance(event, Exited) and event.pid == pid)
    return next(event for event in found if isinstance(event, Exited) and event.pid == pid)


class Talking:
    """A child that says on a pipe where it is."""

    def __init__(self, processes: SystemProcesses, script: str, *program: str) -> None:
        read, write = os.pipe()
        self.pid = processes.start((*(program or ("sh", "-c")), script), ENV, "/", write, write)
        os.close(write)
        self.said = os.fdopen(read)

    def line(self) -> str:
        return self.said.readline().strip()


def state_of(pid: int) -> str:
    """The letter of ps(1); "gone" when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2][:1]
    except OSError:
        return "gone"


def becomes(fact: Callable[[], bool]) -> None:
    """Wait for something that nobody tells: a state in /proc."""
    end = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < end, "it never came to be"
        signal.sigtimedwait([], 0.002)
