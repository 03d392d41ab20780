"""Whole jobs that are disturbed by signals at random moments: how one is played, and what holds of every end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ends import PROGRAMS, Ends, children_of, cmdline, marked, state, until
from servers import LOCALFS, AnyStore
from told import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pytest
    from servers import S3Server
    from told import Process

ON_MOTO = 4
"""Every so many-th batch is on a real S3 server."""
LATEST_S = 60.0
OUTPUTS = {"train_url": "out/", "model_url": "model/"}
MANIFEST = ".launcher/manifest-worker-0.json"
SURELY_S = 0.05
"""run.json's clock is the test's, to the millisecond."""
LONG_S = 0.25
"""For so long no launcher waits for a processor."""

STOPS = {"TERM": 143, "INT": 130}
DEADLY = {**STOPS, "HUP": 129, "USR1": 138, "USR2": 140, "KILL": 137}
"""Every signal that ends a boot process which does nothing about it, and what that ends with."""
HARMLESS = ("WINCH", "QUIT", "TSTP")
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


@dataclass(kw_only=True)
class Disturbed:
    """One run: how long it has to end, and what happened to it."""

    number: int
    grace: float
    brought: tuple[str, ...] = ()
    """What an earlier job has left in the first output, and the node has from there; this run's manifest names none."""
    sent: list[Sent] = field(default_factory=list)
    code: int = 0
    left: list[Any] = field(default_factory=list)
    run_json: Any = None
    err: str = ""

    @property
    def stops(self) -> list[Sent]:
        """What it was asked to end by."""
        return [sent for sent in self.sent if sent.stops]

    @property
    def words(self) -> str:
        """What it was disturbed by."""
        return " ".join(sent.name for sent in self.sent) or "undisturbed"


