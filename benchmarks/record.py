"""What the record of a run adds to its start: from the command to the boot file's first word, with and without it.

    python benchmarks/record.py [--rounds 30] [--files 4]

Whole processes in turns, in a clean virtual environment. The boot file prints a time of the one clock that all
processes of a machine share; the start is what lies between that and the moment when the launcher was started. Without
the record the same launcher finds a module in its place that records nothing; listings are tallied in both. The end is
measured too, for a training that lasts no time: its interpreter is asked when it is over.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import measuring
from startup import job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUILD = "build/bench"
MOST_MS = 20.0
WITH, WITHOUT = "with the record", "without it"
BOOT = "import time\nprint(time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)\n"
DRIVER = """
import sys
if sys.argv.pop(1) == "without":
    from types import ModuleType
    nothing = ModuleType("launcher.reproduce")
    nothing.recording = lambda *_: None
    sys.modules["launcher.reproduce"] = nothing
from launcher.__main__ import main
sys.exit(main())
"""


class Took(NamedTuple):
    """Milliseconds to the boot file's word, and from there to the launcher's end."""

    start: float
    end: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the record of a run costs.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--files", type=int, default=4, help="files of the code directory")
    options = parser.parse_args()
    print(measuring.machine())
    venv = measuring.launcher_venv(BUILD)
    for files in dict.fromkeys((options.files, 256)):
        with tempfile.TemporaryDirectory() as work:
            took = measured(venv, work, files, options.rounds)
        tell(took, files, options.rounds)


def measured(venv: str, work: str, files: int, rounds: int) -> Mapping[str, Sequence[Took]]:
    store = f"{work}/store"
    code = f"{store}/bench-bucket/code"
    modules = {f"{code}/module_{number}.py": f"VALUE = {number}\n" * 256 for number in range(files - 1)}
    measuring.lay_down(
        {
            **modules,
            f"{code}/boot.py": BOOT,
            f"{work}/code.json": job(),
            f"{work}/launch.py": DRIVER,
        }
    )
    places = ("--store", store, "--root", f"{work}/root")
    env = measuring.clean_environment(venv)
    took: dict[str, list[Took]] = {WITH: [], WITHOUT: []}
    for counted in range(rounds + 1):
        for name, how in ((WITH, "with"), (WITHOUT, "without")):
            shutil.rmtree(f"{work}/root", ignore_errors=True)
            driver = (f"{venv}/bin/python", f"{work}/launch.py", how)
            one = once((*driver, "run", f"{work}/code.json", *places, "--quiet"), env)
            if counted:
                took[name].append(one)
    return took


def once(argv: Sequence[str], env: Mapping[str, str]) -> Took:
    began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True)
    over = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    said = int(done.stdout)
    return Took((said - began) / 1e6, (over - said) / 1e6)


def tell(took: Mapping[str, Sequence[Took]], files: int, rounds: int) -> None:
    print(f"\nCode of {files} files, medians of {rounds} runs in turns, in milliseconds:")
    for name, runs in took.items():
        start, end = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{name:16} to the boot file {start:7.1f}   from there to the end {end:7.1f}")
    starts = {name: statistics.median(one.start for one in runs) for name, runs in took.items()}
    pairs = [one.start - other.start for one, other in zip(took[WITH], took[WITHOUT], strict=True)]
    print(
        f"the record adds {starts[WITH] - starts[WITHOUT]:+.1f} ms to the start"
        f" (median of the pairs {statistics.median(pairs):+.1f}; at most {MOST_MS:+.0f})"
    )


if __name__ == "__main__":
    os.makedirs(BUILD, exist_ok=True)
    main()
