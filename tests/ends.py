"""Whole jobs that are ended from outside: outside PID 1 and as PID 1, found again by a mark, with programs from C."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from rig import Result, Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from servers import AnyStore

PROGRAMS = Path(__file__).parent / "programs"
PID_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
MARK = "ENDS_MARK"
PATIENCE_S = 45.0
GLANCE_S = 0.005

_glance = threading.Event()


def pid_1_or_skip() -> tuple[str, ...]:
    """What makes a program PID 1 of a namespace of its own, where that can be had."""
    try:
        made = subprocess.run((*PID_1, "true"), capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("no pid namespace can be made here (needs root and util-linux)")
    return PID_1


class Ends(Rig):
    """A rig whose launcher may be PID 1, and whose every process carries a mark."""

    def __init__(self, store: AnyStore, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        super().__init__(store, folder)
        self.prefix = prefix
        self.mark = uuid4().hex

    @property
    def as_pid_1(self) -> bool:
        """Whether the launcher is PID 1."""
        return bool(self.prefix)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The launcher's environment, with the mark."""
        return {**super().env(more), MARK: self.mark}

    def argv(
        self, command: str = "run", *arguments: str, job: str | None = None, store: bool = True
    ) -> tuple[str, ...]:
        """The launcher's argv behind what makes it PID 1."""
        return (*self.prefix, *super().argv(command, *arguments, job=job, store=store))

    def program(self, name: str, **variables: object) -> None:
        """Take a program of this folder as the boot file, steered by variables of the job."""
        self.code((PROGRAMS / name).read_text())
        self.algorithm["environments"] = {key: str(value) for key, value in variables.items()}

    def command(self, command: str) -> None:
        """Have a shell start something that is no Python file."""
        self.code("")
        del self.algorithm["boot_file"]
        self.algorithm.update(command=command, engine={"image_url": "any/image:1"})

    def launcher_of(self, process: subprocess.Popen[Any]) -> int:
        """The launcher's pid, as it is called out here."""
        return only_child(process.pid) if self.prefix else process.pid

    def send(self, process: subprocess.Popen[Any], number: int) -> None:
        """Send the launcher a signal."""
        os.kill(self.launcher_of(process), number)

    def finish(self, process: subprocess.Popen[str]) -> Result:
        """Wait for the end, and see to it that nothing marked is left."""
        result = super().finish(process)
        assert self.left() == [], "a process outlived the launcher"
        return result

    def left(self) -> list[str]:
        """Every process with this job's mark: its pid and its command line."""
        return [f"{pid}: {cmdline(pid)!r}" for pid in marked(self.mark)]


def compiled(folder: Path, name: str, *flags: str) -> str:
    """Compile a C program of this folder; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    program = folder / name
    source = PROGRAMS / f"{name}.c"
    subprocess.run((compiler, "-O1", "-Wall", "-Werror", *flags, "-o", str(program), str(source)), check=True)
    return str(program)


def marked(mark: str) -> list[int]:
    """Every living process that has the mark in its environment."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if wanted in _read(pid, "environ")]


def children_of(pid: int) -> list[int]:
    """The children that a process has, started by any of its threads."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        return found  # it has just ended
    return found


def only_child(pid: int) -> int:
    """The one child of a process, once it has it."""
    until(lambda: len(children_of(pid)) == 1)
    return children_of(pid)[0]


def state(pid: int) -> str:
    """One letter of /proc: R, S, D, T, Z; empty when it is gone."""
    return (_read(pid, "stat").rpartition(b")")[2].split() or [b""])[0].decode()


def cmdline(pid: int) -> bytes:
    """The command line of a process; empty when it is gone."""
    return _read(pid, "cmdline")


def memory_kib(pid: int, name: str) -> int:
    """VmRSS or VmHWM of a process."""
    return next(int(line.split()[1]) for line in _read(pid, "status").splitlines() if line.startswith(name.encode()))


def until(fact: Callable[[], object]) -> None:
    """Look until something is so; what never becomes so fails the test."""
    for _ in range(int(PATIENCE_S / GLANCE_S)):
        if fact():
            return
        _glance.wait(GLANCE_S)
    raise AssertionError("it never became so")


def await_line(process: subprocess.Popen[str], line: str) -> None:
    """Read the next line of the boot process."""
    assert process.stdout is not None
    found = process.stdout.readline()
    assert found == f"{line}\n", (found, process.stderr and process.stderr.read())


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
