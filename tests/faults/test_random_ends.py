"""Random jobs, ended by random signals at random moments: whatever happened, the end is told truly and nothing is left.

The seed is in the words of every failure; RANDOM_ENDS_SEED sets another, RANDOM_ENDS_RUNS another number of runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from ends import PROGRAMS, Ends, children_of, cmdline, marked, until
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from servers import S3Server

SEED = int(os.environ.get("RANDOM_ENDS_SEED", "20"))
RUNS = int(os.environ.get("RANDOM_ENDS_RUNS", "200"))
BATCHES = 20
ON_MOTO = 4
"""Every so many-th batch is on a real S3 server."""
LATEST_S = 60.0
MANIFEST = "out/.launcher/manifest-worker-0.json"

NATURAL = {"works": 0, "fails": 5, "saves": 0, "stubborn": 0, "leaves": 0, "dies": 137, "stops": 0}
INTERPRETER = f"""#!/bin/sh
case "$*" in *pip-requirements*) exec sleep "$PIP_SECONDS";; esac
exec {sys.executable} -S -E "$@"
"""


@dataclass
class Scene:
    """One run: what it was to be, and what happened to it."""

    number: int
    kind: str
    inputs: int
    files: int
    seconds: float
    pip: float | None
    grace: float
    early: bool
    blocked: bool
    """The output cannot be put in its place."""
    signals: list[tuple[float, str]]
    sent: list[str] = field(default_factory=list)
    code: int = 0
    left: list[Any] = field(default_factory=list)
    run_json: Any = None
    err: str = ""


def scene(chance: random.Random, number: int) -> Scene:
    kind = chance.choice(list(NATURAL))
    early = chance.random() < 0.1
    names = ("TERM",) if early else ("TERM", "TERM", "INT", "HUP", "USR1", "KILL")
    count = chance.choice((0, 1, 1, 1, 2, 2, 3))
    signals = [(chance.uniform(0, 0.3 if early else 0.5), chance.choice(names)) for _ in range(count)]
    if kind == "stops":
        signals.append((0.3, "TERM"))  # it would wait for ever
    return Scene(
        number=number,
        kind=kind,
        inputs=chance.choice((1, 20, 80)),
        files=chance.choice((1, 10, 60)),
        seconds=chance.choice((0.01, 0.2, 0.6)),
        pip=chance.choice((None, None, 0.3)),
        grace=chance.choice((0.5, 1.0, 3.0)),
        early=early,
        blocked=chance.random() < 0.15,
        signals=signals,
    )


def laid_down(store: AnyStore, folder: Path, one: Scene) -> Ends:
    folder.mkdir()
    ends = Ends(store, folder)
    interpreter = folder / "python"
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    ends.code((PROGRAMS / "actor.py").read_text(), {"pip-requirements.txt": b"./slow\n"} if one.pip else None)
    ends.store.seed(ends.bucket, {f"data/{index}": b"%d" % index * 300 for index in range(one.inputs)})
    if one.blocked:
        ends.store.seed(ends.bucket, {"out": b"a file where the folder should be"})
    ends.algorithm["environments"] = {
        "KIND": one.kind,
        "FILES": str(one.files),
        "SECONDS": str(one.seconds),
    }
    return ends


def played(ends: Ends, one: Scene) -> None:
    """Run it, disturb it, and note what is left when it has ended."""
    report, err = ends.folder / "left.json", ends.folder / "err"
    warden_argv = (sys.executable, "-S", "-E", str(PROGRAMS / "warden.py"), str(report))
    argv = (*warden_argv, *ends.argv("run", "--grace", str(one.grace)))
    env = ends.env({"MA_SCRIPT_INTERPRETER": str(ends.folder / "python"), "PIP_SECONDS": str(one.pip)})
    with err.open("wb") as file, subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=file) as warden:
        try:
            assert warden.stdout is not None
            launcher = int(warden.stdout.readline())
            with pinned(launcher) as pinned_launcher:
                if not one.early:
                    # From here on signals are heard: the handlers are in place before the first event is written.
                    until(lambda: warden.poll() is not None or (ends.log_dir / "events.jsonl").exists())
                disturb(one, warden, launcher, pinned_launcher)
            warden.wait(LATEST_S)
        finally:
            if warden.poll() is None:
                for pid in (*marked(ends.mark), warden.pid):
                    os.kill(pid, signal.SIGKILL)
    found = json.loads(report.read_text())
    one.code, one.left = found["code"], [*found["left"], *ends.left()]
    one.err, one.run_json = err.read_text(errors="replace"), ends.run_json()


def disturb(one: Scene, warden: subprocess.Popen[bytes], launcher: int, pinned_launcher: int) -> None:
    for delay, name in one.signals:
        with contextlib.suppress(subprocess.TimeoutExpired):
            warden.wait(delay)  # a random moment
        if warden.poll() is not None:
            return
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            if name == "KILL":
                kill_the_boot_process(launcher)
            else:
                signal.pidfd_send_signal(pinned_launcher, signal.Signals[f"SIG{name}"])
            one.sent.append(f"{name} {began:.3f}")


def kill_the_boot_process(launcher: int) -> None:
    found = [pid for pid in children_of(launcher) if b"train.py" in cmdline(pid)]
    if not found:
        raise ProcessLookupError
    with pinned(found[0]) as boot:
        if found[0] in children_of(launcher):
            signal.pidfd_send_signal(boot, signal.SIGKILL)


@contextlib.contextmanager
def pinned(pid: int) -> Iterator[int]:
    """A process that is not mistaken for another of the same number."""
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def wrong_with_the_end(one: Scene) -> Iterator[str]:
    """What the exit code, run.json and the processes left behind do not have as they should."""
    sent = [each.partition(" ")[0] for each in one.sent]
    if one.left:
        yield f"left behind: {one.left}"
    if one.code not in allowed(one, sent):
        yield f"exit code {one.code} is not one of {sorted(allowed(one, sent))}"
    if one.run_json is not None:
        yield from wrong_with_run_json(one, stopped="TERM" in sent or "INT" in sent)
    elif not one.early or one.code not in (-15, 143):
        yield "there is no run.json"


def wrong_with_run_json(one: Scene, *, stopped: bool) -> Iterator[str]:
    phase, code = one.run_json["phase"], one.run_json["exit_code"]
    if code != one.code:  # a code below 0 is among these: what has begun is not ended by a signal
        yield f"run.json says {code}"
    phases = {"Completed"} if one.code == 0 else {"Failed", "Terminated"} if stopped else {"Failed"}
    if phase not in phases:
        yield f"phase {phase} is not one of {phases}"
    if (one.run_json["cause"] is None) != (one.code == 0):
        yield f"the cause is {one.run_json['cause']}"


def allowed(one: Scene, sent: list[str]) -> set[int]:
    """Every exit code that the contract has for what happened."""
    natural = 73 if one.blocked and NATURAL[one.kind] == 0 else NATURAL[one.kind]
    codes = set() if one.kind == "stops" else {natural}
    if "TERM" in sent:
        codes |= {143, 137, 73}
    if "INT" in sent:
        codes |= {130, 137, 73}
    if one.early and "TERM" in sent:
        codes |= {-15}
    # Even what ignores them may hear them before it has said so.
    for name, code in (("HUP", 129), ("USR1", 138), ("KILL", 137)):
        codes |= {code} if name in sent else set()
    return codes


def wrong_with_the_outputs(ends: Ends, one: Scene) -> Iterator[str]:
    """What the store and the disk do not have as they should."""
    keys = ends.store.listing(ends.bucket)
    parts = [str(path) for path in ends.folder.rglob("*.launcher-part-*")]
    parts += [key for key in keys if ".launcher-part-" in key]
    if parts:
        yield f"temporary names: {parts}"
    for entry in json.loads(ends.store.read(ends.bucket, MANIFEST))["objects"] if MANIFEST in keys else ():
        content = ends.store.read(ends.bucket, f"out/{entry['key']}")
        if (len(content), hashlib.sha256(content).hexdigest()) != (entry["size"], entry["sha256"]):
            yield f"{entry['key']} is not what the manifest says"
    if one.run_json is not None and one.run_json["phase"] == "Completed":
        yield from wrong_though_completed(ends, keys)


def wrong_though_completed(ends: Ends, keys: Iterable[str]) -> Iterator[str]:
    if MANIFEST not in keys:
        yield "Completed, and there is no manifest"
    stored = ends.stored()
    written = {name: content_of(ends, name) for name in os.listdir(ends.output)}
    if stored != written:
        yield f"Completed, and these differ: {sorted(stored.items() ^ written.items())[:3]}"
    if not [key for key in keys if key.startswith("log/") and key.endswith(".run.json")]:
        yield "Completed, and the log is not in its place"


def content_of(ends: Ends, name: str) -> bytes:
    with open(f"{ends.output}/{name}", "rb") as file:
        return file.read()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_however_it_ends_the_truth_is_told_and_nothing_is_left(
    batch: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if batch % ON_MOTO == 0:
        server: S3Server = request.getfixturevalue("moto_server")
        store = AnyStore("moto", server.capability, env=server.env, server=server)
    else:
        directory = tmp_path / "store"
        directory.mkdir()
        store = AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory)
    for number in range(batch, RUNS, BATCHES):
        one = scene(random.Random(SEED * 1_000_000 + number), number)
        if store.server is not None:
            one.inputs = min(one.inputs, 10)  # each is a request of its own here
            one.blocked = False  # there is no such thing as a file in the way
        ends = laid_down(store, tmp_path / str(number), one)
        played(ends, one)
        print(f"seed {SEED}, run {number}: {one.kind}, {one.sent or 'undisturbed'}: {one.code}")
        wrong = [*wrong_with_the_end(one), *wrong_with_the_outputs(ends, one)]
        assert not wrong, "\n".join((f"RANDOM_ENDS_SEED={SEED}, run {number}", *wrong, repr(one), one.err))
        shutil.rmtree(ends.folder)
