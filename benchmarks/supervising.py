"""What it costs that the launcher stands beside a boot process: its output, the hours of waiting, and the end.

    python benchmarks/supervising.py [--rounds 5] [--megabytes 1024] [--idle 10] [--ends 20] [--no-peer]

Output: the boot file writes lines of text in blocks of 64 KiB. By hand it writes them to a file; the launcher passes
them on to such a file and keeps its log besides: two files for one, which is the work of tee(1). The peer is the
capture mode of sagemaker-training-toolkit, if it installs; it gets a sixteenth, and what that took over its start is
multiplied. All files are in memory (/dev/shm), so that no disk is measured. Idle: the launcher alone, by the
scheduler's own nanoseconds. The end: from the last thing that the boot file does to the moment when the launcher's
parent has its exit code.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import measuring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUILD = "build/bench"
DIRECT, TEE, OURS, PEER = (
    "boot file > file",
    "boot file | tee log > file",
    "launcher run > file",
    "sagemaker capture > file",
)
PEER_EMPTY = "sagemaker capture, no output"
SHARE = 16
"""The peer moves a few megabytes a second; it gets this part of the output."""

FLOOD = """
import os, sys
line = b"%06d epoch 12 step 3456 loss 0.123456 accuracy 0.987654 seconds 0.0123 samples/s 12345.6\\n"
block = b"".join(line % i for i in range(1000))
block = (block * 2)[:65536 - 1] + b"\\n"
for _ in range(int(os.environ["MEGABYTES"]) * 16):
    os.write(1, block)
"""
CAPTURE = """
import sys
from sagemaker_training import errors, process
process.check_error(sys.argv[1:], errors.ExecuteUserScriptError, 1, cwd=".", capture_error=True)
"""
SLEEPS = "import signal\nprint('ready', flush=True)\nsignal.pause()\n"
ENDS = """
import os, sys, time
for each in sys.argv[1:]:
    name, _, folder = each.partition("=")
    if name == "--train_url":
        open(folder + "/model", "w").write("weights")
