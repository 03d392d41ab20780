"""Rehearsals with real engines: all nodes on this machine, each at its own loopback address, without namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from training import ENGINE_S, LAUNCHER, Training, installed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(2 * ENGINE_S)]

NEEDED = ("mpirun", "ssh", "sshd", "ssh-keygen")
missing = [name for name in NEEDED if shutil.which(name) is None and shutil.which(f"/usr/sbin/{name}") is None]


def rehearsed(training: Training, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Rehearse it on two nodes, to its end."""
    training.job["spec"]["resource"]["node_count"] = 2
    job, root = folder / "job.json", folder / "root"
    job.write_text(json.dumps(training.job), encoding="utf-8")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LAUNCHER_", "S3_"))}
    return subprocess.run(
        (
            *LAUNCHER,
            "run",
            str(job),
            "--store",
            str(training.bucket.parent),
            "--root",
            str(root),
            "--rehearse",
            *arguments,
        ),
        env={**own, **training.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=ENGINE_S,
    )


def test_torchrun_trains_on_two_nodes_with_two_processes_each(tmp_path: Path) -> None:
    training = Training(tmp_path, (), "digits")
    training.engine("PyTorch", installed("torch"), MA_RUN_METHOD="torchrun")
    done = rehearsed(training, tmp_path, "--fake-devices", "GPU:2")
    assert done.returncode == 0, done.stderr
    found = sorted(training.left("rank"), key=lambda each: int(each["rank"]))
    assert [(each["rank"], each["world"]) for each in found] == [(rank, 4) for rank in range(4)]
    assert len({tuple(each["losses"]) for each in found}) == 1
    assert {line.split("]")[0] for line in done.stdout.splitlines()} == {"[worker-0", "[worker-1"}


def test_the_preset_form_of_pytorch_is_told_of_both_nodes(tmp_path: Path) -> None:
    training = Training(tmp_path, (), "digits")
    training.engine("PyTorch", installed("torch"))
    done = rehearsed(training, tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted((each["rank"], each["world"]) for each in training.left("rank")) == [(0, 2), (1, 2)]


def test_tensorflow_finds_its_cluster(tmp_path: Path) -> None:
    training = Training(tmp_path, (), "joined")
    training.engine("TensorFlow", installed("tensorflow"), TF_CPP_MIN_LOG_LEVEL="2")
    done = rehearsed(training, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(each["task"], each["sum"]) for each in training.left("worker")] == [
        (["worker", 0], 3),
        (["worker", 1], 3),
    ]


def test_msrun_is_rehearsed_on_one_node_and_refused_on_several(tmp_path: Path) -> None:
    training = Training(tmp_path, (), "reduced")
    training.engine("MindSpore", installed("mindspore"), MA_RUN_METHOD="msrun", LAUNCHER_PROCESSES="2")
    refused = rehearsed(training, tmp_path)
    assert refused.returncode == 2
    assert "msrun takes each of 2 nodes on one machine for the first" in refused.stderr
    done = rehearsed(training, tmp_path, "--rehearse-nodes", "1")
    assert done.returncode == 0, done.stderr
    assert [(each["rank"], each["size"], each["sum"]) for each in training.left("rank")] == [(0, 2, 1.0), (1, 2, 1.0)]


@pytest.mark.skipif(bool(missing), reason=f"not found: {', '.join(missing)}; make e2e-distributed installs them")
@pytest.mark.parametrize("nodes", [2, 3])
def test_mpirun_reaches_every_node_by_an_sshd_of_its_own_address(tmp_path: Path, nodes: int) -> None:
    training = Training(tmp_path, (), "barrier")
    training.engine("MPI")
    training.environ["LAUNCHER_PROCESSES"] = "2"
    done = rehearsed(training, tmp_path, "--rehearse-nodes", str(nodes))
    assert done.returncode == 0, done.stderr
    size = 2 * nodes
    assert [(each["rank"], each["size"], each["sum"]) for each in training.left("rank")] == [
        (rank, size, sum(range(size))) for rank in range(size)
    ]
    assert [each["env"]["VC_TASK_INDEX"] for each in training.left("rank")] == [str(rank // 2) for rank in range(size)]
