"""Jobs of several nodes, each a `launcher run` of its own on this machine: together, or ended together."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from ports import free_port
from several import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Rig

TRAINS = """
import os, sys
for each in sys.argv[1:]:
    name, _, folder = each.partition("=")
    if name == "--train_url":
        open(f"{folder}/of-{os.environ['NODE']}", "w").write("weights")
print("trained", flush=True)
"""
WAITS = """
import os, signal, sys
folder = next(each.partition("=")[2] for each in sys.argv[1:] if each.startswith("--train_url="))
def save(*_):
    open(f"{folder}/of-{os.environ['NODE']}", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True:
    signal.pause()
"""
FAILS_ON_1 = f"""
import os, sys
if os.environ["NODE"] == "1":
    sys.stdin = open(os.environ["GO"])
    sys.stdin.read()
    raise KeyError("weights")
{WAITS}
"""


@pytest.fixture
def nodes(local_rig: Rig) -> Iterator[Nodes]:
    local_rig.code(TRAINS)
    with ExitStack() as stack:
        yield Nodes(local_rig, stack)


def test_nodes_start_together_however_late_one_is(nodes: Nodes) -> None:
    os.mkfifo(nodes.rig.folder / "go")
    nodes.rig.code(TRAINS, {"pip-requirements.txt": b""})
    first, second = nodes.start(0), nodes.start(1)
    assert [first.end(), second.end()] == [0, 0], (first.err, second.err)
    ready = max(node.spell("ready")[0] for node in (first, second))
    assert min(node.spell("run")[0] for node in (first, second)) >= ready
    assert nodes.rig.stored() == {"of-0": b"weights", "of-1": b"weights"}
    for node in (first, second):
        assert f"[worker-{node.index}]" in node.err
        assert "All 2 nodes are ready." in node.err
        assert node.run_json["devices"]["count"] == 0


def test_a_node_that_cannot_stage_ends_the_others_before_they_train(nodes: Nodes) -> None:
    occupied = nodes.root("worker-1") / "home/ma-user/modelarts/inputs/data_url_0"
    occupied.parent.mkdir(parents=True)
    occupied.write_text("a file")
    others = [nodes.start(0, 3), nodes.start(2, 3)]
    failed = nodes.start(1, 3)
    assert [node.end() for node in (failed, *others)] == [71, 71, 71], failed.err
    assert failed.cause[0] == "folder-occupied"
    for node in others:
        code, message = node.cause
        assert (code, node.run_json["phase"]) == ("peer-failed", "Failed")
        assert message.startswith("worker-1 failed while staging: ")
        assert "a folder of the job's own was wanted" in message
        assert "run" not in [each["phase"] for each in node.run_json["timeline"]]
        assert node.out == ""


def test_a_node_whose_packages_cannot_be_installed_ends_the_others(nodes: Nodes) -> None:
    nodes.rig.code(TRAINS, {"pip-requirements.txt": b"./no-such-wheel.whl\n"})
    first, second = nodes.start(0), nodes.start(1)
    assert [first.end(), second.end()] == [71, 71]
    assert {first.cause[0], second.cause[0]} <= {"pip-failed", "peer-failed"}


def test_a_boot_process_that_fails_ends_the_others_who_save_what_they_have(nodes: Nodes) -> None:
    nodes.rig.code(FAILS_ON_1)
    os.mkfifo(nodes.rig.folder / "go")
    first, second = nodes.start(0), nodes.start(1)
    assert first.line() == "ready"
    (nodes.rig.folder / "go").write_text("go")
    assert [first.end(), second.end()] == [1, 1], first.err
    code, message = first.cause
    assert code == "peer-failed"
    assert message.startswith("worker-1 failed while training: ")
    assert "KeyError: 'weights'" in second.cause[1]
    assert nodes.rig.stored() == {"of-0": b"saved"}
    assert (first.run_json["phase"], first.run_json["processes"][0]["exit_code"]) == ("Failed", 0)


def test_a_node_that_is_stopped_stops_the_others(nodes: Nodes) -> None:
    nodes.rig.code(WAITS)
    first, second = nodes.start(0), nodes.start(1)
    assert [first.line(), second.line()] == ["ready", "ready"]
    second.process.send_signal(signal.SIGTERM)
    assert [first.end(), second.end()] == [143, 143]
    assert [node.run_json["phase"] for node in (first, second)] == ["Terminated", "Terminated"]
    assert (first.cause, second.cause[0]) == (
        ("peer-stopped", "worker-1 was stopped while training: SIGTERM came."),
        "interrupted",
    )
    assert nodes.rig.stored() == {"of-0": b"saved", "of-1": b"saved"}


def test_nodes_that_are_all_stopped_end_by_their_own_signals(nodes: Nodes) -> None:
    nodes.rig.code(WAITS)
    both = nodes.start(0), nodes.start(1)
    assert [node.line() for node in both] == ["ready", "ready"]
    for node in both:
        node.process.send_signal(signal.SIGTERM)
    assert [node.end() for node in both] == [143, 143]
    assert {node.cause[0] for node in both} <= {"interrupted", "peer-stopped"}


def test_a_node_that_waits_for_the_others_can_be_stopped(nodes: Nodes) -> None:
    first = nodes.start(0)
    assert first.process.stderr is not None
    while "waiting for 1 other nodes" not in (line := first.process.stderr.readline()):
        assert line, "it ended by itself"
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == 143
    assert first.cause[0] == "interrupted"


def test_a_node_may_train_on_when_number_0_is_done_which_waits_for_it(nodes: Nodes) -> None:
    nodes.rig.code("import os\nif os.environ['NODE'] == '1': open(os.environ['GO']).read()\n" + TRAINS)
    os.mkfifo(nodes.rig.folder / "go")
    first, second = nodes.start(0), nodes.start(1)
    assert first.process.stderr is not None
    while "Waiting for the other nodes, which have not ended yet." not in (line := first.process.stderr.readline()):
        assert line, "it ended"
    (nodes.rig.folder / "go").write_text("go")
    assert (first.end(), second.end()) == (0, 0), second.err
    assert nodes.rig.stored() == {"of-0": b"weights", "of-1": b"weights"}


def test_nodes_that_never_come_are_named(nodes: Nodes) -> None:
    there = [nodes.start(index, 4, LAUNCHER_PEERS_TIMEOUT="4") for index in (0, 2)]
    assert [node.end() for node in there] == [71, 71]
    for node in there:
        code, message = node.cause
        assert code == "peers-missing"
        assert message.startswith("worker-1 and worker-3 did not call worker-0 within 4 s")


def test_a_launcher_of_another_job_is_let_in_by_nobody(nodes: Nodes) -> None:
    first = nodes.start(0, LAUNCHER_PEERS_TIMEOUT="4")
    other = nodes.start(1, LAUNCHER_PEERS_TIMEOUT="4", LAUNCHER_NONCE="another secret")
    assert [first.end(), other.end()] == [71, 71]
    assert "worker-1 (is of another job, sees other nodes, or has another LAUNCHER_NONCE)" in first.cause[1]
    assert "has another LAUNCHER_NONCE" in other.cause[1]
    assert "another secret" not in other.err


def test_one_node_loads_nothing_of_this(local_rig: Rig) -> None:
    local_rig.code(TRAINS)
    result = local_rig.run("--env", "NODE=0", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert result.code == 0
    loaded = {line.rpartition("|")[2].strip() for line in result.err.splitlines() if line.startswith("import time:")}
    assert "launcher.job" in loaded
    assert not {name for name in loaded if name.startswith(("launcher.rendezvous", "launcher.core.meeting."))}
    assert not loaded & {"launcher.precheck", "launcher.ssh", "launcher.prestart", "hmac"}


SERVES = """
import json, os, signal, sys
role = json.loads(os.environ["TF_CONFIG"])["task"]["type"]
print(role, flush=True)
if role == "ps":
    while True:
        signal.pause()
if os.environ["NODE"] == "1":
    open(os.environ["GO"]).read()
"""


def test_servers_of_tensorflow_end_well_when_the_workers_are_done(nodes: Nodes) -> None:
    nodes.rig.code(SERVES)
    nodes.rig.algorithm["engine"] = {"engine_name": "TensorFlow", "engine_version": "tensorflow_2.1.0"}
    os.mkfifo(nodes.rig.folder / "go")
    told = {"VC_WORKER_HOSTS": "127.0.0.1,127.0.0.1", "VC_PS_HOSTS": "127.0.0.1", "VC_TASK_INDEX": "0"}
    workers = [nodes.begin(index, {**told, "VC_TASK_INDEX": str(index)}) for index in (0, 1)]
    server = nodes.begin(0, {**told, "MA_TASK_NAME": "ps"}, name="ps-0")
    assert [node.line() for node in (*workers, server)] == ["worker", "worker", "ps"]
    assert server.process.poll() is None
    (nodes.rig.folder / "go").write_text("go")
    assert [node.end() for node in (*workers, server)] == [0, 0, 0], server.err
    assert server.run_json["phase"] == "Completed"
    assert server.run_json["processes"][0]["signal"] == signal.SIGTERM
    assert "[ps-0] Training finished. Exit code 0." in server.err


def test_a_server_that_fails_ends_the_workers(nodes: Nodes) -> None:
    nodes.rig.code(SERVES.replace("while True:\n        signal.pause()", "sys.exit(3)"))
    nodes.rig.algorithm["engine"] = {"engine_name": "TensorFlow", "engine_version": "tensorflow_2.1.0"}
    os.mkfifo(nodes.rig.folder / "go")
    told = {"VC_WORKER_HOSTS": "127.0.0.1,127.0.0.1", "VC_PS_HOSTS": "127.0.0.1"}
    workers = [nodes.begin(index, {**told, "VC_TASK_INDEX": str(index)}) for index in (0, 1)]
    server = nodes.begin(0, {**told, "VC_TASK_INDEX": "0", "MA_TASK_NAME": "ps"}, name="ps-0")
    assert [node.end() for node in (server, workers[1])] == [3, 3]
    assert workers[1].cause[1].startswith("ps-0 failed while training: ")


RANKS = """
import os
import shutil
print("rank", os.environ["OMPI_COMM_WORLD_RANK"], "on", os.environ["VC_TASK_INDEX"], flush=True)
"""


def test_mpirun_reaches_the_other_node_which_ends_well_with_it(nodes: Nodes) -> None:
    missing = [each for each in ("mpirun", "ssh", "ssh-keygen", "/usr/sbin/sshd") if not shutil.which(each)]
    if missing or os.geteuid():
        pytest.skip(f"needs root, OpenMPI and OpenSSH; missing: {missing}")
    nodes.rig.code(RANKS)
    nodes.rig.algorithm["engine"] = {"engine_name": "Horovod", "engine_version": "horovod_0.20.0"}
    port = str(free_port("127.0.0.2"))
    told = {"VC_WORKER_HOSTS": "127.0.0.1,127.0.0.2", "LAUNCHER_PROCESSES": "1", "LAUNCHER_SSH_PORT": port}
    first, second = (nodes.begin(index, {**told, "VC_TASK_INDEX": str(index)}) for index in (0, 1))
    assert [first.end(), second.end()] == [0, 0], (first.err, second.err)
    said = sorted(line.partition("rank ")[2] for line in first.out.splitlines() if "rank " in line)
    assert said == ["0 on 0", "1 on 1"]
