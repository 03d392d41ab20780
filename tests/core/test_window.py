"""The window against simulated stores: places that are free take the next transfer, and what ends is told in order."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import pytest

from launcher.core.window import FIRST, QUIET, Window

if TYPE_CHECKING:
    from collections.abc import Callable


def simulate(window: Window, lasts: Callable[[int, float], float], transfers: int, size: int = 0) -> float:
    """Run so many transfers; `lasts(under way, now)` is how long one takes that begins now. When the last one ended."""
    now, begun, ends = 0.0, 0, list[float]()
    window.begun(now)
    while begun < transfers or ends:
        while begun < transfers and len(ends) < window.limit:
            begun += 1
            heapq.heappush(ends, now + lasts(len(ends) + 1, now))
        now = heapq.heappop(ends)
        window.done(now, size)
    return now


def far_away(_under_way: int, _now: float) -> float:
    """20 ms to everything, however much is under way."""
    return 0.02


def near_and_full(rate: float) -> Callable[[int, float], float]:
    """A server on this machine that does so many in a second, one after the other."""
    free = [0.0]

    def lasts(_under_way: int, now: float) -> float:
        free[0] = max(free[0], now) + 1 / rate
        return free[0] - now

    return lasts


def test_it_begins_small_and_never_has_more_than_the_most() -> None:
    assert Window(128).limit == FIRST
    assert Window(3).limit == 3
    assert Window(0).limit == 1
    window = Window(64)
    simulate(window, far_away, 10_000)
    assert window.limit == 64


def test_where_latency_is_all_it_grows_fast_enough_to_lose_little_by_it() -> None:
    most = 64
    ideal = 10_000 / (most / 0.02)
    assert simulate(Window(most), far_away, 10_000) < ideal * 1.1


@pytest.mark.parametrize("rate", [300.0, 3000.0, 30_000.0])
def test_where_the_server_is_full_it_stays_small(rate: float) -> None:
    window = Window(128)
    simulate(window, near_and_full(rate), 20_000)
    assert window.limit <= 2 * FIRST


def test_large_objects_are_weighed_by_their_bytes() -> None:
    window = Window(128)
    # one stream has 10 MB/s, the line has room for forty of them
    simulate(window, lambda under_way, _: 1.6 * max(1.0, under_way / 40), 3000, 16 * 1024**2)
    assert 16 <= window.limit <= 80


def test_a_refusal_halves_it_once_for_all_that_was_under_way() -> None:
    window = Window(64, first=64)
    window.slowed(1.0)
    assert window.limit == 32
    for number in range(60):
        window.slowed(1.0 + number / 1000)
    assert window.limit == 32
    window.slowed(1.0 + QUIET)
    assert window.limit == 16
    for number in range(10):
        window.slowed(3.0 + number)
    assert window.limit == 1


def test_after_a_refusal_it_grows_again_in_small_steps() -> None:
    window = Window(64, first=32)
    window.slowed(0.0)
    assert window.limit == 16
    end = simulate(window, far_away, 2_000)
    assert window.limit > 16
    simulate(window, far_away, 20_000)
    assert window.limit > 32
    assert end > 0


def test_a_step_that_does_not_help_is_taken_back() -> None:
    window = Window(64)
    limits = set[int]()

    def lasts(under_way: int, _now: float) -> float:
        limits.add(window.limit)
        return 0.02 * max(1.0, under_way / 16)

    simulate(window, lasts, 20_000)
    assert max(limits) <= 32
    assert window.limit <= 20


def test_it_is_never_below_one_when_much_fails_and_little_ends() -> None:
    window = Window(8)
    now = 0.0
    for number in range(200):
        now += 1.0
        if number % 3:
            window.slowed(now)
        else:
            window.done(now, 0)
        assert 1 <= window.limit <= 8
