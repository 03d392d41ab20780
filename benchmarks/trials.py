"""What a trial costs as a whole, beside the boot file: a search of boot files that do nothing, against those alone.

    python benchmarks/trials.py [--trials 60]

A search's own start and end are taken off: its time is that of many trials less that of few, over their number.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

FEW = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    many = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        boot = lay_out(folder)
        alone = each([sys.executable, boot, "--lr=0.5"], many)
        job = [sys.executable, "-m", "launcher", "run", write(folder, "one", 0), *places(folder, "run")]
        run = each(job, many)
        found = {}
        for algorithm in ("anneal_search", "tpe_search", "bayes_opt_search"):
            low, high = (search(folder, f"{algorithm}{count}", count, algorithm) for count in (FEW, FEW + many))
            found[algorithm] = tuple((b - a) / many for a, b in zip(low, high, strict=True))
    print(f"one of {many}, wall and CPU in ms, and both as parts of the launcher's own run")
    told("python boot.py", alone, run)
    told("launcher run", run, run)
    for algorithm, took in found.items():
        told(f"a trial of {algorithm}", took, run)


def told(what: str, took: tuple[float, ...], run: tuple[float, ...]) -> None:
    wall, cpu = took
    print(f"{what:32} {wall * 1000:7.1f} {cpu * 1000:7.1f}   {wall / run[0]:5.2f} {cpu / run[1]:5.2f}", flush=True)


def lay_out(folder: str) -> str:
    os.makedirs(f"{folder}/store/bucket/code")
    boot = f"{folder}/store/bucket/code/train.py"
    with open(boot, "w", encoding="utf-8") as file:
        file.write('import sys\nprint("acc=" + sys.argv[1].partition("=")[2])\n')
    return boot


def write(folder: str, name: str, trials: int, algorithm: str = "") -> str:
    config = {"name": algorithm, "params": [{"key": "num_samples", "value": str(trials)}]}
    search = {
        "reward_attrs": [{"name": "acc", "mode": "max", "regex": "acc=(.*)"}],
        "search_params": [{"name": "lr", "lower_bound": "0", "upper_bound": "1"}],
        "algo_configs": [config],
    }
    job = {
        "kind": "job",
        "metadata": {"name": "bench"},
        "algorithm": {
            "code_dir": "obs://bucket/code/",
            "boot_file": "obs://bucket/code/train.py",
            "parameters": [{"name": "lr", "value": "0.5", "constraint": {"type": "Float"}}],
            "policies": {"auto_search": search if trials else None},
        },
    }
    path = f"{folder}/{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(job, file)
    return path


def places(folder: str, root: str) -> tuple[str, ...]:
    return "--store", f"{folder}/store", "--root", f"{folder}/{root}", "--quiet"


def each(argv: list[str], count: int) -> tuple[float, float]:
    timed(argv)
    took = [timed(argv) for _ in range(count)]
    return sum(wall for wall, _ in took) / count, sum(cpu for _, cpu in took) / count


def search(folder: str, name: str, trials: int, algorithm: str) -> tuple[float, float]:
    job = write(folder, name, trials, algorithm)
    took = timed([sys.executable, "-m", "launcher", "search", job, *places(folder, name)])
    shutil.rmtree(f"{folder}/{name}")
    return took


def timed(argv: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a program and its children."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
