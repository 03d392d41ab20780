from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from launcher import ssh
from launcher.core.complete import Overrides, complete
from launcher.core.engines.mpi import AUTHORIZED, KEY, KNOWN, SSHD
from launcher.core.errors import BootError
from launcher.core.facts import Facts
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.text import read_document
from launcher.core.planning import plan
from launcher.core.settings import Settings
from launcher.core.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from launcher.core.plan import Plan

HOSTS = ("127.0.0.1", "127.0.0.2")
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
TOLD = """
import json, os, sys
names = ("OMPI_COMM_WORLD_RANK", "VC_TASK_INDEX", "CUDA_VISIBLE_DEVICES", "MINE")
print(json.dumps([{name: os.environ.get(name) for name in names}, sys.argv[1:]]))
"""
needs_ssh = pytest.mark.skipif(
    not (shutil.which("ssh") and shutil.which("ssh-keygen") and os.access(SSHD, os.X_OK)),
    reason="needs OpenSSH's client and server",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def environ(index: int) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "CUDA_VISIBLE_DEVICES": f'a "{index}", b'}


def node(folder: Path, index: int, port: int, processes: int = 1) -> Plan:
    """The plan of one node of two; both are this machine."""
    document = {
        "kind": "job",
        "metadata": {"name": "j", "id": "i-1"},
        "algorithm": {
            "code_dir": f"file://{folder}/code",
            "boot_file": f"file://{folder}/code/train.py",
            "engine": {"engine_name": "MPI"},
            "parameters": [{"name": "title", "value": "two words"}],
            "environments": {"MINE": "sesame open"},
        },
    }
    job = complete(parse_job(read_document(json.dumps(document).encode(), "j"), Log()), None, Overrides()).job
    facts = Facts(
        environ=environ(index),
        host=HOSTS[index],
        started="t",
        root=str(folder / "root"),
        interpreter=sys.executable,
        settings=Settings(ssh_port=port, processes=processes),
        topology=Topology(count=2, index=index, workers=2, hosts=HOSTS, master=HOSTS[0]),
    )
    return plan(job, facts)


def ready(each: Plan) -> str:
    """Make the node's folders, documents and keys as a run does; its offer."""
    for path in each.folders:
        os.makedirs(path, exist_ok=True)
    for document in each.documents:
        with open(document.path, "w") as file:
            file.write(document.text)
    made = ssh.keygen_process(each)
    subprocess.run(made.argv, env=environ(0), cwd=made.cwd, check=True, stdin=subprocess.DEVNULL)
    return ssh.offer(each)


