"""How a host is told of its job's nodes: each platform's own variables, and the command line's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hosts import network
from training import ENGINE_S, Training, on_hosts, volcano, volcano_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hosts import Host
    from training import End

pytestmark = [pytest.mark.distributed, on_hosts, pytest.mark.timeout(2 * ENGINE_S)]


def indexed_job(host: Host) -> Mapping[str, str]:
    """An Indexed Job of Kubernetes: pods `digits-0`, `digits-1` below the headless service `peers`."""
    return {"JOB_COMPLETION_INDEX": str(host.number), "LAUNCHER_SERVICE": "peers"}


def kubeflow(host: Host) -> Mapping[str, str]:
    """A TrainJob of Kubeflow: pods `digits-node-0-0`, `digits-node-0-1` below the service `digits`."""
    return {
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "1",
        "PET_NODE_RANK": str(host.number),
        "PET_MASTER_ADDR": "digits-node-0-0.digits",
        "PET_MASTER_PORT": "29500",
        "JOB_COMPLETION_INDEX": str(host.number),
    }


def nothing(_host: Host) -> Mapping[str, str]:
    """A machine that is started by hand."""
    return {}


def roles(ends: list[End], training: Training) -> list[tuple[str, str, str]]:
    """What each boot file was told: its index, the number of nodes, worker-0's place."""
    assert [end.code for end in ends] == [0, 0], [end.err for end in ends]
    told = [each["argv"] for each in training.left("began")]
    named = [dict(one.removeprefix("--").split("=", 1) for one in argv if "=" in one) for argv in told]
    return [(each["rank"], each["world_size"], each["init_method"]) for each in named]


@pytest.mark.parametrize(
    ("names", "told", "master"),
    [
        (volcano_names(2), volcano, f"{volcano_names(1)[0]}:6666"),
        (["digits-0.peers", "digits-1.peers"], indexed_job, "digits-0.peers:6666"),
        (["digits-node-0-0.digits", "digits-node-0-1.digits"], kubeflow, "digits-node-0-0.digits:29500"),
    ],
)
def test_each_platform_makes_two_hosts_one_job(
    tmp_path: Path, names: list[str], told: Callable[[Host], Mapping[str, str]], master: str
) -> None:
    with network(tmp_path, names) as hosts:
        training = Training(tmp_path, hosts, "alone")
        training.engine("PyTorch")
        ends = training.run(told=told)
    assert roles(ends, training) == [("0", "2", f"tcp://{master}"), ("1", "2", f"tcp://{master}")]


def test_the_command_line_makes_two_hosts_one_job(tmp_path: Path) -> None:
    with network(tmp_path, ["first", "second"]) as hosts:
        training = Training(tmp_path, hosts, "alone")
        training.engine("PyTorch")
        flags = ("--nodes=2", "--master=first:7777")
        ends = training.ends(
            [training.start(host, *flags, f"--node-index={host.number}", told=nothing) for host in hosts]
        )
    assert roles(ends, training) == [("0", "2", "tcp://first:7777"), ("1", "2", "tcp://first:7777")]


def test_two_hosts_of_one_index_are_refused_by_name(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = Training(tmp_path, hosts, "alone")
        started = training.start(hosts[1], told=lambda host: {**volcano(host), "VC_TASK_INDEX": "0"})
        end = training.ends([started])[0]
    assert (end.code, hosts[1].name.partition(".")[0] in end.err) == (65, True), end.err
