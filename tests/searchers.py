"""Workers of one search as processes, a policy to search with, and what must be true when all are through."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from launcher.adapters.study import open_study
from launcher.core.search import Anneal, Bayes, Dimension, Ending, Metric, Owner, Policy, Tpe, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.adapters.study.stored import Stored
    from launcher.core.search import Algorithm

PROGRAM = Path(__file__).parent / "programs" / "searcher.py"
SPACE = (
    Dimension(name="lr", kind="float", low=1e-5, high=0.1, log=True),
    Dimension(name="momentum", kind="float", low=0.1, high=0.9, points=9),
    Dimension(name="layers", kind="int", low=1, high=8),
    Dimension(name="width", kind="int", low=1, high=512, log=True),
    Dimension(name="optimizer", kind="choice", choices=("sgd", "adam")),
    Dimension(name="batch", kind="choice", choices=("32",)),
)
ALGORITHMS: tuple[Algorithm, ...] = (Tpe(n_initial_points=4), Anneal(), Bayes(), Bayes(kind="ei"), Bayes(kind="poi"))
ME = Owner(worker="worker-0", boot="here", pid=1, start=1)


def policy(**different: Any) -> Policy:
    """A small search."""
    made = Policy(
        space=SPACE,
        reward=Metric(name="accuracy", mode="max", regex=r"accuracy ([0-9.]+)"),
        algorithm=Tpe(n_initial_points=4),
        num_samples=12,
    )
    return msgspec.structs.replace(made, **different)


def reward_of(trial: Trial) -> float:
    """More of it is better."""
    return float(trial.values.get("momentum", 0.0)) - abs(float(trial.values.get("layers", 3)) - 3)


def finished(study: Stored, count: int | None = None) -> list[Trial]:
    """Take and finish trials, as many as there are or `count`."""
    done: list[Trial] = []
    while len(done) != count and (trial := study.claim("0")) is not None:
        assert study.finish(trial, Ending(state="COMPLETE", reward=reward_of(trial)))
        done.append(trial)
    return done


@contextlib.contextmanager
def study_at(storage: str, name: str = "digits", owner: Owner = ME, **settings: Any) -> Iterator[Stored]:
    """A study of this process."""
    study = open_study(storage, name, owner, **{"patience": 20.0, **settings})
    try:
        yield study
    finally:
        study.close()


class Searcher:
    """A worker in a process of its own."""

    def __init__(self, storage: str, worker: str, searched: Policy, **settings: Any) -> None:
        told = {"storage": storage, "name": "digits", "worker": worker, "policy": msgspec.to_builtins(searched)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", PROGRAM, json.dumps({**told, **settings})],
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the worker ended with {self._process.wait()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def until(self, word: str) -> dict[str, Any]:
        """The next line with this word."""
        while word not in (line := self.line()):
            pass
        return line

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self.end()

    def end(self) -> int:
        """Wait for its end."""
        status = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status


@contextlib.contextmanager
def searchers(storage: str, count: int, searched: Policy, **settings: Any) -> Iterator[list[Searcher]]:
    """So many workers of one search, all of which are gone in the end."""
    workers = [Searcher(storage, f"worker-{index}", searched, **settings) for index in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()


def assert_each_slot_was_done_once(searched: Policy, trials: tuple[Trial, ...]) -> None:
    """The budget to the trial, no slot twice, no name twice, nothing left running."""
    done = Counter(trial.slot for trial in trials if trial.finished)
    assert done == dict.fromkeys(range(searched.num_samples), 1)
    assert len({trial.id for trial in trials}) == len(trials)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert not any(trial.state == "RUNNING" for trial in trials)
    for trial in trials:
        whole = trial.values.keys() == {dimension.name for dimension in searched.space}
        assert whole or trial.verdict in ("lost", "superseded")
