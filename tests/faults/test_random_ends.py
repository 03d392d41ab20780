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

import msgspec
import pytest
from ends import PROGRAMS, Ends, children_of, cmdline, marked, state, until
from servers import LOCALFS, AnyStore
from told import Brief, Told, contradictions, moment, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import S3Server

SEED = int(os.environ.get("RANDOM_ENDS_SEED", "20"))
RUNS = int(os.environ.get("RANDOM_ENDS_RUNS", "200"))
BATCHES = 20
ON_MOTO = 4
"""Every so many-th batch is on a real S3 server."""
LATEST_S = 60.0
OUTPUTS = {"train_url": "out/", "model_url": "model/"}
MANIFEST = ".launcher/manifest-worker-0.json"
SURELY_S = 0.05
"""run.json's clock is the test's, to the millisecond."""

STOPS = {"TERM": 143, "INT": 130}
DEADLY = {**STOPS, "HUP": 129, "USR1": 138, "USR2": 140, "KILL": 137}
"""Every signal that ends a boot process which does nothing about it, and what that ends with."""
HARMLESS = ("WINCH", "QUIT", "TSTP")
NATURAL = {"works": 0, "fails": 5, "saves": 0, "stubborn": 0, "leaves": 0, "dies": 137, "stops": 0}
INTERPRETER = f"""#!/bin/sh
case "$*" in *pip-requirements*) exec sleep "$PIP_SECONDS";; esac
exec {sys.executable} -S -E "$@"
"""


@dataclass
class Sent:
    """A signal that was sent."""

    name: str
    at: float
    heard: bool
    """The launcher's handlers stood."""
    in_training: bool = False
    """The boot process ran when it had been sent: whatever it ended with, it ended after that."""

    @property
    def stops(self) -> bool:
        return self.name in STOPS


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
    sent: list[Sent] = field(default_factory=list)
    code: int = 0
    left: list[Any] = field(default_factory=list)
    run_json: Any = None
    err: str = ""


def scene(chance: random.Random, number: int) -> Scene:
    kind = chance.choice(list(NATURAL))
    early = chance.random() < 0.1
    names = ("TERM",) if early else ("TERM", "TERM", "TERM", "INT", "INT", *DEADLY, *HARMLESS, *HARMLESS)
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
    ends.algorithm["outputs"] = [
        {"name": name, "remote": {"obs": {"obs_url": f"obs://{ends.bucket}/{place}"}}}
        for name, place in OUTPUTS.items()
    ]
    actor = (PROGRAMS / "actor.py").read_text()
    ends.code(
        ends.shuts_output + actor if one.blocked else actor, {"pip-requirements.txt": b"./slow\n"} if one.pip else None
    )
    ends.store.seed(ends.bucket, {f"data/{index}": b"%d" % index * 300 for index in range(one.inputs)})
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
                disturb(ends, one, warden, launcher, pinned_launcher)
            warden.wait(LATEST_S)
        finally:
            if warden.poll() is None:
                for pid in (*marked(ends.mark), warden.pid):
                    os.kill(pid, signal.SIGKILL)
    found = json.loads(report.read_text())
    one.code, one.left = found["code"], [*found["left"], *ends.left()]
    one.err, one.run_json = err.read_text(errors="replace"), ends.run_json()


def disturb(ends: Ends, one: Scene, warden: subprocess.Popen[bytes], launcher: int, pinned_launcher: int) -> None:
    for delay, name in one.signals:
        with contextlib.suppress(subprocess.TimeoutExpired):
            warden.wait(delay)  # a random moment
        if warden.poll() is not None:
            return
        sent = Sent(name, time.time(), heard=(ends.log_dir / "events.jsonl").exists())
        with contextlib.suppress(ProcessLookupError):
            if name == "KILL":
                kill_the_boot_process(launcher)
            else:
                signal.pidfd_send_signal(pinned_launcher, signal.Signals[f"SIG{name}"])
            one.sent.append(sent)
            sent.in_training = boot_process(launcher) is not None
            if name == "TSTP":
                # Whoever is continued before it has stopped goes on at once.
                until(lambda: state(launcher) in ("T", "Z", "") or warden.poll() is not None)
                signal.pidfd_send_signal(pinned_launcher, signal.SIGCONT)


def boot_process(launcher: int) -> int | None:
    """The boot process, as long as it lives; its end is told to the launcher after that."""
    return next((pid for pid in children_of(launcher) if b"train.py" in cmdline(pid)), None)


def kill_the_boot_process(launcher: int) -> None:
    found = boot_process(launcher)
    if found is None:
        raise ProcessLookupError
    with pinned(found) as boot:
        if found in children_of(launcher):
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
    if one.left:
        yield f"left behind: {one.left}"
    try:
        if one.run_json is None or "job" not in one.run_json:
            yield from wrong_without_a_job(one)
            return
        run = told(one.run_json)
    except msgspec.ValidationError as error:
        yield f"run.json has not its format: {error}"
        return
    if run.exit_code != one.code:  # a code below 0 is among these: what has begun is not ended by a signal
        yield f"run.json says {run.exit_code}, and the exit code is {one.code}"
    yield from contradictions(run)
    yield from wrong_with_the_phase(one, run)
    yield from wrong_with_the_boot_process(one, run)


def wrong_without_a_job(one: Scene) -> Iterator[str]:
    """A signal may come before there is a plan, or before anybody hears it, and only then."""
    if not one.early or not any(sent.stops for sent in one.sent):
        yield "there is no run.json of a job"
    if one.run_json is not None and msgspec.convert(one.run_json, Brief).exit_code != one.code:
        yield f"run.json says otherwise: {one.run_json}"
    if one.run_json is None and one.code not in (-signal.SIGTERM, 143):
        yield "there is no run.json"


