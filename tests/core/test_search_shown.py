from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.search import Dimension, Metric, Policy, Scalar, Trial
from launcher.core.search.shown import duration, event_line, final_block, fitted, number, safe, sought, table, value
from launcher.core.search.slots import standing

POLICY = Policy(
    space=(
        Dimension(name="lr", kind="float", low=0.001, high=0.1),
        Dimension(name="hidden", kind="int", low=16, high=256),
        Dimension(name="act", kind="choice", choices=("relu", "a b")),
    ),
    reward=Metric(name="accuracy", mode="max", regex="accuracy=(.*)"),
    num_samples=20,
    most_failed=20,
)
VALUES: dict[str, Scalar] = {"lr": 0.05, "hidden": 64, "act": "relu"}


def trial(index: int, **changes: object) -> Trial:
    made = Trial(
        number=index,
        id=f"{index:08x}",
        slot=index,
        values=VALUES,
        state="COMPLETE",
        reward=0.9 + index / 1000,
        steps=(0.5, 0.9),
        started=100.0 * index,
        ended=100.0 * index + 12.3,
    )
    return msgspec.structs.replace(made, **changes)


def line(told: Trial, *others: Trial) -> str:
    return event_line(POLICY, told, standing(POLICY, [told, *others]))


def shown(*trials: Trial, size: tuple[int, int] = (120, 24), ascii_only: bool = True, now: float = 1000.0) -> list[str]:
    return list(table(POLICY, trials, standing(POLICY, trials), now=now, size=size, ascii_only=ascii_only))


def test_a_finished_trial_is_one_line() -> None:
    assert line(trial(2), trial(7)) == (
        "trial 00000002 (3 of 20): accuracy=0.902 after 2 iterations, lr=0.05 hidden=64 act=relu, 12.3 s;"
        " best so far 0.907 of 00000007"
    )


def test_a_line_says_what_is_special() -> None:
    assert "after 1 iteration, " in line(trial(2, steps=(0.9,)))
    assert "best so far 0.902 of this one" in line(trial(2))
    assert "accuracy=0.902 after 2 iterations (ended early)" in line(trial(2, state="PRUNED"))
    assert "12.3 s; 3 matches are no number; best" in line(trial(2, unread=3))
    assert "12.3 s; 1 match is no number; stopped by a user; best" in line(trial(2, unread=1, why="stopped by a user"))
    assert "accuracy=0.902, lr=" in line(trial(2, steps=()))
    assert line(trial(2, started=None, values={})).startswith("trial 00000002 (3 of 20): accuracy=0.902 after 2")


def test_a_failed_trial_says_why() -> None:
    failed = trial(2, state="FAIL", verdict="boot", why="exit code 1\nsecond line", reward=None)
    assert line(failed) == (
        "trial 00000002 (3 of 20): failed: exit code 1\\nsecond line; lr=0.05 hidden=64 act=relu, 12.3 s"
    )
    assert "(3 of 20): lost; lr=" in line(trial(2, state="FAIL", verdict=None, reward=None), trial(0))
    assert "(3 of 20): no reward; " in line(trial(2, state="FAIL", verdict="no-reward", reward=None))


def test_the_table_shows_progress_the_best_who_runs_and_who_ended_last() -> None:
    running = trial(3, state="RUNNING", reward=None, ended=None, steps=(0.5, 0.75))
    waiting = trial(4, state="RUNNING", reward=None, ended=None, started=None, steps=(), values={})
    failed = trial(2, state="FAIL", verdict="boot", reward=None, steps=())
    superseded = trial(5, state="FAIL", verdict="superseded")
    assert shown(superseded, waiting, running, failed, trial(1), trial(0, state="PRUNED")) == [
        "search  ###...........................  2 of 20 done, 2 running, 1 failed",
        "best  00000001  accuracy=0.901  lr=0.05 hidden=64 act=relu",
        "   4  00000003  running            0.75  11 min 40 s  lr=0.05 hidden=64 act=relu",
        "   5  00000004  running               -            -  ",
        "   1  00000000  ended early         0.9       12.3 s  lr=0.05 hidden=64 act=relu",
        "   2  00000001  done              0.901       12.3 s  lr=0.05 hidden=64 act=relu",
        "   3  00000002  failed                -       12.3 s  lr=0.05 hidden=64 act=relu",
    ]


def test_a_table_without_trials_is_its_progress() -> None:
    assert shown(ascii_only=False) == ["search  " + "░" * 30 + "  0 of 20 done, 0 running"]
    assert shown(size=(30, 5)) == ["search  0 of 20 done, 0 run..."]
    assert shown(size=(30, 5), ascii_only=False) == ["search  0 of 20 done, 0 runni…"]
    assert shown(size=(0, 0)) == ["search  0 of 20 d..."]


