"""What an interpreter said of itself, hostile answers included."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.answer import Answer
from launcher.core.interpreter import MARK, MOST_TAGS, Interpreter, told

SAID: dict[str, Any] = {
    "python": "3.7.10",
    "machine": "aarch64",
    "packages": {"torch": "1.8.0"},
    "torch": "__version__ = '1.8.0'\ndebug = False\ncuda: Optional[str] = '10.2'\n",
    "platforms": [["linux_aarch64", "manylinux2014_aarch64"], ["any"]],
    "pairs": [["cp37-cp37m", 0], ["py3-none", 1]],
}


def answer(**changes: Any) -> Answer:
    return Answer(code=0, stdout=f"hello from sitecustomize\n{MARK}{json.dumps({**SAID, **changes})}\nbye\n")


def test_all_of_it_is_taken_over() -> None:
    assert told("/bin/python", answer()) == Interpreter(
        path="/bin/python",
        python="3.7.10",
        machine="aarch64",
        packages={"torch": "1.8.0"},
        cuda="10.2",
        tags=frozenset({"cp37-cp37m-linux_aarch64", "cp37-cp37m-manylinux2014_aarch64", "py3-none-any"}),
    )


@pytest.mark.parametrize(
    ("text", "cuda"),
    [("cuda = '11.3'\n", "11.3"), ("cuda: Optional[str] = None\n", None), ("", None), ("# cuda = '1'", None)],
)
def test_what_torch_was_built_for_stands_in_its_version_file(text: str, cuda: str | None) -> None:
    assert told("p", answer(torch=text)).cuda == cuda


def test_an_interpreter_that_cannot_be_asked_says_why() -> None:
    assert told("p", Answer(code=None, fault="is not there")).fault == "is not there"
    assert told("p", Answer(code=2, stderr="x\nno such option -B\n")).fault == "ended with 2 (no such option -B)"
    assert told("p", Answer(code=0)).fault == "ended with 0 (and said nothing)"


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", json.dumps({**SAID, "pairs": [["a"]]}), json.dumps({**SAID, "python": 3}), '{"x":' * 20_000],
)
def test_nonsense_is_no_answer(line: str) -> None:
    assert told("p", Answer(code=0, stdout=MARK + line)).fault == "gave an answer that makes no sense"


def test_what_is_said_is_bounded() -> None:
    long = told("p", answer(python="3" * 1000, packages={"a" * 1000: "b" * 1000}))
    assert (len(long.python or ""), [(len(k), len(v)) for k, v in long.packages.items()]) == (64, [(64, 64)])
    many = answer(platforms=[[str(n) for n in range(MOST_TAGS)]], pairs=[["a", 0], ["b", 0]])
    assert len(told("p", many).tags) == MOST_TAGS
    assert told("p", answer(pairs=[["a", -1], ["b", 2]])).tags == frozenset()


@given(st.text(), st.text())
def test_any_output_is_read_without_harm(out: str, err: str) -> None:
    told("p", Answer(code=1, stdout=out, stderr=err))
    told("p", Answer(code=1, stdout=MARK + out, stderr=err))
