from __future__ import annotations

import copy
from typing import Any

import pytest

from launcher.core.errors import SpecError
from launcher.core.parse.run import amended, parse_run
from launcher.core.record import FailedKey, Synced

RUN: dict[str, Any] = {
    "version": 1,
    "job": {"id": "1"},
    "plan": "/r/home/ma-user/modelarts/log/plan.json",
    "phase": "Failed",
    "exit_code": 73,
    "cause": {"code": "output-not-saved", "message": "m", "action": "a", "evidence": [], "rank": None},
    "processes": [{"rank": 0, "exit_code": 0, "signal": None}],
    "synced": [
        {
            "channel": "train_url",
            "target": "obs://bkt/train_url/",
            "objects": 1,
            "bytes": 2,
            "seconds": 0.5,
            "failed": [{"key": "a", "error": "403"}],
            "manifest": None,
        }
    ],
    "timeline": [{"phase": "run", "started": "x", "ended": None}],
    "attempts": [{"exit_code": 73}],
}


def changed(document: dict[str, Any], path: str, value: Any) -> Any:
    made = copy.deepcopy(document)
    at: Any = made
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step) if step.isdecimal() else step]
    at[int(last) if last.isdecimal() else last] = value
    return made


def test_run_json_is_read_as_far_as_it_matters() -> None:
    run = parse_run(RUN)
    assert (run.phase, run.plan) == ("Failed", RUN["plan"])
    assert run.synced[0].failed == (FailedKey("a", "403"),)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("version", 2, "run.json: version: invalid enum value 2"),
        ("phase", "Done", "run.json: phase: invalid enum value 'Done'"),
        ("synced.0.failed", {}, "run.json: synced[0].failed: expected `array`, got `object`"),
        ("plan", "plan.json", "run.json: plan: expected an absolute path"),
        ("log", {"lost_bytes": -1}, "run.json: log.lost_bytes: expected `int` >= 0"),
    ],
)
def test_what_is_no_run_json_is_refused_with_the_place(path: str, value: Any, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_run(changed(RUN, path, value))
    assert [str(each) for each in caught.value.problems] == [said]


@pytest.mark.parametrize(
    ("path", "value", "awaits"),
    [
        ("plan", None, True),
        ("cause", None, True),
        ("phase", "Terminated", False),
        ("exit_code", 5, False),
        ("processes", [], False),
        ("processes.0.exit_code", 3, False),
        ("processes.0", {"exit_code": 0, "signal": 9}, False),
        ("cause.code", "log-incomplete", False),
        ("log", {"lost_bytes": 1, "dropped_bytes": 0}, False),
        ("log", {"lost_bytes": 0, "dropped_bytes": 9}, True),
        ("log", None, True),
    ],
)
def test_only_a_training_that_went_well_is_completed_by_uploads(path: str, value: Any, *, awaits: bool) -> None:
    run = parse_run(changed(RUN, path, value))
    assert run.awaits_only_uploads(1) is awaits


@pytest.mark.parametrize(
    ("phase", "processes", "timeline", "trained"),
    [
        ("Failed", [{"exit_code": 1}], [], True),
        ("Failed", [], [{"phase": "run"}], False),
        ("Abnormal", [], [{"phase": "stage"}, {"phase": "run"}], True),
        ("Abnormal", [], [{"phase": "stage"}], False),
    ],
)
def test_whether_a_boot_process_was_started(
    phase: str, processes: list[Any], timeline: list[Any], *, trained: bool
) -> None:
    document = {**RUN, "phase": phase, "processes": processes, "timeline": timeline}
    assert parse_run(document).trained is trained


def test_a_later_upload_changes_the_outcome_only_when_all_is_in_place() -> None:
    entry = Synced(channel="c", target="t", objects=1, bytes=2, seconds=0.1)
    after = amended(RUN, [entry], completed=True)
    assert (after["phase"], after["exit_code"], after["cause"]) == ("Completed", 0, None)
    assert after["attempts"] == RUN["attempts"]
    assert [each["channel"] for each in after["synced"]] == ["c"]
    after = amended(RUN, [entry], completed=False)
    assert (after["phase"], after["exit_code"], after["cause"]) == ("Failed", 73, RUN["cause"])


def test_a_search_has_trained_by_its_trials() -> None:
    run = parse_run({**RUN, "phase": "Failed", "exit_code": 73, "processes": [], "timeline": [{"phase": "search"}]})
    assert (run.childless, run.trained) == (True, True)
    assert run.awaits_only_uploads(1)
    assert not parse_run({**RUN, "timeline": [{"phase": "run"}]}).childless


def test_a_run_that_was_held_has_what_somebody_has_made_meanwhile() -> None:
    run = parse_run({**RUN, "phase": "Failed", "exit_code": 73, "processes": [], "timeline": [{"phase": "hold"}]})
    assert (run.childless, run.trained, run.awaits_only_uploads(1)) == (True, True, True)


def test_whether_a_run_owes_what_it_has_trained() -> None:
    unsaved = [{**RUN["synced"][0], "failed": [{"key": "a", "error": "e"}]}]
    assert parse_run({**RUN, "synced": unsaved}).owes
    assert not parse_run({**RUN, "synced": []}).owes
    assert parse_run({**RUN, "phase": "Abnormal", "synced": []}).owes
    assert not parse_run({**RUN, "processes": [], "synced": unsaved}).owes, "it never trained"
    taken_over = parse_run({**RUN, "processes": [], "synced": [], "owed": True})
    assert (taken_over.owes, taken_over.trained) == (True, True)
