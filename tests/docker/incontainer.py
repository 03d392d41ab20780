"""One container of an image, with a job and its store mounted; and Docker's own command."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Rig

IMAGE = os.environ.get("LAUNCHER_TEST_IMAGE", "")
in_docker = pytest.mark.skipif(not IMAGE, reason='no engine and image to test: eval "$(images/engine up)" brings both')
LIMIT_S = 100

_numbers = itertools.count()


def docker(*arguments: str) -> str:
    """One command of Docker's own, which must go well."""
    done = tried(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tried(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of Docker's own, however it ends."""
    return subprocess.run(("docker", *arguments), capture_output=True, text=True, check=False, timeout=LIMIT_S)


def need(image: str) -> str:
    """The image; skips where it was not made."""
    if tried("image", "inspect", image).returncode:
        pytest.skip(f"no image {image}: tests/docker/bases makes it (root, Debian)")
    return image


class Container:
    """One container of an image, with a job and its store mounted; made, started once, and removed."""

    def __init__(self, rig: Rig, image: str, name: str) -> None:
        self.rig = rig
        self.image = image
        self.name = name

    def create(self, *options: str, arguments: tuple[str, ...] = ()) -> None:
        """Make it: options are Docker's, arguments the launcher's."""
        job = self.rig.folder / "job.json"
        job.write_text(json.dumps(self.rig.job))
        store = self.rig.folder / "store"
        for path in (store, *store.rglob("*")):  # the image's user is another one
            path.chmod(0o777 if path.is_dir() else 0o666)
        mounts = ("--volume", f"{store}:/store", "--volume", f"{job}:/job.json:ro")
        own = ("--name", self.name, "--network", "none", *mounts, *options)
        docker("create", *own, self.image, "/job.json", "--store", "/store", *arguments)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Make it and let it run to its end."""
        self.create(*options)
        return tried("start", "--attach", self.name)

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """Start it; the block begins when the boot file is ready."""
        argv = ("docker", "start", "--attach", self.name)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as attached:
            try:
                assert attached.stdout is not None
                assert attached.stdout.readline() == "ready\n"
                yield attached
            finally:
                attached.kill()

    @property
    def state(self) -> Any:
        """What the engine knows of it."""
        return json.loads(docker("inspect", self.name))[0]["State"]

    @property
    def run_json(self) -> Any:
        """run.json as it came to the store."""
        return json.loads(self.rig.stored("log/")["modelarts-job-job-1-worker-0.run.json"])


@contextlib.contextmanager
def one(rig: Rig, image: str = IMAGE) -> Iterator[Container]:
    """A container of one test alone, removed with whatever is left in it."""
    name = f"launcher-test-{os.getpid()}-{next(_numbers)}"
    try:
        yield Container(rig, image, name)
    finally:
        subprocess.run(("docker", "rm", "--force", "--volumes", name), capture_output=True, check=False, timeout=60)
