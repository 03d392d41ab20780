"""A job on several hosts: one store for all of them, and on each the real launcher with a root of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hosts import lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hosts import Host, Running

PROGRAMS = Path(__file__).parent / "programs"
DIGITS = Path(__file__).parents[2] / "examples/digits/store/digits-bucket/data"
LAUNCHER = (sys.executable, "-m", "launcher")
GROUP = "ma-job-1"
ENGINE_S = 150.0
"""How long real engines may take to start, train and end, on a machine that has few processors and other work."""

_reason = lacking()
on_hosts = pytest.mark.skipif(_reason is not None, reason=f"no hosts: {_reason}")


def installed(engine: str) -> str:
    """The programs of an engine's own virtual environment; the test is skipped where there is none."""
    variable = f"LAUNCHER_TEST_{engine.upper()}"
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{engine} is not here: make e2e-distributed brings it, and {variable} names its environment")
    return f"{folder}/bin"


def volcano_names(workers: int, servers: int = 0) -> list[str]:
    """How Volcano calls the hosts of a job, its parameter servers last."""
    numbered = [("worker", index) for index in range(workers)] + [("ps", index) for index in range(servers)]
    return [f"{GROUP}-{task}-{index}.{GROUP}" for task, index in numbered]


def volcano(host: Host) -> dict[str, str]:
    """What Volcano and ModelArts tell a host of its job."""
    workers = [name for name in host.peers if "-worker-" in name]
    servers = [name for name in host.peers if "-ps-" in name]
    task, index = ("ps", host.number - len(workers)) if host.name in servers else ("worker", host.number)
    told = {"MA_TASK_NAME": task, "VC_TASK_INDEX": str(index), "MA_VJ_NAME": GROUP, "MA_NUM_HOSTS": str(len(workers))}
    for key, found in (("WORKER", workers), ("PS", servers)):
        if found:
            told |= {f"VC_{key}_HOSTS": ",".join(found), f"VC_{key}_NUM": str(len(found))}
    return told


@dataclass(frozen=True)
class End:
    """How it went on one host."""

    host: Host
    code: int
    out: str
    err: str
    run_json: Any

    @property
    def cause(self) -> str:
        """The cause's code; empty where there is none."""
        found = self.run_json["cause"]
        return str(found["code"]) if found else ""

    @property
    def told(self) -> str:
        """The cause in words, for people."""
        return " ".join(line for line in self.err.splitlines() if line.startswith(("error: ", "  ")))


class Training:
    """A job, its store and its hosts. `job` is to be changed before it starts."""

    def __init__(self, folder: Path, hosts: Iterable[Host], program: str, **parameters: object) -> None:
        self.hosts = tuple(hosts)
        self.bucket = folder / "store" / "bucket"
        (self.bucket / "code").mkdir(parents=True)
        shutil.copy(PROGRAMS / f"{program}.py", self.bucket / "code")
        shutil.copytree(DIGITS, self.bucket / "data")
        workers = sum("-ps-" not in host.name for host in self.hosts)
        self.environ: dict[str, str] = {}
        self.job: dict[str, Any] = {
            "kind": "job",
            "metadata": {"id": "job-1", "name": "training"},
            "algorithm": {
                "code_dir": "obs://bucket/code/",
                "boot_file": f"obs://bucket/code/{program}.py",
                "parameters": [{"name": name, "value": str(value)} for name, value in parameters.items()],
                "inputs": [{"name": "data_url", "remote": {"obs": {"obs_url": "obs://bucket/data/"}}}],
                "outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": "obs://bucket/out/"}}}],
            },
            "spec": {
                "resource": {"flavor_id": "modelarts.vm.cpu.2u", "node_count": workers},
                "log_export_path": {"obs_url": "obs://bucket/log/"},
            },
        }

    @property
    def algorithm(self) -> Any:
        """The job's algorithm, to change."""
        return self.job["algorithm"]

    def engine(self, name: str, programs: str = "", **environ: str) -> None:
        """Name the job's engine, and the folder of programs in which it is found; variables of the platform's."""
        self.algorithm["engine"] = {"engine_name": name}
        self.environ |= environ
        if programs:
            self.environ["PATH"] = f"{programs}:{os.environ.get('PATH', os.defpath)}"

    def start(
        self,
        host: Host,
        *arguments: str,
        told: Callable[[Host], Mapping[str, str]] = volcano,
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start the launcher on a host. `told` is what the platform tells it of the job's nodes."""
        job = self.bucket.parent.parent / "job.json"
        if not job.exists():
            job.write_text(json.dumps(self.job), encoding="utf-8")
        argv = (*LAUNCHER, "run", str(job), "--store", str(self.bucket.parent), "--root", str(host.root), *arguments)
        return host.start("launcher", argv, {**told(host), **self.environ, **(env or {})})

    def run(self, *arguments: str, told: Callable[[Host], Mapping[str, str]] = volcano) -> list[End]:
        """Start it on every host, and wait for the end."""
        return self.ends([self.start(host, *arguments, told=told) for host in self.hosts])

    def ends(self, started: Iterable[Running], patience: float = ENGINE_S) -> list[End]:
        """Wait until all launchers have ended; each has taken its processes with it."""
        launchers = list(started)
        try:
            for each in launchers:
                each.wait(patience)
        except subprocess.TimeoutExpired:
            told = "\n".join(f"-- {one.host.name}\n{one.err[-3000:]}{one.out[-1000:]}" for one in launchers)
            raise AssertionError(f"a launcher does not end:\n{told}") from None
        left = {each.host.name: each.host.processes() for each in launchers if each.host.alive}
        assert not any(left.values()), left
        return [End(one.host, one.wait(), one.out, one.err, self.run_json(one.host)) for one in launchers]

    def run_json(self, host: Host) -> Any:
        """What run.json of a host says, if it is there."""
        path = self.log_dir(host) / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def has_told(self, host: Host, words: str) -> bool:
        """Whether the launcher of a host has told an event with these words."""
        path = self.log_dir(host) / "events.jsonl"
        return path.exists() and words in path.read_text(encoding="utf-8")

    @staticmethod
    def log_dir(host: Host) -> Path:
        """Where a host's launcher writes its documents."""
        return host.files / "home/ma-user/modelarts/log"

    def left(self, prefix: str) -> list[Any]:
        """What boot files left in the output, by the beginning of a name."""
        found = sorted((self.bucket / "out").glob(f"{prefix}*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in found]
