"""A study that this user may not use: which right is missing is told, with the exit code of what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from searchers import policy, study_at

from launcher.adapters.study.faults import barred_from

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
PROGRAM = """
import os, sys
from searchers import policy, study_at
from launcher.core.errors import StudyError
path, own, uid = sys.argv[1:]
with study_at(own) as study:
    study.join(policy())  # all is imported: the interpreter may lie where only root looks
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
with study_at(path) as study:
    try:
        study.join(policy())
    except StudyError as error:
        print(int(error.exit_code), error.code, error, error.action, sep="\\n")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a study, where anybody may look: that of a test is this user's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with study_at(str(folder / "study.db")) as study:
            study.join(policy())
        yield folder
        folder.chmod(0o755)


def told(path: Path, tmp_path: Path) -> list[str]:
    """What somebody is told who has no more rights than the files give."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "own.db"), str(NOBODY)]
    done = subprocess.run(argv, env=env, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def anybodys(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777)


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("study.db", 0o444, "study.db may not be written to"),
        ("study.db", 0o000, "study.db may not be read"),
        ("study.db.lock", 0o444, "study.db.lock may not be written to"),
        (".", 0o555, " may not be written to"),
        (".", 0o666, " may not be entered"),
    ],
)
def test_the_right_that_is_missing_is_named(folder: Path, tmp_path: Path, name: str, mode: int, said: str) -> None:
    anybodys(folder)
    (folder / name).chmod(mode)
    exit_code, code, message, action = told(folder / "study.db", tmp_path)
    assert (exit_code, code) == ("77", "study-denied")
    assert f"{said} by this user" in message
    assert "--storage" in action


def test_a_folder_in_a_folder_of_others_cannot_be_reached(folder: Path, tmp_path: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    folder.chmod(0o600)
    exit_code, code, message, _ = told(inner / "study.db", tmp_path)
    assert (exit_code, code) == ("77", "study-denied")
    assert f"{inner} may not be reached" in message


def test_who_has_all_rights_has_no_word_against_it(folder: Path, tmp_path: Path) -> None:
    assert barred_from(str(folder / "study.db")) is None
    assert barred_from(str(folder / "nowhere" / "study.db")) is None
    anybodys(folder)
    assert told(folder / "study.db", tmp_path) == []


def test_a_file_system_that_is_read_only_is_told_as_that() -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    read_only = [place for _, place, _, options, *_ in mounts if "ro" in options.split(",") and os.path.isdir(place)]
    if not read_only:
        pytest.skip("nothing is mounted read-only here")
    assert barred_from(f"{read_only[0]}/study.db") == f"the file system of {read_only[0]} is read-only"