os.write(1, b"%.9f\\n" % time.monotonic())
os._exit(0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what supervising costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds")
    parser.add_argument("--ends", type=int, default=20)
    parser.add_argument("--no-peer", action="store_true", help="leave sagemaker-training out")
    options = parser.parse_args()
    print(measuring.machine())
    venv = measuring.launcher_venv(BUILD)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as work:
        peer = None if options.no_peer else peer_python()
        cases = output_cases(venv, f"{work}/output", options.megabytes, peer)
        costs = measuring.in_turns(cases, options.rounds)
        whole = with_all_of_the_peer(costs)
        print(f"\n{options.megabytes} MiB of output, {options.rounds} runs in turns, files in {memory or work}:")
        measuring.table(whole, DIRECT)
        tells_the_best(whole, options.megabytes)
        print(f"\nWhile a boot file sleeps, over {options.idle:g} s:")
        for name, channels in (("code only", False), ("with an output and a log to upload", True)):
            idle(Job(venv, f"{work}/idle-{channels}", SLEEPS, channels=channels), name, options.idle)
        print(f"\nFrom the end of the boot file to the end of all, {options.ends} runs, ms:")
        by_hand = Hand(venv, f"{work}/hand")
        nothing, something = (
            Job(venv, f"{work}/ends-{channels}", ENDS, channels=channels) for channels in (False, True)
        )
        for name, run in (
            ("boot file by hand", by_hand),
            ("nothing to upload", nothing),
            ("an output and a log", something),
        ):
            tells_the_end(name, [end(run) for _ in range(options.ends + 1)][1:])


class Job:
    """A job in a folder of its own, on a store that is a directory."""

    def __init__(self, venv: str, work: str, boot: str, *, channels: bool = False) -> None:
        self.work = work
        bucket = "obs://bench-bucket"
        algorithm: dict[str, object] = {"code_dir": f"{bucket}/code/", "boot_file": f"{bucket}/code/boot.py"}
        spec: dict[str, object] = {"resource": {"flavor_id": "bench", "node_count": 1}}
        if channels:
            algorithm["outputs"] = [{"name": "train_url", "remote": {"obs": {"obs_url": f"{bucket}/output/"}}}]
            spec["log_export_path"] = {"obs_url": f"{bucket}/log/"}
        document = {"kind": "job", "metadata": {"name": "bench"}, "algorithm": algorithm, "spec": spec}
        measuring.lay_down(
            {f"{work}/store/bench-bucket/code/boot.py": boot, f"{work}/job.json": json.dumps(document)},
        )
        self.env = measuring.clean_environment(venv)
        places = ("--store", f"{work}/store", "--root", f"{work}/root")
        self.argv: tuple[str, ...] = (f"{venv}/bin/launcher", "run", f"{work}/job.json", *places)

    def clear(self) -> None:
        """Forget what an earlier turn left."""
        for folder in ("root", "store/bench-bucket/output", "store/bench-bucket/log"):
            shutil.rmtree(f"{self.work}/{folder}", ignore_errors=True)


class Hand:
    """The same boot file with nobody beside it."""

    def __init__(self, venv: str, work: str) -> None:
        measuring.lay_down({f"{work}/boot.py": ENDS})
        self.env = measuring.clean_environment(venv)
        self.argv: tuple[str, ...] = (f"{venv}/bin/python", f"{work}/boot.py")

    def clear(self) -> None:
        """Do nothing: nothing is left."""


def output_cases(venv: str, work: str, megabytes: int, peer: str | None) -> Sequence[measuring.Case]:
    job = Job(venv, work, FLOOD)
    out, python = f"{work}/out", f"{venv}/bin/python"
    boot = (python, f"{work}/store/bench-bucket/code/boot.py")

    def clear() -> None:
        job.clear()
        for path in (out, f"{work}/log"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def case(name: str, argv: tuple[str, ...], size: int, least: float = 1.0) -> measuring.Case:
        def check() -> None:
            if os.path.getsize(out) < (size << 20) * least:
                raise SystemExit(f"error: {name}: {os.path.getsize(out)} bytes arrived")

        return measuring.Case(name, argv, {**job.env, "MEGABYTES": str(size)}, clear, check)

    cases = [
        case(DIRECT, shell(f'exec "$@" > {out}', *boot), megabytes),
        case(TEE, shell(f'"$@" | tee {work}/log > {out}', *boot), megabytes),
        case(OURS, shell(f'exec "$@" > {out}', *job.argv), megabytes),
    ]
    if peer:
        captured = shell(f'exec "$@" > {out}', peer, "-c", CAPTURE, *boot)
        # it strips what it reads, so that some bytes are missing
        cases += [case(PEER_EMPTY, captured, 0), case(PEER, captured, megabytes // SHARE, 0.99)]
    return cases


def shell(line: str, *argv: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", line, "sh", *argv)


def with_all_of_the_peer(costs: Mapping[str, list[measuring.Cost]]) -> dict[str, list[measuring.Cost]]:
    """The peer as if it had got all of the output: its start once, its part as often as it takes."""
    whole = dict(costs)
    starts = whole.pop(PEER_EMPTY, [])
    if starts:
        cpu, wall = (statistics.median(times) for times in ([c.cpu for c in starts], [c.wall for c in starts]))
        whole[PEER] = [
            measuring.Cost(cpu + (run.cpu - cpu) * SHARE, wall + (run.wall - wall) * SHARE, run.peak)
            for run in whole[PEER]
        ]
    return whole


def tells_the_best(costs: Mapping[str, Sequence[measuring.Cost]], megabytes: int) -> None:
    best = {name: (min(run.wall for run in runs), min(run.cpu for run in runs)) for name, runs in costs.items()}
    for name, (wall, cpu) in best.items():
        ratios = f"{wall / best[DIRECT][0]:.2f} x wall, {cpu / best[DIRECT][1]:.2f} x CPU"
        print(f"best of all, {name}: {megabytes / wall:,.0f} MiB/s, {ratios}")
    print("(at most 3 x both; aim 2 x)")


def peer_python() -> str | None:
    venv = os.path.abspath(f"{BUILD}/peer")
    if not os.path.exists(f"{venv}/bin/train"):
        wrong = measuring.make_venv(venv, "sagemaker-training")
        if wrong:
            print(f"sagemaker-training is not compared: it did not install ({wrong})")
            return None
    return f"{venv}/bin/python"


def idle(job: Job, name: str, seconds: float) -> None:
    with subprocess.Popen(job.argv, env=job.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as launcher:
        try:
            if launcher.stdout is None or launcher.stdout.readline() != b"ready\n":
                sys.exit("error: the boot file did not begin")
            time.sleep(1.0)  # what belongs to the start is over
            began, before = time.monotonic(), cpu_ns(launcher.pid)
            time.sleep(seconds)
            used, took = cpu_ns(launcher.pid) - before, time.monotonic() - began
            memory = {line.split()[0]: int(line.split()[1]) / 1024 for line in status(launcher.pid) if "kB" in line}
        finally:
            launcher.terminate()
    share = used / 1e9 / took * 100
    print(
        f"{name}: {share:.4f} % of a core (at most 0.2), "
        f"{memory['VmRSS:']:.1f} MiB resident, {memory['VmHWM:']:.1f} MiB at its peak (at most 35)"
    )


def cpu_ns(pid: int) -> int:
    """What all threads of a process had of the CPU; one that ended meanwhile is missing."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


def status(pid: int) -> Sequence[str]:
    with open(f"/proc/{pid}/status") as file:
        return file.readlines()


def end(run: Job | Hand) -> float:
    run.clear()
    with subprocess.Popen(run.argv, env=run.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        code = process.wait()
        ended = time.monotonic()
        said = process.stdout.read() if process.stdout else b""
    if code:
        sys.exit(f"error: {run.argv[0]} ended with {code}")
    return (ended - float(said)) * 1e3


def tells_the_end(name: str, times: Sequence[float]) -> None:
    bar = " (at most 30)" if name.startswith("nothing") else ""
    print(f"{name}: median {statistics.median(times):.1f}{bar}, best {min(times):.1f}, worst {max(times):.1f}")


if __name__ == "__main__":
    main()
