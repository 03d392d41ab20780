"""Jobs of every kind made again from their records: those that began again, of several nodes, resumed ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from ends import until
from ports import free_port
from several import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig import Result, Rig

ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
FAILS = f"""
import os, sys
folder = sys.argv[2].partition("=")[2]
attempt = len(os.listdir(folder)) + 1
open(f"{{folder}}/ckpt-{{attempt}}.pt", "w").close()
print("attempt", attempt, flush=True)
if attempt < 3:
    print({ECC!r}, file=sys.stderr)
    sys.exit(3)
"""
"""Goes on from what it finds, and fails by its hardware until it has three of them."""
TOLD = """
import os, sys
print("node", os.environ["VC_TASK_INDEX"], sys.argv[3:])
"""
QUICK = {"LAUNCHER_RETRY_PAUSE": "0.01"}
SAME = "everything that was recorded is the same now"
PYTORCH = {"engine_name": "PyTorch", "engine_version": "pytorch_2.1.0-cuda_12.1-py_3.10-ubuntu_22.04-x86_64"}


SEARCHED = {
    "reward_attrs": [{"name": "accuracy", "mode": "max", "regex": "accuracy=([0-9.]+)"}],
    "search_params": [{"name": "lr", "param_type": "continuous", "lower_bound": "0.001", "upper_bound": "1"}],
    "algo_configs": [{"name": "anneal_search", "params": [{"key": "num_samples", "value": "1", "type": "Integer"}]}],
}


class Played:
    """A job, the record that a run of it has left, and replays of that in roots of their own."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._count = 0

    def keep(self, root: Path) -> str:
        """A copy of the run.json that a run has left in a root."""
        self._count += 1
        kept = self.rig.folder / f"kept-{self._count}.json"
        shutil.copy(root / "home/ma-user/modelarts/log/run.json", kept)
        return str(kept)

    def replay(self, run_json: str, *arguments: str, **more: Any) -> Result:
        """Replay it in a root of its own, its outputs in a folder of their own."""
        self._count += 1
        self.rig.root = self.rig.folder / f"again-{self._count}"
        self.rig.log_dir = self.rig.root / "home/ma-user/modelarts/log"
        told = ("--outputs", f"obs://{self.rig.bucket}/again-{self._count}/", *arguments)
        return self.rig.run(*told, command="replay", job=run_json, **more)

    def differs(self, run_json: str, *arguments: str, **more: Any) -> dict[str, tuple[str, str]]:
        """What a check tells: then and now."""
        done = self.replay(run_json, "--check", "--json", *arguments, **more)
        told = json.loads(done.out)
        assert done.code == (0 if told["same"] else 1)
        return {each["what"]: (each["then"], each["now"]) for each in told["differences"]}


@pytest.fixture
def played(local_rig: Rig) -> Played:
    local_rig.code(FAILS)
    local_rig.job["metadata"]["annotations"] = {"fault-tolerance/job-retry-num": "3"}
    return Played(local_rig)


def attempts(run_json: Any) -> list[Any]:
    return [(each["exit_code"], (each["cause"] or {}).get("code")) for each in run_json["attempts"]]


def test_a_run_that_was_started_again_has_one_record_and_is_made_again_with_it(played: Played) -> None:
    result = played.rig.run("--no-precheck", env=QUICK)
    record = result.run_json["reproduce"]
    assert (result.code, record["finished"], record["notes"]) == (0, True, []), result.err
    assert record["packages"]["versions"]["pytest"] == pytest.__version__
    kept = played.keep(played.rig.root)
    again = played.replay(kept, "--no-precheck", "--strict", env=QUICK)
    assert (again.code, again.out) == (0, "attempt 1\nattempt 2\nattempt 3\n"), again.err
    assert SAME in again.err
    assert attempts(again.run_json) == attempts(result.run_json) == [(3, "gpu-ecc"), (3, "gpu-ecc"), (0, None)]
    assert again.run_json["reproduce"]["code"] == record["code"]


