from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from fake_store import never
from threadless import no_threads

from launcher.core.errors import Cancelled
from launcher.stage.ahead import PAGE, SOON, Ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def begun(items: Iterable[int], most: int = 20 * PAGE) -> Ahead[int]:
    ahead = Ahead(items, never, most)
    ahead.start()
    return ahead


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 50 * PAGE + 7])
def test_everything_comes_once_and_in_order(count: int) -> None:
    assert list(begun(range(count))) == list(range(count))


@pytest.mark.parametrize(("count", "any_there"), [(0, False), (1, True), (5 * PAGE, True)])
def test_to_wait_for_the_first_takes_nothing_away(count: int, *, any_there: bool) -> None:
    ahead = begun(range(count))
    assert ahead.wait() is any_there
    assert list(ahead) == list(range(count))


def test_the_first_page_is_handed_over_before_the_second_is_there() -> None:
    taken = threading.Event()

    def items() -> Iterator[int]:
        yield from range(PAGE)
        assert taken.wait(30)
        yield PAGE

    found = iter(begun(items()))
    assert next(found) == 0
    taken.set()
    assert list(found) == list(range(1, PAGE + 1))


def test_few_items_of_a_slow_listing_are_not_held_back() -> None:
    taken, now = threading.Event(), [0.0]

    def items() -> Iterator[int]:
        yield 0
        now[0] += SOON
        yield 1
        assert taken.wait(30)
        yield 2

    ahead = Ahead(items(), never, monotonic=lambda: now[0])
    ahead.start()
    found = iter(ahead)
    assert [next(found), next(found)] == [0, 1]
    taken.set()
    assert list(found) == [2]


def test_it_runs_ahead_by_no_more_than_it_may() -> None:
    asked = threading.Semaphore(0)
    seen = 0

    def items() -> Iterator[int]:
        nonlocal seen
        for seen in range(1, 10 * PAGE + 1):
            if seen == 2 * PAGE:
                asked.release()
            yield seen

    ahead = begun(items(), 2 * PAGE)
    assert asked.acquire(timeout=30)
    found = iter(ahead)
    assert next(found) == 1
    assert seen <= 4 * PAGE
    assert list(found) == list(range(2, 10 * PAGE + 1))


def test_what_goes_wrong_is_raised_where_it_is_taken_after_all_whole_pages() -> None:
    def items() -> Iterator[int]:
        yield from range(2 * PAGE)
        raise KeyError("lost")

    ahead = begun(items())
    found: list[int] = []
    with pytest.raises(KeyError, match="lost"):
        found += ahead
    with pytest.raises(KeyError, match="lost"):
        ahead.wait()


def test_what_goes_wrong_before_the_first_is_raised_by_the_wait() -> None:
    def items() -> Iterator[int]:
        yield from ()
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        begun(items()).wait()


def test_a_stop_is_heard_while_nothing_comes() -> None:
    release, waiting = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        waiting.set()
        release.wait(30)
        yield 1

    ahead = Ahead(items(), waiting.is_set)
    ahead.start()
    with pytest.raises(Cancelled):
        ahead.wait()
    release.set()


def test_a_reader_that_gives_up_lets_the_thread_end() -> None:
    seen = 0

    def items() -> Iterator[int]:
        nonlocal seen
        for number in range(100 * PAGE):
            seen = number
            yield number

    before = set(threading.enumerate())
    ahead = begun(items(), PAGE)
    assert ahead.wait()
    ahead.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()
    assert seen < 5 * PAGE


def test_without_a_thread_all_is_fetched_when_it_is_asked_for() -> None:
    with no_threads():
        ahead = begun(range(3 * PAGE))
    assert ahead.wait()
    assert list(ahead) == list(range(3 * PAGE))
