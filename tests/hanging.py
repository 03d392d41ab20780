"""The corpus of programs that hang and of programs that are slow but alive, each to be run by a launcher that watches.

The benchmark that tells precision and recall runs all of it, the tests a part.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CORPUS = Path(__file__).parent / "programs" / "hanging"
PERIOD_S, PERIODS, LONG_PERIODS, WINDOW_S = 0.5, 4, 12, 1.0
SETTINGS = {
    "LAUNCHER_HANG_PERIOD": str(PERIOD_S),
    "LAUNCHER_HANG_PERIODS": str(PERIODS),
    "LAUNCHER_HANG_LONG_PERIODS": str(LONG_PERIODS),
    "LAUNCHER_HANG_WINDOW": str(WINDOW_S),
    "LAUNCHER_RETRY_PAUSE": "0",
    "LAUNCHER_DEVICE_WAIT": "0",
}
PATIENCE_S = 90.0
TALK_S = 9.0
SAYS = {
    "still": "devices does not change.",
    "busy": "it computes without a trace",
    "sleeps": "it sleeps and will most likely wake by itself",
    "stopped": "somebody has stopped it",
    "stuck": "it waits in the kernel",
}


class Program(NamedTuple):
    """One of them. `manner` is how it hangs (`core.hang.Manner`), empty for one that lives."""

    name: str
    source: str
    manner: str
    devices: str
    peer: bool

    @property
    def within_s(self) -> float:
        """The stated time: until a hang is told, on a machine that is not busy."""
        periods = PERIODS if self.devices or self.manner not in ("busy", "sleeps") else LONG_PERIODS
        return (periods + 2) * PERIOD_S + (WINDOW_S if self.devices else 0.0)


class Seen(NamedTuple):
    """What became of one. Times in seconds from when the program said that it stands; None: it never came to that.

    `told` is the sentence, `killed` tells whether the launcher ended it, `code` how the launcher ended.
    """

    program: Program
    skipped: bool
    told: str | None
    told_s: float | None
    killed: bool
    code: int | None
    said: str


def corpus() -> list[Program]:
    """All of them, by name."""
    return [_program(path) for path in sorted(CORPUS.glob("*/*.py"))]


def program(name: str) -> Program:
    """The one of this name."""
    return next(each for each in corpus() if each.name == name)


def _program(path: Path) -> Program:
    source = path.read_text()
    document = ast.get_docstring(ast.parse(source)) or ""
    tags = dict(line.split(": ", 1) for line in document.splitlines() if line.startswith(("manner", "devices", "peer")))
    manner = tags.get("manner", "")
    if (path.parent.name == "hangs") != bool(manner):
        raise ValueError(f"{path}: a program that hangs says in which manner, and no other does")
    return Program(path.stem, source, manner, tags.get("devices", ""), "peer" in tags)


def observe(wanted: Program, folder: Path, stub: Path | None = None) -> Seen:
    """Run one under a launcher that may end it, until it is clear what becomes of it. `stub`: a folder with an NVML."""
    if wanted.devices and stub is None:
        return Seen(wanted, skipped=True, told=None, told_s=None, killed=False, code=None, said="no stub")
    with contextlib.ExitStack() as stack:
        variables = {"PEER": str(stack.enter_context(talking_peer()))} if wanted.peer else {}
        argv, env = _laid_down(wanted, folder, variables, stub)
        launcher = stack.enter_context(
            subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        stack.callback(launcher.kill)
        watch = _Watch(launcher)
        stack.callback(watch.join)
        return watch.seen(wanted)


@contextlib.contextmanager
def talking_peer() -> Iterator[int]:
    """The port of somebody outside the job who sends a little at a time, for a while."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()

        def talk() -> None:
            with contextlib.suppress(OSError):
                line, _ = door.accept()
                with line:
                    end = time.monotonic() + TALK_S
                    while time.monotonic() < end and not over.wait(0.2):
                        line.sendall(bytes(1000))

        over = threading.Event()
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            over.set()
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Watch:
    """Reads both streams of a launcher, each on a thread, and notes when what was said."""

    def __init__(self, launcher: subprocess.Popen[str]) -> None:
        self._launcher = launcher
        self._changed = threading.Condition()
        self._stood: list[float] = []
        self._told: list[tuple[float, str]] = []
        self._lines: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (launcher.stdout, launcher.stderr)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the threads; the launcher has ended."""
        for thread in self._threads:
            thread.join()

    def seen(self, wanted: Program) -> Seen:
        """Wait until it is clear, and end what goes on."""
        if wanted.manner:
            self._until(lambda: bool(self._told) and len(self._stood) > 1)
        else:
            self._until(lambda: False)
        ended = self._launcher.poll()
        if ended is None:
            self._launcher.terminate()
        code = self._launcher.wait(PATIENCE_S)
        self.join()
        told = self._told[0] if self._told else None
        began = self._stood[0] if self._stood else None
        said = "\n".join(self._lines)
        # A second start of the same program, or the launcher's own word: nothing else ends what hangs.
        killed = len(self._stood) > 1 or ended == 121
        if not wanted.manner:
            killed = ended != 0 or "\ndone\n" not in f"\n{said}\n"
        return Seen(
            wanted,
            skipped="skipped: " in said,
            told=told[1] if told else None,
            told_s=told[0] - began if told and began is not None else None,
            killed=killed,
            code=ended,
            said=said if code not in (0, 143) or wanted.manner == "" else "",
        )

    def _until(self, fact: object) -> None:
        end = time.monotonic() + PATIENCE_S
        with self._changed:
            while not fact() and self._launcher.poll() is None and time.monotonic() < end:  # type: ignore[operator]
                self._changed.wait(0.1)

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            now = time.monotonic()
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                if line == "stands\n":
                    self._stood.append(now)
                elif "has not moved for" in line and "WARNING" in line:
                    self._told.append((now, line.strip()))
                self._changed.notify_all()


def _laid_down(
    wanted: Program, folder: Path, variables: Mapping[str, str], stub: Path | None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The argv and the environment of a launcher that runs one, on a store that is a directory."""
    code = folder / "store/bucket/code"
    code.mkdir(parents=True)
    (code / f"{wanted.name}.py").write_text(wanted.source)
    job = {
        "kind": "job",
        "metadata": {"name": wanted.name.replace("_", "-"), "annotations": {"fault-tolerance/hang-retry": "true"}},
        "algorithm": {
            "code_dir": "obs://bucket/code/",
            "boot_file": f"obs://bucket/code/{wanted.name}.py",
            "outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": "obs://bucket/out/"}}}],
            "environments": dict(variables),
        },
        "spec": {},
    }
    (folder / "job.json").write_text(json.dumps(job))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LAUNCHER_", "S3_", "AWS_"))}
    env = {**own, "PATH": f"{os.path.dirname(sys.executable)}:{own.get('PATH', os.defpath)}", **SETTINGS}
    if stub is not None and wanted.devices:
        env |= {"LD_LIBRARY_PATH": str(stub), "NVML_STUB_GPUS": "2", "NVML_STUB_USE": wanted.devices}
    places = ("--store", str(folder / "store"), "--root", str(folder / "root"), "--grace", "2")
    return (sys.executable, "-m", "launcher", "run", str(folder / "job.json"), *places), env
