"""A rig for whole jobs: a store, a root, a job to change, and the real launcher as a child process."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from servers import AnyStore

LAUNCHER = (sys.executable, "-m", "launcher")
ECHO = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}))
"""
COPY_TREE = """
import os, shutil, sys
source, target = (each.partition("=")[2] for each in sys.argv[1:3])
shutil.copytree(source, target, dirs_exist_ok=True)
print("copied", flush=True)
"""
"""Brings every file of the one input to the one output."""


def tree(top: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


@dataclass(frozen=True)
class Result:
    """What a launcher left behind."""

    code: int
    out: str
    err: str
    run_json: Any

    @property
    def echo(self) -> Any:
        """What a boot file that echoes was given."""
        return json.loads(self.out)

    @property
    def cause(self) -> str:
        """The cause's code."""
        return str(self.run_json["cause"]["code"])

    @property
    def errors(self) -> list[str]:
        """The lines that tell of errors."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


class Rig:
    """One bucket with a code directory, an input, an output and a log folder; `job` is a good job for them."""

    def __init__(self, store: AnyStore, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.root = folder / "root"
        self.bucket = store.bucket()
        self.log_dir = self.root / "home/ma-user/modelarts/log"
        self.job: dict[str, Any] = {
            "kind": "job",
            "metadata": {"id": "job-1", "name": "rig"},
            "algorithm": {
                "code_dir": f"obs://{self.bucket}/code/",
                "boot_file": f"obs://{self.bucket}/code/train.py",
                "parameters": [],
                "inputs": [{"name": "data_url", "remote": {"obs": {"obs_url": f"/{self.bucket}/data/"}}}],
                "outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": f"s3://{self.bucket}/out/"}}}],
            },
            "spec": {"log_export_path": {"obs_url": f"obs://{self.bucket}/log/"}},
        }
        store.seed(self.bucket, {"data/a.csv": b"1,2\n"})

    @property
    def algorithm(self) -> Any:
        """The job's algorithm, to change."""
        return self.job["algorithm"]

    @property
    def inputs(self) -> Path:
        """Where the boot file finds its input."""
        return self.root / "home/ma-user/modelarts/inputs/data_url_0"

    @property
    def output(self) -> str:
        """Where the boot file writes its output."""
        return str(self.root / "home/ma-user/modelarts/outputs/train_url_0")

    def code(self, boot: str, more: Mapping[str, bytes] | None = None) -> None:
        """Lay the code into the store."""
        self.store.seed(
            self.bucket, {"code/train.py": boot.encode(), **{f"code/{k}": v for k, v in (more or {}).items()}}
        )

    @property
    def shuts_output(self) -> str:
        """Code with which a boot file lays a file in place of the output's folder in a store that is a directory.

        Whoever takes that file away lets uploads pass again.
        """
        folder = self.output_in_store
        return (
            f"import os\nos.rename({str(folder)!r}, {str(self.folder / 'aside')!r})\n"
            f"open({str(folder)!r}, 'w').close()\n"
        )

    @property
    def output_in_store(self) -> Path:
        """The output's folder in a store that is a directory."""
        if self.store.directory is None:
            raise AssertionError("the store is no directory")
        return self.store.directory / self.bucket / "out"

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The launcher's environment: the test's own, the store's, and nothing of a launcher's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LAUNCHER_", "S3_", "AWS_"))}
        path = os.path.dirname(sys.executable) + ":" + own.get("PATH", "")
        return {**own, "PATH": path, **self.store.env, **(more or {})}

    def argv(
        self, command: str = "run", *arguments: str, job: str | None = None, store: bool = True
    ) -> tuple[str, ...]:
        """The launcher's argv for this rig; the job is written to a file unless one is named."""
        if job is None:
            path = self.folder / "job.json"
            path.write_text(json.dumps(self.job))
            job = str(path)
        return (
            *LAUNCHER,
            command,
            *([job] if job else []),
            *(self.store.launcher_args if store else ()),
            "--root",
            str(self.root),
            *arguments,
        )

    def run(
        self,
        *arguments: str,
        command: str = "run",
        job: str | None = None,
        env: Mapping[str, str] | None = None,
        text: str | None = None,
        store: bool = True,
        timeout: float = 100,
    ) -> Result:
        """Run the launcher to its end."""
        done = subprocess.run(
            self.argv(command, *arguments, job=job, store=store),
            env=self.env(env),
            input=text,
            capture_output=True,
            check=False,
            timeout=timeout,
            encoding="utf-8",
            errors="surrogateescape",
        )
        return Result(done.returncode, done.stdout, done.stderr, self.run_json())

    def validate(self, *arguments: str) -> Result:
        """Run `launcher validate`."""
        argv = (*LAUNCHER, "validate", *arguments)
        done = subprocess.run(argv, env=self.env(), capture_output=True, check=False, timeout=60, text=True)
        return Result(done.returncode, done.stdout, done.stderr, None)

    @contextlib.contextmanager
    def running(
        self, *arguments: str, command: str = "run", env: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """Run the launcher beside the test; it is ended with the block, whatever happened."""
        process = subprocess.Popen(
            self.argv(command, *arguments), env=self.env(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def finish(self, process: subprocess.Popen[str]) -> Result:
        """Wait for a launcher that runs beside the test."""
        out, err = process.communicate(timeout=100)
        return Result(process.returncode, out, err, self.run_json())

    def run_json(self) -> Any:
        """What run.json says, if it is there."""
        path = self.log_dir / "run.json"
        return json.loads(path.read_text()) if path.exists() else None

    def plan(self) -> Any:
        """The plan that ran."""
        return json.loads((self.log_dir / "plan.json").read_text())

    def events(self) -> list[str]:
        """The messages of events.jsonl."""
        lines = (self.log_dir / "events.jsonl").read_text().splitlines()
        return [json.loads(line)["message"] for line in lines]

    def events_of_a_run(self) -> list[str]:
        """The messages of a run that must end well."""
        result = self.run()
        if result.code != 0:
            raise AssertionError(result.err)
        return self.events()

    def stored(self, prefix: str = "out/") -> dict[str, bytes]:
        """What lies in the store below a prefix, without the launcher's own folder."""
        names = [key for key in self.store.listing(self.bucket, prefix) if "/.launcher/" not in key]
        found = self.store.read_all(self.bucket, names)
        return {key.removeprefix(prefix): content for key, content in found.items()}

    def with_job(self, **changes: Any) -> Rig:
        """The same rig with members of the algorithm changed."""
        self.job = copy.deepcopy(self.job)
        self.algorithm.update(changes)
        return self
