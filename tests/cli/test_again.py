from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Rig

CODE = (
    "import sys; sys.path[:0] = sys.argv[1:]; from launcher.cli.again import again; print(*again('run', '--help')[1:])"
)


OWN = "-P " if sys.version_info >= (3, 11) else ""


@pytest.mark.parametrize(
    ("flags", "same"), [((), OWN), (("-I",), "-I "), (("-S",), f"{OWN}-S "), (("-I", "-S"), "-I -S ")]
)
def test_another_launcher_is_as_deaf_as_this_one(flags: tuple[str, ...], same: str) -> None:
    path = (each for each in sys.path if each)
    argv = (sys.executable, *flags, "-c", CODE, *path)
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == f"{same}-m launcher run --help\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot leave out the working directory")
def test_a_module_in_the_working_directory_does_not_reach_the_nodes_of_a_rehearsal(
    local_rig: Rig, tmp_path: Path
) -> None:
    local_rig.code("print('trained')\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "click.py").write_text("raise RuntimeError('not the click that was meant')\n")
    command = os.path.join(os.path.dirname(sys.executable), "launcher")
    options = ("--rehearse", "--rehearse-nodes", "2", "--no-platform-args")
    argv = (command, *local_rig.argv("run", *options)[3:])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path / "here", timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 2
