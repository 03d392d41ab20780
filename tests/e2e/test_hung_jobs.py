"""Jobs that hang, on one node and on two: told with where every rank stands, started again where the job says so."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from ends import until
from rig import Rig
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from pathlib import Path

BOOT = """
import os, sys, threading, time
folder, node = sys.argv[2].partition("=")[2], os.environ["VC_TASK_INDEX"]
lock = threading.Lock()
def stuck():
    lock.acquire()
    lock.acquire()
def read():
    open({fifo!r}).read()
def works():
    for step in range(30):
        print("step", step, flush=True)
        time.sleep(0.1)
def once(do):
    if not os.path.exists({seen!r} + node):
        open({seen!r} + node, "w").close()
        do()
print("begins", flush=True)
{what}
open(f"{{folder}}/model-{{node}}", "w").write("done")
"""
QUICK = {"LAUNCHER_RETRY_PAUSE": "0.1", "LAUNCHER_HANG_PERIOD": "0.3", "LAUNCHER_HANG_PERIODS": "3"}
HANG_RETRY = "fault-tolerance/hang-retry"
TWO_NODES = ("--no-precheck", "--rehearse", "--rehearse-nodes", "2")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    directory = tmp_path / "store"
    directory.mkdir()
    return Rig(AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory), tmp_path)


def job(rig: Rig, what: str, **annotations: str) -> None:
    os.mkfifo(rig.folder / "fifo")
    rig.code(BOOT.format(what=what, fifo=str(rig.folder / "fifo"), seen=str(rig.folder / "seen-")))
    rig.job["metadata"]["annotations"] = {
        {"hang": "launcher/hang", "hang_retry": HANG_RETRY}[name]: text for name, text in annotations.items()
    }


def attempts(rig: Rig) -> list[list[int]]:
    """The exit codes of each node's attempts."""
    found = sorted(rig.root.glob("worker-*/home/ma-user/modelarts/log/run.json"))
    told: list[Any] = [json.loads(path.read_text()) for path in found] or [rig.run_json()]
    return [[each["exit_code"] for each in node["attempts"]] for node in told]


def stands(rig: Rig) -> str:
    """What is said of where the training stands, once it is."""
    path = rig.log_dir / "events.jsonl"
    return next((each for each in rig.events() if "Where the training stands" in each), "") if path.exists() else ""


def test_a_hang_is_told_with_its_line_and_the_training_goes_on(rig: Rig) -> None:
    job(rig, "read()", hang="on")
    with rig.running(env=QUICK) as process:
        until(lambda: stands(rig))
        (rig.folder / "fifo").open("w").close()
        result = rig.finish(process)
    assert result.code == 0, result.err
    assert "rank 0 is in read (train.py:9)" in stands(rig)
    assert any("has not moved for" in each for each in rig.events())
    assert [key for key in rig.stored("log/") if "stacks-1" in key]


def test_a_training_that_always_hangs_is_started_again_three_times(rig: Rig) -> None:
    job(rig, "stuck()", hang_retry="true")
    result = rig.run("--no-precheck", env=QUICK)
    assert (result.code, result.cause, result.run_json["phase"]) == (121, "hung", "Failed")
    assert attempts(rig) == [[121] * 4]
    assert "rank 0 is in stuck (train.py:7)" in result.run_json["cause"]["message"]


def test_a_training_that_hung_once_ends_well_after_a_restart(rig: Rig) -> None:
    job(rig, "once(stuck)", hang_retry="true")
    result = rig.run("--no-precheck", env=QUICK)
    assert result.code == 0, result.err
    assert attempts(rig) == [[121, 0]]
    assert sorted(rig.stored()) == ["model-0"]


def test_two_nodes_that_hang_are_told_of_in_one_sentence_and_begin_again_together(rig: Rig) -> None:
    job(rig, "once(stuck)", hang_retry="true")
    result = rig.run(*TWO_NODES, env=QUICK)
    assert result.code == 0, result.err
    assert "all 2 ranks are in stuck (train.py:7)" in result.err
    assert attempts(rig) == [[121, 0]] * 2
    assert sorted(rig.stored()) == ["model-0", "model-1"]


def test_a_node_that_waits_while_another_works_does_not_hang(rig: Rig) -> None:
    job(
        rig,
        "works() if node == '0' else read()\nif node == '0': open(os.environ['FIFO'], 'w').close()",
        hang_retry="true",
    )
    rig.algorithm["environments"] = {"FIFO": str(rig.folder / "fifo")}
    result = rig.run(*TWO_NODES, env=QUICK)
    assert result.code == 0, result.err
    assert attempts(rig) == [[0], [0]]
    assert "stands" not in result.err
