from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from launcher.core.search import Dimension, Metric, Policy, Trial
from launcher.core.search.documents import (
    best_document,
    best_of,
    elapsed,
    iteration,
    parameter_analysis,
    trial_document,
    trials_csv,
    trials_document,
    typed,
)
from launcher.core.search.recorded import recorded

VENDOR = json.loads(
    (Path(__file__).parent.parent / "data" / "modelarts" / "search-trials.response.json").read_text(encoding="utf-8")
)
POLICY = Policy(
    space=(
        Dimension(name="batch_size", kind="choice", choices=("16", "32", "64")),
        Dimension(name="learning_rate", kind="float", low=0.001, high=0.1),
    ),
    reward=Metric(name="acc", mode="max", regex="acc=(.*)"),
    others=(Metric(name="loss", mode="min", regex="loss=(.*)"),),
)
TENSOR = "tensor(0.0754, device='cuda:0', requires_grad=True)"
FIRST = Trial(
    number=0,
    id="ae544174",
    slot=0,
    values={"batch_size": "32", "learning_rate": 0.05512301741232006},
    state="COMPLETE",
    reward=0.0625,
    steps=(0.03125, 0.0625),
    metrics={"acc": "0.0625", "loss": TENSOR},
    started=100.0,
    ended=119.5,
    pid=314,
)


def changed(**changes: object) -> Trial:
    return msgspec.structs.replace(FIRST, **changes)


def rows(*trials: Trial, now: float = 200.0) -> list[list[object]]:
    data: list[list[object]] = trials_document(POLICY, trials, now)["items"]["data"]
    return data


def test_the_trials_are_what_the_service_answers() -> None:
    made = trials_document(POLICY, [FIRST], 200.0)
    theirs = VENDOR["items"]
    assert made.keys() == VENDOR.keys()
    assert made["items"]["header"] == theirs["header"]
    expected = list(theirs["data"][0])
    expected[6] = "19.5"
    assert made["items"]["data"] == [expected]
    assert [type(cell) for cell in made["items"]["data"][0]] == [type(cell) for cell in expected]
    assert {key: made[key] for key in ("total", "count", "limit", "offset", "group_by")} == {
        "total": 1,
        "count": 1,
        "limit": 50,
        "offset": 0,
        "group_by": "",
    }


@pytest.mark.parametrize(
    ("state", "verdict", "done", "status"),
    [
        ("RUNNING", None, "False", "RUNNING"),
        ("COMPLETE", None, "True", "TERMINATED"),
        ("PRUNED", None, "True", "TERMINATED"),
        ("FAIL", "boot", "True", "ERROR"),
        ("FAIL", "lost", "True", "ERROR"),
    ],
)
def test_the_states_are_the_services(state: str, verdict: str | None, done: str, status: str) -> None:
    (row,) = rows(changed(state=state, verdict=verdict))
    assert (row[1], row[9]) == (done, status)


def test_what_is_not_known_is_empty_and_a_running_trial_shows_its_last_reward() -> None:
    running = changed(state="RUNNING", reward=None, ended=None, pid=None, metrics={}, steps=(0.5, 0.25))
    waiting = changed(number=1, state="RUNNING", reward=None, ended=None, started=None, metrics={}, steps=())
    first, second = rows(waiting, running)
    assert (first[2], first[5], first[6], first[8], first[10], first[11], first[12]) == (
        "",
        "2",
        "100.0",
        "0.25",
        "0.25",
        "",
        "0.5",
    )
    assert (second[5], second[6], second[8], second[12]) == ("0", "", "", "")


def test_the_best_reward_of_a_trial_is_the_least_where_less_is_better() -> None:
    policy = msgspec.structs.replace(POLICY, reward=Metric(name="acc", mode="min", regex="x"))
    assert best_of(policy, FIRST) == 0.03125
    assert best_of(POLICY, changed(steps=(0.9, float("nan"), float("inf")))) == 0.9


def test_superseded_trials_are_left_out_and_rows_are_numbered_without_gaps() -> None:
    made = rows(changed(number=2, id="c"), changed(number=1, id="b", state="FAIL", verdict="superseded"), FIRST)
    assert [(row[0], row[4]) for row in made] == [("0", "ae544174"), ("1", "c")]
    assert [row[3]["trial_index"] for row in made if isinstance(row[3], dict)] == [0, 1]


