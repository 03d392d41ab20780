from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.termination import LONGEST, MOST_BYTES, termination_message


def outcome(**cause: Any) -> dict[str, Any]:
    whole = {"code": "c", "message": "m", "action": "a", "evidence": [], "rank": None, **cause}
    return {"phase": "Failed", "exit_code": 1, "cause": whole}


def test_a_short_one_is_whole() -> None:
    said = outcome(evidence=["first", "last"], rank=3)
    assert json.loads(termination_message(said)) == said


def test_a_good_run_has_no_cause() -> None:
    good = {"phase": "Completed", "exit_code": 0, "cause": None}
    assert json.loads(termination_message(good)) == good


def test_what_was_not_saved_is_named_before_the_evidence_is() -> None:
    names = [f"train_url: checkpoint-{number}.pt" for number in range(500)]
    message = json.loads(termination_message(outcome(evidence=["x" * 100] * 200 + ["the end"]), names))
    assert message["unsaved"]["count"] == 500
    assert message["unsaved"]["first"] == names[: len(message["unsaved"]["first"])]
    assert len(message["unsaved"]["first"]) > 50
    assert message["cause"]["evidence"][-1] == "the end"
    assert len(message["cause"]["evidence"]) > 5


def test_of_the_evidence_the_last_lines_are_kept_and_a_long_one_is_cut() -> None:
    lines = [f"line {number}" for number in range(1000)] + ["y" * 9999]
    kept = json.loads(termination_message(outcome(evidence=lines)))["cause"]["evidence"]
    assert kept[-1] == "y" * LONGEST + "…"
    assert kept[:-1] == lines[1000 - len(kept) + 1 : 1000]


def test_long_sentences_are_cut_and_the_rest_is_still_there() -> None:
    message = json.loads(termination_message(outcome(message="很" * 9000, action="act")))
    assert message["cause"]["code"] == "c"
    assert message["cause"]["action"] == "act"
    assert message["cause"]["message"].startswith("很很")


@pytest.mark.parametrize("size", [1, 4000, 5000, 100_000])
@pytest.mark.parametrize("letter", ["x", "\u6570", '"', "\x00", "\ud800"])
def test_no_text_makes_it_too_long(size: int, letter: str) -> None:
    text = letter * size
    message = termination_message(outcome(message=text, action=text, evidence=[text] * 3), [text] * 3)
    assert len(message) <= MOST_BYTES
    told = json.loads(message)
    assert (told["phase"], told["exit_code"], told["cause"]["code"]) == ("Failed", 1, "c")


TEXT = st.text(st.characters(codec=None), max_size=3000)


@given(TEXT, TEXT, st.lists(TEXT, max_size=30), st.lists(TEXT, max_size=30))
def test_it_is_always_json_and_never_too_long(message: str, action: str, lines: list[str], names: list[str]) -> None:
    written = termination_message(outcome(message=message, action=action, evidence=lines), names)
    assert len(written) <= MOST_BYTES
    assert json.loads(written)["exit_code"] == 1
