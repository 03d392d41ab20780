"""Threads and frames in what py-spy and faulthandler print, and in what looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.stacktexts import (
    LONGEST_FILE,
    MAIN,
    MOST_BYTES,
    MOST_FRAMES,
    MOST_THREADS,
    Frame,
    Thread,
    main_thread,
    threads,
)

SPIED = """\
Process 1205: /venv/bin/python train.py --name "Process 7: x"
Python v3.11.7 (/usr/lib/python3.11)

Thread 1207 (idle): "loader"
    Condition.wait (threading.py:327)
    Thread.run (threading.py:982)
Thread 1205 (active+gil): "MainThread"
    clock_nanosleep (libc.so.6)
    0x7fde4de4524a (libc.so.6)
    c10d::wait(std::chrono::duration<long> (*)(int)) (torch/lib/libtorch_cpu.so)
    at::native (Blas.cpp:12)
    load (/my code (2)/train.py:9)
    <module> (<string>:10)
"""
FAULT = """\
loss 0.3
Thread 0x00007fa618b646c0 [loader] (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait
  File "/code/train.py", line 3 in <lambda>

Current thread 0x00007fa6195d6b80 (most recent call first):
  File "/code/train.py", line 4 in load
  File "/code/train.py", line 5 in <module>
loss 0.2
"""


def test_the_main_thread_of_py_spy_is_the_process_itself_and_libraries_without_lines_are_left_out() -> None:
    loader, main = threads(SPIED)
    assert loader == Thread(
        frames=(Frame("Condition.wait", "threading.py", 327), Frame("Thread.run", "threading.py", 982))
    )
    assert main == Thread(
        frames=(Frame("load", "/my code (2)/train.py", 9), Frame("<module>", "<string>", 10)), main=True
    )
    assert main_thread((loader, main)) == main


@pytest.mark.parametrize(
    ("heads", "main"),
    [
        (('Thread 7 (idle): "a"', 'Thread 8 (idle): "MainThread"'), 1),
        (("Thread 7 (idle)", "Thread 0x7F00AA (idle)"), 0),
        (("Thread 7 (idle)", "Thread 3 (idle)"), 1),
    ],
)
def test_from_another_namespace_the_main_thread_is_known_by_its_name_or_is_the_first(
    heads: tuple[str, ...], main: int
) -> None:
    text = "Process 3: python\n" + "".join(f"{head}\n    load (train.py:1)\n" for head in heads)
    assert [thread.main for thread in threads(text)].index(True) == main


def test_a_name_with_a_line_end_is_no_thread_of_its_own() -> None:
    text = 'Process 7: python\nThread 7 (idle): "a "b\n"\n    load (train.py:1)\n'
    assert threads(text) == (Thread(frames=(Frame("load", "train.py", 1),), main=True),)


def test_the_main_thread_of_faulthandler_is_the_last() -> None:
    loader, main = threads(FAULT)
    assert loader.frames == (
        Frame("wait", "/usr/lib/python3.11/threading.py", 327),
        Frame("<lambda>", "/code/train.py", 3),
    )
    assert main.frames == (Frame("load", "/code/train.py", 4), Frame("<module>", "/code/train.py", 5))
    assert (loader.main, main.main) == (False, True)


def test_of_two_dumps_the_last_counts() -> None:
    last = FAULT.replace("line 4 in load", "line 8 in save")
    assert threads(FAULT + last) == threads(last)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Error: Permission Denied\n",
        "Process 7: python\n    load (train.py:1)\n",
        '  File "/code/train.py", line 4 in load\n',
    ],
)
def test_what_tells_of_no_thread_has_none(text: str) -> None:
    assert threads(text) == ()
    assert main_thread(threads(text)) is None


@pytest.mark.parametrize(
    "line",
    [
        "load",
        "load (train.py)",
        "load (train.py:)",
        "load (train.py:x)",
        "load (train.py:²)",
        "load (train.py:1",
        " (train.py:1)",
        "load (train.so:1)",
    ],
)
def test_what_is_no_frame_of_python_is_left_out(line: str) -> None:
    assert threads(f"Thread 7 (idle)\n    {line}\n") == (Thread(frames=(), main=True),)


def test_all_of_it_is_bounded() -> None:
    many = "".join("Thread 1 (idle)\n" for _ in range(MOST_THREADS + 5))
    assert len(threads(many)) == MOST_THREADS
    fault = "Thread 0x1 (most recent call first):\n"
    assert len(threads((fault + "\n") * (MOST_THREADS + 5))) == MOST_THREADS
    for head, frame in (("Thread 7 (idle)\n", "    f (x.py:1)\n"), (fault, '  File "x.py", line 1 in f\n')):
        (one,) = threads(head + frame * (MOST_FRAMES + 5))
        assert len(one.frames) == MOST_FRAMES
    (one,) = threads(f"Thread 7 (idle)\n    {'f' * 900} ({'x' * 900}.py:{'9' * 30})\n")
    assert one.frames == (Frame("f" * 200, ("x" * 900 + ".py")[-LONGEST_FILE:], 0),)
    assert threads("x" * MOST_BYTES + SPIED) == ()


@given(st.lists(st.sampled_from([*'Thread ()":\n<>x.py7File,', MAIN, *SPIED.splitlines(), *FAULT.splitlines()])))
def test_no_text_breaks_it(pieces: list[str]) -> None:
    found = threads("".join(f"{piece}\n" if len(piece) > 1 else piece for piece in pieces))
    assert sum(thread.main for thread in found) == min(len(found), 1)
