"""Run programs in turns and say what each cost: CPU of the whole tree, wall clock, memory of its largest process.

Nothing here asserts a time: a benchmark prints what it saw, and ratios within one run.
"""

from __future__ import annotations

import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Cost(NamedTuple):
    """What one run took. `cpu` is user + system of the process and all that it waited for, `peak` is in bytes."""

    cpu: float
    wall: float
    peak: int


class Case(NamedTuple):
    """One program to measure: `prepare` runs before each turn and `check` after it, both off the clock."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    prepare: Callable[[], object] = int
    check: Callable[[], object] = int


def once(case: Case) -> Cost:
    """Run one case to its end; a case that fails ends the benchmark with its own words."""
    case.prepare()
    with open(os.devnull, "r+b") as null, subprocess_errors() as errors:
        started = time.perf_counter()
        pid = os.posix_spawn(
            case.argv[0],
            case.argv,
            case.env,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, null.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, errors, 2),
            ],
        )
        try:
            _, status, used = os.wait4(pid, 0)
        except BaseException:  # interrupted: nothing goes on behind the benchmark
            os.kill(pid, signal.SIGKILL)
            raise
        wall = time.perf_counter() - started
        code = os.waitstatus_to_exitcode(status)
        if code:
            os.lseek(errors, 0, os.SEEK_SET)
            said = os.read(errors, 1 << 16).decode(errors="replace")
            sys.exit(f"error: {case.name}: ended with {code}\n{said}")
    case.check()
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * 1024)


class subprocess_errors:  # noqa: N801 - reads as a function
    """A nameless file that takes what a program says on stderr."""

    def __enter__(self) -> int:
        self.descriptor = os.memfd_create("stderr")
        return self.descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def in_turns(cases: Sequence[Case], rounds: int) -> dict[str, list[Cost]]:
    """Run all cases one after the other, `rounds` times, after one round that warms caches and is not counted."""
    costs: dict[str, list[Cost]] = {case.name: [] for case in cases}
    for counted in range(rounds + 1):
        for case in cases:
            cost = once(case)
            if counted:
                costs[case.name].append(cost)
    return costs


def table(costs: Mapping[str, Sequence[Cost]], yardstick: str) -> None:
    """Print medians (and the best), and what they are against the yardstick of the same run."""
    unit = statistics.median(cost.cpu for cost in costs[yardstick])
    wall_unit = statistics.median(cost.wall for cost in costs[yardstick])
    heads = ("CPU ms", "(min)", "extra", "x CPU", "wall ms", "(min)", "x wall", "peak MiB")
    width = max(len(name) for name in costs)
    print(f"{'':{width}} " + " ".join(f"{head:>9}" for head in heads))
    for name, runs in costs.items():
        cpu, wall = (statistics.median(values) for values in ([r.cpu for r in runs], [r.wall for r in runs]))
        figures = (
            f"{cpu * 1e3:9.1f}",
            f"{min(r.cpu for r in runs) * 1e3:9.1f}",
            f"{(cpu - unit) * 1e3:+9.1f}",
            f"{cpu / unit:9.2f}",
            f"{wall * 1e3:9.1f}",
            f"{min(r.wall for r in runs) * 1e3:9.1f}",
            f"{wall / wall_unit:9.2f}",
            f"{max(r.peak for r in runs) / 2**20:9.1f}",
        )
        print(f"{name:{width}} " + " ".join(figures))


def lay_down(files: Mapping[str, str]) -> None:
    """Write small files, and the folders that they need."""
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(text)


def machine() -> str:
    """Say on what all this was measured."""
    names = (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))  # noqa: SIM115
    cpu = next(names, platform.machine())
    return f"{os.cpu_count()} x {cpu}, Linux {platform.release()}, Python {platform.python_version()}"


def clean_environment(venv: str) -> dict[str, str]:
    """The environment of a fresh shell with one virtual environment first on PATH."""
    return {"PATH": f"{venv}/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


def make_venv(folder: str, *packages: str) -> str | None:
    """Make a virtual environment with packages in it; what went wrong, or None."""
    steps = (
        (sys.executable, "-m", "venv", "--clear", folder),
        (f"{folder}/bin/python", "-m", "pip", "install", "--quiet", *packages),
    )
    for step in steps:
        done = subprocess.run(step, check=False, capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return None


def launcher_venv(build: str, checkout: str = ".") -> str:
    """Make a virtual environment as a user has it: the wheel of a checkout, with what it needs at run time only."""
    wheel_to = ("--wheel-dir", f"{build}/wheel", checkout)
    subprocess.run((sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *wheel_to), check=True)
    wheel = max((entry.path for entry in os.scandir(f"{build}/wheel")), key=os.path.getmtime)
    wrong = make_venv(f"{build}/venv", wheel)
    if wrong:
        sys.exit(f"error: the launcher's own environment could not be made: {wrong}")
    return os.path.abspath(f"{build}/venv")
