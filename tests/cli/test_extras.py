"""What is advised where a search's libraries are missing: pip, but not where pip cannot reach the launcher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SEARCH = """
import sys
sys.path[:0] = sys.argv[1].split(":")
sys.modules["optuna"] = None  # as where it is not installed
sys.argv[:] = ["launcher", *sys.argv[2:]]
from launcher.__main__ import main
main()
"""
STUDY = """
import sys
sys.path[:0] = sys.argv[1].split(":")
sys.modules["optuna"] = None
from launcher.adapters.study import open_study
from launcher.core.errors import StudyError
try:
    open_study("study.db", "digits", None)
except StudyError as error:
    print(error, error.action)
"""
PIP, BUNDLE = "pip install 'modelarts-launcher[search]'", "images/build bundle"


def told(code: str, *arguments: str, bundled: bool) -> subprocess.CompletedProcess[str]:
    path = ":".join((str(ROOT), *(each for each in sys.path if each)))
    flags = ("-I", "-S") if bundled else ()
    argv = (sys.executable, *flags, "-c", code, path, *arguments)
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("bundled", [False, True])
def test_a_search_without_its_libraries_says_what_can_be_done_about_it(tmp_path: Path, *, bundled: bool) -> None:
    (tmp_path / "store").mkdir()
    job = str(ROOT / "examples" / "digits" / "search.json")
    where = ("--store", str(tmp_path / "store"), "--root", str(tmp_path / "root"))
    done = told(SEARCH, "run", job, *where, bundled=bundled)
    assert done.returncode == 71, done.stderr
    assert "a search needs what is not installed here: optuna" in done.stderr
    assert (PIP in done.stderr, BUNDLE in done.stderr) == (not bundled, bundled)


@pytest.mark.parametrize("bundled", [False, True])
def test_a_study_without_its_libraries_says_the_same(*, bundled: bool) -> None:
    done = told(STUDY, bundled=bundled)
    assert "an auto search needs optuna.exceptions, which is not installed" in done.stdout, done.stderr
    assert (PIP in done.stdout, BUNDLE in done.stdout) == (not bundled, bundled)