def test_a_small_terminal_has_room_for_those_that_run_first() -> None:
    running = [trial(index, state="RUNNING", reward=None, ended=None) for index in range(5, 15)]
    ended = [trial(index) for index in range(5)]
    lines = shown(*running, *ended, size=(80, 6))
    assert [each[:14] for each in lines[1:]] == ["best  00000004", "   6  00000005", "   7  00000006", "      and 8 mo"]
    assert shown(*running, *ended, size=(80, 3))[1:] == ["best  00000004  accuracy=0.904  lr=0.05 hidden=64 act=relu"]
    assert [each[6:14] for each in shown(*running[:2], *ended, size=(80, 7))[2:]] == [
        "00000005",
        "00000006",
        "00000003",
        "00000004",
    ]
    lost = trial(6, state="FAIL", verdict="lost", reward=None)
    assert "1 lost" in shown(lost)[0]


def test_the_end_says_what_was_best_and_how_to_run_it() -> None:
    failed = trial(2, state="FAIL", verdict="boot", reward=None)
    odd = trial(7, values={"lr": 1e-05, "hidden": 64, "act": "a b"})
    assert final_block(POLICY, [failed, trial(0), odd], "--lr=1e-05", "launcher run best-job.json") == (
        "search      2 trials finished, 1 failed",
        "best trial  00000007 (8 of 20)",
        "best reward accuracy=0.907 (more is better)",
        "            lr = 1e-05",
        "            hidden = 64",
        "            act = 'a b'",
        "arguments   --lr=1e-05",
        "run it      launcher run best-job.json",
    )
    assert final_block(POLICY, [trial(0)], "x", "y")[0] == "search      1 trial finished"
    assert final_block(POLICY, [failed], "x", "y") == (
        "search      0 trials finished, 1 failed",
        "best trial  none: no trial gave a value of accuracy",
    )


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7325.0, "2 h 02 min"),
        (float("inf"), "-"),
    ],
)
def test_a_time_is_told_in_its_largest_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_search_is_told_before_it_begins() -> None:
    assert sought(POLICY) == (
        "the job is searched: 20 trials by tpe_search, for the most of accuracy; this is one of them",
        "lr from 0.001 to 0.1",
        "hidden from 16 to 256, whole",
        "act is one of relu, a b",
    )
    grid = Dimension(name="lr", kind="float", low=0.0, high=1.0, points=3)
    decades = Dimension(name="wd", kind="float", low=1e-5, high=1.0, log=True)
    least = msgspec.structs.replace(POLICY, space=(grid, decades), reward=Metric(name="loss", mode="min", regex="x"))
    assert sought(least)[1:] == ("lr from 0 to 1, 3 points", "wd from 1e-05 to 1, on a log scale")
    assert "for the least of loss" in sought(least)[0]


def test_values_and_numbers_are_short() -> None:
    assert (number(None), number(0.123456789), number(1e-05), number(5.0)) == ("-", "0.123457", "1e-05", "5")
    assert (value(5), value(0.123456789), value("x"), value(""), value("a b")) == ("5", "0.123457", "x", "''", "'a b'")


def test_nothing_that_is_shown_steers_a_terminal() -> None:
    assert safe("a\x1b[2Jb\n\u202ec\u2028") == "a\\x1b[2Jb\\n\\u202ec\\u2028"
    assert safe("x" * 41) == "x" * 37 + "..."
    assert safe("精度") == "精度"
    assert fitted("精度精度", 8, ascii_only=False) == "精度精度"
    assert fitted("精度精度", 7, ascii_only=False) == "精度精…"
    assert fitted("e\u0301" * 5, 5, ascii_only=False) == "e\u0301" * 5
    assert fitted("精", 20, ascii_only=True) == "\\u7cbe"


@given(st.text(max_size=60), st.integers(0, 60), st.integers(0, 12), st.booleans())
def test_no_name_and_no_size_break_the_table(text: str, columns: int, rows: int, ascii_only: bool) -> None:  # noqa: FBT001
    policy = msgspec.structs.replace(POLICY, reward=Metric(name=text, mode="min", regex="x"))
    trials = [trial(0, values={"act": text}), trial(1, state="RUNNING", reward=None, ended=None, values={"act": text})]
    lines = table(policy, trials, standing(policy, trials), now=1.0, size=(columns, rows), ascii_only=ascii_only)
    assert 0 < len(lines) <= max(rows - 1, 1)
    assert all(len(each) <= max(columns, 20) and each.isprintable() for each in lines if each.isascii())
    assert "\n" not in event_line(policy, trials[0], standing(policy, trials))
