"""What run.json has to say once a run is over: each member of its format, and that no two of them disagree."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from launcher.core.devices import Devices
from launcher.core.reproduce import Reproduce

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STRICT = {"forbid_unknown_fields": True, "frozen": True}
PHASES = ("check", "stage", "install", "ready", "run", "sync", "wait")


class Named(msgspec.Struct, **STRICT):
    """The job."""

    id: str | None
    name: str


class Node(msgspec.Struct, **STRICT):
    """This node among its peers."""

    index: int
    count: int
    host: str
    role: Literal["worker", "ps"]
    hosts: list[str]


class Why(msgspec.Struct, **STRICT):
    """The cause."""

    code: str
    message: str
    action: str
    evidence: list[str]
    rank: int | None


class Command(msgspec.Struct, **STRICT):
    """What was started."""

    argv: list[str]
    cwd: str
    env: dict[str, str]


class Process(msgspec.Struct, **STRICT):
    """One boot process."""

    rank: int
    local_rank: int
    pid: int
    exit_code: int | None
    signal: int | None
    started: str
    ended: str | None
    peak_rss_bytes: int | None

    @property
    def code(self) -> int:
        """Its exit code, as a shell would tell it."""
        return 128 + (self.signal or 0) if self.exit_code is None else self.exit_code


class Limits(msgspec.Struct, **STRICT):
    """What the kernel counted."""

    memory_bytes: int | None
    oom_kills_before: int | None
    oom_kills_after: int | None
    memory_peak_bytes: int | None


class Lacking(msgspec.Struct, **STRICT):
    """What the log on the node has not."""

    lost_bytes: int
    dropped_bytes: int


class Staged(msgspec.Struct, **STRICT):
    """What one channel brought."""

    channel: str
    kind: Literal["code", "input", "output"]
    source: str
    path: str
    objects: int
    bytes: int
    seconds: float
    kept: int
    cached: int
    retries: int


class Failed(msgspec.Struct, **STRICT):
    """What is not in its place."""

    key: str
    error: str


class Synced(msgspec.Struct, **STRICT):
    """What one channel put in its place."""

    channel: str
    target: str
    objects: int
    bytes: int
    seconds: float
    retries: int
    failed: list[Failed]
    manifest: str | None


class Spell(msgspec.Struct, **STRICT):
    """One phase that is over."""

    phase: str
    started: str
    ended: str


class Attempt(msgspec.Struct, **STRICT):
    """One attempt that is over."""

    exit_code: int
    cause: Why | None
    started: str
    ended: str
    log: tuple[str, ...]
    processes: tuple[Process, ...]
    gain: str | None
    again: str | None


class Told(msgspec.Struct, **STRICT):
    """run.json, whole."""

    version: Literal[1]
    job: Named
    node: Node
    plan: str
    owed: bool
    phase: Literal["Completed", "Failed", "Terminated", "Abnormal"]
    exit_code: int
    cause: Why | None
    command: Command
    processes: list[Process]
    devices: Devices
    limits: Limits | None
    log: Lacking | None
    staged: list[Staged]
    synced: list[Synced]
    timeline: list[Spell]
    attempts: list[Attempt]
    reproduce: Reproduce | None

    @property
    def own_code(self) -> int | None:
        """What the one boot process ended with; None when none was started."""
        return self.processes[0].code if self.processes else None

    @property
    def unsaved(self) -> list[str]:
        """What is not in its place."""
        return [failed.key for entry in self.synced for failed in entry.failed]


class Brief(msgspec.Struct, **STRICT):
    """run.json of a job that was stopped before there was a plan."""

    version: Literal[1]
    phase: Literal["Terminated"]
    exit_code: Literal[130, 143]
    cause: Why


def told(document: Any) -> Told:
    """The document, if it has the format to the letter. Raises msgspec.ValidationError with the place if not."""
    return msgspec.convert(document, Told)


def moment(time: str) -> float:
    """A time of the document in seconds; it must have a zone."""
    found = datetime.fromisoformat(time)
    assert found.tzinfo is not None, time
    return found.timestamp()


def contradictions(run: Told) -> Iterator[str]:
    """Where a document of the right format does not agree with itself."""
    yield from _times(run)
    (attempt,) = run.attempts
    if (attempt.exit_code, attempt.cause) != (run.exit_code, run.cause):
        yield f"the attempt ended otherwise: {attempt}"
    if len({run.exit_code == 0, run.phase == "Completed", run.cause is None}) != 1:
        yield f"{run.phase}, exit code {run.exit_code}, cause {run.cause}"
    if (run.cause is not None and run.cause.code == "interrupted") != (run.phase == "Terminated"):
        yield f"{run.phase}, and the cause is {run.cause}"
    if any((process.exit_code is None) == (process.signal is None) for process in run.processes):
        yield f"either an exit code or a signal: {run.processes}"
    if any(entry.cached > entry.objects for entry in run.staged):
        yield f"more came from the cache than came: {run.staged}"
    yield from _ends(run, run.own_code)


def _ends(run: Told, own: int | None) -> Iterator[str]:
    if run.phase == "Completed" and (own != 0 or run.unsaved or any(not each.manifest for each in _outputs(run))):
        yield f"Completed, with {own}, not saved: {run.unsaved}, outputs: {_outputs(run)}"
    if run.phase == "Failed" and run.exit_code != (own or 73):
        yield f"Failed with {run.exit_code}, and the boot process ended with {own}"
    if run.phase == "Terminated" and own and run.exit_code != own:
        yield f"Terminated with {run.exit_code}, and the boot process ended with {own}"
    if ("run" in _phases(run)) < bool(run.processes) or ("sync" in _phases(run)) != bool(run.processes):
        yield f"the phases are {_phases(run)}, the processes {run.processes}"


def _times(run: Told) -> Iterator[str]:
    """The timeline has its order, within it are the processes, around it is the attempt."""
    (attempt,) = run.attempts
    spells = {spell.phase: (moment(spell.started), moment(spell.ended)) for spell in run.timeline}
    if not _in_order(_phases(run), PHASES) or _phases(run)[:1] not in (["stage"], ["check"]):
        yield f"the phases are {_phases(run)}"
    line = [moment(attempt.started), *(at for pair in spells.values() for at in pair), moment(attempt.ended)]
    if line != sorted(line):
        yield f"the timeline goes back: {run.timeline}, {attempt}"
    for process in run.processes:
        began, over = spells["run"]
        times = [began, moment(process.started), moment(process.ended or attempt.ended), over]
        if times != sorted(times):
            yield f"a boot process was not within its phase: {process}, {run.timeline}"


def _phases(run: Told) -> list[str]:
    return [spell.phase for spell in run.timeline]


def _outputs(run: Told) -> list[Synced]:
    return [entry for entry in run.synced if entry.channel != "log"]


def _in_order(names: Sequence[str], order: Sequence[str]) -> bool:
    places = [order.index(name) if name in order else -1 for name in names]
    return -1 not in places and places == sorted(set(places))
