"""What is made ready between staging and training, by real children."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from fake_store import FakeClock, FakeStore, make_code, make_plan

from launcher.adapters.cgroup import Cgroup
from launcher.adapters.process import SystemProcesses
from launcher.core.devices import ONE_CPU
from launcher.core.plan import Process
from launcher.installing import install
from launcher.report import Report
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from launcher.supervise import Desk
from launcher.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from launcher.core.plan import Plan


class Node:
    """A plan, and the desk under which its children run."""

    def __init__(self, folder: Path, processes: SystemProcesses) -> None:
        root = folder / "root"
        self.code = root / "job/code"
        self.code.mkdir(parents=True)
        (root / "log").mkdir()
        path = os.environ.get("PATH", os.defpath)
        boot = Process(rank=0, local_rank=0, argv=(sys.executable, "train.py"), env={"PATH": path}, cwd="/")
        code = make_code(str(root), boot_file=f"{self.code}/train.py")
        self.plan: Plan = msgspec.structs.replace(make_plan(str(root), code=code), processes=(boot,))
        self.processes = processes
        self.log = root / "log/run.log"
        self.world = World(
            store=FakeStore(),
            processes=processes,
            clock=FakeClock(),
            meter=Cgroup(),
            environ={"PATH": path},
            log=LogFile(str(self.log)),
            out=Outlet(1, "stdout"),
            err=Outlet(2, "stderr"),
        )
        self.desk = Desk(processes, self.world.clock, 20)

    def with_plan(self, **changes: object) -> None:
        self.plan = msgspec.structs.replace(self.plan, **changes)

    def install(self) -> Mapping[str, str]:
        return install(self.plan, self.world, Report(self.plan, self.world.clock, ()), self.desk)

    @property
    def cause(self) -> tuple[str, int]:
        outcome = self.desk.outcome()
        assert outcome.cause is not None
        return outcome.cause.code, outcome.exit_code


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with SystemProcesses() as processes:
        made = Node(tmp_path, processes)
        yield made
        made.world.log.close()


ASCEND = msgspec.structs.replace(ONE_CPU, type="Ascend", count=8)


def test_what_the_script_before_the_boot_file_sets_is_for_the_boot_processes(node: Node) -> None:
    (node.code / "ma-pre-start.sh").write_text("export LD_EXTRA=/opt/lib\necho prepared\n")
    node.with_plan(devices=ASCEND)
    assert node.install()["LD_EXTRA"] == "/opt/lib"
    assert node.desk.state.going
    assert "prepared" in node.log.read_text()


def test_a_script_that_fails_ends_the_run(node: Node) -> None:
    (node.code / "ma-pre-start.sh").write_text("echo no driver >&2\nexit 3\n")
    node.with_plan(devices=ASCEND)
    assert (node.install(), node.cause) == ({}, ("prestart-failed", 71))
    assert "no driver" in str(node.desk.outcome().cause)


def test_a_script_that_leaves_no_word_of_its_variables_ends_the_run(node: Node) -> None:
    (node.code / "ma-pre-start.sh").write_text("trap - EXIT\nexit 0\n")
    node.with_plan(devices=ASCEND)
    assert (node.install(), node.cause) == ({}, ("prestart-untold", 71))


def test_nobody_else_runs_such_a_script(node: Node) -> None:
    (node.code / "ma-pre-start.sh").write_text("exit 3\n")
    assert (node.install(), node.desk.state.going) == ({}, True)


def test_packages_that_cannot_be_installed_end_the_run_before_the_script(node: Node) -> None:
    (node.code / "requirements.txt").write_text("./no-such-wheel.whl\n")
    (node.code / "ma-pre-start.sh").write_text("echo prepared\n")
    node.with_plan(devices=ASCEND)
    assert (node.install(), node.cause) == ({}, ("pip-failed", 71))
    assert "prepared" not in node.log.read_text()


def test_the_keys_of_a_node_are_made_in_the_install_phase(node: Node) -> None:
    if not all(map(shutil.which, ("ssh", "ssh-keygen"))):
        pytest.skip("needs OpenSSH")
    node.with_plan(ssh=f"{node.plan.root}/ssh")
    node.install()
    assert node.desk.state.going
    assert {"id_ed25519", "id_ed25519.pub"} <= set(os.listdir(f"{node.plan.root}/ssh"))


def test_a_node_that_cannot_make_its_keys_ends_the_run(node: Node) -> None:
    if not all(map(shutil.which, ("ssh", "ssh-keygen"))):
        pytest.skip("needs OpenSSH")
    (node.code / "a-file").write_text("")
    node.with_plan(ssh=f"{node.code}/a-file/ssh")
    node.install()
    assert node.cause == ("ssh-key", 71)


def test_a_node_without_ssh_says_so(node: Node, tmp_path: Path) -> None:
    if os.access("/usr/bin/ssh-keygen", os.X_OK):
        (tmp_path / "bin").mkdir()
        broken = tmp_path / "bin/ssh-keygen"
        broken.write_text("#!/bin/sh\necho no entropy >&2\nexit 9\n")
        broken.chmod(0o755)
        boot = msgspec.structs.replace(node.plan.processes[0], env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
        node.with_plan(ssh=f"{node.plan.root}/ssh", processes=(boot,))
        node.install()
        assert "ssh-keygen ended with 9): no entropy" in str(node.desk.outcome().cause)
        assert node.cause == ("ssh-key", 71)
        return
    node.with_plan(ssh=f"{node.plan.root}/ssh")
    node.install()
    assert node.cause == ("ssh-missing", 71)
