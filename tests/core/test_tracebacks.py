from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from failures import traceback
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.diagnose import Evidence, Witness, diagnose
from launcher.core.diagnose.tracebacks import cut_in_the_middle, tracebacks
from launcher.core.diagnose.transcripts import LONGEST_LINE, MOST_LINES, Transcript, tidy

if TYPE_CHECKING:
    from pathlib import Path

LINK = "\nDuring handling of the above exception, another exception occurred:\n\n"
DIRECT = "\nThe above exception was the direct cause of the following exception:\n\n"


def text_of(lines: tuple[str, ...]) -> str:
    return "\n".join(lines) + "\n" if lines else ""


def last_traceback(text: str) -> tuple[str, ...]:
    transcript = Transcript(text)
    if not transcript.tracebacks:
        return ()
    last = transcript.tracebacks[-1]
    return cut_in_the_middle(transcript.lines[last.start : last.end])


def message(text: str) -> str:
    return diagnose(Evidence(witnesses=(Witness(code=1, stderr=text),))).message


@pytest.mark.parametrize("around", ["", "loss 0.1\n", "  indented\n\n"])
@pytest.mark.parametrize("after", ["", "\nbye\n"])
def test_a_traceback_is_found_whole(around: str, after: str) -> None:
    assert text_of(last_traceback(around + traceback("ValueError: x") + after)) == traceback("ValueError: x")


def test_the_last_of_several_is_taken() -> None:
    text = traceback("ValueError: 1") + "epoch 2\n" + traceback("ValueError: 2")
    assert text_of(last_traceback(text)) == traceback("ValueError: 2")


@pytest.mark.parametrize("link", [LINK, DIRECT])
def test_chained_ones_are_one(link: str) -> None:
    text = traceback("KeyError: 'a'") + link + traceback("ValueError: b") + link + traceback("OSError: c")
    assert text_of(last_traceback("x\n" + text)) == text
    assert "OSError: c at" in message(text)


def test_an_exception_out_of_a_worker_belongs_to_the_one_that_tells_of_it() -> None:
    text = (
        traceback("ValueError: Caught ValueError in DataLoader worker process 0.")
        + "Original "
        + traceback("ValueError: x")
    )
    assert text_of(last_traceback(text)) == text
    text = (
        traceback("torch.multiprocessing.spawn.ProcessRaisedException: ")
        + "\n-- Process 1 terminated with the following error:\n"
        + traceback("ValueError: y")
    )
    assert [line.rstrip() for line in last_traceback(text)] == [line.rstrip() for line in text.splitlines()]


def test_an_exceptions_text_may_have_several_lines() -> None:
    text = traceback("RuntimeError: first\nsecond\n  third\nfourth")
    assert text_of(last_traceback(text + "\nelse\n")) == text
    assert "RuntimeError: first at" in message(text)


def test_a_text_without_an_end_is_cut() -> None:
    text = traceback("RuntimeError: first") + "more\n" * 100
    assert len(last_traceback(text)) == 7 + 12


def test_other_threads_lines_may_stand_before_the_exception() -> None:
    text = traceback("ValueError: x").replace("ValueError", "[I] a line of C++\nValueError")
    assert last_traceback(text)[-1] == "ValueError: x"
    assert "ValueError: x at" in message(text)


def test_what_was_cut_off_at_its_end_is_shown_as_far_as_it_goes() -> None:
    text = "\n".join(traceback("ValueError: x").splitlines()[:5])
    assert "\n".join(last_traceback(text)) == text
    assert "exit code 1. Looked at" in message(text)


@pytest.mark.parametrize("partial", ["", 'le "/code/a.py", line 3, in f\n'])
def test_what_was_cut_off_at_its_top_is_found(partial: str) -> None:
    rest = '  File "/code/train.py", line 7, in g\n    h()\nValueError: x\n'
    assert text_of(last_traceback(partial + rest)) == rest
    assert "ValueError: x at code/train.py:7" in message(partial + rest)


def test_frames_in_the_middle_of_nothing_are_no_traceback() -> None:
    stack = 'Stack (most recent call last):\n  File "/code/a.py", line 3, in f\n    g()\nepoch 1\n'
    assert last_traceback("a\nb\n" + stack) == ()
    assert last_traceback('  File "/code/a.py" is not there\n') == ()
    assert last_traceback('a\nb\n  File "/code/a.py", line 3\nepoch\n') == ()


def test_bad_syntax_has_no_header() -> None:
    text = '  File "/code/train.py", line 3\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n'
    assert text_of(last_traceback("a\nb\nc\n" + text)) == text
    cause = diagnose(Evidence(witnesses=(Witness(code=1, stderr="a\nb\nc\n" + text),)))
    assert (cause.code, cause.message) == ("syntax-error", "Python cannot read the code: invalid syntax")


