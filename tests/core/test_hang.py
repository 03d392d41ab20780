"""When a training counts as hung: looks in, a course and a sentence out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from launcher.core.hang import (
    CHATTER_BYTES_S,
    INSIDE_BYTES_S,
    LEAST_SAMPLES,
    OUTSIDE_BYTES_S,
    Closely,
    Course,
    Look,
    Manner,
    beginning,
    follow,
    moves,
    span,
    suspected,
    unchanged,
    words,
)
from launcher.core.resilience import Hanging

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES = Hanging(watched=True, period_s=60.0, periods=5, long_periods=30)
WAITS = Closely()


def still(number: int, **changes: object) -> Look:
    """The look after so many periods in which nothing moved."""
    return replace(Look(at=60.0 * number, closely=WAITS), **changes)


def course_of(looks: Sequence[Look], rules: Hanging = RULES) -> Course:
    course = beginning(looks[0])
    for look in looks[1:]:
        course = follow(course, look, rules)
    return course


@pytest.mark.parametrize(
    "after",
    [
        still(1, said=1),
        still(1, comings=1),
        still(1, disk=1),
        still(1, moved=int(CHATTER_BYTES_S * 60) + 1),
        still(1, moved=10_000_000, closely=None),
        still(1, moved=50_000 + int(CHATTER_BYTES_S * 60) + 1, closely=Closely(spoken=50_000)),
        still(1, closely=Closely(received=int(OUTSIDE_BYTES_S * 60) + 1)),
        still(1, closely=Closely(inside=int(INSIDE_BYTES_S * 60) + 1)),
        still(1, closely=Closely(outputs=(1, 1, 1))),
        still(1, closely=Closely(traced=True)),
    ],
)
def test_every_sign_of_life_begins_anew(after: Look) -> None:
    assert follow(beginning(still(0)), after, RULES) == beginning(after)


@pytest.mark.parametrize(
    "after",
    [
        still(1),
        still(1, moved=int(CHATTER_BYTES_S * 60)),
        still(1, cpu=0.6, busiest=0.6),
        still(1, moved=50_000 + int(CHATTER_BYTES_S * 60), closely=Closely(spoken=50_000, inside=50_000)),
        still(1, processes=9, moved=int(CHATTER_BYTES_S * 60) * 9),
        still(1, closely=Closely(received=int(OUTSIDE_BYTES_S * 60), inside=int(INSIDE_BYTES_S * 60))),
    ],
)
def test_wake_ups_heart_beats_and_ticks_are_no_sign_of_life(after: Look) -> None:
    course = follow(beginning(still(0)), after, RULES)
    assert (course.quiet, course.still, course.manner) == (1, 1, "still")
    assert not moves(still(0), after)


def test_who_stands_for_so_many_periods_is_suspected_and_not_before() -> None:
    assert not suspected(course_of([still(number) for number in range(5)]), RULES, devices=False)
    assert suspected(course_of([still(number) for number in range(6)]), RULES, devices=False)


def test_a_period_that_was_not_seen_closely_does_not_count() -> None:
    course = course_of([still(0, closely=None), still(1), still(2), still(3, closely=None), still(4)])
    assert course.quiet == 1


def test_a_launcher_that_stood_still_itself_does_not_count_it() -> None:
    course = course_of([still(0), still(1), still(100), still(101)])
    assert course.quiet == 2
    assert course_of([still(0), still(100, said=1)]).begun.at == 6000.0, "what moved meanwhile is alive all the same"


@pytest.mark.parametrize("devices", [False, True])
def test_computing_without_a_trace_has_long_unless_devices_can_tell(*, devices: bool) -> None:
    looks = [still(number, cpu=60.0 * number, busiest=60.0) for number in range(31)]
    assert suspected(course_of(looks[:6]), RULES, devices=devices) is devices
    assert not suspected(course_of(looks[:5]), RULES, devices=devices)
    course = course_of(looks)
    assert suspected(course, RULES, devices=devices)
    assert (course.manner, course.still) == ("busy", 0)


def test_a_sleep_has_long_also_where_there_are_devices() -> None:
    sleeps = Closely(sleeping=("process 7 (python)",))
    looks = [still(number, closely=sleeps) for number in range(31)]
    assert not suspected(course_of(looks[:30]), RULES, devices=True)
    assert suspected(course_of(looks), RULES, devices=True)


def test_long_is_never_shorter_than_short() -> None:
    rules = replace(RULES, long_periods=1)
    looks = [still(number, busiest=60.0) for number in range(6)]
    assert not suspected(course_of(looks[:5], rules), rules, devices=False)
    assert suspected(course_of(looks, rules), rules, devices=False)


def test_a_moment_of_computing_ends_what_stood_and_not_what_is_quiet() -> None:
    looks = [still(0), still(1), still(2), still(3, busiest=30.0), still(4)]
    course = course_of(looks)
    assert (course.quiet, course.still) == (4, 1)


@pytest.mark.parametrize(
    ("closely", "manner"),
    [
        (Closely(stopped=("process 7 (python)",), stuck=("process 8 (cp)",), sleeping=("process 9 (sh)",)), "stopped"),
        (Closely(stuck=("process 8 (cp)",), sleeping=("process 9 (sh)",)), "stuck"),
        (Closely(sleeping=("process 9 (sh)",)), "sleeps"),
        (Closely(), "still"),
    ],
)
def test_what_it_does_is_named_by_the_strongest_word(closely: Closely, manner: Manner) -> None:
    course = course_of([still(0), still(1, closely=closely)])
    assert course.manner == manner
    assert course.still == (0 if manner == "sleeps" else 1)


@pytest.mark.parametrize(
    ("samples", "same"),
    [
        ([(100, 0)] * LEAST_SAMPLES, True),
        ([(100, 0)] * (LEAST_SAMPLES - 1), None),
        ([()] * LEAST_SAMPLES, None),
        ([(100, 0), (99, 0)] * LEAST_SAMPLES, True),
        ([(100, 10), (100, 40)] * LEAST_SAMPLES, False),
        ([(0,)] * 10 + [(2,)] * 10, False),
        ([(0,)] * 10 + [(1,)] * 11, True),
    ],
)
def test_the_use_of_devices_is_told_by_variance_and_medians(
    *, samples: Sequence[Sequence[int]], same: bool | None
) -> None:
    assert unchanged(samples, 1.0) is same


def test_a_slow_change_is_told_by_the_medians_whatever_the_variance() -> None:
    assert unchanged([(each,) for each in range(20)], 1000.0) is False


def test_the_sentence() -> None:
    course = course_of([still(number, cpu=0.06 * number) for number in range(6)])
    assert words(course, devices=None) == (
        "The training has not moved for 5 m 00 s: no read, no write, no output, 0.1 % CPU in 1 process."
    )
    assert "in 9 processes, and the use of its devices does not change." in words(
        replace(course, last=replace(course.last, processes=9)), devices=True
    )


@pytest.mark.parametrize(
    ("manner", "says"),
    [
        ("busy", "it computes without a trace, and may be at work."),
        ("sleeps", "it sleeps and will most likely wake by itself: process 1 (a), process 2 (b)."),
        ("stopped", "somebody has stopped it: process 1, process 2, process 3, process 4 and 2 more."),
        ("stuck", "it waits in the kernel and cannot be killed: process 8 (cp)."),
    ],
)
def test_the_sentence_names_what_it_does(manner: Manner, says: str) -> None:
    closely = Closely(
        sleeping=("process 1 (a)", "process 2 (b)"),
        stopped=tuple(f"process {number}" for number in range(1, 7)),
        stuck=("process 8 (cp)",),
    )
    course = replace(course_of([still(0), still(1)]), last=still(1, closely=closely), manner=manner)
    assert words(course, devices=False).endswith(f"; {says}")


def test_a_look_that_was_not_close_names_nobody() -> None:
    assert words(course_of([still(0), still(1, closely=None)]), devices=None).startswith("The training has not moved")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (59.0, "59 s"), (60.0, "1 m 00 s"), (3723.0, "1 h 02 m 03 s")]
)
def test_a_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40))
def test_nothing_that_speaks_once_in_a_while_is_ever_suspected(steps: list[tuple[int, int]]) -> None:
    """However its signs of life come, as long as no five periods in a row pass without one."""
    looks = [still(0)]
    for gap, kind in steps:
        for _ in range(gap):
            looks.append(replace(looks[-1], at=looks[-1].at + 60))
        last = looks[-1]
        looks.append(replace(last, at=last.at + 60, **{("said", "comings", "disk")[kind]: len(looks)}))
    course = beginning(looks[0])
    for look in looks[1:]:
        course = follow(course, look, RULES)
        assert not suspected(course, RULES, devices=True)
