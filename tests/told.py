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
AGAIN = ("pause", "check", "ready", "run", "sync", "wait")
"""The phases of an attempt that is not the first."""
BEFORE_TRAINING = (65, 66, 69, 71, 77)
"""What an attempt may end with that came to no training."""


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
    yield from _attempts(run)
    if len({run.exit_code == 0, run.phase == "Completed", run.cause is None}) != 1:
        yield f"{run.phase}, exit code {run.exit_code}, cause {run.cause}"
    if (run.cause is not None and run.cause.code == "interrupted") != (run.phase == "Terminated"):
        yield f"{run.phase}, and the cause is {run.cause}"
    if any((each.exit_code is None) == (each.signal is None) for one in run.attempts for each in one.processes):
        yield f"either an exit code or a signal: {run.attempts}"
    if any(entry.cached > entry.objects for entry in run.staged):
        yield f"more came from the cache than came: {run.staged}"
    yield from _ends(run, run.own_code)


def _ends(run: Told, own: int | None) -> Iterator[str]:
    if run.phase == "Completed" and (own != 0 or run.unsaved or any(not each.manifest for each in _outputs(run))):
        yield f"Completed, with {own}, not saved: {run.unsaved}, outputs: {_outputs(run)}"
    if run.phase == "Failed" and run.exit_code not in _failures(run, own):
        yield f"Failed with {run.exit_code} for {run.cause}, and the boot process ended with {own}"
    if run.phase == "Terminated" and own and run.exit_code != own:
        yield f"Terminated with {run.exit_code}, and the boot process ended with {own}"


def _failures(run: Told, own: int | None) -> tuple[int, ...]:
    """What a run may end with that has failed."""
    if run.cause is not None and run.cause.code == "no-progress":
        return (122,)
    return BEFORE_TRAINING if own is None else (own or 73,)


def _attempts(run: Told) -> Iterator[str]:
    """All but the last have failed and say why another one followed; each has a log of its own, which is in order."""
    *before, last = run.attempts
    if (last.exit_code, last.cause, last.processes) != (run.exit_code, run.cause, tuple(run.processes)):
        yield f"the last attempt ended otherwise: {last}"
    if last.again is not None:
        yield f"another one should have followed: {last}"
    for one in before:
        if one.cause is None or one.exit_code == 0 or one.cause.code == "interrupted" or not one.again or not one.gain:
            yield f"another one followed, for no reason: {one}"
        if one.processes and one.exit_code != one.processes[0].code:
            yield f"its boot process ended otherwise: {one}"
    names = [name for one in run.attempts for name in one.log]
    log = names[-1] if last.log else ""
    numbers = [name.removeprefix(f"{log}.") for name in names[:-1]]
    if not all(one.log for one in run.attempts) or numbers != [str(at) for at in range(1, len(names))]:
        yield f"the logs of the attempts are {[one.log for one in run.attempts]}"


def _times(run: Told) -> Iterator[str]:
    """The timeline has its order; each attempt has its own part of it, and its processes are within that."""
    turns = _turns(run)
    if len(turns) != len(run.attempts) or run.timeline != [spell for turn in turns for spell in turn]:
        yield f"{len(run.attempts)} attempts, and the phases are {[spell.phase for spell in run.timeline]}"
        return
    line: list[float] = []
    for number, (attempt, turn) in enumerate(zip(run.attempts, turns, strict=True), 1):
        last = number == len(turns)
        yield from _phases(run, number, turn)
        times = [moment(at) for spell in turn for at in (spell.started, spell.ended)]
        # the last phase of an attempt goes on until the pause begins, which is the first of the next
        line += [moment(attempt.started), *(times if last else times[:-1]), moment(attempt.ended)]
        for process in attempt.processes:
            spell = next((spell for spell in turn if spell.phase == "run"), None)
            lived = [moment(process.started), moment(process.ended or attempt.ended)]
            within = [] if spell is None else [moment(spell.started), *lived, moment(spell.ended)]
            if not within or within != sorted(within) or lived[-1] > moment(attempt.ended):
                yield f"a boot process was not within its phase: {process}, {turn}"
    if line != sorted(line):
        yield f"the times go back: {run.timeline}, {run.attempts}"
    whole = [moment(at) for spell in run.timeline for at in (spell.started, spell.ended)]
    if whole != sorted(whole):
        yield f"the timeline goes back: {run.timeline}"


def _phases(run: Told, number: int, turn: Sequence[Spell]) -> Iterator[str]:
    """The phases of one attempt: nothing is brought twice, and outputs are put in their place once, at the end."""
    names, last = [spell.phase for spell in turn], number == len(run.attempts)
    if not _in_order(names, PHASES if number == 1 else AGAIN):
        yield f"the phases of attempt {number} are {names}"
    if names[:1] not in ([["stage"], ["check"]] if number == 1 else [["pause"]]):
        yield f"attempt {number} begins with {names}"
    if ("run" in names) < bool(run.attempts[number - 1].processes):
        yield f"the phases are {names}, the processes {run.attempts[number - 1].processes}"
    if ("sync" in names) != (last and any(one.processes for one in run.attempts)):
        yield f"the phases of attempt {number} of {len(run.attempts)} are {names}"


def _turns(run: Told) -> list[list[Spell]]:
    """The timeline in parts, each of which begins with the pause before an attempt."""
    turns: list[list[Spell]] = [[]]
    for spell in run.timeline:
        if spell.phase == "pause":
            turns.append([])
        turns[-1].append(spell)
    return turns


def _outputs(run: Told) -> list[Synced]:
    return [entry for entry in run.synced if entry.channel != "log"]


def _in_order(names: Sequence[str], order: Sequence[str]) -> bool:
    places = [order.index(name) if name in order else -1 for name in names]
    return -1 not in places and places == sorted(set(places))
