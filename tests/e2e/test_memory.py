"""Out of memory for real: a control group with a limit, made here, and the launcher and its boot file inside it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cgroups import Group, limited
from rig import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig import Rig

LIMIT = 128 << 20
EAT = "def eat():\n    held = []\n    while True:\n        held.append(b'x' * (4 << 20))\n"
WORKER = (
    "import multiprocessing, sys\n"
    + EAT
    + "worker = multiprocessing.get_context('fork').Process(target=eat)\n"
    + "worker.start()\nworker.join()\nprint(worker.exitcode, flush=True)\nsys.exit({code})\n"
)
BY_HAND = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
ASK = (
    "import json, os, msgspec\nfrom launcher.adapters.cgroup import Cgroup\n"
    + EAT
    + "meter = Cgroup()\nbefore = meter.memory()\npid = os.fork()\nif pid == 0:\n    eat()\n"
    + "status = os.waitpid(pid, 0)[1]\n"
    + "print(json.dumps([msgspec.to_builtins(m) for m in (before, meter.memory())] + [status]))\n"
)


def run(group: Group, rig: Rig, *, termination: str = "") -> Result:
    """A whole job in the group."""
    env = rig.env({"LAUNCHER_TERMINATION_LOG": termination} if termination else None)
    done = subprocess.run(group.inside(rig.argv()), env=env, capture_output=True, text=True, check=False, timeout=100)
    return Result(done.returncode, done.stdout, done.stderr, rig.run_json())


def eat(group: Group) -> None:
    """Have the kernel kill somebody in the group."""
    done = subprocess.run(group.inside((sys.executable, "-c", EAT + "eat()")), check=False, timeout=60)
    assert done.returncode == -9


@pytest.fixture
def group() -> Iterator[Group]:
    """A group with 128 MiB, gone with the test."""
    with limited(LIMIT) as group:
        yield group


def test_the_counters_of_a_real_group(group: Group) -> None:
    done = subprocess.run(
        group.inside((sys.executable, "-c", ASK)), capture_output=True, text=True, check=False, timeout=60
    )
    before, after, status = json.loads(done.stdout)
    assert status == 9
    assert (before["source"], before["limit_bytes"], before["oom_kills"]) == (group.source, LIMIT, 0)
    assert (after["source"], after["limit_bytes"], after["oom_kills"]) == (group.source, LIMIT, 1)
    if (group.folder / "memory.peak").exists() or group.source == "cgroup v1":
        assert before["peak_bytes"] < LIMIT // 2 < after["peak_bytes"] <= LIMIT


def test_a_limit_of_a_group_above_is_seen(group: Group) -> None:
    inner = Group(group.folder / "inner", group.source)
    if group.source == "cgroup v2":
        (group.folder / "cgroup.subtree_control").write_text("+memory")
    inner.folder.mkdir()
    try:
        asked = "from launcher.adapters.cgroup import Cgroup\nprint(Cgroup().memory().limit_bytes)"
        done = subprocess.run(
            inner.inside((sys.executable, "-c", asked)), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stdout == f"{LIMIT}\n", done.stderr
    finally:
        inner.remove()


def limits(result: Result) -> tuple[Any, Any]:
    """The limit, and how many were killed during the run."""
    found = result.run_json["limits"]
    return found["memory_bytes"], found["oom_kills_after"] - found["oom_kills_before"]


def test_a_boot_file_that_the_kernel_killed_is_out_of_memory(group: Group, local_rig: Rig, tmp_path: Path) -> None:
    local_rig.code(EAT + "eat()\n")
    termination = tmp_path / "termination"
    result = run(group, local_rig, termination=str(termination))
    assert (result.code, result.run_json["phase"], result.cause) == (137, "Failed", "oom-killed"), result.err
    assert limits(result) == (LIMIT, 1)
    if group.source == "cgroup v1":
        assert LIMIT * 0.9 < result.run_json["limits"]["memory_peak_bytes"] <= LIMIT
    assert result.run_json["processes"][0]["signal"] == 9
    word = json.loads(termination.read_text())
    assert (word["exit_code"], word["cause"]["code"]) == (137, "oom-killed")
    assert result.run_json["cause"]["message"] in result.err


def test_a_worker_that_the_kernel_killed_is_why_the_boot_file_failed(group: Group, local_rig: Rig) -> None:
    local_rig.code(WORKER.format(code=1))
    result = run(group, local_rig)
    assert result.out == "-9\n"
    assert (result.code, result.cause) == (1, "oom-killed")
    assert limits(result) == (LIMIT, 1)


def test_a_killed_worker_that_the_boot_file_could_do_without_is_no_failure(group: Group, local_rig: Rig) -> None:
    local_rig.code(WORKER.format(code=0))
    result = run(group, local_rig)
    assert result.out == "-9\n"
    assert (result.code, result.run_json["phase"], result.run_json["cause"]) == (0, "Completed", None)
    assert limits(result) == (LIMIT, 1)


def test_a_kill_by_hand_is_not_called_out_of_memory(group: Group, local_rig: Rig) -> None:
    local_rig.code(BY_HAND)
    result = run(group, local_rig)
    assert (result.code, result.cause) == (137, "killed")
    assert limits(result) == (LIMIT, 0)


def test_a_kill_before_the_run_is_not_the_run_s(group: Group, local_rig: Rig) -> None:
    eat(group)
    local_rig.code(BY_HAND)
    result = run(group, local_rig)
    assert (result.code, result.cause) == (137, "killed")
    assert limits(result) == (LIMIT, 0)
    assert result.run_json["limits"]["oom_kills_before"] == 1
