"""Whether hangs are found and nothing else is, how soon, and what it costs to watch.

    python benchmarks/hangs.py [--only NAME ...] [--at-once 4]
    python benchmarks/hangs.py --costs [--seconds 20] [--rounds 3]

The corpus (tests/programs/hanging) is run by the real launcher with short periods, and with the leave to end what
hangs. Precision: of all that were ended, how many hung. Recall: of all that hang, how many were told. The devices of
those that have some are the stub of the tests. It fails if anything that lives was ended, or a hang was missed.

Costs: a boot file with so many processes that all wait, so that each look is a close one, watched every second and not
watched, in turns; the launcher's threads alone, by the scheduler's own nanoseconds. What a look costs by the hour
follows from it, for the default period.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import measuring
from supervising import Job, cpu_ns

sys.path.insert(0, "tests")
from hanging import LONG_PERIODS, PERIOD_S, PERIODS, WINDOW_S, Seen, corpus, observe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanging import Program

BUILD = "build/bench"
STUB = "tests/programs/nvml_stub.c"
DEFAULT_S = 60.0
WAITS = """
import os, signal, subprocess, sys
others = [subprocess.Popen(("sleep", "infinity")) for _ in range(int(os.environ["PROCESSES"]) - 1)]
print("ready", flush=True)
signal.pause()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how hangs are found, and what it costs.")
    parser.add_argument("--only", nargs="*", default=[], help="names of programs")
    parser.add_argument("--at-once", type=int, default=4, help="how many run at the same time")
    parser.add_argument("--costs", action="store_true", help="measure the costs instead")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(measuring.machine())
    if options.costs:
        costs(options.seconds, options.rounds)
        return
    chosen = [each for each in corpus() if not options.only or each.name in options.only]
    with tempfile.TemporaryDirectory() as work:
        found = all_of(chosen, Path(work), options.at_once)
    sys.exit(told(found))


def all_of(chosen: Sequence[Program], work: Path, at_once: int) -> list[Seen]:
    """Run them, some at a time."""
    library = stub(work)

    def one(each: Program) -> Seen:
        folder = work / each.name
        folder.mkdir()
        return observe(each, folder, library)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, chosen))


def stub(work: Path) -> Path | None:
    """The folder of an NVML that says what it is told to; None where nothing can compile it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    folder = work / "nvml"
    folder.mkdir()
    target = str(folder / "libnvidia-ml.so.1")
    subprocess.run((compiler, "-O1", "-shared", "-fPIC", "-o", target, STUB), check=True)
    return folder


def told(found: Sequence[Seen]) -> int:
    """Print all of it; 1 if anything that lives was ended, or a hang was missed."""
    print(f"\nPeriods of {PERIOD_S:g} s: {PERIODS}, where it sleeps or computes {LONG_PERIODS}; window {WINDOW_S:g} s")
    for seen in found:
        print(line(seen))
    counted = [seen for seen in found if not seen.skipped]
    hung = [seen for seen in counted if seen.program.manner]
    lives = [seen for seen in counted if not seen.program.manner]
    missed, killed = [seen for seen in hung if not seen.told], [seen for seen in lives if seen.killed]
    alarms = [seen for seen in lives if seen.told]
    ended = [seen for seen in hung if seen.killed]
    print(f"\n{len(hung)} that hang, {len(lives)} that live, {len(found) - len(counted)} skipped")
    right = len(hung) - len(missed)
    print(f"told:  precision {share(right, len(alarms))}, recall {share(right, len(missed))}")
    print(f"ended: precision {share(len(ended), len(killed))}, recall {share(len(ended), len(hung) - len(ended))}")
    times = [seen.told_s - seen.program.within_s for seen in hung if seen.told_s is not None]
    if times:
        print(f"told after the stated time: median {statistics.median(times):+.1f} s, worst {max(times):+.1f} s")
    for seen in killed:
        print(f"\n{seen.program.name}, which lives, ended with {seen.code}:\n{seen.said[-4000:]}")
    return 1 if missed or killed or alarms else 0


def line(seen: Seen) -> str:
    """One program in one line."""
    name, manner = seen.program.name, seen.program.manner or "lives"
    if seen.skipped:
        return f"{name:22} {manner:8} skipped"
    if seen.program.manner:
        stated = seen.program.within_s
        when = "never told" if seen.told_s is None else f"told after {seen.told_s:4.1f} s of {stated:4.1f}"
        return f"{name:22} {manner:8} {when}{', ended' if seen.killed else ', not ended'}"
    what = f"told falsely: {seen.told}" if seen.told else "left alone"
    return f"{name:22} {manner:8} {what}{', ended' if seen.killed else ''}"


def share(right: int, wrong: int) -> str:
    return f"{right / (right + wrong):.3f} ({right} of {right + wrong})" if right + wrong else "-"


def costs(seconds: float, rounds: int) -> None:
    venv = measuring.launcher_venv(BUILD)
    with tempfile.TemporaryDirectory() as work:
        for count, most in ((1, 0.3), (64, 1.0)):
            jobs = {each: Watched(venv, f"{work}/{count}-{each}", count, watched=each) for each in (True, False)}
            shares: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(rounds):
                for watched, job in jobs.items():
                    shares[watched].append(job.share(seconds))
            every_second = statistics.median(shares[True]) - statistics.median(shares[False])
            by_default = every_second / DEFAULT_S
            print(
                f"watching {count} {'process' if count == 1 else 'processes'}: {by_default:.4f} % of a core by default"
                f" (at most {most:g}), {every_second:.3f} % with a period of 1 s"
                f" (a look: {every_second * 10:.2f} ms; unwatched {statistics.median(shares[False]):.4f} %)"
            )


class Watched:
    """A launcher whose boot file has so many processes that wait."""

    def __init__(self, venv: str, work: str, count: int, *, watched: bool) -> None:
        self._job = Job(venv, work, WAITS, channels=True)
        self._env = {
            **self._job.env,
            "PROCESSES": str(count),
            "LAUNCHER_HANG": "on" if watched else "off",
            "LAUNCHER_HANG_PERIOD": "1",
            "LAUNCHER_HANG_PERIODS": "1000000",
            "LAUNCHER_HANG_LONG_PERIODS": "1000000",
        }

    def share(self, seconds: float) -> float:
        """Percent of a core that the launcher's own threads used."""
        self._job.clear()
        with subprocess.Popen(
            self._job.argv, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as launcher:
            try:
                if launcher.stdout is None or launcher.stdout.readline() != b"ready\n":
                    sys.exit("error: the boot file did not begin")
                return measured(launcher.pid, seconds)
            finally:
                launcher.terminate()


def measured(pid: int, seconds: float) -> float:
    """Percent of a core that a process uses from two seconds on."""
    time.sleep(2.5)  # what belongs to the start, and to the first look, is over
    began, before = time.monotonic(), cpu_ns(pid)
    time.sleep(seconds)
    return (cpu_ns(pid) - before) / 1e7 / (time.monotonic() - began)


if __name__ == "__main__":
    main()
