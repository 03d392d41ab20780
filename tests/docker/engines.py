"""`launcher local` beside a test: its command line, another user's way to the engine, and an engine that goes away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from incontainer import IMAGE, docker
from rig import LAUNCHER, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rig import Rig

SOCKET = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
LABEL = "modelarts-launcher.local"


class Local:
    """One rig whose job is run by `launcher local`, in containers with one name."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.name = f"launcher-test-{os.urandom(6).hex()}"
        self.prefix: tuple[str, ...] = ()
        self.temporary = rig.folder / "tmp"
        self.temporary.mkdir()

    @property
    def store(self) -> str:
        """The store's folder."""
        return self.rig.store.launcher_args[1]

    def argv(self, *arguments: str, image: str = IMAGE, store: bool = True, network: str = "none") -> tuple[str, ...]:
        """The command line; the job is written to a file."""
        job = self.rig.folder / "job.json"
        job.write_text(json.dumps(self.rig.job))
        own = ("--image", image, "--name", self.name, "--network", network, *(("--store", self.store) if store else ()))
        return (*self.prefix, *LAUNCHER, "local", str(job), *own, *arguments)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The launcher's environment; what passes lies in a folder of the test's own."""
        return {**self.rig.env(), "TMPDIR": str(self.temporary), **(more or {})}

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, text: str | None = None, **words: Any
    ) -> Result:
        """Run it to its end."""
        argv = self.argv(*arguments, **words)
        done = subprocess.run(
            argv, env=self.env(env), input=text, capture_output=True, text=True, check=False, timeout=100
        )
        return Result(done.returncode, done.stdout, done.stderr, self.run_json)

    @contextlib.contextmanager
    def running(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """Run it beside the test."""
        argv, pipe = self.argv(*arguments), subprocess.PIPE
        with subprocess.Popen(argv, env=self.env(env), stdout=pipe, stderr=pipe, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def run_json(self) -> Any:
        """run.json as it came to the store."""
        found = self.rig.stored("log/").get("modelarts-job-job-1-worker-0.run.json")
        return json.loads(found) if found else None

    @property
    def state(self) -> str | None:
        """The state of the container; None where there is none."""
        listed = docker("ps", "--all", "--filter", f"name=^{self.name}$", "--format", "{{.State}}")
        return listed.strip() or None

    @property
    def left(self) -> list[str]:
        """What is left of it all: a container, a folder."""
        return [*filter(None, [self.state]), *(each.name for each in self.temporary.iterdir())]

    def remove(self) -> None:
        """Take away what a test that failed has left."""
        subprocess.run(
            ("docker", "rm", "--force", "--volumes", self.name), capture_output=True, check=False, timeout=60
        )


class Relay:
    """The engine by another socket, that any user may open and that can go away in the middle."""

    def __init__(self, target: str = SOCKET) -> None:
        self._target = target
        self._folder = tempfile.mkdtemp(prefix="engine-")
        Path(self._folder).chmod(0o711)
        self.path = f"{self._folder}/docker.sock"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.path)
        Path(self.path).chmod(0o666)
        self._server.listen()
        self._pairs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        """What DOCKER_HOST is to be."""
        return f"unix://{self.path}"

    def close(self) -> None:
        """Be gone: whoever speaks is cut off, nobody new is heard."""
        with contextlib.suppress(FileNotFoundError):
            Path(self.path).unlink()
        for each in (self._server, *self._pairs):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in (self._server, *self._pairs):
            each.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._pairs += (near, far)
                self._start(partial(_carry, near, far))
                self._start(partial(_carry, far, near))

    def _start(self, work: Callable[[], object]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
