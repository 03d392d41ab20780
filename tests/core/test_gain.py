"""What an attempt has gained, from two looks at checkpoints and steps; and when that is enough."""

from __future__ import annotations

import pytest
from gathered import gather
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.checkpoints import File
from launcher.core.gain import Gained, Mark, Reached, compare, described, no_progress, reached, stuck

STILL = "the newest checkpoint is still"


def at(*files: str | tuple[str, int, int], step: float | None = None, latest: float | None = None) -> Mark:
    """A mark of one output: files by name, or by name, size and time."""
    told = [(each, 1, 1) if isinstance(each, str) else each for each in files]
    found = gather([File(path=path, size=size, mtime_ns=mtime) for path, size, mtime in told])
    return Mark(outputs=(reached("train_url", found),), step=step, latest=latest)


@pytest.mark.parametrize(
    ("before", "after", "gained", "words"),
    [
        (at(), at(), None, "no checkpoint and no step tells how far it came"),
        (at(), at("ckpt-1.pt"), True, "it came to ckpt-1.pt"),
        (at("ckpt-9.pt"), at("ckpt-9.pt", "ckpt-10.pt"), True, "it came from ckpt-9.pt to ckpt-10.pt"),
        (at("ckpt-40.pt"), at("ckpt-40.pt"), False, f"{STILL} ckpt-40.pt"),
        (at("ckpt-40.pt"), at(("ckpt-40.pt", 9, 9)), False, f"{STILL} ckpt-40.pt"),
        (at("ckpt-40.pt"), at("ckpt-20.pt"), False, "the newest checkpoint is ckpt-20.pt, and was ckpt-40.pt"),
        (at("ckpt-40.pt"), at(), False, "there is no checkpoint any more, it was ckpt-40.pt"),
        (at("net-1_90.ckpt"), at("net-2_10.ckpt"), True, "it came from net-1_90.ckpt to net-2_10.ckpt"),
        (at("last.pt"), at("last.pt"), False, f"{STILL} last.pt"),
        (at("last.pt"), at(("last.pt", 1, 2)), True, "it came to last.pt"),
        (at("ckpt-40.pt", "last.pt"), at("ckpt-40.pt", ("last.pt", 1, 2)), True, "it came to ckpt-40.pt"),
        (
            at("ckpt-40.pt", "best.pt"),
            at("ckpt-40.pt", ("best.pt", 1, 2)),
            False,
            f"{STILL} ckpt-40.pt",
        ),
        (at("model_50.pt"), at("model_50.pt"), False, f"{STILL} model_50.pt"),
        (at("model_50.pt"), at(("model_50.pt", 1, 2)), True, "it came to model_50.pt"),
        (
            at("ckpt-40.pt"),
            at("ckpt-40.pt", "tmp-checkpoint-50/a.pt"),
            False,
            f"{STILL} ckpt-40.pt",
        ),
    ],
)
def test_checkpoints_tell(before: Mark, after: Mark, gained: bool | None, words: str) -> None:  # noqa: FBT001 - a table
    told = compare(before, after)
    assert (told.gained, told.words) == (gained, words)


@pytest.mark.parametrize(
    ("before", "after", "gained", "words"),
    [
        (at(), at(step=5, latest=5), True, "it came to step 5"),
        (at(step=5), at(step=7.5, latest=7.5), True, "it came from step 5 to step 7.5"),
        (at(step=5), at(step=5, latest=5), False, "the highest step in the log is still 5"),
        (at(step=5), at(step=5), False, "the highest step in the log is still 5"),
        (
            at("last.pt", step=5),
            at(("last.pt", 1, 2), step=5, latest=4),
            False,
            f"{STILL} last.pt and the highest step in the log is still 5",
        ),
        (
            at("ckpt-4.pt", step=5),
            at("ckpt-5.pt", step=5, latest=5),
            True,
            "it came from ckpt-4.pt, step 5 to ckpt-5.pt, step 5",
        ),
        (
            at("ckpt-4.pt", step=5),
            at("ckpt-4.pt", step=6, latest=6),
            True,
            "it came from ckpt-4.pt, step 5 to ckpt-4.pt, step 6",
        ),
        (
            at("model_50.pt", step=5),
            at(("model_50.pt", 1, 2), step=5, latest=5),
            False,
            f"{STILL} model_50.pt and the highest step in the log is still 5",
        ),
    ],
)
def test_steps_tell_too(before: Mark, after: Mark, gained: bool | None, words: str) -> None:  # noqa: FBT001 - a table
    told = compare(before, after)
    assert (told.gained, told.words) == (gained, words)


def test_what_could_not_be_looked_at_is_no_reason_to_give_up() -> None:
    blind = Mark(outputs=at("ckpt-4.pt").outputs, unknown="the outputs hold too many files")
    assert compare(at("ckpt-4.pt"), blind) == Gained(
        gained=None, before="ckpt-4.pt", after="ckpt-4.pt", words="the outputs hold too many files"
    )
    assert compare(blind, at("ckpt-5.pt")).gained


def test_one_output_of_several_is_enough() -> None:
    def two(first: str, second: str) -> Mark:
        told = zip("ab", (first, second), strict=True)
        return Mark(outputs=tuple(reached(name, gather([File(path=path, size=1)])) for name, path in told))

    assert compare(two("ckpt-1.pt", "ckpt-7.pt"), two("ckpt-1.pt", "ckpt-8.pt")).gained
    assert compare(two("ckpt-1.pt", "ckpt-7.pt"), two("ckpt-1.pt", "ckpt-7.pt")).gained is False
    assert compare(Mark(), two("ckpt-1.pt", "x")).gained


def test_long_and_strange_names_are_told_in_short() -> None:
    assert described(at(f"{'x' * 300}_5.pt")) == f"…{'x' * 195}_5.pt"
    assert described(at("\udcff-5.pt")) == "\\udcff-5.pt"
    assert reached("o", ()) == Reached(output="o")


def test_three_in_a_row_that_gained_nothing_are_enough() -> None:
    assert no_progress([False, False, False])
    assert no_progress([True, None, False, False, False])
    for history in (
        [],
        [False] * 2,
        [False, None, False],
        [False, False, False, True],
        [False, False, None],
        [None] * 3,
    ):
        assert not no_progress(history)


def test_the_cause_says_where_it_stands() -> None:
    cause = stuck(compare(at("ckpt-40.pt"), at("ckpt-40.pt")))
    assert cause.code == "no-progress"
    assert cause.message == (
        "Three attempts ended no further than they began: the newest checkpoint is still ckpt-40.pt."
    )
    assert "launcher/checkpoints" in cause.action


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_higher_number_is_a_gain_and_no_other_is(before: int, after: int) -> None:
    told = compare(at(f"checkpoint-{before}/model.pt"), at(f"checkpoint-{after}/model.pt"))
    assert told.gained == (after > before)
