"""A study that is not as a search wrote it: told in a sentence, never believed, and never taken for a defect.

It may come from a bucket that others write to. What it holds becomes the names of files and the arguments of programs.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from searchers import ME, finished, policy, study_at

from launcher.adapters.study.rows import MOST_TEXT
from launcher.core.errors import StudyError
from launcher.core.search import Ending, Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEXT = Owner(worker="worker-1", boot="here", pid=2, start=2)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A study of two finished trials, one that failed and one that runs."""
    folder = tmp_path_factory.mktemp("good")
    with study_at(str(folder / "study.db")) as study:
        study.join(policy())
        finished(study, 2)
        failed = study.claim("0")
        assert failed is not None
        assert study.report(failed, 1, 0.5) is False
        assert study.finish(failed, Ending(state="FAIL", verdict="boot", why="no", metrics={"loss": "0.1"}))
        assert study.claim("0") is not None
        assert study.copy(str(folder / "copy.db"))
    return (folder / "copy.db").read_bytes()


@pytest.fixture
def path(good: bytes, tmp_path: Path) -> Path:
    place = tmp_path / "study.db"
    place.write_bytes(good)
    return place


def damage(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def change(path: Path, key: str, change: Callable[[Any], Any]) -> None:
    """Change what the trials say under a key."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT trial_user_attribute_id, value_json FROM trial_user_attributes WHERE key = ?", (key,)
        ).fetchall()
        assert found
        for number, text in found:
            new = (json.dumps(change(json.loads(text))), number)
            connection.execute("UPDATE trial_user_attributes SET value_json = ? WHERE trial_user_attribute_id = ?", new)
        connection.commit()


def refusal(path: Path, doing: str = "claim") -> StudyError:
    """What a search says that takes part in it, or a user who looks at it."""

    def act() -> None:
        if doing == "stop":
            study.stop("0" * 8)
        if doing == "trials":
            study.trials()
        study.join(policy())
        study.claim("0")

    with study_at(str(path), owner=NEXT, alive=lambda _owner: True) as study, pytest.raises(StudyError) as refused:
        act()
    return refused.value


def assert_told(told: StudyError, path: Path) -> None:
    assert (told.code, told.exit_code) == ("study-unreadable", 65)
    assert str(told).startswith(f"{path} is no study of a search: ")
    assert "remove it there" in told.action
    assert str(told).isprintable()
    assert len(str(told)) < 600 + len(str(path))


ABOUT: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("a path as an id", {"id": "../../tmp/x"}, "trial.id"),
    ("an id of eight that leaves the folder", {"id": "../../ab"}, "trial.id"),
    ("an id of capitals", {"id": "0123ABCD"}, "trial.id"),
    ("an id with a line's end", {"id": "0123abcd\n"}, "trial.id"),
    ("an id of markup", {"id": "\x1b]0;pwn\x07<script>"}, "trial.id"),
    ("an id that is a number", {"id": 12345678}, "trial.id"),
    ("a slot that is a text", {"slot": "x"}, "trial.slot"),
    ("a slot below all", {"slot": -1}, "trial.slot"),
    ("a slot beyond all", {"slot": 10**6 + 1}, "trial.slot"),
    ("a slot in part", {"slot": 0.5}, "trial.slot"),
    ("a slot that is true", {"slot": True}, "trial.slot"),
    ("a draw beyond all", {"draw": 10**400}, "trial.draw"),
    ("a time that is a text", {"started": "abc"}, "trial.started"),
    ("a time that is no number", {"started": float("nan")}, "trial.started"),
    ("a time without end", {"started": float("inf")}, "trial.started"),
    ("a time that is no date", {"started": 1e300}, "trial.started"),
    ("an owner that is none", {"owner": None}, "trial.owner"),
    ("a worker of any length", {"owner": {"worker": "x" * 256, "boot": "", "pid": 1, "start": 1}}, "owner.worker"),
    ("a worker's process that is none", {"owner": {"worker": "x", "boot": "", "pid": "1", "start": 1}}, "owner.pid"),
)


@pytest.mark.parametrize("doing", ["claim", "trials", "stop"])
@pytest.mark.parametrize(("words", "where"), [row[1:] for row in ABOUT], ids=[row[0] for row in ABOUT])
def test_what_a_trial_says_of_itself_is_believed_only_as_a_search_says_it(
    path: Path, words: dict[str, Any], where: str, doing: str
) -> None:
    change(path, "launcher:trial", lambda about: {**about, **words})
    told = refusal(path, doing)
    assert_told(told, path)
    assert f"{where}`" in str(told)
    assert "trial " in str(told).partition("search: ")[2]


@pytest.mark.parametrize("missing", ["id", "slot", "draw", "started", "owner"])
def test_a_trial_that_leaves_out_what_all_say_is_refused(path: Path, missing: str) -> None:
    change(path, "launcher:trial", lambda about: {name: about[name] for name in about if name != missing})
    told = refusal(path)
    assert_told(told, path)
    assert missing in str(told)


ENDINGS: tuple[tuple[str, Any], ...] = (
    ("a list", [1, 2]),
    ("a number", 7),
    ("a why that is a number", {"why": 7}),
    ("a why of any length", {"why": "x" * (MOST_TEXT + 1)}),
    ("a time that is a text", {"at": "x"}),
    ("a verdict of its own", {"verdict": "\x1b[2Jwon"}),
    ("metrics that are numbers", {"metrics": {"acc": 5}}),
    ("metrics of any length", {"metrics": {"acc": "x" * (MOST_TEXT + 1)}}),
    ("metrics of any name", {"metrics": {"x" * (MOST_TEXT + 1): ""}}),
    ("metrics in any number", {"metrics": {str(index): "" for index in range(1001)}}),
    ("less than nothing unread", {"unread": -1}),
)


@pytest.mark.parametrize("ending", [row[1] for row in ENDINGS], ids=[row[0] for row in ENDINGS])
def test_how_a_trial_ended_is_believed_only_as_a_search_says_it(path: Path, ending: Any) -> None:
    change(path, "launcher:ending", lambda kept: {**kept, **ending} if isinstance(ending, dict) else ending)
    assert_told(refusal(path), path)
    assert_told(refusal(path, "trials"), path)


@pytest.mark.parametrize(("key", "value"), [("pid", '"x"'), ("pid", "-1"), ("lost", "[1]"), ("stop", '"yes"')])
def test_what_is_noted_of_a_trial_meanwhile_is_no_other(path: Path, key: str, value: str) -> None:
    damage(
        path,
        "INSERT INTO trial_user_attributes (trial_id, key, value_json)"
        f" SELECT trial_id, 'launcher:{key}', '{value}' FROM trials",
    )
    assert f"launcher:{key}" in str(refusal(path))


PARAM = "UPDATE trial_params SET "
STATEMENTS: tuple[tuple[str, str, str], ...] = (
    ("a number above its bounds", f"{PARAM} param_value = 55 WHERE param_name = 'lr'", "its lr 55.0 is not from 1e-05"),
    ("a number below its bounds", f"{PARAM} param_value = 0 WHERE param_name = 'layers'", "its layers 0 is not from 1"),
    ("a choice that is none", f"{PARAM} param_value = 7 WHERE param_name = 'optimizer'", "IndexError"),
    (
        "a choice of another search",
        PARAM + """distribution_json = '{"name": "CategoricalDistribution", "attributes": {"choices": ["r", "m"]}}'"""
        " WHERE param_name = 'optimizer'",
        "is none of its choices",
    ),
    (
        "part of a whole number",
        PARAM + """param_value = 2.5, distribution_json = '{"name": "FloatDistribution", "attributes":"""
        """ {"low": 1.0, "high": 8.0, "log": false, "step": null}}' WHERE param_name = 'layers'""",
        "its layers 2.5 is no int",
    ),
    (
        "a value that is a list",
        PARAM + """distribution_json = '{"name": "CategoricalDistribution", "attributes": {"choices": [[1], [2]]}}'"""
        " WHERE param_name = 'optimizer'",
        "its values are none",
    ),
    ("a distribution that is none", PARAM + """distribution_json = '{"name": "Evil"}'""", "ValueError"),
    ("a value of another search", f"{PARAM} param_name = 'evil' WHERE param_name = 'lr'", "evil"),
    ("a value that is a text", f"{PARAM} param_value = 'x' WHERE param_name = 'lr'", "lr"),
    ("a finished trial without a value", "DELETE FROM trial_params WHERE param_name = 'lr'", "finished and has no lr"),
    ("a reward without end", "UPDATE trial_values SET value = NULL, value_type = 'INF_POS'", "its reward is inf"),
    ("a reward that is a text", "UPDATE trial_values SET value = 'x'", "its reward is 'x'"),
    ("a complete trial without a reward", "DELETE FROM trial_values", "has no reward"),
    (
        "a step without end",
        "UPDATE trial_intermediate_values SET intermediate_value = NULL, intermediate_value_type = 'INF_NEG'",
        "a step is -inf",
    ),
    ("a number that is a text", "UPDATE trials SET number = '<x>' WHERE number = 1", "TypeError"),
    ("a state that is none", "UPDATE trials SET state = 'EVIL' WHERE number = 1", "LookupError"),
    ("a date that is none", "UPDATE trials SET datetime_complete = 'x'", "ValueError"),
    ("no JSON", "UPDATE trial_user_attributes SET value_json = '{'", "JSONDecodeError"),
    ("nothing for JSON", "UPDATE trial_user_attributes SET value_json = x'ff'", "Unicode"),
    (
        "lists in lists",
        "UPDATE trial_user_attributes SET value_json = '" + "[" * 2000 + "]" * 2000 + "' WHERE key = 'launcher:trial'",
        "trial",
    ),
    ("a search that is no JSON", "UPDATE study_user_attributes SET value_json = '{'", "JSONDecodeError"),
    ("a search that is a number", "UPDATE study_user_attributes SET value_json = '7'", "its policy is none"),
    ("a search that is a list", "UPDATE study_user_attributes SET value_json = '[1]'", "its policy is none"),
    ("a search that is empty", "UPDATE study_user_attributes SET value_json = '{}'", "its policy is none"),
    (
        "a search by a method of its own",
        """UPDATE study_user_attributes SET value_json = replace(value_json, 'tpe_search', '\\u001b[2J')""",
        "its policy is none",
    ),
    ("another direction", "UPDATE study_directions SET direction = 'MINIMIZE'", "its direction"),
)


