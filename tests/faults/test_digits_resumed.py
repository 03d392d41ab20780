"""The digits example, killed again and again and started again each time: it ends as if nothing had been.

What is killed (the launcher, the training, both one after the other), when, and whether the next start finds the same
disk are random by a seed: DIGITS_SEED sets another, DIGITS_CYCLES another number of kills.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ends import Ends, children_of, cmdline, marked, until
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Result

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits"
SEED = int(os.environ.get("DIGITS_SEED", "1"))
CYCLES = int(os.environ.get("DIGITS_CYCLES", "10"))
KINDS = ("kill the launcher", "kill the training", "stop the launcher", "stop and then kill the launcher")
MOST_LINES = 40
"""So many epochs at most are waited for before a kill."""
EARLY_S, SOON_S = 0.6, 0.02
FRESH = 0.3
"""The share of the starts that find an empty disk, as on another node: only what is in the store is left."""
ENDLESS = 10_000
"""Epochs that no cycle comes to."""
CHECKPOINT = re.compile(r"checkpoint-(\d+)\.npz")
HALF = ".npz.part"
"""How the names end under which the example writes: a training that is killed in between leaves one, which is an output
like any other."""
SETTINGS = {"lr": 0.05, "hidden": 16, "seed": 0}
SET = ("--set", "hidden=16")


def digits(folder: Path, **changes: Any) -> Ends:
    """The example as it stands, with a store of its own; `changes` are members of its algorithm."""
    folder.mkdir()
    store = folder / "store"
    shutil.copytree(EXAMPLE / "store", store)
    rig = Ends(AnyStore("localfs", LOCALFS, ("--store", str(store)), directory=store), folder)
    rig.bucket = "digits-bucket"
    rig.job = json.loads((EXAMPLE / "job.json").read_text())
    rig.algorithm["outputs"][0]["period"] = 1
    rig.with_job(**changes)
    return rig


class Cycles:
    """One store and the trainings that come and go on it."""

    def __init__(self, rig: Ends, chance: random.Random) -> None:
        self.rig = rig
        self._chance = chance
        self.known: dict[int, str] = {}
        """Every checkpoint that was ever in the store: its epoch, and the sum of its bytes."""

    def disturb(self) -> str:
        """Start it, kill it, and look at what is in the store; what was done."""
        kind = self._chance.choice(KINDS)
        fresh = self._chance.random() < FRESH
        if fresh:
            self.move()
        with self.rig.running("--grace", "10", *SET, "--set", f"epochs={ENDLESS}") as process:
            self._wait_a_while(process)
            self._strike(process, kind)
            out, err = process.communicate(timeout=60)
        assert process.returncode in CODES[kind], (kind, process.returncode, out, err)
        assert "Traceback" not in err, err
        self.look()
        return kind + (" on another node" if fresh else "")

    def move(self) -> None:
        """Another node: with the container everything of it has gone."""
        for pid in marked(self.rig.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not marked(self.rig.mark))
        shutil.rmtree(self.rig.root, ignore_errors=True)

    def _wait_a_while(self, process: subprocess.Popen[str]) -> None:
        """Any moment: before the training begins, or after some of its epochs."""
        if self._chance.random() < 0.25:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._chance.uniform(0, EARLY_S))
            return
        assert process.stdout is not None
        for _ in range(self._chance.randrange(2, MOST_LINES)):
            assert process.stdout.readline(), process.stderr and process.stderr.read()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._chance.uniform(0, SOON_S))

    def _strike(self, process: subprocess.Popen[str], kind: str) -> None:
        training = next((pid for pid in children_of(process.pid) if b"train.py" in cmdline(pid)), None)
        if kind == "kill the training" and training is not None:
            os.kill(training, signal.SIGKILL)
            return
        process.send_signal(signal.SIGKILL if kind.startswith("kill") else signal.SIGTERM)
        if kind.endswith("kill the launcher") and kind != "kill the launcher":
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._chance.uniform(0, 5 * SOON_S))
            process.kill()

    def newest(self) -> int:
        """The last epoch that was kept: a kill may have left it on the disk alone, newer than all in the store."""
        on_disk = (CHECKPOINT.fullmatch(path.name) for path in self.rig.root.rglob("checkpoint-*"))
        return max((*self.known, *(int(match[1]) for match in on_disk if match)), default=0)

    def look(self) -> None:
        """Every checkpoint in the store is whole and that of its epoch; none was lost, none has become another."""
        found = {}
        for name, content in of_epochs(self.rig).items():
            match = CHECKPOINT.fullmatch(name)
            assert match is not None, f"{name} is no checkpoint"
            assert_whole(content, name)
            found[int(match[1])] = hashlib.sha256(content).hexdigest()
        assert {epoch: found.get(epoch) for epoch in self.known} == self.known
        self.known = found


CODES = {
    "kill the launcher": (-signal.SIGKILL,),
    "kill the training": (137, -signal.SIGKILL),
    # before anybody hears it, SIGTERM ends the launcher as it ends any program
    "stop the launcher": (143, -signal.SIGTERM),
    "stop and then kill the launcher": (143, -signal.SIGTERM, -signal.SIGKILL),
}


def of_epochs(rig: Ends) -> dict[str, bytes]:
    """What the store has of the training, but for what a kill has left half."""
    return {name: content for name, content in rig.stored("output/").items() if not name.endswith(HALF)}


def assert_whole(content: bytes, name: str) -> None:
    """It can be loaded, and says itself that it is of this training."""
    with np.load(io.BytesIO(content)) as arrays:
        assert json.loads(str(arrays["settings"])) == SETTINGS, name
        kinds = ("weights", "speed") if CHECKPOINT.fullmatch(name) else ()
        assert {arrays[f"{kind}.w1"].shape for kind in kinds} <= {(64, 16)}, name


def accuracy(result: Result) -> str:
    """What the training said of itself at last."""
    return next(line for line in reversed(result.out.splitlines()) if line.startswith("test accuracy="))


@pytest.fixture
def cycles(tmp_path: Path) -> Iterator[Cycles]:
    made = Cycles(digits(tmp_path / "disturbed"), random.Random(SEED))
    yield made
    made.move()


@pytest.mark.timeout(60 + 20 * CYCLES)
def test_the_example_ends_the_same_however_often_it_is_killed(cycles: Cycles, tmp_path: Path) -> None:
    done = Counter(cycles.disturb() for _ in range(CYCLES))
    newest = cycles.newest()
    print(f"seed {SEED}: {dict(done)}; {len(cycles.known)} checkpoints, the newest is {newest}")
    epochs = ("--set", f"epochs={newest + 25}")
    ended = cycles.rig.run(*SET, *epochs)
    assert ended.code == 0, ended.err

    undisturbed = digits(tmp_path / "undisturbed", parameters_customization=True)
    expected = undisturbed.run(*SET, *epochs, "--set", "checkpoint_every=1")
    assert expected.code == 0, expected.err
    assert accuracy(ended) == accuracy(expected)
    of_one_run, of_many = undisturbed.stored("output/"), of_epochs(cycles.rig)
    assert of_many["model.npz"] == of_one_run["model.npz"]
    assert {name for name, content in of_many.items() if of_one_run.get(name) != content} == set()
    assert {f"checkpoint-{epoch}.npz" for epoch in cycles.known} <= of_many.keys()
    assert not list(cycles.rig.folder.rglob("*.launcher-part-*"))