def wrong_with_the_phase(one: Scene, run: Told) -> Iterator[str]:
    """Stopped before the training had ended, and only then, it is Terminated; the code is the training's, if not 0."""
    stops = [sent for sent in one.sent if sent.stops]
    cut_short = any(sent.in_training and sent.heard for sent in stops) or (bool(stops) and not run.processes)
    if cut_short and run.phase != "Terminated":
        yield f"stopped before its training had ended, and the phase is {run.phase}"
    if run.phase == "Terminated":
        ended = [moment(process.ended) for process in run.processes if process.ended is not None]
        if not [sent for sent in stops if not ended or sent.at < ended[0] + SURELY_S]:
            yield "Terminated, and nothing stopped it before its training had ended"
        if not run.own_code and run.exit_code not in [STOPS[sent.name] for sent in stops]:
            yield f"Terminated with {run.exit_code}, and it was stopped by {stops}"
    if run.phase == "Failed" and run.own_code == 0:
        yield from wrong_with_what_is_not_saved(one, run, in_a_hurry=bool(stops))


def wrong_with_what_is_not_saved(one: Scene, run: Told, *, in_a_hurry: bool) -> Iterator[str]:
    if not (one.blocked or in_a_hurry):
        yield f"not saved, for no reason: {run.unsaved}"
    if one.blocked and not in_a_hurry and not all(entry.failed for entry in run.synced if entry.channel == "train_url"):
        yield f"nothing could be saved, and what failed is {run.unsaved}"


def wrong_with_the_boot_process(one: Scene, run: Told) -> Iterator[str]:
    """It ended as it should: by itself, or as one of the signals has it."""
    sent = {each.name for each in one.sent}
    codes = {DEADLY[name] for name in sent & DEADLY.keys()}
    if one.kind != "stops" or "TSTP" in sent:
        codes.add(NATURAL[one.kind])
    if sent & STOPS.keys():
        codes |= {0} if one.kind == "saves" else set()
        codes.add(137)  # the grace may be over before it has done what it does
    not_started = run.own_code is None and bool(sent & STOPS.keys())
    if not (not_started or run.own_code in codes):
        yield f"the boot process ended with {run.own_code}, which is not one of {codes}"
    if run.phase == "Completed" and one.blocked:
        yield "Completed, and an output could not be saved"


def wrong_with_the_outputs(ends: Ends, one: Scene) -> Iterator[str]:
    """What the store and the disk do not have as they should."""
    keys = ends.store.listing(ends.bucket)
    parts = [str(path) for path in ends.folder.rglob("*.launcher-part-*")]
    parts += [key for key in keys if ".launcher-part-" in key]
    if parts:
        yield f"temporary names: {parts}"
    signs = [key for key in keys if "/.launcher/running-" in key]
    if signs and not any(sent.stops for sent in one.sent):
        yield f"it is over, and says that it writes there: {signs}"
    synced = {entry["channel"]: entry for entry in (one.run_json or {}).get("synced", ())}
    for name, place in OUTPUTS.items():
        yield from wrong_with_an_output(ends, name, place, synced.get(name), one)
    if one.run_json is not None and one.run_json["phase"] == "Completed":
        if set(OUTPUTS) - synced.keys():
            yield f"Completed, and only these are told of: {sorted(synced)}"
        if not [key for key in keys if key.startswith("log/") and key.endswith(".run.json")]:
            yield "Completed, and the log is not in its place"


def wrong_with_an_output(ends: Ends, name: str, place: str, told_of: Any, one: Scene) -> Iterator[str]:
    """A manifest is there exactly if run.json tells of it; then it names, and the store has, all that was written.

    Where the end came in the middle of the very last put, it may be there all the same.
    """
    claimed = told_of is not None and told_of["manifest"] is not None
    standing = place + MANIFEST in ends.store.listing(ends.bucket, place)
    cut_off = standing and any(sent.stops for sent in one.sent)
    if claimed != standing and not cut_off:
        yield f"{name}: run.json tells of a manifest: {claimed}; it stands: {standing}"
    if claimed and told_of["failed"]:
        yield f"{name} has a manifest and is not whole: {told_of['failed']}"
    if not standing:
        return
    manifest = json.loads(ends.store.read(ends.bucket, place + MANIFEST))
    if (manifest["job"], manifest["worker"], manifest["workers"]) != ("job-1", 0, 1):
        yield f"the manifest of {name} is somebody else's: {manifest}"
    listed = {entry["key"]: (entry["size"], entry["sha256"]) for entry in manifest["objects"]}
    stored = {key: summed(content) for key, content in ends.stored(place).items()}
    folder = os.path.join(os.path.dirname(ends.output), f"{name}_{list(OUTPUTS).index(name)}")
    written = {each: summed(content_of(f"{folder}/{each}")) for each in os.listdir(folder)}
    if not listed == stored == written:
        yield f"{name}: listed, stored and written differ: {listed}, {stored}, {written}"


def summed(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()


def content_of(path: str) -> bytes:
    with open(path, "rb") as file:
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
        words = " ".join(sent.name for sent in one.sent)
        print(f"seed {SEED}, run {number}: {one.kind}, {words or 'undisturbed'}: {one.code}")
        wrong = [*wrong_with_the_end(one), *wrong_with_the_outputs(ends, one)]
        assert not wrong, "\n".join((f"RANDOM_ENDS_SEED={SEED}, run {number}", *wrong, repr(one), one.err))
        shutil.rmtree(ends.folder)