def test_a_record_that_was_begun_by_an_attempt_that_failed_is_there_when_all_of_it_is_killed(played: Played) -> None:
    with played.rig.running("--no-precheck", env={"LAUNCHER_RETRY_PAUSE": "300"}) as process:
        until(lambda: ((played.rig.run_json() or {}).get("reproduce") or {}).get("code"))
        until(lambda: len(played.rig.run_json()["attempts"]) == 2)
        process.kill()
    kept = played.keep(played.rig.root)
    assert set(played.differs(kept)) <= {"packages"}, "at most what nobody had asked for yet"
    assert played.replay(kept, "--no-precheck", env=QUICK).code == 0


def test_what_a_run_was_resumed_from_is_asked_for_again(played: Played) -> None:
    played.rig.store.seed(played.rig.bucket, {"old/ckpt-1.pt": b""})
    old = ("--resume-from", f"obs://{played.rig.bucket}/old/")
    result = played.rig.run("--no-precheck", *old, env=QUICK)
    assert (result.code, result.out) == (0, "attempt 2\nattempt 3\n"), result.err
    assert [each["gain"] for each in result.run_json["attempts"]] == ["it came from ckpt-1.pt to ckpt-2.pt", None]
    assert sorted(played.rig.stored()) == ["ckpt-2.pt", "ckpt-3.pt"]
    kept = played.keep(played.rig.root)
    assert list(played.differs(kept)) == ["output train_url"]
    again = played.replay(kept, "--no-precheck", "--strict", *old, env=QUICK)
    assert (again.code, again.out) == (0, "attempt 2\nattempt 3\n"), again.err


class Pair(Played):
    """A job of two nodes that ran; `kept` are their records, `told` the way to say which node one is."""

    def __init__(self, rig: Rig, kept: list[str]) -> None:
        super().__init__(rig)
        self.kept = kept

    @staticmethod
    def told(index: int) -> tuple[str, ...]:
        return "--nodes", "2", "--node-index", str(index), "--master", "127.0.0.1"


@pytest.fixture
def pair(local_rig: Rig) -> Iterator[Pair]:
    local_rig.code(TOLD)
    local_rig.algorithm["engine"] = PYTORCH
    local_rig.job["spec"]["resource"] = {"node_count": 2}
    with ExitStack() as stack:
        nodes = Nodes(local_rig, stack)
        both = [nodes.start(index) for index in (0, 1)]
        assert [node.end() for node in both] == [0, 0], both[0].err
        keeps = Played(local_rig)
        yield Pair(local_rig, [keeps.keep(node.root) for node in both])


def test_a_record_of_one_node_of_several_is_that_of_this_node(pair: Pair) -> None:
    assert [pair.differs(kept, *pair.told(index)) for index, kept in enumerate(pair.kept)] == [{}, {}]
    other = pair.differs(pair.kept[1], *pair.told(0))
    assert other["nodes"] == ("worker 1 of 2, 1 processes", "worker 0 of 2, 1 processes")
    assert other["arguments"] == ("--rank=1", "--rank=0")


