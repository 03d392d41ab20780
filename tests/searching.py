"""Searches to be tried: a boot file that prints what it was given, the policies of a job, and what came of them."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

from ends import Ends, cmdline, marked, until
from searchers import study_at

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Rig
    from servers import AnyStore

    from launcher.core.search import Trial

BOOT = """
import argparse, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--data_url"); parser.add_argument("--train_url")
parser.add_argument("--lr", type=float); parser.add_argument("--width", type=int, default=0)
options = parser.parse_args()
print("reading", open(os.path.join(options.data_url, "a.csv")).read().strip())
print(f"loss=tensor({1 - options.lr:.4f}, grad_fn=<MseLossBackward>)", flush=True)
for step in range(3):
    print(f"step {step} acc={options.lr * (step + 1) / 3:.4f}", flush=True)
os.makedirs(options.train_url, exist_ok=True)
open(os.path.join(options.train_url, "model"), "w").write(repr(options.lr))
"""
"""Its reward is its learning rate."""

WAITING = (
    BOOT
    + """
begun = os.environ["BEGUN"]
def ended(number, frame):
    open(os.path.join(options.train_url, "last"), "w").write("words")
    open(os.path.join(begun, f"asked-{os.getpid()}"), "w").close()
    if "DEAF" not in os.environ:
        sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, ended)
part = os.path.join(begun, f"part-{os.getpid()}")
with open(part, "w") as file:
    file.write(repr(options.lr))
os.rename(part, os.path.join(begun, f"{os.getpid()}"))
while not os.path.exists(os.path.join(begun, "go")):
    time.sleep(0.01)
"""
)
"""It says in a folder that it has begun and with which learning rate, and ends once a file `go` is there.

Asked to end it leaves a last output, says so, and ends; with DEAF set it does not.
"""

LR = {"name": "lr", "param_type": "continuous", "lower_bound": "0", "upper_bound": "1"}
ACC = {"name": "acc", "mode": "max", "regex": "acc=([0-9.]+)"}
LOSS = {"name": "loss", "mode": "min", "regex": r"loss=(tensor\([^)]*\))"}


def searched(
    rig: Rig, *params: Any, samples: int = 4, algorithm: str = "anneal_search", rewards: Any = (ACC, LOSS), **more: Any
) -> None:
    """Have the rig's job searched."""
    settings = {"num_samples": samples, "seed": 1, **more}
    config = {"name": algorithm, "params": [{"key": key, "value": str(value)} for key, value in settings.items()]}
    rig.algorithm["policies"] = {
        "auto_search": {
            "search_params": [dict(each) for each in params or (LR,)],
            "reward_attrs": [dict(each) for each in rewards],
            "algo_configs": [config],
        }
    }


def results(rig: Rig) -> Path:
    """The folder of a search's results on the node."""
    return rig.root / "home/ma-user/modelarts/autosearch"


def rows(rig: Rig) -> list[dict[str, Any]]:
    """What trials.json says of each trial."""
    items = json.loads((results(rig) / "trials.json").read_text())["items"]
    return [dict(zip(items["header"], each, strict=True)) for each in items["data"]]


def values(rig: Rig) -> list[float]:
    """The learning rates of the finished trials, in the order of their slots."""
    return [each["config"]["lr"] for each in rows(rig) if each["status"] == "TERMINATED"]


def states(rig: Rig) -> list[str]:
    """The states of all trials in the study itself."""
    with sqlite3.connect(f"file:{rig.root}/cache/search/study.db?mode=ro", uri=True) as study:
        return [state for (state,) in study.execute("SELECT state FROM trials ORDER BY number")]


class Search(Ends):
    """A search of boot files that wait, whose processes are found again by a mark: to be ended, and to be missed."""

    def __init__(self, store: AnyStore, folder: Path, *, samples: int = 3) -> None:
        super().__init__(store, folder)
        self.begun = folder / "begun"
        self.begun.mkdir()
        self.storage = str(self.root / "cache/search/study.db")
        self.code(WAITING)
        self.algorithm["environments"] = {"BEGUN": str(self.begun)}
        searched(self, samples=samples)

    def beside(self, name: str) -> Search:
        """The same search on a node of its own."""
        other = copy.copy(self)
        other.root = self.folder / name
        other.log_dir = other.root / "home/ma-user/modelarts/log"
        return other

    def go(self) -> None:
        """Let boot processes end, those that are to come as well."""
        (self.begun / "go").touch()

    def asked(self, pid: int) -> bool:
        """Whether a boot process was asked to end."""
        return (self.begun / f"asked-{pid}").exists()

    def rate(self, pid: int) -> float:
        """The learning rate that a boot process has begun with."""
        return float((self.begun / str(pid)).read_text())

    def boots(self) -> list[int]:
        """The boot processes that have begun and run, whoever started them."""
        return [pid for pid in self._named(b"train.py") if (self.begun / str(pid)).exists()]

    def launchers(self) -> list[int]:
        """The trials' own launchers."""
        return self._named(b"\0launcher\0run\0")

    def searching(self) -> list[int]:
        """The launchers that search."""
        return self._named(b"\0launcher\0search\0")

    def await_boots(self, count: int) -> list[int]:
        """So many boot processes that run and wait, in the order in which they have begun."""
        until(lambda: len(self.boots()) == count)
        return sorted(self.boots(), key=lambda pid: (self.begun / str(pid)).stat().st_mtime_ns)

    def await_nobody(self) -> None:
        """All of them end, whatever they were."""
        until(lambda: not marked(self.mark))

    def whole(self, samples: int, storage: str | None = None) -> tuple[Trial, ...]:
        """All trials of a search that is over: its budget to the trial, no slot twice, nobody left."""
        self.await_nobody()
        with study_at(storage or self.storage, "job-1") as study:
            trials = study.trials()
        assert Counter(trial.slot for trial in trials if trial.finished) == dict.fromkeys(range(samples), 1)
        assert [trial.id for trial in trials if trial.state == "RUNNING"] == []
        return trials

    def end_all(self) -> None:
        """End what a test has left."""
        for pid in marked(self.mark):
            kill(pid)

    def _named(self, word: bytes) -> list[int]:
        return [pid for pid in marked(self.mark) if word in cmdline(pid)]


def kill(*pids: int) -> None:
    """SIGKILL to all of them, of which none can do anything about the others' ends."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def environ(pid: int) -> bytes:
    """The environment that a process was started with, as whoever may look can see it."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def rates(trials: tuple[Trial, ...]) -> list[Any]:
    """The learning rates of the finished trials, in the order of their slots."""
    return [trial.values["lr"] for trial in sorted(trials, key=lambda each: each.slot) if trial.finished]
