"""A boot file's interpreter is asked: real ones, as many as this machine has, and what real pip then does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from launcher.cli.asked import asked
from launcher.cli.interpreter import ask_interpreter, framework_packages, interpreter_of
from launcher.core.facts import Facts
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.text import read_document
from launcher.core.planning import plan
from launcher.core.topology import Topology
from launcher.core.wheels import Wheel, misfit

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.core.interpreter import Interpreter
    from launcher.core.plan import Plan

VERSION = "import platform; print(platform.python_version(), platform.machine())"


def interpreters() -> list[str]:
    """Every Python of this machine that runs; this one is always among them."""
    found = {sys.executable}
    for name in ("python3", *(f"python3.{minor}" for minor in range(6, 16))):
        path = shutil.which(name)
        if path and subprocess.run((path, "-c", ""), check=False, capture_output=True).returncode == 0:
            found.add(path)
    return sorted(found)


def asked_of(path: str, *packages: str) -> Interpreter:
    with asked(dict(os.environ)) as ask:
        return ask_interpreter(ask, path, packages)


@pytest.mark.parametrize("path", interpreters())
def test_an_interpreter_says_what_it_is(path: str) -> None:
    said = subprocess.run((path, "-c", VERSION), check=True, capture_output=True, text=True).stdout.split()
    told = asked_of(path, "pip", "no-such-package")
    assert (told.fault, [told.python, told.machine]) == (None, said)
    assert told.packages.keys() <= {"pip"}
    if "pip" in told.packages:
        assert "py3-none-any" in told.tags


def test_packages_are_told_without_being_imported(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "torch/version.py").write_text("__version__ = '1.8.0'\ncuda = '10.2'\n")
    (tmp_path / "torch-1.8.0.dist-info").mkdir()
    (tmp_path / "torch-1.8.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.8.0\n")
    with asked({**os.environ, "PYTHONPATH": str(tmp_path)}) as ask:
        told = ask_interpreter(ask, sys.executable, ("torch", "tensorflow"))
    assert (told.packages, told.cuda) == ({"torch": "1.8.0"}, "10.2")


def test_what_is_no_interpreter_says_so(tmp_path: Path) -> None:
    assert (asked_of(str(tmp_path / "none")).fault or "").startswith("cannot be started")
    assert (asked_of("/bin/true").fault or "") == "ended with 0 (and said nothing)"
    liar = tmp_path / "liar"
    liar.write_text("#!/bin/sh\necho 'launcher-interpreter: {}'\n")
    liar.chmod(0o755)
    assert asked_of(str(liar)).fault == "gave an answer that makes no sense"


def wheel(folder: Path, tags: str) -> Path:
    """A whole wheel with nothing in it."""
    path = folder / f"empty_package-1.0-{tags}.whl"
    names = "empty_package-1.0.dist-info/{}"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(names.format("METADATA"), "Metadata-Version: 2.1\nName: empty-package\nVersion: 1.0\n")
        file.writestr(names.format("WHEEL"), f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
        file.writestr(names.format("RECORD"), "")
    return path


@pytest.mark.parametrize(
    "tags",
    [
        "py3-none-any",
        "py2-none-any",
        "py2.py3-none-any",
        "cp36-cp36m-linux_aarch64",
        "cp36-abi3-manylinux2014_x86_64.manylinux2014_aarch64",
        f"cp3{sys.version_info.minor}-cp3{sys.version_info.minor}-linux_{os.uname().machine}",
        f"cp3{sys.version_info.minor}-cp3{sys.version_info.minor}-win_amd64",
    ],
)
def test_real_pip_takes_what_its_tags_say(tmp_path: Path, tags: str) -> None:
    told = asked_of(sys.executable)
    path = wheel(tmp_path, tags)
    argv = (sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(tmp_path / "t"))
    done = subprocess.run((*argv, str(path)), capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is (misfit(Wheel(file=path.name), told.tags) is None), done.stderr


def planned(engine: str, index: int = 0, **algorithm: object) -> Plan:
    job = {
        "kind": "job",
        "metadata": {"name": "j", "id": "i"},
        "algorithm": {"engine": {"engine_name": engine, "image_url": "a/b:c"}, **algorithm},
    }
    topology = Topology(count=2, index=index, workers=2, hosts=("a", "b"), master="a")
    facts = Facts(environ=dict(os.environ), host="a", started="t", interpreter=sys.executable, topology=topology)
    return plan(parse_job(read_document(json.dumps(job).encode(), "j.json"), Log()), facts)


@pytest.mark.parametrize(("engine", "index"), [("", 0), ("PyTorch", 1), ("MPI", 0), ("MPI", 1)])
def test_the_interpreter_of_a_plan_is_the_one_that_runs_the_boot_file(engine: str, index: int) -> None:
    found = interpreter_of(planned(engine, index, code_dir="/bucket/code/", boot_file="/bucket/code/a.py"), os.environ)
    assert found is not None
    assert (found.path, found.fault) == (sys.executable, None), "also where mpirun or sshd stands before it"


def test_what_a_command_starts_nobody_knows() -> None:
    assert interpreter_of(planned("", command="python train.py"), os.environ) is None


def test_the_packages_of_the_engine_s_frameworks_are_asked_for() -> None:
    assert "torch" in framework_packages("pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64")
    assert framework_packages(None) == framework_packages("my-image") == ()
