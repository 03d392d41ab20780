"""Searches to be tried: a boot file that prints what it was given, the policies of a job, and what came of them."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Rig

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
open(os.path.join(os.environ["BEGUN"], f"{os.getpid()}"), "w").write(os.environ.get("WHO", ""))
if not os.path.exists(os.path.join(os.environ["BEGUN"], "go")):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    while not os.path.exists(os.path.join(os.environ["BEGUN"], "go")):
        time.sleep(0.01)
"""
)
"""It names itself in a folder, and ends once a file `go` is there."""

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
