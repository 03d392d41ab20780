"""Random jobs, ended by random signals at random moments: whatever happened, the end is told truly and nothing is left.

The seed is in the words of every failure; RANDOM_ENDS_SEED sets another, RANDOM_ENDS_RUNS another number of runs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from disturbed import (
    DEADLY,
    HARMLESS,
    STOPS,
    SURELY_S,
    Disturbed,
    Launched,
    cut_short,
    furnished,
    played,
    store_of,
    wrong_with_the_outputs,
)
from ends import PROGRAMS, Ends, until
from told import Brief, Told, contradictions, moment, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import AnyStore

SEED = int(os.environ.get("RANDOM_ENDS_SEED", "20"))
RUNS = int(os.environ.get("RANDOM_ENDS_RUNS", "200"))
BATCHES = 20
NATURAL = {"works": 0, "fails": 5, "saves": 0, "stubborn": 0, "leaves": 0, "dies": 137, "stops": 0}


@dataclass(kw_only=True)
class Scene(Disturbed):
    """One run: what it was to be, and what happened to it."""

    kind: str
    inputs: int
    files: int
    seconds: float
    pip: float | None
    early: bool
    blocked: bool
    """The output cannot be put in its place."""
    signals: list[tuple[float, str]]


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
    ends = furnished(store, folder)
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


def disturb(one: Scene, launched: Launched) -> None:
    if not one.early:
        until(lambda: launched.over or launched.hears)  # from here on signals are heard
    for delay, name in one.signals:
        launched.wait(delay)  # a random moment
        if launched.over:
            return
        launched.send(name)


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
    if not one.early or not one.stops:
        yield "there is no run.json of a job"
    if one.run_json is not None and msgspec.convert(one.run_json, Brief).exit_code != one.code:
        yield f"run.json says otherwise: {one.run_json}"
    if one.run_json is None and one.code not in (-signal.SIGTERM, 143):
        yield "there is no run.json"


def wrong_with_the_phase(one: Scene, run: Told) -> Iterator[str]:
    """Stopped before the training had ended, and only then, it is Terminated; the code is the training's, if not 0."""
    stops = one.stops
    stopped = any(cut_short(one, process) for process in run.processes) or (bool(stops) and not run.processes)
    if stopped and run.phase != "Terminated":
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


@pytest.mark.parametrize("batch", range(BATCHES))
def test_however_it_ends_the_truth_is_told_and_nothing_is_left(
    batch: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = store_of(request, tmp_path, batch)
    for number in range(batch, RUNS, BATCHES):
        one = scene(random.Random(SEED * 1_000_000 + number), number)
        if store.server is not None:
            one.inputs = min(one.inputs, 10)  # each is a request of its own here
            one.blocked = False  # there is no such thing as a file in the way
        ends = laid_down(store, tmp_path / str(number), one)
        played(ends, one, partial(disturb, one), env={"PIP_SECONDS": str(one.pip)})
        print(f"seed {SEED}, run {number}: {one.kind}, {one.words}: {one.code}")
        wrong = [*wrong_with_the_end(one), *wrong_with_the_outputs(ends, one)]
        assert not wrong, "\n".join((f"RANDOM_ENDS_SEED={SEED}, run {number}", *wrong, repr(one), one.err))
        shutil.rmtree(ends.folder)