def test_a_trial_of_its_own_has_a_row_for_each_iteration() -> None:
    made = trial_document(POLICY, changed(reward=0.02, steps=(0.01, 0.05, 0.02), state="PRUNED"), 200.0)["items"]
    reward, status, acc, loss, best = (made["header"].index(each) for each in made["header"][8:])
    assert [
        (row[0], row[1], row[5], row[6], row[reward], row[status], row[acc], row[loss], row[best])
        for row in made["data"]
    ] == [
        ("0", "False", "1", "", "0.01", "RUNNING", "0.01", "", "0.01"),
        ("1", "False", "2", "", "0.05", "RUNNING", "0.05", "", "0.05"),
        ("2", "True", "3", "19.5", "0.02", "TERMINATED", "0.02", TENSOR, "0.05"),
    ]
    assert trial_document(POLICY, changed(steps=()), 200.0)["total"] == 0


def test_iterations_are_those_that_are_recorded() -> None:
    kept = [step for step in range(1, 20_001) if recorded(step)]
    assert [iteration(position) for position in range(len(kept))] == kept


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("32", 32),
        ("-4", -4),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("007", 7.0),
        ("1e999", "1e999"),
        ("True", "True"),
        ("\ud800x", "\ufffdx"),
        (5, 5),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_a_value_is_typed_as_json_can_have_it(value: object, expected: object) -> None:
    made = typed(value)  # type: ignore[arg-type]
    assert (made, type(made)) == (expected, type(expected))


def test_odd_numbers_and_texts_are_json_all_the_same() -> None:
    odd = changed(
        values={"batch_size": "\udc80", "learning_rate": float("nan")},
        reward=float("nan"),
        metrics={"loss": "\ud800\x00\n"},
        worker="\udfff",
    )
    for made in (
        trials_document(POLICY, [odd], 1.0),
        trial_document(POLICY, odd, 1.0),
        best_document(POLICY, odd, {"batch_size": "\udc80"}),
        parameter_analysis([("\udc80", float("nan"), 1.0)]),
    ):
        assert json.loads(json.dumps(made, allow_nan=False).encode()) == msgspec.json.decode(msgspec.json.encode(made))


def test_the_table_is_read_by_a_spreadsheet() -> None:
    text = trials_csv(POLICY, [FIRST, changed(number=1, values={"batch_size": 'a"b,c'})], 200.0)
    head, first, second = csv.reader(io.StringIO(text))
    assert head == [*VENDOR["items"]["header"], "param/batch_size", "param/learning_rate"]
    assert json.loads(first[3]) == VENDOR["items"]["data"][0][3]
    assert first[-2:] == ["32", "0.05512301741232006"]
    assert second[-2:] == ['a"b,c', ""]
    assert first[11] == TENSOR


def test_a_cell_is_no_formula() -> None:
    cells = ("=1+1", "+1", "-0.5", "@cmd", "\tx", "-x", "")
    for cell, expected in zip(cells, ("'=1+1", "+1", "-0.5", "'@cmd", "'\tx", "'-x", ""), strict=True):
        text = trials_csv(POLICY, [changed(metrics={"loss": cell})], 200.0)
        assert list(csv.reader(io.StringIO(text)))[1][11] == expected


def test_importances_are_told_as_the_service_tells_them() -> None:
    made = parameter_analysis([("batch_size", 0.24431, 0.38669), ("lr", 0.5, float("nan"))])
    assert made["items"] == {
        "header": ["parameters", "the mean/std of importance"],
        "data": [["batch_size", "0.2443/0.3867"], ["lr", "0.5000/n/a"]],
    }


def test_the_best_trial_is_told_with_its_options() -> None:
    made = best_document(POLICY, FIRST, {"batch_size": "32", "note": "a b"})
    assert made == {
        "trial_id": "ae544174",
        "reward": {"name": "acc", "mode": "max", "value": 0.0625},
        "values": {"batch_size": "32", "note": "a b"},
        "config": {"batch_size": 32, "learning_rate": 0.05512301741232006},
        "metrics": {"acc": "0.0625", "loss": TENSOR},
        "options": ["--batch_size=32", "--note=a b"],
        "command": "--batch_size=32 '--note=a b'",
    }
    assert best_document(POLICY, changed(reward=None), {})["reward"]["value"] is None


def test_clocks_that_differ_make_no_negative_time() -> None:
    assert elapsed(changed(started=300.0), 0.0) == 0.0
    assert elapsed(changed(started=None), 0.0) is None
