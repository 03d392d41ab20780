"""Random jobs that are started again, disturbed in their attempts, in the pauses between them and in the pre-check.

The seed is in the words of every failure; RANDOM_RETRIES_SEED sets another, RANDOM_RETRIES_RUNS another number of runs.
"""

from __future__ import annotations

import os
import random
import shutil
import textwrap
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from attempted import ENDS, NOTES, Attempted, come_so_far, wrong_with_the_attempts
from disturbed import DEADLY, HARMLESS, Launched, furnished, played, store_of, wrong_with_the_outputs
from ends import PROGRAMS, Ends, until

if TYPE_CHECKING:
    from pathlib import Path

    from servers import AnyStore

SEED = int(os.environ.get("RANDOM_RETRIES_SEED", "20"))
RUNS = int(os.environ.get("RANDOM_RETRIES_RUNS", "40"))
BATCHES = 12
ROOMY = {f"LAUNCHER_CHECK_{name}": "1" for name in ("ROOT", "SHM", "CACHE", "NOFILE", "NPROC")}
CAN_BE_CHECKED = os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize >= 1 << 30
"""No pre-check is content with less shared memory."""
MOMENTS = ("begun", "begun", "ending", "pause", "check")
STEPS = {"launcher/step-pattern": "step ([0-9]+)"}


@dataclass(kw_only=True)
class Scene(Attempted):
    """One run: what it was to be, and when it is disturbed."""

    manner: str
    """What its boot processes do when they are asked to end."""
    files: int
    seconds: float
    pause: float
    pip: float | None
    signals: list[tuple[str, int, float, str]]
    """In what of which attempt, after how many seconds, by what."""


def scene(chance: random.Random, number: int) -> Scene:
    retries = chance.choice((0, 1, 2, 2, 3, 3, 3))
    fails = chance.choice((("struck",), ("struck", "dies", "leaves"), tuple(end for end in ENDS if end != "works")))
    ends = [chance.choice(fails) for _ in range(chance.choice((0, 1, 2, 3, 4)))]
    names = ("TERM", "TERM", "TERM", "INT", "INT", "KILL", "KILL", *DEADLY, *HARMLESS)
    count = chance.choice((0, 0, 0, 1, 1, 1, 2, 3))
    moments = sorted((chance.randint(1, 1 + retries), chance.choice(MOMENTS)) for _ in range(count))
    marks = chance.choice(("each", "each", "renewed", "once", "none", "steps", "still", "before"))
    return Scene(
        number=number,
        grace=chance.choice((0.5, 1.0, 3.0)),
        brought=("checkpoint-40.pt",) if marks == "before" else (),
        retries=retries,
        unconditional=chance.random() < 0.4,
        ends=[*ends, chance.choice(("works", "works", "works", "struck"))],
        marks=marks,
        manner=chance.choice(("plain", "plain", "saves", "stubborn")),
        checked=chance.random() < 0.4,
        blocked=chance.random() < 0.1,
        files=chance.choice((1, 4, 12)),
        seconds=chance.choice((0.01, 0.1, 0.3)),
        pause=chance.choice((0.02, 0.02, 0.4)),
        pip=chance.choice((None, None, None, 0.1)),
        signals=[
            (what, at, chance.choice((0.02, 0.1, 0.3)) * chance.random(), chance.choice(names)) for at, what in moments
        ],
    )


def fitting(one: Scene, store: AnyStore) -> Scene:
    """The same without what cannot be had here."""
    one.checked = one.checked and CAN_BE_CHECKED
    one.blocked = one.blocked and store.directory is not None  # elsewhere there is no file that could be in the way
    return one


def laid_down(store: AnyStore, folder: Path, one: Scene) -> Ends:
    ends = furnished(store, folder)
    notes = folder / NOTES
    notes.mkdir()
    boot = (PROGRAMS / "retried.py").read_text()
    if one.blocked:
        boot = f"import os\nif not os.listdir({str(notes)!r}):\n{textwrap.indent(ends.shuts_output, '    ')}{boot}"
    ends.code(boot, {"pip-requirements.txt": b"./slow\n"} if one.pip else None)
    ends.algorithm["environments"] = {
        "NOTES": str(notes),
        "ENDS": " ".join(one.ends),
        "MARKS": "none" if one.marks == "before" else one.marks,
        "MANNER": one.manner,
        "FILES": str(one.files),
        "SECONDS": str(one.seconds),
    }
    if one.marks == "before":
        ends.algorithm["outputs"][0]["prefetch_to_local"] = True
        store.seed(ends.bucket, {f"out/{name}": b"left by an earlier job" for name in one.brought})
    ends.job["metadata"]["annotations"] = {
        "fault-tolerance/job-retry-num": str(one.retries),
        "fault-tolerance/job-unconditional-retry": str(one.unconditional).lower(),
        **(STEPS if one.marks in ("steps", "still") else {}),
    }
    return ends


def disturb(one: Scene, launched: Launched) -> None:
    until(lambda: launched.over or launched.hears)
    for what, attempt, delay, name in one.signals:
        until(lambda: launched.over or has_come(launched.ends, what, attempt))  # noqa: B023 - it is asked at once
        launched.wait(delay)  # a random moment
        if launched.over:
            return
        launched.send(name)


def has_come(ends: Ends, what: str, attempt: int) -> bool:
    """Whether this attempt's training has begun, or is about to end, or the pause after it, the pre-check before it."""
    if what in ("begun", "ending"):
        return any(number >= attempt for number, _ in come_so_far(ends, what))
    events = (ends.log_dir / "events.jsonl").read_text()
    if what == "pause":
        return f"Attempt {attempt + 1} begins in" in events
    return events.count("is being pre-checked") >= attempt


def settings(one: Scene) -> dict[str, str]:
    return {"LAUNCHER_RETRY_PAUSE": str(one.pause), "PIP_SECONDS": str(one.pip), **ROOMY}


@pytest.mark.parametrize("batch", range(BATCHES))
def test_however_its_attempts_end_the_truth_is_told_of_each_and_nothing_is_lost(
    batch: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = store_of(request, tmp_path, batch)
    for number in range(batch, RUNS, BATCHES):
        one = fitting(scene(random.Random(SEED * 1_000_000 + number), number), store)
        ends = laid_down(store, tmp_path / str(number), one)
        check = "--precheck" if one.checked else "--no-precheck"
        played(ends, one, partial(disturb, one), check, env=settings(one))
        print(f"seed {SEED}, run {number}: {' '.join(one.ends)}, {one.words}: {one.code}")
        wrong = [*wrong_with_the_attempts(ends, one), *wrong_with_the_outputs(ends, one)]
        assert not wrong, "\n".join((f"RANDOM_RETRIES_SEED={SEED}, run {number}", *wrong, repr(one), one.err))
        shutil.rmtree(ends.folder)
