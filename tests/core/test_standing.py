"""Where the ranks of a job stand: in a sentence, on the way to another node, and of all nodes together."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from launcher.core.spots import Spot
from launcher.core.standing import (
    LONGEST,
    MOST_RANKS,
    Place,
    Standing,
    from_text,
    merged,
    summary,
    to_text,
    together,
    veiled,
)

REDUCE = Spot(
    function="all_reduce",
    file="torch/distributed/distributed_c10d.py",
    line=2806,
    caller="train",
    caller_file="train.py",
    caller_line=41,
    waits=True,
)
NEXT = Spot(
    function="__next__",
    file="torch/utils/data/dataloader.py",
    line=630,
    caller="<module>",
    caller_file="train.py",
    caller_line=39,
)
RECV = Spot(function="recv", file="ssl.py", line=1296, caller="load", caller_file="train.py", caller_line=12)


def standing(spots: dict[int, Spot], *unknown: int) -> Standing:
    return Standing(places=tuple(Place(rank=rank, spot=spot) for rank, spot in spots.items()), unknown=unknown)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            standing({**dict.fromkeys(range(8), REDUCE), 3: NEXT}),
            (
                "7 of 8 ranks wait in all_reduce (train.py:41); "
                "rank 3 is in __next__ (torch/utils/data/dataloader.py:630), called at train.py:39"
            ),
        ),
        (standing({0: RECV}), "rank 0 is in recv (ssl.py:1296), called at train.py:12 (load)"),
        (standing({0: REDUCE, 1: replace(REDUCE, line=2807)}), "all 2 ranks wait in all_reduce (train.py:41)"),
        (
            standing({**dict.fromkeys(range(8), REDUCE), 3: NEXT, 5: NEXT}, 9, 8, 11, 10),
            (
                "6 of 12 ranks wait in all_reduce (train.py:41); ranks 3, 5 are in __next__ "
                "(torch/utils/data/dataloader.py:630), called at train.py:39; nothing is known of ranks 8-11"
            ),
        ),
        (
            standing(
                {4: Spot(function="main", file="run.py", line=3), 5: replace(REDUCE, caller="", caller_file="")}, 6
            ),
            (
                "rank 4 is in main (run.py:3); rank 5 waits in all_reduce (torch/distributed/distributed_c10d.py); "
                "nothing is known of rank 6"
            ),
        ),
        (standing({}, 0, 1), ""),
    ],
)
def test_the_odd_ranks_are_named(found: Standing, told: str) -> None:
    assert summary(found) == told


def test_a_thousand_ranks_that_all_stand_elsewhere_are_told_in_a_few_lines() -> None:
    unknown = (rank for rank in range(5000) if rank % 2 or rank >= 2000)
    told = summary(standing({rank: replace(NEXT, line=rank) for rank in range(0, 2000, 2)}, *unknown))
    assert len(told) < 2000
    assert told.count("is in __next__") == 8
    assert "ranks 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46 and 976 more are elsewhere" in told
    assert told.endswith(
        "nothing is known of ranks 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31 and 3984 more"
    )
    assert "rank 9 is elsewhere" in summary(standing({rank: replace(NEXT, line=rank) for rank in range(1, 10)}))


def test_long_names_are_cut_in_a_sentence() -> None:
    long = Spot(function="f" * 200, file="d" * 490 + "/x.py", line=1, caller="g" * 200, caller_file="e" * 500)
    assert len(summary(standing({0: long}))) < 600


def test_a_standing_arrives_as_it_was() -> None:
    sent = replace(
        standing({**dict.fromkeys(range(1000), REDUCE), 3: NEXT, 999: RECV}, 1001), text="/log/x-stacks-1.txt"
    )
    text = to_text(sent)
    assert len(text.encode()) <= 2000
    found = from_text(text)
    assert found is not None
    assert found.unknown == (1001,)
    assert found.text == sent.text
    assert summary(found) == summary(sent)
    assert [place.rank for place in found.places] == list(range(1000))


def test_what_has_no_room_is_unknown() -> None:
    places = {rank: replace(NEXT, line=rank, file="é" * 400) for rank in range(100)} | dict.fromkeys(
        range(100, 102), RECV
    )
    text = to_text(replace(standing(places), text="\n" + "/" * 900))
    assert len(text.encode()) <= LONGEST
    found = from_text(text)
    assert found is not None
    assert {100, 101} < {place.rank for place in found.places}
    assert len(found.places) + len(found.unknown) == 102
    assert len(found.text) == 500


def test_where_not_even_the_numbers_have_room_they_are_left_out() -> None:
    text = to_text(Standing(unknown=tuple(range(0, MOST_RANKS, 2))))
    assert from_text(text) == Standing()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '"' + "x" * LONGEST + '"',
        "[" * 10000,
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "a"}]}),
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "1-"}]}),
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "2-1"}]}),
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "1,1"}]}),
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "²"}]}),
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "0-999999"}]}),
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "0-99999"}]}),
        json.dumps({"groups": [{"spot": {"function": "f"}, "ranks": "0-65535"}] * 2}),
        json.dumps({"groups": [{"spot": {"function": "f" * 201}, "ranks": "0"}]}),
        json.dumps({"groups": [{"spot": {"function": "f", "line": -1}, "ranks": "0"}]}),
        json.dumps({"unknown": "1-0"}),
    ],
)
def test_what_is_no_standing_is_none(text: str) -> None:
    assert from_text(text) is None


def test_what_another_node_sends_cannot_write_to_a_terminal() -> None:
    text = json.dumps({"groups": [{"spot": {"function": "f\n\x1b[2J"}, "ranks": "0"}], "text": "/a\nb"})
    found = from_text(text)
    assert found == Standing(places=(Place(rank=0, spot=Spot(function="f??[2J")),), text="/a?b")


def test_of_several_nodes_whoever_knows_a_rank_is_believed() -> None:
    one = replace(standing({0: REDUCE, 1: REDUCE}, 2), text="/log/a")
    two = replace(standing({2: NEXT, 1: RECV}, 3), text="/log/b")
    assert merged([one, two]) == replace(standing({0: REDUCE, 1: REDUCE, 2: NEXT}, 3), text="/log/a")
    assert merged([]) == Standing()


def test_the_sentence_of_all_nodes_names_those_that_said_nothing() -> None:
    texts = {0: to_text(standing({0: REDUCE, 1: REDUCE})), 1: to_text(standing({2: REDUCE, 3: RECV})), 2: "{"}
    names = [f"worker-{number}" for number in range(3)]
    said = (
        "3 of 4 ranks wait in all_reduce (train.py:41); rank 3 is in recv (ssl.py:1296), called at train.py:12 (load)"
    )
    assert together({0: texts[0], 1: texts[1]}, names[:2]) == said
    assert together(texts, names) == f"{said}; nothing came from worker-2"
    silent = together({}, [f"worker-{number}" for number in range(40)])
    assert silent.startswith("nothing came from worker-0, worker-1, ")
    assert silent.endswith(" worker-15 and 24 more")
    assert together({}, ()) == ""


def test_words_that_leave_can_be_masked() -> None:
    found = veiled(replace(standing({0: RECV}), text="/log/hunter22"), lambda word: word.replace("load", "***"))
    assert found.places[0].spot.caller == "***"
    assert veiled(found, lambda word: word.replace("hunter22", "***")).text == "/log/***"


@given(st.sets(st.integers(0, 3000)), st.sets(st.integers(0, 3000)))
def test_every_rank_arrives_once(told: set[int], unknown: set[int]) -> None:
    sent = standing(dict.fromkeys(told, NEXT), *unknown)
    text = to_text(sent)
    assert len(text) <= LONGEST
    found = from_text(text)
    assert found is not None
    if {place.rank for place in found.places} == told and len(unknown) < 1000:
        assert set(found.unknown) == unknown - told
