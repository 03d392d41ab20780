"""Jobs of several nodes, each a `launcher run` of its own on this machine, seen from outside."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ports import free_port

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from rig import Rig


class Node:
    """One launcher, seen from outside."""

    def __init__(self, rig: Rig, index: int, process: subprocess.Popen[str], root: Path) -> None:
        self.index = index
        self.process = process
        self.root = root
        self._rig = rig

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> int:
        self.out, self.err = self.process.communicate(timeout=100)
        return self.process.returncode

    @property
    def run_json(self) -> Any:
        return json.loads((self.root / "home/ma-user/modelarts/log/run.json").read_text())

    @property
    def cause(self) -> tuple[str, str]:
        """Code and message."""
        found = self.run_json["cause"]
        return found["code"], found["message"]

    def spell(self, phase: str) -> tuple[datetime, datetime]:
        """When a phase began and ended."""
        [found] = [each for each in self.run_json["timeline"] if each["phase"] == phase]
        return datetime.fromisoformat(found["started"]), datetime.fromisoformat(found["ended"])


class Nodes:
    """The nodes of one job; each has a root of its own, and all write to one store."""

    def __init__(self, rig: Rig, stack: ExitStack) -> None:
        self.rig = rig
        self._stack = stack
        self._port = free_port()

    def root(self, name: str) -> Path:
        return self.rig.folder / name

    def start(self, index: int, count: int = 2, **env: str) -> Node:
        """One node, as the command line tells of it."""
        said = ("--nodes", str(count), "--node-index", str(index), "--master", "127.0.0.1")
        return self.begin(index, env, *said)

    def begin(self, index: int, env: dict[str, str], *said: str, name: str = "") -> Node:
        """One node, as its environment tells of it."""
        root = self.root(name or f"worker-{index}")
        own = ("--env", f"NODE={index}", "--env", f"GO={self.rig.folder}/go")
        argv = [str(root) if each == str(self.rig.root) else each for each in self.rig.argv("run", *said, *own)]
        process = subprocess.Popen(
            argv,
            env=self.rig.env({"LAUNCHER_RENDEZVOUS_PORT": str(self._port), **env}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.communicate)
        self._stack.callback(process.kill)
        return Node(self.rig, index, process, root)