def test_both_nodes_of_a_job_are_made_again_together(pair: Pair) -> None:
    port, rig = str(free_port()), pair.rig
    argv = [
        [*rig.argv("replay", *pair.told(index), "--outputs", f"obs://{rig.bucket}/x/", job=kept)]
        for index, kept in enumerate(pair.kept)
    ]
    for index, each in enumerate(argv):
        each[each.index("--root") + 1] = str(rig.folder / f"again-{index}")
    env = rig.env({"LAUNCHER_RENDEZVOUS_PORT": port})
    with ExitStack() as stack:
        both = []
        for each in argv:
            process = subprocess.Popen(each, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            both.append(process)
        said = [each.communicate(timeout=60) for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    for index, (out, err) in enumerate(said):
        assert out == f"node {index} ['--init_method=tcp://127.0.0.1:6666', '--rank={index}', '--world_size=2']\n"
        assert SAME in err
    assert len([name for name in rig.stored("x/log/") if name.endswith(".run.json")]) == 2


def test_a_node_of_a_rehearsal_is_made_again_outside_of_it(local_rig: Rig) -> None:
    local_rig.code("")
    local_rig.job["spec"]["resource"] = {"node_count": 2}
    rehearsed = local_rig.run("--rehearse", "--rehearse-nodes", "2")
    assert rehearsed.code == 0, rehearsed.err
    played = Played(local_rig)
    kept = [played.keep(local_rig.root / f"worker-{index}") for index in (0, 1)]
    assert [played.differs(each, *Pair.told(index)) for index, each in enumerate(kept)] == [{}, {}]


def test_a_search_is_the_same_and_its_trials_are_as_far_as_they_know(local_rig: Rig) -> None:
    pytest.importorskip("optuna")
    local_rig.code("import sys\nprint('accuracy=' + dict(each[2:].split('=', 1) for each in sys.argv[1:])['lr'])")
    local_rig.algorithm["parameters"] = [{"name": "lr", "value": "0.1"}]
    local_rig.algorithm["policies"] = {"auto_search": SEARCHED}
    result = local_rig.run(command="search")
    assert result.code == 0, result.err
    played = Played(local_rig)
    (trial,) = (local_rig.root / "cache/trials").iterdir()
    whole, one = played.keep(local_rig.root), played.keep(trial)
    root = local_rig.root
    assert played.differs(whole) == {}
    told = played.differs(one)
    assert set(told) == {"input data_url", "packages"}
    assert {then for then, _ in told.values()} == {"not known"}
    again = played.replay(whole, "--strict")
    assert (again.code, SAME in again.err) == (0, True), again.err
    local_rig.root = root
    used = local_rig.run("--check", "--outputs", f"obs://{local_rig.bucket}/x/", command="replay", job=whole)
    assert (used.code, "folder of autosearch" in used.out) == (1, True), used.out


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
def test_a_replay_without_its_streams_is_one_all_the_same(local_rig: Rig, closed: tuple[int, ...]) -> None:
    local_rig.code("print('trained')")
    assert local_rig.run().code == 0
    kept = Played(local_rig).keep(local_rig.root)
    local_rig.root = local_rig.folder / "again"
    shut = "import os, sys\nfor each in sys.argv[1].split(): os.close(int(each))\nos.execvp(sys.argv[2], sys.argv[2:])"
    argv = local_rig.argv("replay", "--strict", "--outputs", f"obs://{local_rig.bucket}/x/", job=kept)
    done = subprocess.run(
        (argv[0], "-c", shut, " ".join(map(str, closed)), *argv),
        env=local_rig.env(),
        capture_output=True,
        check=False,
        start_new_session=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "" if 1 in closed else "trained\n")
    assert (SAME in done.stderr) == (2 not in closed)


def test_a_check_whose_answer_cannot_be_written_says_so(local_rig: Rig) -> None:
    local_rig.code("")
    assert local_rig.run().code == 0
    argv = local_rig.argv("replay", "--check", job=str(local_rig.log_dir / "run.json"))
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            argv, env=local_rig.env(), stdout=full, stderr=subprocess.PIPE, check=False, text=True, timeout=60
        )
    assert done.returncode == 73, done.stderr
    assert os.strerror(28) in done.stderr


def test_the_variables_that_name_another_job_do_not_count(local_rig: Rig) -> None:
    local_rig.code("")
    assert local_rig.run().code == 0
    played = Played(local_rig)
    kept = played.keep(local_rig.root)
    assert played.differs(kept, env={"LAUNCHER_JOB": "{}", "LAUNCHER_ALGORITHMS": "/nowhere"}) == {}
    assert played.differs(kept, env={"PYTHONHASHSEED": "5"}) == {"seed PYTHONHASHSEED": ("-", "5")}
