"""A worker of a search that runs no boot files: it takes trials and finishes them until the search is over.

    python searcher.py '{"storage": …, "name": …, "worker": …, "policy": {…}, "hold": 1}'

It prints a line of JSON for each trial that it took, and for each that counts. `hold`: with so many taken it stops and
waits to be killed. `beat_s`, `grace_s`: signs of life; `knows`: it can tell whether a worker of this machine is alive.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from launcher.adapters.study import open_study
from launcher.core.search import Ending, Owner, Policy, Trial
from launcher.core.search.slots import standing

if TYPE_CHECKING:
    from launcher.adapters.study.stored import Stored

PAUSE_S = 0.05
_never = threading.Event()


def tell(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def alive(owner: Owner) -> bool | None:
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    return True


def reward(trial: Trial) -> float:
    return -sum(float(value) ** 2 for value in trial.values.values() if not isinstance(value, str))


def work(study: Stored, policy: Policy, hold: int) -> None:
    taken = 0
    while True:
        trial = study.claim("0")
        if trial is None:
            if standing(policy, study.trials()).over:
                return
            _never.wait(PAUSE_S)
            continue
        taken += 1
        tell(taken=trial.id, slot=trial.slot, values=dict(trial.values))
        if taken == hold:
            _never.wait()
        study.report(trial, 1, reward(trial))
        study.beat([trial])
        if study.finish(trial, Ending(state="COMPLETE", reward=reward(trial))):
            tell(counts=trial.id, slot=trial.slot)


def main() -> None:
    told = json.loads(sys.argv[1])
    policy = msgspec.convert(told["policy"], Policy)
    study = open_study(
        told["storage"],
        told["name"],
        Owner(worker=told["worker"], boot="test", pid=os.getpid(), start=0),
        alive=alive if told.get("knows") else lambda _owner: None,
        note=lambda sentence: tell(note=sentence),
        beat_s=told.get("beat_s", 15),
        grace_s=told.get("grace_s", 90),
        patience=told.get("patience", 60),
    )
    study.join(policy)
    work(study, policy, told.get("hold", 0))
    study.close()
    tell(over=True)


main()