@pytest.mark.filterwarnings("ignore:Choices for a categorical")  # Optuna's, before it gives what it says to us
@pytest.mark.parametrize(("statement", "said"), [row[1:] for row in STATEMENTS], ids=[row[0] for row in STATEMENTS])
def test_rows_that_no_search_writes_are_told(path: Path, statement: str, said: str) -> None:
    damage(path, statement)
    told = refusal(path)
    assert_told(told, path)
    assert said in str(told)


def test_another_search_is_told_within_reason(path: Path) -> None:
    damage(
        path,
        """UPDATE study_user_attributes SET value_json = replace(value_json, '"name": "accuracy"', '"name": "%s"')"""
        % ("x\\u009b" * 5000),
    )
    told = refusal(path)
    assert (told.code, told.exit_code) == ("study-differs", 65)
    assert 'reward.name is "accuracy" here and "x' in str(told)
    assert len(str(told)) < 400 + len(str(path))
    assert str(told).isprintable()


def test_a_database_that_does_what_no_database_does_is_told(path: Path) -> None:
    damage(path, "CREATE TRIGGER t BEFORE INSERT ON trials BEGIN SELECT raise(ABORT, 'boo'); END")
    with study_at(str(path), owner=NEXT, alive=lambda _owner: True) as study:
        study.join(policy())
        with pytest.raises(StudyError, match="boo") as refused:
            study.claim("0")
    assert refused.value.exit_code == 65


