"""Where a study lies: how it is written, what is no study, what is waited for, and that no password is ever told."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy.exc
from ports import free_port
from searchers import ME, policy, study_at

from launcher.adapters.study import open_study
from launcher.adapters.study.addresses import address
from launcher.adapters.study.faults import Patience, passing, said
from launcher.adapters.study.sameness import difference
from launcher.core.errors import StudyError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "not-for-anyones-eyes"


@pytest.mark.parametrize(
    "written", ["{}/study.db", "sqlite:///{}/study.db", "{}/with space.db", "{}/with {{braces}} % and #.db"]
)
def test_a_study_lies_in_a_file_however_its_path_is_written(tmp_path: Path, written: str) -> None:
    with study_at(written.format(tmp_path)) as study:
        study.join(policy())
    (found,) = tmp_path.glob("*.db")
    assert found.read_bytes().startswith(b"SQLite format 3")


def test_a_relative_path_is_of_the_working_directory() -> None:
    assert address("study.db").path == os.path.abspath("study.db")
    assert address("sqlite:///study.db").path == os.path.abspath("study.db")
    assert address("sqlite:////data/study.db").path == "/data/study.db"
    assert address("SQLite:////data/study.db").path == "/data/study.db"
    assert address("/data/a://b.db").path == "/data/a:/b.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_server_is_shown_without_its_password(scheme: str) -> None:
    found = address(f"{scheme}://me:{SECRET}@db.example:5433/trials?sslmode=require&password={SECRET}")
    assert found.url.startswith(f"postgresql+psycopg://me:{SECRET}@db.example:5433/trials")
    assert found.shown == "postgresql://db.example:5433/trials"
    assert found.path is None
    assert address("postgresql:///trials?host=/run/postgresql").shown == "postgresql:///run/postgresql/trials"


@pytest.mark.parametrize(
    "written",
    [
        f"mysql://me:{SECRET}@db/trials",
        f"postgresql+psycopg2://me:{SECRET}@db/trials",
        f"postgresql://me:{SECRET}@db:port/trials",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "SQLITE:///:memory:",
        ":memory:",
        "sqlite://study.db",
        "sqlite://:memory:",
        "sqlite:////data/study.db?mode=ro",
        "",
    ],
)
def test_what_is_no_place_for_a_study_is_refused_by_name(written: str) -> None:
    with pytest.raises(StudyError) as refused:
        open_study(written, "digits", ME)
    assert refused.value.exit_code == 65
    assert SECRET not in str(refused.value)


def test_a_file_with_two_strokes_is_told_how_it_is_written() -> None:
    with pytest.raises(StudyError, match=r"write sqlite:///study\.db"):
        address("sqlite://study.db")


@pytest.mark.parametrize("scheme", ["POSTGRES", "PostgreSQL"])
def test_the_case_of_a_scheme_does_not_matter(scheme: str) -> None:
    assert address(f"{scheme}://db.example/trials").shown == "postgresql://db.example/trials"


@pytest.mark.parametrize("name", ["", "  ", "x" * 513])
def test_a_study_has_a_name_that_a_database_can_keep(name: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="1 to 512 characters"):
        open_study(str(tmp_path / "study.db"), name, ME)


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(b"accuracy,loss\n" * 1000)
    with study_at(str(path)) as study, pytest.raises(StudyError, match="is not a database") as refused:
        study.join(policy())
    assert (refused.value.code, refused.value.exit_code) == ("study-unreadable", 65)
    assert path.read_bytes() == b"accuracy,loss\n" * 1000


def test_a_database_of_something_else_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photographs (id INTEGER)")
    before = path.read_bytes()
    with study_at(str(path)) as study, pytest.raises(StudyError, match="something else: it has the tables photographs"):
        study.join(policy())
    assert path.read_bytes() == before


def test_the_tables_of_another_optuna_are_told(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with study_at(str(path)) as study:
        study.join(policy())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.commit()
    with study_at(str(path)) as study, pytest.raises(StudyError, match="another Optuna's"):
        study.join(policy())


def test_tables_that_only_bear_the_names_are_told(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        for table in ("studies", "trials", "version_info"):
            connection.execute(f"CREATE TABLE {table} (of_mine INTEGER)")
    with study_at(str(path)) as study, pytest.raises(StudyError, match="no such column") as refused:
        study.join(policy())
    assert refused.value.code == "study-unreadable"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        study_at(str(tmp_path / "nowhere" / "study.db")) as study,
        pytest.raises(StudyError, match="nowhere") as refused,
    ):
        study.join(policy())
    assert refused.value.code == "study-unreadable"


def test_a_file_that_somebody_holds_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "study.db")
    with study_at(path) as study:
        study.join(policy())
    holder = sqlite3.connect(path, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.5, holder.rollback)
    timer.start()
    with study_at(path) as study:
        study.join(policy())
        trial = study.claim("0")
    timer.join()
    holder.close()
    assert trial is not None


def test_a_lock_that_is_not_given_back_is_told_once_patience_is_over(tmp_path: Path) -> None:
    path = str(tmp_path / "study.db")
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with study_at(path, patience=0.0) as study, pytest.raises(StudyError, match=r"holds .*study\.db\.lock") as told:
            study.join(policy())
    assert (told.value.code, told.value.exit_code) == ("study-unreachable", 69)


def test_a_server_that_is_not_there_is_waited_for_and_told_without_its_password() -> None:
    notes: list[str] = []
    written = f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/trials"
    with study_at(written, patience=0.5, note=notes.append) as study, pytest.raises(StudyError) as told:
        study.join(policy())
    assert (told.value.code, told.value.exit_code) == ("study-unreachable", 69)
    assert len(notes) == 1
    for text in (str(told.value), told.value.action, *notes):
        assert SECRET not in text
    assert "127.0.0.1" in str(told.value)
    assert "refused" in str(told.value)


def test_a_wish_to_stop_ends_the_waiting() -> None:
    asked = threading.Event()
    asked.set()
    written = f"postgresql://127.0.0.1:{free_port()}/trials"
    with study_at(written, patience=1000.0, stopped=asked.is_set) as study, pytest.raises(StudyError, match="for 5 s"):
        study.join(policy())


def fault(kind: type[sqlalchemy.exc.DBAPIError], cause: Exception) -> sqlalchemy.exc.DBAPIError:
    return kind("SELECT secrets", {}, cause)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (fault(sqlalchemy.exc.OperationalError, psycopg.OperationalError("server closed the connection")), True),
        (fault(sqlalchemy.exc.InterfaceError, psycopg.InterfaceError("the connection is closed")), True),
        (fault(sqlalchemy.exc.OperationalError, psycopg.errors.AdminShutdown("terminating connection")), True),
        (fault(sqlalchemy.exc.OperationalError, psycopg.errors.DeadlockDetected("deadlock")), True),
        (fault(sqlalchemy.exc.OperationalError, psycopg.errors.TooManyConnections("too many clients")), True),
        (fault(sqlalchemy.exc.OperationalError, sqlite3.OperationalError("database is locked")), True),
        (sqlite3.OperationalError("database is locked"), True),
        (sqlalchemy.exc.TimeoutError("pool"), True),
        (fault(sqlalchemy.exc.OperationalError, psycopg.OperationalError('FATAL: role "me" does not exist')), False),
        (fault(sqlalchemy.exc.OperationalError, psycopg.OperationalError("password authentication failed")), False),
        (fault(sqlalchemy.exc.ProgrammingError, psycopg.errors.UndefinedTable("no table")), False),
        (fault(sqlalchemy.exc.ProgrammingError, psycopg.errors.InsufficientPrivilege("permission denied")), False),
        (fault(sqlalchemy.exc.OperationalError, sqlite3.OperationalError("database or disk is full")), False),
        (sqlalchemy.exc.NoSuchModuleError("x"), False),
        (OSError(13, "Permission denied"), False),
    ],
)
def test_what_passes_by_itself_is_told_from_what_does_not(error: Exception, *, passes: bool) -> None:
    assert passing(error) is passes
    assert "SELECT" not in said(error)


def test_what_a_database_says_is_one_line_of_some_length() -> None:
    told = said(fault(sqlalchemy.exc.OperationalError, psycopg.OperationalError("connection\n  failed " + "x" * 999)))
    assert told.startswith("connection failed xxx")
    assert len(told) <= 301


def test_a_fault_that_passes_is_told_when_it_comes_and_when_it_went() -> None:
    notes: list[str] = []
    left = iter([fault(sqlalchemy.exc.OperationalError, psycopg.OperationalError("gone"))] * 2)

    def act() -> str:
        for error in left:
            raise error
        return "done"

    patience = Patience("db.example", 60.0, lambda: False, notes.append, file=False)
    assert patience.calm(60)
    assert patience.with_(act) == "done"
    assert not patience.calm(60)
    assert [note.rpartition(", ")[2].split(" ")[0] for note in notes] == ["does", "answers"]


def test_the_first_difference_is_told_where_it_is() -> None:
    assert difference({"a": [1]}, {"a": [1]}) is None
    assert difference({"a": 1}, {}) == "a is 1 here and not there there"
    assert difference({"a": [1, 2]}, {"a": [1]}) == "a is [1,2] here and [1] there"
