"""The second hand of a pump, and a pump that uses one: order, ends and defects."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

from launcher.streams.beside import Beside
from launcher.streams.pump import FIRST_BYTES, PIPE_BYTES, Pump

if TYPE_CHECKING:
    from collections.abc import Callable


class Kept:
    """A sink that keeps what it gets, and on which thread."""

    def __init__(self, wait: Callable[[], object] = bool) -> None:
        self.got = bytearray()
        self.threads: set[str] = set()
        self.ended = 0
        self._wait = wait

    def write(self, chunk: bytes | memoryview) -> None:
        self._wait()
        self.got += chunk
        self.threads.add(threading.current_thread().name)

    def end(self) -> None:
        self.ended += 1


def moved(text: bytes, *sinks: Kept) -> Pump:
    """A pump that has moved a text to its end, or to a defect."""
    read, write = os.pipe()
    over = threading.Event()
    pump = Pump(read, sinks, over.set)
    pump.start()
    with contextlib.suppress(BrokenPipeError), open(write, "wb", buffering=0) as writer:
        writer.write(text)
    assert over.wait(60)
    return pump


def test_what_is_given_is_written_in_its_order_and_whole_at_the_end() -> None:
    kept = Kept()
    beside = Beside(kept.write)
    assert beside.start()
    for number in range(1000):
        beside.give(memoryview(b"%d " % number))
    beside.end()
    assert bytes(kept.got) == b"".join(b"%d " % number for number in range(1000))
    assert kept.threads == {"beside"}


def test_a_defect_is_raised_where_the_next_is_given() -> None:
    def broken(_: memoryview) -> None:
        raise ZeroDivisionError

    beside = Beside(broken)
    assert beside.start()
    beside.give(memoryview(b"x"))
    with pytest.raises(ZeroDivisionError):
        beside.end()


def test_a_flow_reaches_every_sink_byte_for_byte_and_a_quiet_one_needs_no_second_hand() -> None:
    text = os.urandom(5 * PIPE_BYTES + 12345)
    first, second, third = Kept(), Kept(), Kept()
    pump = moved(text, first, second, third)
    assert (first.got == text, second.got == text, third.got == text) == (True, True, True)
    assert (first.threads, second.threads, third.threads - {"pump"}) == ({"pump"}, {"pump"}, {"beside"})
    assert [first.ended, second.ended, third.ended] == [1, 1, 1]
    assert pump.tail == text[-len(pump.tail) :]


def test_a_quiet_flow_needs_no_second_hand() -> None:
    first, second = Kept(), Kept()
    moved(b"x" * (FIRST_BYTES - 1), first, second)
    assert second.threads == {"pump"}


@pytest.mark.parametrize("size", [FIRST_BYTES - 1, FIRST_BYTES, 3 * FIRST_BYTES, 4 * PIPE_BYTES])
def test_what_one_waits_with_is_in_the_tail_and_with_all_before_it(size: int) -> None:
    class Last(Kept):
        def write(self, chunk: bytes | memoryview) -> None:
            at = len(self.got)
            assert first.got[at : at + len(chunk)] == bytes(chunk)
            assert pump.tail
            super().write(chunk)

    text = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    read, write = os.pipe()
    over = threading.Event()
    first, last = Kept(), Last()
    pump = Pump(read, (first, last), over.set)
    pump.start()
    with open(write, "wb", buffering=0) as writer:
        writer.write(text)
    assert over.wait(60)
    assert pump.error is None
    assert last.got == text


def test_a_defect_of_the_second_hand_is_the_pumps() -> None:
    calls = iter(range(100))

    def wait() -> None:
        if next(calls) == 3:
            raise ZeroDivisionError

    pump = moved(b"x" * 4 * PIPE_BYTES, Kept(), Kept(wait))
    assert isinstance(pump.error, ZeroDivisionError)
