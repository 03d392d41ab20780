"""Ascend's script before the boot file: run by a real bash or a real Python, as `job` would have it run."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fake_store import make_plan
from msgspec.structs import replace

from launcher.core.devices import Devices
from launcher.core.errors import StageError
from launcher.core.plan import Code, Plan, Process
from launcher.prestart import prestart_environment, prestart_failed, prestart_file, prestart_process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NPUS = Devices(type="Ascend", count=2, cpus=2.0, memory_bytes=None, limits_from="host")


class Node:
    """A staged code folder with a boot file in a folder of it, for two ranks."""

    def __init__(self, root: Path) -> None:
        self.code = root / "code"
        self.beside = self.code / "sub"
        self.beside.mkdir(parents=True)
        self.logs = root / "log"
        self.logs.mkdir()
        plan = make_plan(str(root), code=Code(source=None, path=str(self.code), boot_file=f"{self.beside}/train.py"))
        shared = {"PATH": os.environ["PATH"], "MA_JOB_DIR": "/job", "KEPT": "as it was"}
        ranks = tuple(
            Process(rank=rank, local_rank=rank, argv=("mpirun", "x"), env={**shared, "RANK_ID": str(rank)}, cwd="/")
            for rank in range(2)
        )
        self.plan: Plan = replace(plan, processes=ranks, engine="ascend", interpreter=sys.executable)
        self.environ = {"HOME": "/nowhere", "GONE": "1"}

    def script(self, text: str, name: str = "ma-pre-start.sh") -> str:
        (self.beside / name).write_text(text)
        file = prestart_file(self.plan)
        assert file == f"{self.beside}/{name}"
        return file

    def run(self, text: str, name: str = "ma-pre-start.sh") -> subprocess.CompletedProcess[str]:
        process = prestart_process(self.plan, self.script(text, name))
        env = {**self.environ, **process.env}
        return subprocess.run(
            process.argv, env=env, cwd=process.cwd, capture_output=True, text=True, check=False, timeout=60
        )

    def told(self) -> Mapping[str, str]:
        file = prestart_file(self.plan)
        assert file is not None
        return prestart_environment(self.plan, file, self.environ)

    def left(self) -> list[str]:
        return os.listdir(self.logs)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_the_script_exports_reaches_the_boot_processes(node: Node) -> None:
    done = node.run(
        "export NEW='a  b\nc=d'\nexport KEPT PATH=/ascend/bin:$PATH\nexport EMPTY=\nlocal_only=1\ncd /\n"
        'echo "$MA_JOB_DIR in $OLDPWD"\nf() { :; }\nexport -f f\n'
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"/job in {node.code}\n", "")
    assert node.told() == {"NEW": "a  b\nc=d", "PATH": f"/ascend/bin:{os.environ['PATH']}", "EMPTY": ""}
    assert node.left() == []


def test_a_rank_s_own_variables_are_not_the_script_s(node: Node) -> None:
    done = node.run('echo "${RANK_ID-none}"\n')
    assert done.stdout == "none\n"
    assert node.told() == {}
    node.run("export RANK_ID=99 DEVICE_ID=7 OTHER=1\n")
    assert node.told() == {"OTHER": "1"}, "one value would not fit all ranks"


def test_what_is_no_text_comes_through(node: Node) -> None:
    node.run("export ODD=$'\\xff\\xfe'\n")
    assert node.told() == {"ODD": "\udcff\udcfe"}


@pytest.mark.parametrize("text", ["export A=1\nexit 0\n", "set -eu\nexport A=1\n", "export A=1; return 0\nexit 3\n"])
def test_however_it_ends_well_its_variables_are_there(node: Node, text: str) -> None:
    assert node.run(text).returncode == 0
    assert node.told() == {"A": "1"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("export A=1\nexit 3\n", 3),
        ("set -e\nfalse\necho never\n", 1),
        ("false\n", 1),
        ("no-such-program\n", 127),
        ("if\n", 2),
        ("kill -KILL $$\n", -9),
    ],
)
def test_a_script_that_fails_leaves_nothing(node: Node, text: str, code: int) -> None:
    done = node.run(text)
    assert (done.returncode, node.left()) == (code, [])
    assert "never" not in done.stdout


def test_the_script_knows_its_own_name_and_has_no_arguments(node: Node) -> None:
    done = node.run('echo "$0 ${BASH_SOURCE[0]} $#"\n')
    file = f"{node.beside}/ma-pre-start.sh"
    assert done.stdout == f"{file} {file} 0\n"


def test_a_variable_that_is_taken_away_is_told(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.run("unset GONE KEPT\n")
    with caplog.at_level(logging.WARNING, logger="launcher"):
        assert node.told() == {}
    assert "ma-pre-start.sh unset GONE, KEPT, which the boot file still has" in caplog.text


def test_what_it_left_is_for_its_owner_alone(node: Node) -> None:
    node.run("umask 000\nexport KEY=secret\n")
    (left,) = node.logs.iterdir()
    assert stat.S_IMODE(left.stat().st_mode) == 0o600


def test_what_an_attempt_left_that_was_killed_is_not_taken_for_this_one(node: Node) -> None:
    (node.logs / ".launcher-pre-start").write_text("OLD=1\0")
    assert node.run("export A=1\n").returncode == 0
    assert node.told() == {"A": "1"}


def test_a_link_in_its_place_is_not_written_through(node: Node, tmp_path: Path) -> None:
    done = node.run(f"ln -s {tmp_path}/elsewhere {node.logs}/.launcher-pre-start\n")
    assert done.returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_script_that_ends_without_its_variables_is_a_failure_of_the_node(node: Node) -> None:
    assert node.run("trap 'echo mine' EXIT\nexit 0\n").returncode == 0
    with pytest.raises(StageError, match="ended well, and left no word") as error:
        node.told()
    assert error.value.exit_code == 71


def test_a_python_that_the_script_breaks_for_the_job_still_tells(node: Node) -> None:
    assert node.run("export PYTHONHOME=/nowhere PYTHONPATH=/nowhere PATH=/nowhere\n").returncode == 0
    assert node.told() == {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PATH": "/nowhere"}


def test_a_python_script_runs_under_the_boot_file_s_interpreter(node: Node) -> None:
    text = "import os, sys\nos.environ['A'] = '1'\nprint(sys.executable, os.getcwd(), os.environ['MA_JOB_DIR'])\n"
    done = node.run(text, "ma-pre-start.py")
    assert done.stdout == f"{sys.executable} {node.code} /job\n"
    assert node.told() == {}


def test_where_both_are_there_the_shell_script_is_run(node: Node) -> None:
    node.script("", "ma-pre-start.py")
    node.script("")


def test_only_jobs_of_ascend_have_one(node: Node) -> None:
    file = node.script("")
    assert prestart_file(replace(node.plan, engine="msrun", devices=NPUS)) == file
    assert prestart_file(replace(node.plan, engine="torchrun")) is None
    assert prestart_file(replace(node.plan, code=None)) is None
    (node.beside / "ma-pre-start.sh").unlink()
    (node.code / "ma-pre-start.sh").write_text("not beside the boot file")
    (node.beside / "ma-pre-start.py").mkdir()
    assert prestart_file(node.plan) is None


def test_a_failure_names_the_script_and_its_last_line() -> None:
    error = prestart_failed("/code/ma-pre-start.sh", 3, "no such driver")
    assert str(error) == "ma-pre-start.sh failed (it ended with 3): no such driver"
    assert error.exit_code == 71
