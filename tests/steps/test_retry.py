from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import pytest
from fake_store import missing, never, refused

from launcher.core.errors import Cancelled, StoreError
from launcher.retry import BUDGET, PATIENCE, SLOT, Retries, Trial, pause

if TYPE_CHECKING:
    from collections.abc import Callable


class Rest:
    """Pauses that pass at once, on a clock that knows of them."""

    def __init__(self) -> None:
        self.now = 1e6
        self.pauses: list[float] = []

    def __call__(self, seconds: float, stopped: Callable[[], bool]) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def patient(heard: Callable[[], object] = never, *, patience: float = PATIENCE) -> tuple[Retries, Rest]:
    rest = Rest()
    return Retries(rest.clock, heard, rest, patience=patience), rest


def fault(code: str) -> StoreError:
    return StoreError("it failed", code=code, action="Wait.")


class Failing:
    """Work that fails so many times, and then does not."""

    def __init__(self, times: int, error: StoreError) -> None:
        self.times, self.error, self.calls = times, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "done"


def test_what_goes_well_is_done_once() -> None:
    work = Failing(0, fault("store-busy"))
    retries, rest = patient()
    assert retries.call(work, never) == "done"
    assert (work.calls, retries.spent, rest.pauses) == (1, 0, [])


@pytest.mark.parametrize("code", ["store-busy", "store-broken", "store-unreachable"])
def test_what_may_go_well_later_is_tried_again(code: str) -> None:
    work = Failing(2, fault(code))
    retries, rest = patient()
    assert retries.call(work, never) == "done"
    assert (work.calls, retries.spent, len(rest.pauses)) == (3, 2, 2)


@pytest.mark.parametrize("error", [refused(), missing("x"), fault("store-changed"), fault("store-expired")])
def test_what_cannot_go_well_is_told_at_once(error: StoreError) -> None:
    work = Failing(1, error)
    with pytest.raises(StoreError) as caught:
        patient()[0].call(work, never)
    assert caught.value is error
    assert work.calls == 1


def test_a_store_that_never_answered_is_given_up_sooner_than_one_that_has() -> None:
    def tries(retries: Retries) -> int:
        work = Failing(100, fault("store-unreachable"))
        with pytest.raises(StoreError):
            retries.call(work, never)
        return work.calls

    (new, _), (known, _) = patient(), patient()
    known.call(Failing(0, fault("store-busy")), never)
    assert tries(new) < tries(known)


def test_a_store_that_was_waited_for_in_vain_must_answer_before_it_is_waited_for_as_long_again() -> None:
    retries, rest = patient()

    def waited() -> float:
        began = rest.now
        with pytest.raises(StoreError):
            retries.call(Failing(10_000, fault("store-unreachable")), never)
        return rest.now - began

    retries.call(Failing(0, fault("store-busy")), never)
    first, second = waited(), waited()
    retries.call(Failing(0, fault("store-busy")), never)
    assert second < first / 2
    assert waited() > first / 2


def waited_for_what_breaks_off(retries: Retries, rest: Rest, between: Callable[[], object] = never) -> float:
    """Seconds for which an object is tried whose every transfer breaks off; `between` is done during each."""
    began = rest.now

    def work() -> None:
        rest.now += 0.01
        between()
        raise fault("store-broken")

    with pytest.raises(StoreError):
        retries.call(work, never)
    return rest.now - began


def test_a_known_store_that_breaks_off_whatever_is_asked_of_it_is_waited_for_as_one_that_is_away() -> None:
    retries, rest = patient()
    retries.went_well()
    rest.now += 1
    assert 60 <= waited_for_what_breaks_off(retries, rest) < 62
    # in vain: the next is not waited for so long again
    assert waited_for_what_breaks_off(retries, rest) <= 21


@pytest.mark.parametrize("code", ["store-unreachable", "store-busy", "store-broken"])
def test_what_is_left_of_a_store_that_was_waited_for_in_vain_is_not_waited_for_longer(code: str) -> None:
    retries, rest = patient(patience=2)
    retries.went_well()
    for _ in range(3):
        rest.now += 1
        began = rest.now
        with pytest.raises(StoreError):
            retries.call(Failing(10_000, fault(code)), never)
        assert rest.now - began <= 2 + 1e-6


def test_one_object_that_breaks_off_while_others_come_through_is_not_waited_for_so_long() -> None:
    retries, rest = patient()
    retries.went_well()
    rest.now += 1
    seconds = waited_for_what_breaks_off(retries, rest, between=retries.went_well)
    assert seconds < 9 * 8
    assert retries.spent == 8


