"""Containers on a bridge network of one test's own, where they find each other by name: a store, launchers, a cable.

The engine is a real one, and so is every cut: a container is taken off the network, paused or restarted. All are named
after the test's process, and gone with the block.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from incontainer import IMAGE, docker, tried
from servers import ACCESS_KEY, BIN, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rig import Rig

ENDS_S = 75.0
"""No run takes longer, whatever becomes of its store; far from what any of them needs."""
PORT = 9000
CABLE = Path(__file__).parents[1] / "programs" / "cable.py"
ENDLESS = 1 << 60
FAR_S = 0.03
"""Seconds that a cable is long, one way."""

_numbers = itertools.count()


class Box:
    """One running container; `role` is its name on the bridge."""

    def __init__(self, bridge: Bridge, role: str, name: str) -> None:
        self.role = role
        self.name = name
        self._network = bridge.name

    def await_word(self, word: str) -> str:
        """Read what it says, on both streams and from the beginning, up to a word; all up to there is given back."""
        argv = ("docker", "logs", "--follow", self.name)
        seen = ""
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as following:
            assert following.stdout is not None
            try:
                for line in following.stdout:
                    seen += line
                    if word in line:
                        return seen
            finally:
                following.kill()
        raise AssertionError(f"{self.role} ended without {word!r}:\n{seen[-4000:]}")

    def said(self) -> tuple[str, str]:
        """Its two streams so far."""
        done = tried("logs", self.name)
        return done.stdout, done.stderr

    def wait(self, seconds: float = ENDS_S) -> int:
        """Its exit code, when it has ended."""
        argv = ("docker", "wait", self.name)
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds)
            return int(done.stdout)
        except subprocess.TimeoutExpired:
            out, err = self.said()
            raise AssertionError(f"{self.role} does not end:\n{err[-3000:]}{out[-1000:]}") from None

    @property
    def state(self) -> Any:
        """What the engine knows of it."""
        return json.loads(docker("inspect", self.name))[0]["State"]

    def cut(self) -> None:
        """Take it off the network: its interface is gone, and its name with it."""
        docker("network", "disconnect", self._network, self.name)

    def join(self) -> None:
        """Put it on the network again, under its name; its address may be another."""
        docker("network", "connect", "--alias", self.role, self._network, self.name)

    def kill(self, signal: str = "KILL") -> None:
        """Send its first process a signal."""
        docker("kill", "--signal", signal, self.name)

    def stop(self) -> None:
        """Stop it as a user does: SIGTERM, and SIGKILL after ten seconds, or its own stop timeout."""
        docker("stop", self.name)

    def restart(self) -> None:
        """Start it again, as it was."""
        docker("restart", "--time", "0", self.name)

    def pause(self) -> None:
        """Freeze all its processes; their connections stay."""
        docker("pause", self.name)

    def resume(self) -> None:
        """Let its processes go on."""
        docker("unpause", self.name)


class Bridge:
    """A network and the containers on it."""

    def __init__(self, kept: contextlib.ExitStack) -> None:
        self.name = f"launcher-test-{os.getpid()}-{next(_numbers)}"
        self._kept = kept
        docker("network", "create", self.name)
        kept.callback(docker, "network", "rm", self.name)

    def start(self, role: str, argv: Sequence[str] = (), *options: str) -> Box:
        """Start a container of the image; options are Docker's."""
        box = Box(self, role, f"{self.name}-{role.partition('.')[0]}")
        self._kept.callback(docker, "rm", "--force", "--volumes", box.name)
        own = ("--name", box.name, "--network", self.name, "--network-alias", role)
        docker("run", "--detach", *own, *options, IMAGE, *argv)
        return box

    def serve(self, folder: Path) -> Box:
        """An S3 server over a folder of buckets: rclone, which is one program without libraries."""
        argv = ("serve", "s3", "--config", os.devnull, "--addr", f":{PORT}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}")
        mounts = ("--volume", f"{BIN}/rclone:/rclone:ro", "--volume", f"{folder}:/objects")
        me = ("--user", f"{os.getuid()}:{os.getgid()}")
        store = self.start("store", (*argv, "/objects"), "--entrypoint", "/rclone", *me, *mounts)
        store.await_word("Starting s3 server")
        return store

    def lay_cable(self, server: Box, holds: int = ENDLESS, seconds: float = FAR_S) -> Box:
        """A long cable before a server, which holds once so many bytes have come from there."""
        argv = ("/cable.py", str(PORT), f"{server.role}:{PORT}", str(seconds), str(holds))
        cable = self.start("cable", argv, "--entrypoint", "python3", "--volume", f"{CABLE}:/cable.py:ro")
        cable.await_word("listens")
        return cable

    def launch(
        self,
        rig: Rig,
        host: str,
        *options: str,
        role: str = "launcher",
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> Box:
        """The launcher, by the image's own entrypoint, with the rig's job and the store at a host of the bridge."""
        job = rig.folder / "job.json"
        job.write_text(json.dumps(rig.job), encoding="utf-8")
        told = {
            "S3_ENDPOINT": f"http://{host}:{PORT}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            **(env or {}),
        }
        variables = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
        mount = ("--volume", f"{job}:/job.json:ro")
        return self.start(role, ("/job.json", *arguments), *variables, *mount, *options)


@contextlib.contextmanager
def bridged() -> Iterator[Bridge]:
    """A bridge; its network and all containers on it are removed after the block."""
    with contextlib.ExitStack() as kept:
        yield Bridge(kept)