def test_a_trial_that_is_taken_out_of_the_database_is_told_or_ends(path: Path) -> None:
    with study_at(str(path), owner=NEXT, alive=lambda _owner: True) as study:
        study.join(policy())
        trial = study.claim("0")
        assert trial is not None
        damage(path, f"DELETE FROM trials WHERE number = {trial.number}")
        with pytest.raises(StudyError, match=f"trial {trial.number} cannot be read") as refused:
            study.finish(trial, Ending(state="COMPLETE", reward=1.0))
    assert_told(refused.value, path)


def test_what_is_wrong_with_the_search_itself_is_no_matter_of_the_database(path: Path) -> None:
    def alive(_owner: Owner) -> bool | None:
        raise LookupError("a defect")

    with study_at(str(path), owner=NEXT, alive=alive) as study:
        study.join(policy())
        with pytest.raises(LookupError, match="a defect"):
            study.claim("0")


def test_a_worker_has_a_name_that_others_believe(tmp_path: Path) -> None:
    with (
        pytest.raises(StudyError, match="at most 255 characters"),
        study_at(str(tmp_path / "study.db"), owner=Owner(worker="x" * 256, boot="", pid=1, start=1)),
    ):
        pass


def test_the_study_before_the_damage_is_good(path: Path) -> None:
    with study_at(str(path), owner=ME) as study:
        study.join(policy())
        assert [trial.state for trial in study.trials()] == ["COMPLETE", "COMPLETE", "FAIL", "RUNNING"]
        assert study.claim("0") is not None