def test_a_store_that_never_answered_and_breaks_off_is_given_up_by_tries() -> None:
    retries, rest = patient()
    assert waited_for_what_breaks_off(retries, rest) <= 21
    assert retries.spent <= 8


def test_a_refusal_says_nothing_of_how_long_a_store_is_waited_for() -> None:
    retries, _ = patient()
    retries.call(Failing(0, fault("store-busy")), never)
    with pytest.raises(StoreError):
        retries.call(Failing(1, refused()), never)
    work = Failing(100, fault("store-unreachable"))
    with pytest.raises(StoreError):
        retries.call(work, never)
    new, _ = patient()
    less = Failing(100, fault("store-unreachable"))
    with pytest.raises(StoreError):
        new.call(less, never)
    assert less.calls < work.calls


def test_a_channel_gives_up_when_failures_outnumber_what_went_well_by_its_budget() -> None:
    retries, rest = patient()

    def goes_on() -> bool:
        rest.now += 2 * SLOT
        return retries.wait_after(fault("store-broken"), 1, rest.now) is not None

    for number in range(BUDGET):
        assert goes_on(), number
    assert not goes_on()
    retries.went_well()
    assert goes_on()
    assert not goes_on()
    assert retries.spent == BUDGET + 1


def test_what_fails_on_many_threads_in_one_moment_counts_once() -> None:
    retries, rest = patient()
    for _ in range(2 * BUDGET):
        assert retries.wait_after(fault("store-broken"), 1, rest.now) is not None


@pytest.mark.parametrize("threads", [1, 8, 124])
@pytest.mark.parametrize("seconds", [5, 20, 55])
def test_an_outage_shorter_than_the_patience_fails_nothing_however_many_meet_it(threads: int, seconds: float) -> None:
    now, lost, retries = simulated(threads, 2000, seconds)
    assert lost == 0
    assert now > seconds
    assert retries.spent


def test_a_store_that_never_comes_back_is_waited_for_once() -> None:
    now, lost, _ = simulated(16, 3000, 1e9)
    assert lost == 3000
    assert 60 < now < 60 + 2 * 3000 / 16 * 3


def simulated(threads: int, files: int, outage: float) -> tuple[float, int, Retries]:
    """So many files on so many threads of a store that was known and is gone for so long, in a time of its own.

    When it was over, how many were lost. A request takes 10 ms to fail and 20 ms to go well.
    """
    clock = Rest()
    retries = Retries(lambda: clock.now - 1e6, rest=lambda _seconds, _stopped: None)
    retries.went_well()
    ready = [(0.0, number, 0, 0.0) for number in range(threads)]  # when, who, failures so far, since when
    left, lost, now = files - threads, 0, 0.0
    while ready:
        now, who, failures, since = heapq.heappop(ready)
        clock.now = 1e6 + now
        wait = None
        if now < outage:
            since = since if failures else now
            wait = retries.wait_after(fault("store-unreachable"), failures + 1, since)
            lost += wait is None
        else:
            retries.went_well()
        if wait is not None:
            heapq.heappush(ready, (now + wait + 0.01, who, failures + 1, since))
        elif left:
            left -= 1
            heapq.heappush(ready, (now + 0.02, who, 0, 0.0))
    return now, lost, retries


def test_a_store_that_asks_for_less_is_heard_each_time() -> None:
    heard: list[None] = []
    retries, _ = patient(lambda: heard.append(None))
    retries.call(Failing(2, fault("store-busy")), never)
    retries.call(Failing(1, fault("store-broken")), never)
    assert len(heard) == 2


def test_a_stop_ends_a_pause() -> None:
    asked: list[None] = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        pause(1e9, stopped)


def test_a_trial_counts_from_its_first_failure() -> None:
    retries, rest = patient()
    trial = Trial(retries)
    rest.now += 1e6
    trial.failed(fault("store-broken"), never)
    rest.now += 21
    with pytest.raises(StoreError):
        trial.failed(fault("store-broken"), never)
    assert retries.spent == 1


def test_a_try_that_went_on_for_long_got_somewhere_and_its_time_does_not_count() -> None:
    retries, rest = patient()
    trial = Trial(retries)
    for _ in range(8):
        trial.failed(fault("store-broken"), never)
        rest.now += 300
    with pytest.raises(StoreError):
        trial.failed(fault("store-broken"), never)
    assert retries.spent == 8