def test_a_progress_bar_that_was_not_ended_is_no_obstacle() -> None:
    text = " 50%|#####     | 5/10\r 60%|######    | 6/10" + traceback("ValueError: x")
    assert last_traceback(text)[0].endswith("Traceback (most recent call last):")
    assert last_traceback(text)[-1] == "ValueError: x"


@pytest.mark.parametrize("prefix", ["[rank0]: ", "[default1]: ", "[1,0]<stderr>: ", "[rank 3] ", "[7]: ", "\x1b[31m"])
def test_ranks_and_colours_before_a_line_are_left_out(prefix: str) -> None:
    text = "".join(f"{prefix}{line}\n" for line in traceback("ValueError: x").splitlines())
    assert text_of(last_traceback(text)) == traceback("ValueError: x")


def test_what_only_looks_like_a_rank_stays() -> None:
    assert tidy("[INFO] a\n[E ProcessGroup.cpp:1] b") == ("[INFO] a", "[E ProcessGroup.cpp:1] b")


GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/code/train.py", line 12, in <module>
  |     raise ExceptionGroup("several", [a, b])
  | ExceptionGroup: several (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/code/one.py", line 3, in one
    |     raise ValueError(1)
    | ValueError: 1
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "/code/two.py", line 4, in two
    |     raise KeyError(2)
    | KeyError: 2
    +------------------------------------
"""


def test_a_group_is_one_traceback_and_its_last_leaf_speaks() -> None:
    assert text_of(last_traceback("x\n" + GROUP + "bye\n")) == GROUP
    assert "KeyError: 2 at code/two.py:4" in message(GROUP)
    assert last_traceback("  + Exception Group Traceback (most recent call last):\n")
    assert "exit code 1. Looked at" in message("  + Exception Group Traceback (most recent call last):\n")


def test_the_place_is_in_the_users_own_code_if_any_is() -> None:
    text = traceback("ValueError: x", file="/usr/lib/python3/dist-packages/a.py")
    assert "at torch/x.py:3" in message(text)
    assert "at train.py:1" in message(traceback("ValueError: x", file="train.py", line=1))


def test_a_very_long_one_is_cut_in_its_middle() -> None:
    deep = traceback("ValueError: x").replace(
        "    main()\n", "    main()\n" + '  File "/code/a.py", line 1, in f\n' * 100
    )
    shown = last_traceback(deep)
    assert len(shown) == 46
    assert (shown[0], shown[-1]) == ("Traceback (most recent call last):", "ValueError: x")
    assert "  … 62 lines left out …" in shown
    assert len(deep.splitlines()) == 45 + 62
    assert cut_in_the_middle(("a",) * 46) == ("a",) * 46


def test_the_code_is_the_one_that_python_writes(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "def f(x):\n    return 1 / x\ntry:\n    f(0)\nexcept ArithmeticError as e:\n    raise ValueError('é') from e\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, check=False, encoding="utf-8")
    assert text_of(last_traceback(done.stderr)) == done.stderr
    assert f"ValueError: é at {tmp_path.name}/train.py:6" in message(done.stderr)
    script.write_text("x = = 1\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, check=False, encoding="utf-8")
    assert text_of(last_traceback(done.stderr)) == done.stderr


def test_text_without_one_has_none() -> None:
    assert last_traceback("") == last_traceback("\n\n") == last_traceback("epoch 1\n") == ()


def test_text_is_bounded_in_both_directions() -> None:
    lines = tidy("\n" * 100_000 + "x" * 100_000 + "y")
    assert len(lines) == MOST_LINES
    assert len(lines[-1]) == LONGEST_LINE
    assert lines[-1].startswith("xx")
    assert lines[-1].endswith("xy")
    assert tidy("a\tb\x00\ud800") == ("a b??",)


def test_lines_are_found_from_the_end() -> None:
    transcript = Transcript("aa\nb\naa aa\na")
    assert transcript.last_lines_with("aa", 9) == [2, 0]
    assert transcript.last_lines_with("aa", 1) == [2]
    assert transcript.last_lines_with("c", 9) == []


@given(
    st.lists(
        st.sampled_from([*traceback("E: x").splitlines(), *GROUP.splitlines(), *LINK.splitlines(), "x", "  File"]),
        max_size=60,
    )
)
def test_any_mixture_of_lines_is_read(lines: list[str]) -> None:
    found = tracebacks(lines)
    assert all(0 <= each.start <= each.end <= len(lines) for each in found)
    assert all(one.end <= two.start for one, two in pairwise(found))
