"""How many uploads at once: as the store bears them, and as there is memory for them."""

from __future__ import annotations

import threading
import time

import pytest
from fake_store import never

from launcher.core.errors import Cancelled
from launcher.core.parts import SMALL_BYTES
from launcher.pool import each
from launcher.sync.pace import MIB, PARTS_HELD, Pace

HELD_MOST = PARTS_HELD * SMALL_BYTES


def pace(memory: int = 256 * MIB, most: int = 64) -> Pace:
    made = Pace(most, memory, time.monotonic)
    made.begun()
    return made


def test_it_begins_with_a_few_and_halves_when_the_store_asks_for_less() -> None:
    made = pace()
    assert made.width() == 8
    made.slowed()
    assert made.width() == 4


@pytest.mark.parametrize("well", [True, False])
def test_it_grows_while_more_uploads_help_and_not_by_those_that_fail(*, well: bool) -> None:
    now = 0.0
    made = Pace(64, 256 * MIB, lambda: now)
    made.begun()
    for _ in range(1000):
        now += 0.05 / made.width()
        made.during(1, lambda: well, never)
    assert made.width() == (64 if well else 8)


@pytest.mark.parametrize(("size", "most"), [(10 * 1024**3, 2), (5 * MIB, 9), (1, 64)])
def test_no_more_are_under_way_than_there_is_memory_for(size: int, most: int) -> None:
    made = pace(2 * HELD_MOST + 20 * MIB)
    under_way = peak = 0
    lock = threading.Lock()
    met = threading.Event()

    def work() -> bool:
        nonlocal under_way, peak
        with lock:
            under_way += 1
            peak = max(peak, under_way)
            if peak == most:
                met.set()
        assert met.wait(30)
        with lock:
            under_way -= 1
        return True

    each(lambda _, stopped: made.during(size, work, stopped), range(64), 64, never)
    assert peak == most


def test_one_that_is_larger_than_the_memory_goes_alone() -> None:
    done: list[int] = []

    def work() -> bool:
        done.append(1)
        return True

    pace(1).during(10**12, work, never)
    assert done == [1]


def test_a_large_one_does_not_wait_for_all_the_small_ones() -> None:
    made = pace(HELD_MOST)
    order: list[str] = []
    first, waiting = threading.Event(), threading.Event()

    def hold() -> bool:
        first.set()
        assert waiting.wait(30)
        return True

    def noted(which: str) -> bool:
        order.append(which)
        return True

    def asks() -> bool:
        waiting.set()
        return False

    threads = [threading.Thread(target=made.during, args=(1, hold, never))]
    threads[0].start()
    assert first.wait(30)
    threads.append(threading.Thread(target=made.during, args=(10 * 1024**3, lambda: noted("large"), never)))
    threads[1].start()
    while not made._turn.locked():
        threads[1].join(0.01)
    small = threading.Thread(target=made.during, args=(1, lambda: noted("small"), asks))
    small.start()
    for thread in (*threads, small):
        thread.join(30)
    assert order == ["large", "small"]


def test_a_stop_ends_the_wait_and_what_failed_gives_its_memory_back() -> None:
    made = pace(HELD_MOST)

    def fails() -> bool:
        with pytest.raises(Cancelled):
            made.during(10 * 1024**3, lambda: True, lambda: True)
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            made.during(10 * 1024**3, fails, never)
