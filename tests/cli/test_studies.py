"""How the command line names a study: what is a file, what is refused, and what `--stop` says where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from launcher.cli.options import Request
from launcher.cli.search import command
from launcher.cli.studies import file_of, named, stop_trial
from launcher.core.errors import StudyError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("written", ["/data/study.db", "sqlite:////data/study.db", "SQLITE:////data/study.db"])
def test_a_file_is_named_by_its_path(written: str) -> None:
    assert named(written) == "/data/study.db"


def test_a_relative_file_is_of_the_working_directory() -> None:
    assert named("study.db") == named("sqlite:///study.db") == f"{os.getcwd()}/study.db"


@pytest.mark.parametrize("written", ["postgresql://u:p@h/d", "POSTGRES://h/d"])
def test_a_server_is_no_file(written: str) -> None:
    assert file_of(written) is None
    assert named(written) == written
    assert named(None) is None


@pytest.mark.parametrize(
    "written", [":memory:", "sqlite:///:memory:", "SQLite:///:memory:", "sqlite://study.db", "mysql://h/d", "a?b"]
)
def test_what_is_no_place_for_a_study_is_none_here_either(written: str) -> None:
    with pytest.raises(StudyError) as refused:
        named(written)
    assert (refused.value.code, refused.value.exit_code) == ("study-storage", 65)


def test_what_is_a_file_is_known_without_what_a_search_needs() -> None:
    code = (
        "import sys; from launcher.cli.studies import file_of; file_of('postgresql://h/d'), file_of('x');"
        " print({'sqlalchemy', 'optuna'} & set(sys.modules))"
    )
    assert subprocess.run((sys.executable, "-c", code), capture_output=True, check=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("option", ["storage", "study", "stop"])
def test_an_option_without_a_value_is_refused(option: str) -> None:
    with pytest.raises(click.UsageError, match=f"--{option}: the value is empty; was a shell variable not set"):
        command.main(["job.json", f"--{option}", ""], standalone_mode=False)


@pytest.mark.parametrize("inner", ["study.db", "nowhere/study.db"])
def test_nothing_is_stopped_and_made_where_there_is_no_study(tmp_path: Path, inner: str) -> None:
    path = str(tmp_path / inner)
    with pytest.raises(StudyError, match=f"there is no study at {path}") as refused:
        stop_trial(Request(root=str(tmp_path)), path, "digits", "0" * 8, {})
    assert (refused.value.code, refused.value.exit_code) == ("study-missing", 66)
    assert refused.value.action == "Give --root or --storage as the search has it."
    assert list(tmp_path.iterdir()) == []


def test_the_root_of_another_run_has_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=f"there is no study at {tmp_path}/") as refused:
        stop_trial(Request(root=str(tmp_path)), None, "digits", "0" * 8, {})
    assert refused.value.exit_code == 66
