"""What must be so of a run of several attempts, judged by what its boot processes have noted of themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from disturbed import DEADLY, HARMLESS, LONG_S, OUTPUTS, STOPS, SURELY_S, Disturbed, content_of, cut_short, written_to
from told import Attempt, Told, contradictions, moment, told

import launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ends import Ends

NOTES = "notes"
ENDS = {"works": 0, "fails": 5, "dies": 137, "struck": 1, "leaves": 1}
CAUSES = {
    1: ("gpu-ecc",),
    5: ("boot-failed",),
    129: ("terminated",),
    137: ("killed",),
    138: ("boot-killed", "gpu-ecc"),
    140: ("boot-killed", "gpu-ecc"),
}
"""Why a boot process has failed, by how it ended; one that has told of its device may be ended by a signal then."""
INFRASTRUCTURE = ("gpu-ecc", "killed", "boot-killed")
ENOUGH = 3
"""After so many attempts in a row that gained nothing there is no other."""
GAINED = {
    "it came ": True,
    "the newest checkpoint is still ": False,
    "the highest step in the log is still ": False,
    "no checkpoint and no step ": None,
    "the training had not begun": None,
}
LEFT_BEFORE = 40
"""The number of a checkpoint that is there once and for all."""


@dataclass(kw_only=True)
class Attempted(Disturbed):
    """One run of several attempts."""

    retries: int
    unconditional: bool
    ends: list[str]
    """What each attempt does in the end; one beyond the last does as that."""
    marks: str
    """How it shows how far it is; `before`: by a checkpoint that an earlier job has left."""
    checked: bool
    """The pre-check comes before each attempt."""
    blocked: bool
    """One output cannot be put in its place."""

    @property
    def left_alone(self) -> bool:
        """Nothing was done to it that may change how it ends."""
        return all(sent.name in HARMLESS for sent in self.sent)

    def end_of(self, attempt: int) -> str:
        return self.ends[min(attempt, len(self.ends)) - 1]

    def mark_of(self, attempt: int) -> int:
        """How far an attempt is that shows it; a higher number is a gain."""
        return {"once": LEFT_BEFORE, "still": 7}.get(self.marks, attempt)

    def again_after(self, cause: str) -> bool:
        """Whether a training that has failed so is worth another attempt."""
        return self.unconditional or cause in INFRASTRUCTURE


@dataclass
class Noted:
    """What a boot process has noted: what it did, and what it was about to do when it ended.

    `number` is which one it is by its own count, 0 where it has ended before it could tell.
    """

    number: int = 0
    said: list[str] = field(default_factory=list)
    wrote: dict[str, str] = field(default_factory=dict)
    """Digests, by the number of the output and the name."""
    begun: set[str] = field(default_factory=set)

    def shown(self) -> tuple[bool, bool]:
        """Whether it has shown how far it is, and whether it may have."""
        return _shows(self.said) or _shows(self.wrote), _shows(self.begun)


def _shows(lines: Sequence[str] | dict[str, str] | set[str]) -> bool:
    return any(line.startswith("step ") or "checkpoint-" in line or "last.ckpt" in line for line in lines)


def wrong_with_the_attempts(ends: Ends, one: Attempted) -> Iterator[str]:
    """What the exit code, run.json, the logs and the processes left behind do not have as they should."""
    if one.left:
        yield f"left behind: {one.left}"
    # a boot process that is interrupted before it has said what it does then shows where it stood
    interrupted = "KeyboardInterrupt" in one.err and any(sent.name == "INT" for sent in one.sent)
    if f'File "{os.path.dirname(launcher.__file__)}' in one.err or ("Traceback" in one.err and not interrupted):
        yield "a traceback"
    try:
        run = told(one.run_json)
    except msgspec.ValidationError as error:
        yield f"run.json has not its format: {error}"
        return
    if run.exit_code != one.code:
        yield f"run.json says {run.exit_code}, and the exit code is {one.code}"
    yield from contradictions(run)
    noted = [notes_of(ends, attempt) for attempt in run.attempts]
    pids = [str(process.pid) for attempt in run.attempts for process in attempt.processes]
    begun = come_so_far(ends, "begun")
    if not _in_turn([pid for _, pid in begun], pids):
        yield f"begun were {begun}, and told of are {pids}"
    for number, (attempt, notes) in enumerate(zip(run.attempts, noted, strict=True), 1):
        yield from wrong_with_a_process(one, number, attempt, notes)
    yield from wrong_with_the_gains(one, run, noted)
    yield from wrong_with_the_decisions(one, run)
    yield from wrong_with_the_end(one, run)
    yield from wrong_with_what_was_written(ends, one, run, noted)
    yield from wrong_with_the_logs(ends, one, run, noted)


def _in_turn(some: Sequence[str], names: Sequence[str]) -> bool:
    """Whether all of these are among the others, in the same order."""
    others = iter(names)
    return all(name in others for name in some)


def notes_of(ends: Ends, attempt: Attempt) -> Noted:
    """What the boot process of an attempt has noted; nothing where there was none, or it did not come so far."""
    own = {str(process.pid) for process in attempt.processes}
    noted = Noted(max((number for number, pid in come_so_far(ends, "begun") if pid in own), default=0))
    paths = [ends.folder / NOTES / f"told-{process.pid}" for process in attempt.processes]
    for line in [line for path in paths if path.exists() for line in path.read_text().splitlines()]:
        word, _, rest = line.partition(" ")
        if word == "said":
            noted.said.append(rest)
        elif word == "wrote":
            what, _, digest = rest.rpartition(" ")
            noted.wrote[what] = digest
        else:
            noted.begun.add(rest)
    return noted


def come_so_far(ends: Ends, word: str) -> list[tuple[int, str]]:
    """The boot processes that are `begun` or `ending`, by their own count and by their pids."""
    found = (name.split("-") for name in os.listdir(ends.folder / NOTES) if name.startswith(f"{word}-"))
    return sorted((int(number), pid) for _, number, pid in found)


def wrong_with_a_process(one: Attempted, number: int, attempt: Attempt, notes: Noted) -> Iterator[str]:
    """It ended by itself, or as one of the signals of its time has it; the cause fits that."""
    for process in attempt.processes:
        began, ended = moment(attempt.started) - SURELY_S, moment(attempt.ended) + SURELY_S
        sent = {each.name for each in one.sent if began < each.at < ended}
        codes = {DEADLY[name] for name in sent & DEADLY.keys()}
        if notes.number:
            codes.add(ENDS[one.end_of(notes.number)])
        if sent & STOPS.keys():
            codes |= {0, 137}  # it saves what it has and ends well, or the grace is over before it has
        if process.code not in codes:
            yield f"the boot process of attempt {number} ended with {process.code}, which is not one of {codes}"
        causes = (*CAUSES.get(process.code, ()), "interrupted")
        if attempt.exit_code == process.code != 0 and attempt.cause and attempt.cause.code not in causes:
            yield f"attempt {number} ended with {process.code}, and the cause is {attempt.cause}"


def wrong_with_the_gains(one: Attempted, run: Told, noted: Sequence[Noted]) -> Iterator[str]:
    """What an attempt is said to have gained is what its boot process has noted."""
    was: set[int | None] = {LEFT_BEFORE if one.marks == "before" else None}
    for number, (attempt, notes) in enumerate(zip(run.attempts, noted, strict=True), 1):
        last = number == len(run.attempts)
        judged = one.retries > 0 and not (last and (run.phase != "Failed" or run.own_code == 0))
        if judged != (attempt.gain is not None):
            yield f"attempt {number} of a run that has {run.phase} is said to have gained: {attempt.gain}"
        shown, perhaps = notes.shown()
        mark = one.mark_of(notes.number)
        found: set[bool | None] = set()
        if not attempt.processes:
            found.add(None)
        elif not shown:
            found |= {None if each is None else False for each in was}
        if shown or perhaps:
            found |= {each is None or mark > each for each in was}
        if judged and gained(attempt) not in found:
            yield f"attempt {number} is said to have gained {attempt.gain}; it was {was}, shown: {shown}, {perhaps}"
        was = {mark} if shown else was | {mark} if perhaps else was


def gained(attempt: Attempt) -> bool | None:
    """What the words say of an attempt; they must be known."""
    (found,) = [what for begin, what in GAINED.items() if (attempt.gain or "").startswith(begin)]
    return found


def wrong_with_the_decisions(one: Attempted, run: Told) -> Iterator[str]:
    """Another attempt follows exactly where that is worth it; nothing is started once the run was asked to end."""
    *before, last = run.attempts
    for number, attempt in enumerate(before, 1):
        worth = attempt.cause is not None and one.again_after(attempt.cause.code)
        if not worth or number > one.retries or stuck(before[:number]):
            yield f"attempt {number} of {1 + one.retries} was followed by another, for no reason: {attempt}"
    for process in (process for attempt in run.attempts for process in attempt.processes):
        if any(sent.at + LONG_S < moment(process.started) for sent in one.stops):
            yield f"started after it was asked to end: {process}"
    if run.phase == "Failed" and run.own_code:
        yield from wrong_with_the_last(one, run, last)


def wrong_with_the_last(one: Attempted, run: Told, last: Attempt) -> Iterator[str]:
    """A training that has failed, and is not started again, is over for a reason that is told."""
    worth = any(one.again_after(cause) for cause in CAUSES.get(run.own_code or 0, ()))
    vain = one.retries > 0 and stuck(run.attempts)
    if last.cause is not None and last.cause.code == "no-progress":
        if not (vain and worth):
            yield f"given up, and its attempts gained {[each.gain for each in run.attempts]}"
    elif worth and not one.stops and (vain or len(run.attempts) <= one.retries):
        yield f"{len(run.attempts)} attempts of {1 + one.retries}, no other followed, and it is not said why: {last}"


def stuck(attempts: Sequence[Attempt]) -> bool:
    """Whether the last of these have gained nothing, so often that there is no other."""
    return len(attempts) >= ENOUGH and all(gained(each) is False for each in attempts[-ENOUGH:])


def wrong_with_the_end(one: Attempted, run: Told) -> Iterator[str]:
    """Stopped before the training was over, and only then, it is Terminated; left alone it ends as it was to."""
    ends = [(each.exit_code, each.cause and each.cause.code) for each in run.attempts]
    if one.left_alone and ends != foreseen(one):
        yield f"the attempts ended with {ends}, and should have with {foreseen(one)}"
    refused = one.checked and one.blocked and ends[-1] == (71, "precheck-failed")
    stopped = any(cut_short(one, process) for process in run.processes) or not (run.processes or refused)
    if stopped and run.phase != "Terminated":
        yield f"stopped before its training had ended, and the phase is {run.phase}"
    if run.phase == "Terminated":
        yield from wrong_with_a_stop(one, run)
    if run.phase == "Failed" and run.own_code == 0 and not (one.blocked or one.stops):
        yield f"not saved, for no reason: {run.unsaved}"
    if run.phase == "Completed" and one.blocked:
        yield "Completed, and an output could not be saved"


def wrong_with_a_stop(one: Attempted, run: Told) -> Iterator[str]:
    """It was asked to end in time; the code is the training's, if not 0."""
    over = [process.ended for process in run.processes if process.ended] or [run.attempts[-1].ended]
    if not [sent for sent in one.stops if sent.at < moment(over[0]) + SURELY_S]:
        yield "Terminated, and nothing stopped it before its training had ended"
    if not run.own_code and run.exit_code not in [STOPS[sent.name] for sent in one.stops]:
        yield f"Terminated with {run.exit_code}, and it was stopped by {one.stops}"


