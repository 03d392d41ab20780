"""Two containers as the two nodes of a job: torchrun trains across the bridge, and a node that is killed is named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bridge import bridged
from incontainer import in_docker

if TYPE_CHECKING:
    from bridge import Box, Bridge
    from rig import Rig

PACKAGES = os.environ.get("LAUNCHER_TEST_TORCH_PACKAGES", "")
ENGINE_S = 150.0
"""How long PyTorch may take to start, train and end, on a machine that has few processors and other work."""
pytestmark = [
    pytest.mark.docker,
    in_docker,
    pytest.mark.skipif(not PACKAGES, reason='no PyTorch for the image: eval "$(tests/docker/torch)" brings it'),
    pytest.mark.timeout(2 * ENGINE_S),
]

PROGRAM = Path(__file__).parents[1] / "distributed" / "programs" / "digits.py"
DIGITS = Path(__file__).parents[2] / "examples/digits/store/digits-bucket/data"
GROUP = "ma-job-1"
NAMES = [f"{GROUP}-worker-{index}.{GROUP}" for index in range(2)]
PROCESSES = 2
ENDLESS = 10**6


def start(bridge: Bridge, rig: Rig, **parameters: object) -> list[Box]:
    """Start both nodes, told of each other as Volcano tells them; every process trains on a share of each batch."""
    rig.code(PROGRAM.read_text(encoding="utf-8"))
    assert rig.store.directory is not None
    shutil.copytree(DIGITS, rig.store.directory / rig.bucket / "data", dirs_exist_ok=True)
    rig.algorithm["engine"] = {"engine_name": "PyTorch"}
    rig.algorithm["environments"] = {"PYTHONPATH": "/torch"}
    rig.algorithm["parameters"] = [{"name": name, "value": str(value)} for name, value in parameters.items()]
    rig.job["spec"]["resource"] = {"flavor_id": "modelarts.vm.cpu.2u", "node_count": len(NAMES)}
    store = bridge.serve(rig.store.directory)
    return [start_node(bridge, rig, store, index) for index in range(len(NAMES))]


def start_node(bridge: Bridge, rig: Rig, store: Box, index: int) -> Box:
    told = {
        "MA_TASK_NAME": "worker",
        "MA_VJ_NAME": GROUP,
        "MA_NUM_HOSTS": str(len(NAMES)),
        "VC_TASK_INDEX": str(index),
        "VC_WORKER_NUM": str(len(NAMES)),
        "VC_WORKER_HOSTS": ",".join(NAMES),
        "MA_RUN_METHOD": "torchrun",
        "LAUNCHER_PROCESSES": str(PROCESSES),
    }
    options = ("--hostname", NAMES[index].partition(".")[0], "--volume", f"{PACKAGES}:/torch:ro")
    return bridge.launch(rig, store.role, *options, role=NAMES[index], env=told)


def run_json(rig: Rig, index: int) -> Any:
    """run.json of a node as it came to the store."""
    return json.loads(rig.stored("log/")[f"modelarts-job-job-1-worker-{index}.run.json"])


def test_torchrun_trains_across_two_containers(local_rig: Rig) -> None:
    with bridged() as bridge:
        nodes = start(bridge, local_rig)
        codes = [node.wait(ENGINE_S) for node in nodes]
        assert codes == [0, 0], [node.said()[1][-3000:] for node in nodes]
    left = {name: json.loads(found) for name, found in local_rig.stored().items()}
    assert sorted(left) == [f"rank-{rank}.json" for rank in range(4)]
    found = [left[f"rank-{rank}.json"] for rank in range(4)]
    hosts = [f"{GROUP}-worker-{rank // PROCESSES}" for rank in range(4)]
    assert [(each["rank"], each["world"], each["host"]) for each in found] == [(r, 4, hosts[r]) for r in range(4)]
    # each has the sum over all of them, by gloo's all_reduce
    assert len({tuple(each["losses"]) for each in found}) == 1
    assert [run_json(local_rig, index)["phase"] for index in range(2)] == ["Completed", "Completed"]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_container_that_is_killed_ends_the_other_which_names_it(local_rig: Rig, killed: int) -> None:
    with bridged() as bridge:
        nodes = start(bridge, local_rig, epochs=ENDLESS)
        nodes[0].await_word("epoch=2")
        nodes[killed].kill()
        code = nodes[1 - killed].wait(ENGINE_S)
        _, err = nodes[1 - killed].said()
    found = run_json(local_rig, 1 - killed)
    assert code not in (0, 143), err[-3000:]
    assert (found["exit_code"], found["phase"]) == (code, "Failed")
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert f"worker-{killed}" in error, err[-3000:]
