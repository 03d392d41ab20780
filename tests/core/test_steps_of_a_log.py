"""How long a line may be for an expression, and what counts as a step."""

from __future__ import annotations

import pytest

from launcher.core.steps import longest_line, number_of


@pytest.mark.parametrize(
    ("expression", "longest"),
    [
        (r"step (\d+)", 1000),
        (r"\s*step\s*[:=]\s*(\d+)", 1000),
        (r"(?:epoch|step)s?: *([0-9.]+)", 1000),
        (r"[^,]*,(\d+)", 1000),
        (r"(?<=step )(?P<n>\d+)(?=.)", 1000),
        (r"(x{1,20})+(\d)", 0),
        (r".*step.*(\d+)", 200),
        (r"(?:.*)a(\w+)b", 200),
        (r".*.*.*(\d+)", 60),
        (r".*.*.*.*(\d+)", 0),
        (r"(a+)+b(\d)", 0),
        (r"(\w+\s*)+(\d)", 0),
        (r"(?:ab|a|b)+c(\d)", 0),
        (r"((?:ab|a)x)*(\d)", 0),
        (r"(a)(?:\1)+(\d)", 0),
        (r"(a*){60}b", 0),
        (r"(.*){5}b", 0),
        (r"(?:.*x)?(\d)", 1000),
        ("(" * 3000 + "a" + ")" * 3000, 0),
        (r"(?:" * 150 + r"a" + r")*" * 150 + r"(\d)", 0),
        (r"(x)(?(1)y|z)(\d)", 1000),
    ],
)
def test_the_more_ways_there_are_to_part_a_line_the_shorter_it_must_be(expression: str, longest: int) -> None:
    assert longest_line(expression) == longest


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("1000", 1000), ("1,000", 1000), ("1_000", 1000), ("12.5", 12.5), ("1e3", 1000), ("-1", -1)),
        *(("", None), ("x", None), ("1" * 30, None), ("nan", None), ("٣", None)),
    ],
)
def test_what_counts_as_a_step(text: str, number: float | None) -> None:
    assert number_of(text) == number