def foreseen(one: Attempted) -> list[tuple[int, str | None]]:
    """How the attempts of a run end that is left alone: exit codes, and why."""
    found: list[tuple[int, str | None]] = []
    gains: list[bool | None] = []
    was = LEFT_BEFORE if one.marks == "before" else None
    for number in range(1, 2 + one.retries):
        if number > 1 and one.blocked and one.checked:
            return [*found, (71, "precheck-failed")]
        code = ENDS[one.end_of(number)]
        if code == 0:
            return [*found, (73, "output-not-saved") if one.blocked else (0, None)]
        (cause,) = CAUSES[code]
        mark = None if one.marks in ("none", "before") or (one.marks == "once" and number > 1) else one.mark_of(number)
        gains.append((was is None or mark > was) if mark is not None else None if was is None else False)
        was = was if mark is None else mark
        if one.again_after(cause) and one.retries and gains[-ENOUGH:] == [False] * ENOUGH:
            return [*found, (122, "no-progress")]
        found.append((code, cause))
        if not one.again_after(cause):
            return found
    return found


def wrong_with_what_was_written(ends: Ends, one: Attempted, run: Told, noted: Sequence[Noted]) -> Iterator[str]:
    """What all attempts have written lies on the node; where nobody was in a hurry, all of it is in its place as well.

    That what is in its place is what lies on the node is seen where the manifests are.
    """
    there = [written_to(ends, name) if run.staged else {} for name in OUTPUTS]
    digests = {what: digest for notes in noted for what, digest in notes.wrote.items()}
    for what, digest in digests.items():
        output, _, name = what.partition(" ")
        again = any(what in notes.begun and what not in notes.wrote for notes in noted)
        found = there[int(output)].get(name)
        if found is None or (found[1] != digest and not again):
            yield f"{what} was written with {digest}, and there is {found}"
    saved = {entry.channel for entry in run.synced if entry.manifest}
    if not one.stops and saved != {*OUTPUTS} - ({"train_url"} if one.blocked else set()):
        yield f"in their place are {saved}"


def wrong_with_the_logs(ends: Ends, one: Attempted, run: Told, noted: Sequence[Noted]) -> Iterator[str]:
    """Each attempt's own part of the log has what its boot process has said, and nothing of another's."""
    stored = ends.stored("log/")
    for number, (attempt, notes) in enumerate(zip(run.attempts, noted, strict=True), 1):
        found = {name: content_of(str(ends.log_dir / name)) for name in attempt.log}
        lines = b"".join(found.values()).decode(errors="replace").splitlines()
        own = [f"process {process.pid} at" for process in attempt.processes]
        others = [line for line in lines if line.startswith("process ") and line.rpartition(" ")[0] not in own]
        lacking = [line for line in notes.said if line not in lines]
        if others or lacking:
            yield f"the log of attempt {number} lacks {lacking}, and has what is another's: {others}"
        for name, content in found.items():
            if name not in stored and one.stops:
                continue  # it may have been in too great a hurry
            # the log of the last goes on after it was put in its place
            part = content[: len(stored.get(name, b""))] if name == run.attempts[-1].log[-1] else content
            if stored.get(name) != part:
                yield f"{name} is in its place otherwise: {content!r}, {stored.get(name)!r}"
