"""What the launcher costs as the entrypoint of a container over `python boot.py` in the same image.

    eval "$(images/engine up)"
    python benchmarks/containers.py [--rounds 15] [--image launcher:cpu]

The boot file does nothing, and both are whole `docker run`s of the same image, in turns: what starts and removes a
container is in both, so that the difference is the launcher.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from typing import TYPE_CHECKING

import measuring
from startup import job

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN, CODE, WHOLE = "docker run, python boot.py", "docker run, launcher (code)", "docker run, launcher (all)"
BAR_MS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the launcher costs in a container.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--image", default=os.environ.get("LAUNCHER_TEST_IMAGE", "launcher:cpu"))
    options = parser.parse_args()
    docker = shutil.which("docker") or sys.exit("error: docker is not on PATH")
    print(measuring.machine())
    with tempfile.TemporaryDirectory() as work:
        costs = measuring.in_turns(cases(docker, options.image, work), options.rounds)
    print(f"\nWhole `docker run`s of {options.image}, {options.rounds} of each in turns, the boot file does nothing:")
    print(f"{'':28} {'wall ms':>9} {'(min)':>9} {'extra':>9} {'(min)':>9}")
    for name, runs in costs.items():
        middle, least = milliseconds(runs)
        plain_middle, plain_least = milliseconds(costs[PLAIN])
        print(f"{name:28} {middle:9.1f} {least:9.1f} {middle - plain_middle:+9.1f} {least - plain_least:+9.1f}")
    print(f"\nwhat the launcher adds, of the medians: at most +{BAR_MS} ms")


def cases(docker: str, image: str, work: str) -> Sequence[measuring.Case]:
    """The plain run and those of the launcher, on a store of their own."""
    os.chmod(work, 0o755)
    bucket = f"{work}/store/bench-bucket"
    measuring.lay_down(
        {
            f"{bucket}/code/boot.py": "pass\n",
            f"{bucket}/code/model.py": "LAYERS = 3\n",
            f"{bucket}/data/one.csv": "1,2,3\n",
            f"{work}/code.json": job(),
            f"{work}/whole.json": job(channels=True),
        }
    )
    for path in (f"{work}/store", bucket):
        os.chmod(path, 0o777)  # the image's user is another one
    env = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
    run = (docker, "run", "--rm", "--network", "none", "--volume", f"{work}/store:/store")

    def launched(document: str) -> tuple[str, ...]:
        return (*run, "--volume", f"{work}/{document}:/job.json:ro", image, "/job.json", "--store", "/store")

    def clear() -> None:
        for folder in ("output", "log"):
            shutil.rmtree(f"{bucket}/{folder}", ignore_errors=True)

    def log_came_back() -> None:
        if not os.listdir(f"{bucket}/log"):
            sys.exit("error: the run put no log in its place")

    return (
        measuring.Case(PLAIN, (*run, "--entrypoint", "python3", image, "/store/bench-bucket/code/boot.py"), env),
        measuring.Case(CODE, launched("code.json"), env, clear),
        measuring.Case(WHOLE, launched("whole.json"), env, clear, log_came_back),
    )


def milliseconds(runs: Sequence[measuring.Cost]) -> tuple[float, float]:
    """The median and the least of what the runs took."""
    walls = [run.wall * 1e3 for run in runs]
    return statistics.median(walls), min(walls)


if __name__ == "__main__":
    main()
