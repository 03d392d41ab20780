"""A whole job of several boot processes on a node, in a process of its own: its plan is made by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, os, sys
import msgspec
from launcher.adapters.cgroup import Cgroup
from launcher.adapters.clock import SystemClock
from launcher.adapters.localfs import LocalStore
from launcher.adapters.process import SystemProcesses
from launcher.core.plan import LogRules, Process
from launcher.core.urls import Location
from launcher.job import run
from launcher.world import World
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from fake_store import make_plan

folder, prefix, *scripts = sys.argv[1:]
root = folder + "/root"
os.makedirs(root + "/log"); os.makedirs(folder + "/store/bkt")
processes = tuple(
    Process(rank=rank, local_rank=rank, argv=(sys.executable, "-c", script), env={"RANK": str(rank)}, cwd="/",
            log=f"{root}/log/modelarts-job-id1-proc-rank-{rank}-device-{rank}.txt")
    for rank, script in enumerate(scripts)
)
plan = msgspec.structs.replace(
    make_plan(root, log_target=Location("bkt", "log/")), processes=processes, logs=LogRules(rank_prefix=prefix == "1")
)
with SystemProcesses() as started:
    outcome = run(plan, World(
        store=LocalStore(folder + "/store"), processes=started, clock=SystemClock(), meter=Cgroup(), environ=os.environ,
        log=LogFile(plan.files.log, plan.logs), out=Outlet(1, "stdout"), err=Outlet(2, "stderr"),
    ))
sys.exit(outcome.exit_code)
"""


class Ran:
    """A job that has run, seen from outside."""

    def __init__(self, folder: Path, prefix: str, *scripts: str) -> None:
        self.folder = folder
        done = subprocess.run(
            (sys.executable, "-c", PROGRAM, str(folder), prefix, *scripts),
            capture_output=True,
            check=False,
            timeout=100,
            text=True,
            cwd=__file__.rpartition("/")[0],
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def run_json(self) -> Any:
        return json.loads((self.folder / "root/log/run.json").read_text())

    def sent(self, name: str) -> str:
        return (self.folder / "store/bkt/log" / name).read_text()


TALKS = "import os\nfor i in range(200): os.write(1, b'line %d\\n' % i)\n"
FAILS = "import sys, time\nprint('about to fail', file=sys.stderr)\nraise KeyError('weights')"
WAITS = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('ready')\nsignal.pause()"


def test_lines_are_whole_and_say_their_rank_and_each_process_has_a_log(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "1", TALKS, TALKS)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    said = [f"line {i}" for i in range(200)]
    for rank in (0, 1):
        mine = f"[rank {rank}] "
        assert [line for line in lines if line.startswith(mine)] == [mine + line for line in said]
        assert ran.sent(f"modelarts-job-id1-proc-rank-{rank}-device-{rank}.txt").splitlines() == said
    assert len(lines) == 400
    common = ran.sent("modelarts-job-id1-worker-0.log").splitlines()
    assert sorted(line for line in common if line.startswith("[rank ")) == sorted(lines)
    assert [(each["rank"], each["exit_code"]) for each in ran.run_json["processes"]] == [(0, 0), (1, 0)]


def test_the_prefix_can_be_turned_off(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "0", TALKS, TALKS)
    assert sorted(ran.out.splitlines()) == sorted(f"line {i}" for _ in range(2) for i in range(200))


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_that_fails_ends_the_others_and_is_the_cause(tmp_path: Path, first: int) -> None:
    scripts = [WAITS, WAITS]
    scripts[first] = FAILS
    ran = Ran(tmp_path, "1", *scripts)
    told = ran.run_json
    assert (ran.code, told["phase"], told["exit_code"]) == (1, "Failed", 1)
    assert told["cause"]["rank"] == first
    assert "KeyError: 'weights'" in told["cause"]["message"]
    assert "KeyError: 'weights'" in told["cause"]["evidence"]
    ended = {each["rank"]: each for each in told["processes"]}
    assert ended[first]["exit_code"] == 1
    assert (ended[1 - first]["exit_code"], ended[1 - first]["signal"]) in {(0, None), (None, 15)}
