"""The thread that keeps the study: one thing after the other, the regular one between them, and no error lost."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from launcher.adapters.clock import SystemClock
from launcher.search.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 1000.0
PATIENCE = 30.0


class Heard:
    """A keeper and whatever it was woken by."""

    def __init__(self, regular: Callable[[], object] = bool, period: float = LONG) -> None:
        self.woken = threading.Event()
        self.keeper = Keeper(regular, period, SystemClock(), self.woken.set)
        self.keeper.start()

    def until(self, fact: Callable[[], bool]) -> None:
        while not fact():
            assert self.woken.wait(PATIENCE)
            self.woken.clear()


def test_what_is_asked_is_done_in_its_order() -> None:
    heard, done = Heard(), list[int]()
    for number in range(50):
        heard.keeper.post(partial(done.append, number))
    heard.until(lambda: heard.keeper.idle)
    assert done == list(range(50))
    heard.keeper.close()
    heard.until(lambda: heard.keeper.over)
    assert heard.keeper.error is None


def test_it_is_busy_until_the_last_thing_is_done() -> None:
    heard, go = Heard(), threading.Event()
    heard.keeper.post(lambda: go.wait(PATIENCE))
    assert not heard.keeper.idle
    go.set()
    heard.until(lambda: heard.keeper.idle)
    heard.keeper.close()


def test_the_regular_thing_is_done_between_the_others_and_not_after_the_end() -> None:
    times = list[int]()
    enough = threading.Event()

    def regular() -> None:
        times.append(len(times))
        if len(times) == 3:
            enough.set()

    heard = Heard(regular, period=0.01)
    assert enough.wait(PATIENCE)
    heard.keeper.close()
    heard.until(lambda: heard.keeper.over)
    assert times == list(range(len(times)))


def test_an_error_ends_it_and_is_kept() -> None:
    heard, done = Heard(), list[int]()

    def fail() -> None:
        raise LookupError("gone")

    heard.keeper.post(fail)
    heard.keeper.post(lambda: done.append(1))
    heard.until(lambda: heard.keeper.over)
    assert isinstance(heard.keeper.error, LookupError)
    assert (done, heard.keeper.idle) == ([], True)


def test_what_was_asked_before_the_end_is_still_done() -> None:
    heard, go, done = Heard(), threading.Event(), list[int]()
    heard.keeper.post(lambda: go.wait(PATIENCE))
    heard.keeper.post(lambda: done.append(1))
    heard.keeper.close()
    go.set()
    heard.until(lambda: heard.keeper.over)
    assert done == [1]
