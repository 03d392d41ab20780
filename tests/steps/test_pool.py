from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest
from fake_store import broken, never

from launcher.core.errors import Cancelled, StoreError
from launcher.pool import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_every_item_is_done_once() -> None:
    done: list[int] = []
    each(lambda item, _: done.append(item), range(1000), 8, never)
    assert sorted(done) == list(range(1000))


def test_items_run_beside_each_other() -> None:
    together = threading.Barrier(4, timeout=30)
    passed = []
    each(lambda _item, _halted: passed.append(together.wait()), range(4), 4, never)
    assert len(passed) == 4


@pytest.mark.parametrize(("items", "threads"), [(1, 8), (5, 1), (5, 0)])
def test_one_item_or_one_thread_needs_no_thread(items: int, threads: int) -> None:
    seen = []
    each(lambda _item, _halted: seen.append(threading.current_thread()), range(items), threads, never)
    assert seen == [threading.current_thread()] * items


def test_apart_even_one_item_has_a_daemon_of_its_own() -> None:
    seen: list[threading.Thread] = []
    each(lambda _item, _halted: seen.append(threading.current_thread()), range(1), 8, never, apart=True)
    assert seen[0] is not threading.current_thread()
    assert seen[0].daemon


@pytest.mark.parametrize("waiting", [0, 1, 64])
@pytest.mark.parametrize("threads", [1, 8])
def test_what_is_left_of_an_item_is_done_once(threads: int, waiting: int) -> None:
    done: list[int] = []

    def work(item: int, _: object) -> int | None:
        if item >= 0:
            return -1 - item
        done.append(-1 - item)
        return None

    each(work, range(1000), threads, never, waiting=waiting)
    assert sorted(done) == list(range(1000))


def test_what_is_left_is_done_one_at_a_time_until_too_much_waits() -> None:
    begun, entered, go_on = threading.Event(), threading.Semaphore(0), threading.Event()
    seen: list[str] = []

    def work(item: str, _: object) -> str | None:
        if item.startswith("left"):
            seen.append(item)
            begun.set()
            entered.release()
            assert go_on.wait(30)
            return None
        assert item == "a" or begun.wait(30)  # the others come while the first has the turn
        return f"left of {item}"

    def free() -> None:
        # the first has the turn, two wait, so one more does its own
        assert all(entered.acquire(timeout=30) for _ in range(2))
        go_on.set()

    helper = threading.Thread(target=free)
    helper.start()
    each(work, "abcd", 4, never, waiting=2)
    helper.join()
    assert seen[0] == "left of a"
    assert sorted(seen) == [f"left of {one}" for one in "abcd"]


def test_a_failure_of_what_is_left_is_raised() -> None:
    def work(item: int, _: object) -> int | None:
        if item < 0:
            raise broken()
        return -1 - item

    with pytest.raises(StoreError):
        each(work, range(100), 4, never, waiting=64)


def test_what_is_no_exception_is_a_failure_too() -> None:
    class Panic(BaseException):
        """As an engine of another language has them."""

    def work(item: int, _: object) -> None:
        if item == 5:
            raise Panic

    with pytest.raises(RuntimeError, match="Panic"):
        each(work, range(100), 4, never)


def test_who_does_the_work_itself_is_interrupted_as_ever() -> None:
    def work(_item: int, _: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each(work, range(5), 1, never)


def test_after_a_stop_nothing_that_is_left_is_begun() -> None:
    stop = threading.Event()
    done: list[int] = []

    def work(item: int, _: object) -> int | None:
        if item < 0:
            done.append(item)
            return None
        stop.set()
        return -1 - item

    with pytest.raises(Cancelled):
        each(work, range(100), 4, stop.is_set, waiting=64)
    assert not done


@pytest.mark.parametrize("apart", [True, False])
def test_nothing_to_do_is_nothing_done(*, apart: bool) -> None:
    each(lambda _item, _halted: pytest.fail("no item"), (), 4, never, apart=apart)


def test_items_are_taken_only_as_workers_come_free() -> None:
    taken = itertools.count()
    high = 0
    done = 0
    lock = threading.Lock()

    def items() -> Iterator[int]:
        nonlocal high
        for _ in range(200):
            number = next(taken)
            with lock:
                high = max(high, number - done)
            yield number

    def work(_item: int, _halted: Callable[[], bool]) -> None:
        nonlocal done
        with lock:
            done += 1

    each(work, items(), 4, never)
    assert high <= 4 + 2


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_error_stops_the_rest_and_is_raised(threads: int) -> None:
    done = []
    first = broken("first")

    def work(item: int, halted: Callable[[], bool]) -> None:
        if item == 3:
            raise first
        if halted():
            raise Cancelled
        done.append(item)

    with pytest.raises(StoreError) as caught:
        each(work, itertools.count(), threads, never)
    assert caught.value is first
    assert 3 not in done


def test_an_error_reaches_the_work_of_others_as_halted() -> None:
    waiting = threading.Event()

    def work(item: int, halted: Callable[[], bool]) -> None:
        if item == 0:
            waiting.wait(30)
            raise broken("first")
        waiting.set()
        while not halted():
            threading.Event().wait(0.001)
        raise Cancelled

    with pytest.raises(StoreError, match="first"):
        each(work, range(2), 2, never)


def test_a_defect_is_carried_over_as_it_is() -> None:
    def work(_item: int, _halted: Callable[[], bool]) -> None:
        raise KeyError("defect")

    with pytest.raises(KeyError, match="defect"):
        each(work, range(10), 3, never)


def test_an_error_of_the_items_themselves_is_raised() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise broken("listing")

    with pytest.raises(StoreError, match="listing"):
        each(lambda _item, _halted: None, items(), 3, never)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_stop_that_leaves_something_undone_is_cancelled(threads: int) -> None:
    stop = threading.Event()

    def work(item: int, _halted: Callable[[], bool]) -> None:
        if item == 10:
            stop.set()

    with pytest.raises(Cancelled):
        each(work, itertools.count(), threads, stop.is_set)


def test_a_stop_after_the_last_item_changes_nothing() -> None:
    stop = threading.Event()
    each(lambda _item, _halted: stop.set(), range(1), 4, stop.is_set)


def test_work_that_hangs_is_left_behind_when_stopped() -> None:
    hanging, stop, release = threading.Event(), threading.Event(), threading.Event()
    left: list[threading.Thread] = []

    def work(_item: int, _halted: Callable[[], bool]) -> None:
        left.append(threading.current_thread())
        hanging.set()
        release.wait(60)

    def stopped() -> bool:
        if hanging.is_set():
            stop.set()
        return stop.is_set()

    with pytest.raises(Cancelled):
        each(work, range(1), 4, stopped, apart=True, patience=0.01)
    assert left[0].is_alive()
    release.set()
    left[0].join(30)


def test_where_no_thread_can_start_the_caller_does_the_work() -> None:
    done: list[threading.Thread] = []
    before = threading.stack_size(1 << 46)
    try:
        each(lambda _item, _halted: done.append(threading.current_thread()), range(20), 4, never)
    finally:
        threading.stack_size(before)
    assert done == [threading.current_thread()] * 20