@contextmanager
def serving(each: Plan) -> Iterator[subprocess.Popen[str]]:
    """The node's own sshd, listening."""
    (process,) = each.processes
    env = {**environ(each.node.index), **process.env}
    server = subprocess.Popen(process.argv, env=env, cwd="/", stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        assert "Server listening" in server.stderr.readline()
        yield server
    finally:
        server.terminate()
        server.communicate()


def reached(each: Plan, key: str | None = None, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """What ssh says when worker-0 asks a node for its environment."""
    identity = () if key is None else ("-o", f"IdentityFile={key}")
    argv = ("ssh", *identity, *options, "-F", f"{each.ssh}/ssh_config", HOSTS[1], "env")
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Plan, Plan]:
    """Two nodes that know each other."""
    port = free_port()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(TOLD)
    first, second = (node(tmp_path, index, port, processes=2) for index in (0, 1))
    offers = {0: ready(first), 1: ready(second)}
    for each in (first, second):
        ssh.admit(each, offers)
    return first, second


@needs_ssh
def test_worker_0_is_let_in_and_gets_the_nodes_own_variables(nodes: tuple[Plan, Plan]) -> None:
    first, second = nodes
    with serving(second):
        answer = reached(first)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    instance = "MA_CURRENT_INSTANCE_NAME=modelarts-job-i-1-worker-1"
    assert {"VC_TASK_INDEX=1", 'CUDA_VISIBLE_DEVICES=a "1", b', instance} <= {*lines}
    assert not [line for line in lines if "sesame" in line]


@needs_ssh
def test_nobody_else_is_let_in(nodes: tuple[Plan, Plan], tmp_path: Path) -> None:
    first, second = nodes
    foreign = str(tmp_path / "foreign")
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", foreign), check=True)
    with serving(second):
        # -o comes before the file, of which the first word on a matter counts: the file's key would be tried as well
        os.rename(f"{first.ssh}/{KEY}", f"{first.ssh}/gone")
        refused = reached(first, foreign)
        own = reached(first, f"{second.ssh}/{KEY}")
        asked = reached(first, foreign, ("-o", "PreferredAuthentications=password,keyboard-interactive,none"))
    for each in (refused, own, asked):
        assert (each.returncode, each.stdout) == (255, "")
        assert "Permission denied (publickey)" in each.stderr


@needs_ssh
def test_a_node_that_is_not_the_one_it_says_is_not_believed(nodes: tuple[Plan, Plan]) -> None:
    first, second = nodes
    ssh.admit(first, {0: ssh.offer(first), 1: OTHER})
    with serving(second):
        answer = reached(first)
    assert answer.returncode == 255
    assert "Host key verification failed" in answer.stderr


@needs_ssh
def test_a_node_that_does_not_listen_yet_is_tried_again(nodes: tuple[Plan, Plan]) -> None:
    first, second = nodes
    argv = ("ssh", "-v", "-F", f"{first.ssh}/ssh_config", HOSTS[1], "true")
    asking = subprocess.Popen(argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert asking.stderr is not None
    assert any("Connection refused" in line for line in asking.stderr)
    with serving(second):
        asking.communicate()
    assert asking.returncode == 0


@needs_ssh
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs OpenMPI")
def test_mpirun_starts_the_processes_of_another_node(nodes: tuple[Plan, Plan]) -> None:
    first, second = nodes
    (process,) = first.processes
    with serving(second):
        ended = subprocess.run(
            process.argv,
            env={**environ(0), **process.env},
            cwd=process.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    told = [json.loads(line.partition("<stdout>:")[2]) for line in ended.stdout.splitlines()]
    told.sort(key=lambda each: int(each[0]["OMPI_COMM_WORLD_RANK"]))
    assert told == [
        [
            {
                "OMPI_COMM_WORLD_RANK": str(rank),
                "VC_TASK_INDEX": str(rank // 2),
                "CUDA_VISIBLE_DEVICES": f'a "{rank // 2}", b',
                "MINE": "sesame open",
            },
            ["--title=two words"],
        ]
        for rank in range(4)
    ]
    logs = f"{first.files.log.rpartition('/')[0]}/mpi/1"
    assert sorted(os.listdir(logs)) == [f"rank.{rank}" for rank in range(4)]


@needs_ssh
def test_keys_are_this_users_alone_and_made_anew(nodes: tuple[Plan, Plan]) -> None:
    first, second = nodes
    assert second.ssh is not None
    modes = {name: os.stat(f"{second.ssh}/{name}").st_mode & 0o777 for name in (KEY, AUTHORIZED, KNOWN)}
    assert set(modes.values()) == {0o600}
    assert os.stat(second.ssh).st_mode & 0o777 == 0o700
    before = ssh.offer(second)
    assert ready(second) != before
    assert not os.path.exists(f"{second.ssh}/{AUTHORIZED}")
    ssh.admit(second, {0: ssh.offer(first), 1: ssh.offer(second)})


def lists(each: Plan) -> tuple[str, str]:
    """Who is let in, and who is known."""
    with open(f"{each.ssh}/{AUTHORIZED}") as authorized, open(f"{each.ssh}/{KNOWN}") as known:
        return authorized.read(), known.read()


def with_folder(tmp_path: Path, index: int = 1, port: int = 2222) -> Plan:
    each = node(tmp_path, index, port)
    assert each.ssh is not None
    os.makedirs(each.ssh)
    return each


def test_worker_0_alone_is_let_in_and_all_are_known(tmp_path: Path) -> None:
    each = with_folder(tmp_path)
    first, second = OTHER, OTHER.replace("B", "C")
    ssh.admit(each, {1: second, 0: first})
    authorized, known = lists(each)
    assert authorized.startswith('restrict,environment="CUDA_VISIBLE_DEVICES=a \\"1\\", b",')
    assert f'environment="PATH={environ(1)["PATH"]}"' in authorized
    assert authorized.endswith(f" {first}\n")
    assert known == f"[127.0.0.1]:2222 {first}\n[127.0.0.2]:2222 {second}\n"


def test_the_usual_port_is_not_written(tmp_path: Path) -> None:
    each = with_folder(tmp_path, index=0, port=22)
    ssh.admit(each, {0: OTHER, 1: OTHER})
    assert lists(each)[1] == f"127.0.0.1 {OTHER}\n127.0.0.2 {OTHER}\n"


def test_a_variable_that_sshd_would_misread_is_left_out(tmp_path: Path) -> None:
    each = with_folder(tmp_path)
    env = {"HOSTNAME": "two\nlines", "TMPDIR": "a\\", "PATH": "/bin"}
    odd = replace(each, processes=(replace(each.processes[0], env=env),))
    ssh.admit(odd, {0: OTHER, 1: OTHER})
    assert lists(odd)[0] == f'restrict,environment="PATH=/bin" {OTHER}\n'


HOSTILE = (
    "",
    "ssh-ed25519",
    f"{OTHER}\n{OTHER}",
    f"{OTHER}\n",
    f'command="true" {OTHER}',
    f"{OTHER} comment",
    OTHER.replace("ed25519", "rsa"),
    OTHER[:-1],
    f"{OTHER}=",
    OTHER.replace(" ", "\t"),
    OTHER.replace("B", "é"),
    "A" * 100_000,
)


@pytest.mark.parametrize("offer", HOSTILE)
def test_an_offer_that_is_no_key_is_refused(tmp_path: Path, offer: str) -> None:
    each = with_folder(tmp_path)
    with pytest.raises(BootError, match="node 1 has shown") as error:
        ssh.admit(each, {0: OTHER, 1: offer})
    assert error.value.exit_code == 71
    assert os.listdir(str(each.ssh)) == []


def test_a_node_that_has_shown_no_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="nodes 1 have shown no public key"):
        ssh.admit(with_folder(tmp_path), {0: OTHER})


@pytest.mark.parametrize("text", [None, "", "ssh-rsa AAAA x", "\xff\xfe"])
def test_a_key_that_was_not_made_is_told(tmp_path: Path, text: str | None) -> None:
    each = with_folder(tmp_path)
    if text is not None:
        with open(f"{each.ssh}/{KEY}.pub", "w") as file:
            file.write(text)
    with pytest.raises(BootError, match=r"id_ed25519\.pub") as error:
        ssh.offer(each)
    assert error.value.exit_code == 71


@needs_ssh
def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    first, second = (node(tmp_path, index, 2222) for index in (0, 1))
    (tmp_path / "bin" / "ssh-keygen").symlink_to("/bin/true")
    os.makedirs(tmp_path / "root")
    elsewhere = replace(second.processes[0], argv=("/nowhere/sshd", "-D"))
    with pytest.raises(BootError, match="/nowhere/sshd is not on this node") as error:
        ssh.keygen_process(replace(second, processes=(elsewhere,)))
    assert (error.value.exit_code, "openssh" in error.value.action) == (71, True)
    assert ssh.keygen_process(first).argv[0].endswith("/ssh-keygen")


@needs_ssh
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    each = node(tmp_path, 0, 2222)
    (tmp_path / "root").write_text("a file")
    with pytest.raises(BootError, match="cannot be made ready") as made:
        ssh.keygen_process(each)
    with pytest.raises(BootError, match="cannot be written") as admitted:
        ssh.admit(each, {0: OTHER, 1: OTHER})
    assert made.value.exit_code == admitted.value.exit_code == 71


def test_a_plan_without_a_folder_for_keys_makes_none(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="no folder for keys"):
        ssh.keygen_process(replace(node(tmp_path, 0, 2222), ssh=None))
