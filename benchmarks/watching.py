"""What it costs to watch an output folder at rest: 100,000 files, all in their place, and a boot file that sleeps.

Part of store.py. The store is a folder in memory. The launcher's CPU time, of all its threads, is taken over a window
that begins when every file has been uploaded and no upload came for a while.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import measuring
from rivals import BUCKET
from wanted import Bar

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "watching"
BARS = (Bar("core", 1, 0.3),)
WINDOW = 200.0
PATIENCE = 600.0
TICKS = os.sysconf("SC_CLK_TCK")
BOOT = """
import os, signal, sys
folder = next(each.partition("=")[2] for each in sys.argv if each.startswith("--train_url="))
for number in range(int(os.environ["FILES"])):
    part = f"{folder}/part-{number // 1000:04}"
    if number % 1000 == 0:
        os.makedirs(part)
    with open(f"{part}/file-{number:06}", "wb") as out:
        out.write(b"%d" % number)
print("ready", flush=True)
signal.pause()
"""


def share(venv: str, work: str, files: int) -> float:
    """How much of a core the launcher takes, in percent."""
    store, root = f"{work}/watched/store", f"{work}/watched/root"
    measuring.lay_down({f"{store}/{BUCKET}/code/boot.py": BOOT, f"{work}/watched/job.json": job()})
    target = f"{store}/{BUCKET}/out"
    argv = (f"{venv}/bin/launcher", "run", f"{work}/watched/job.json", "--root", root, "--store", store)
    env = measuring.clean_environment(venv) | {"FILES": str(files)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as launcher:
        try:
            if launcher.stdout is None or launcher.stdout.readline() != b"ready\n":
                sys.exit("error: the boot file did not begin")
            made = time.monotonic()
            wait(lambda: count(target) >= files, PATIENCE, f"{files} files in {target}")
            uploaded = time.monotonic() - made
            time.sleep(10.0)  # what follows an upload is over
            began, before = time.monotonic(), cpu(launcher.pid)
            time.sleep(WINDOW)
            used = (cpu(launcher.pid) - before) / (time.monotonic() - began) * 100
            resident = memory(launcher.pid)
        finally:
            launcher.terminate()  # not kill: that would leave the boot process behind
            with suppress(subprocess.TimeoutExpired):
                launcher.wait(60)
            launcher.kill()
    print(
        f"\n{NAME}: {files:,} files at rest, uploaded {uploaded:.1f} s after the last was made; over {WINDOW:.0f} s "
        f"{used:.3f} % of a core, {resident:.1f} MiB resident"
    )
    return used


def wait(done: Callable[[], bool], patience: float, what: str) -> None:
    until = time.monotonic() + patience
    while not done():
        if time.monotonic() > until:
            sys.exit(f"error: waited {patience:.0f} s for {what}")
        time.sleep(1.0)


def count(folder: str) -> int:
    return sum(name.startswith("file-") for _, _, names in os.walk(folder) for name in names)


def cpu(pid: int) -> float:
    """Seconds of CPU of a process: of all its threads, those that ended too."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))


def job() -> str:
    bucket = f"obs://{BUCKET}"
    # the shortest period there is: only the launcher itself can make its looks rare
    output = {"name": "train_url", "period": 1, "remote": {"obs": {"obs_url": f"{bucket}/out/"}}}
    algorithm = {"code_dir": f"{bucket}/code/", "boot_file": f"{bucket}/code/boot.py", "outputs": [output]}
    spec = {"resource": {"flavor_id": "bench", "node_count": 1}}
    return json.dumps({"kind": "job", "metadata": {"name": "bench"}, "algorithm": algorithm, "spec": spec})