@dataclass
class Launched:
    """The launcher of a run, and the warden that waits for it."""

    one: Disturbed
    ends: Ends
    warden: subprocess.Popen[bytes]
    pid: int
    pinned: int

    @property
    def over(self) -> bool:
        return self.warden.poll() is not None

    @property
    def hears(self) -> bool:
        """Its handlers stand: they are in place before the first event is written."""
        return (self.ends.log_dir / "events.jsonl").exists()

    def wait(self, seconds: float) -> None:
        """Let it go on for so long, at most to its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.warden.wait(seconds)

    def send(self, name: str) -> None:
        """Send it a signal; KILL is for its boot process, if there is one."""
        sent = Sent(name, time.time(), heard=self.hears)
        with contextlib.suppress(ProcessLookupError):
            if name == "KILL":
                kill_the_boot_process(self.pid)
            else:
                signal.pidfd_send_signal(self.pinned, signal.Signals[f"SIG{name}"])
            self.one.sent.append(sent)
            sent.in_training = boot_process(self.pid) is not None
            if name == "TSTP":
                # Whoever is continued before it has stopped goes on at once.
                until(lambda: state(self.pid) in ("T", "Z", "") or self.over)
                signal.pidfd_send_signal(self.pinned, signal.SIGCONT)


def store_of(request: pytest.FixtureRequest, folder: Path, batch: int) -> AnyStore:
    """A directory, or for some batches a server."""
    if batch % ON_MOTO == 0:
        server: S3Server = request.getfixturevalue("moto_server")
        return AnyStore("moto", server.capability, env=server.env, server=server)
    directory = folder / "store"
    directory.mkdir()
    return AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory)


def furnished(store: AnyStore, folder: Path) -> Ends:
    """A job with two outputs, and an interpreter that starts in some milliseconds and stands for pip as well."""
    folder.mkdir()
    ends = Ends(store, folder)
    interpreter = folder / "python"
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    ends.algorithm["outputs"] = [
        {"name": name, "remote": {"obs": {"obs_url": f"obs://{ends.bucket}/{place}"}}}
        for name, place in OUTPUTS.items()
    ]
    return ends


def played(
    ends: Ends, one: Disturbed, disturb: Callable[[Launched], None], *arguments: str, env: Mapping[str, str]
) -> None:
    """Run it, disturb it, and note what is left when it has ended."""
    report, err = ends.folder / "left.json", ends.folder / "err"
    warden_argv = (sys.executable, "-S", "-E", str(PROGRAMS / "warden.py"), str(report))
    argv = (*warden_argv, *ends.argv("run", "--grace", str(one.grace), *arguments))
    env = ends.env({"MA_SCRIPT_INTERPRETER": str(ends.folder / "python"), **env})
    with err.open("wb") as file, subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=file) as warden:
        try:
            assert warden.stdout is not None
            pid = int(warden.stdout.readline())
            with pinned(pid) as held:
                disturb(Launched(one, ends, warden, pid, held))
            warden.wait(LATEST_S)
        finally:
            if warden.poll() is None:
                for pid in (*marked(ends.mark), warden.pid):
                    os.kill(pid, signal.SIGKILL)
    found = json.loads(report.read_text())
    one.code, one.left = found["code"], [*found["left"], *ends.left()]
    one.err, one.run_json = err.read_text(errors="replace"), ends.run_json()


def boot_process(launcher: int) -> int | None:
    """The boot process, as long as it lives; its end is told to the launcher after that.

    What it has left behind is the launcher's child as well then, but leads no group.
    """
    for pid in children_of(launcher):
        with contextlib.suppress(ProcessLookupError):
            if b"train.py" in cmdline(pid) and os.getpgid(pid) == pid:
                return pid
    return None


def kill_the_boot_process(launcher: int) -> None:
    found = boot_process(launcher)
    if found is None:
        raise ProcessLookupError
    with pinned(found) as boot:
        if found in children_of(launcher):
            signal.pidfd_send_signal(boot, signal.SIGKILL)


def cut_short(one: Disturbed, process: Process) -> bool:
    """Whether a training was surely ended because the run was asked to end.

    One that ends by itself in that very moment has ended before: of two signals that wait for a program the later one
    comes first, which is the end of the child.
    """
    ended = moment(process.ended) if process.ended else 0.0
    asked = [sent for sent in one.stops if sent.in_training and sent.heard]
    return any(process.code == STOPS[sent.name] or ended > sent.at + LONG_S for sent in asked)


@contextlib.contextmanager
def pinned(pid: int) -> Iterator[int]:
    """A process that is not mistaken for another of the same number."""
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def wrong_with_the_outputs(ends: Ends, one: Disturbed) -> Iterator[str]:
    """What the store and the disk do not have as they should."""
    keys = ends.store.listing(ends.bucket)
    parts = [str(path) for path in ends.folder.rglob("*.launcher-part-*")]
    parts += [key for key in keys if ".launcher-part-" in key]
    if parts:
        yield f"temporary names: {parts}"
    signs = [key for key in keys if "/.launcher/running-" in key]
    if signs and not one.stops:
        yield f"it is over, and says that it writes there: {signs}"
    synced = {entry["channel"]: entry for entry in (one.run_json or {}).get("synced", ())}
    for name, place in OUTPUTS.items():
        yield from wrong_with_an_output(ends, name, place, synced.get(name), one)
    if one.run_json is not None and one.run_json["phase"] == "Completed":
        if set(OUTPUTS) - synced.keys():
            yield f"Completed, and only these are told of: {sorted(synced)}"
        if not [key for key in keys if key.startswith("log/") and key.endswith(".run.json")]:
            yield "Completed, and the log is not in its place"


def wrong_with_an_output(ends: Ends, name: str, place: str, told_of: Any, one: Disturbed) -> Iterator[str]:
    """A manifest is there exactly if run.json tells of it; then it names, and the store has, all that was written.

    Where the end came in the middle of the very last put, it may be there all the same.
    """
    claimed = told_of is not None and told_of["manifest"] is not None
    standing = place + MANIFEST in ends.store.listing(ends.bucket, place)
    cut_off = standing and bool(one.stops)
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
    written = written_to(ends, name)
    own = {key: found for key, found in stored.items() if key not in one.brought}
    if listed != own or stored != written:
        yield f"{name}: listed, stored and written differ: {listed}, {stored}, {written}"


def written_to(ends: Ends, name: str) -> dict[str, tuple[int, str]]:
    """What lies in the folder of an output on the node."""
    folder = os.path.join(os.path.dirname(ends.output), f"{name}_{list(OUTPUTS).index(name)}")
    return {each: summed(content_of(f"{folder}/{each}")) for each in os.listdir(folder)}


def summed(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()


def content_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
