"""What a search tries next, and when it is over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from launcher.core.search import Dimension, Metric, Policy, Slot, Trial
from launcher.core.search.slots import MOST_LOST, Standing, next_slot, standing

POLICY = Policy(
    space=(Dimension(name="lr", kind="float", low=0.0, high=1.0),),
    reward=Metric(name="acc", mode="max", regex=r"acc=([0-9.]+)"),
    num_samples=3,
    most_failed=4,
)
HERE: dict[str, Any] = {"values": {"lr": 0.5}}


def trial(number: int, slot: int, state: Any = "COMPLETE", verdict: Any = None, **more: Any) -> Trial:
    ended = {} if state == "RUNNING" else {"ended": 100.0 + number}
    return Trial(number=number, id=f"{number:08x}", slot=slot, state=state, verdict=verdict, **{**ended, **more})


def lost(number: int, slot: int, draw: int = 0, verdict: Any = "lost", **more: Any) -> Trial:
    return trial(number, slot, "FAIL", verdict, draw=draw, **{**HERE, **more})


def failed(number: int, slot: int, verdict: Any = "boot", **more: Any) -> Trial:
    return trial(number, slot, "FAIL", verdict, **more)


@pytest.mark.parametrize(
    ("trials", "wanted"),
    [
        ((), Slot(index=0, draw=0)),
        ((trial(0, 0, "RUNNING"), trial(1, 1, "RUNNING")), Slot(index=2, draw=0)),
        ((trial(0, 0), trial(1, 1, "PRUNED"), trial(2, 2, "RUNNING")), None),
        ((trial(0, 1),), Slot(index=0, draw=0)),
        ((failed(0, 0),), Slot(index=0, draw=1)),
        ((failed(0, 0, "no-reward", draw=4),), Slot(index=0, draw=5)),
        ((lost(0, 0),), Slot(index=0, draw=0, values={"lr": 0.5})),
        ((lost(0, 0, verdict=None, draw=2),), Slot(index=0, draw=2, values={"lr": 0.5})),
        ((lost(0, 0, values={}),), Slot(index=0, draw=0)),
        ((lost(0, 0), lost(1, 0)), Slot(index=0, draw=0, values={"lr": 0.5})),
        ((lost(0, 0), lost(1, 0), lost(2, 0)), Slot(index=0, draw=1)),
        ((lost(0, 0), failed(1, 0), lost(2, 0, 1)), Slot(index=0, draw=1, values={"lr": 0.5})),
        # The order is that of the numbers, whatever the storage's.
        ((failed(1, 0, draw=1), lost(0, 0)), Slot(index=0, draw=2)),
        ((failed(0, 0, draw=1), failed(1, 0, "superseded", draw=7)), Slot(index=0, draw=2)),
        ((failed(0, 0, "superseded"),), Slot(index=0, draw=0)),
        ((trial(0, 0, "RUNNING", "superseded"), trial(1, 0)), Slot(index=1, draw=0)),
    ],
)
def test_what_is_tried_next(trials: tuple[Trial, ...], wanted: Slot | None) -> None:
    assert next_slot(POLICY, trials) == wanted


def test_nothing_is_tried_in_a_search_that_does_not_work() -> None:
    assert next_slot(POLICY, tuple(failed(number, 0, draw=number) for number in range(5))) is None


def test_a_search_begins_with_nothing() -> None:
    assert standing(POLICY, ()) == Standing(finished=0, running=0, failed=0, lost=0)


def test_a_search_is_over_when_every_slot_is_done() -> None:
    trials = (lost(0, 0), failed(1, 1), trial(2, 0, reward=0.5), trial(3, 1, "PRUNED"), trial(4, 2, "RUNNING"))
    halfway = standing(POLICY, trials)
    assert halfway == Standing(finished=2, running=1, failed=1, lost=1, best=trials[2])
    whole = standing(POLICY, (*trials[:4], trial(4, 2, reward=0.1)))
    assert (whole.finished, whole.running, whole.over, whole.failure) == (3, 0, True, None)


def test_a_slot_beyond_a_smaller_budget_is_none_of_it_but_may_hold_the_best() -> None:
    trials = (trial(0, 0, reward=0.1), trial(1, 7, reward=0.9))
    told = standing(POLICY, trials)
    assert (told.finished, told.best) == (1, trials[1])


@pytest.mark.parametrize(("mode", "wanted"), [("max", 3), ("min", 1)])
def test_the_best_is_by_the_mode_and_of_equals_the_first(mode: Any, wanted: int) -> None:
    policy = replace(POLICY, reward=replace(POLICY.reward, mode=mode))
    trials = (
        trial(0, 0, reward=None),
        trial(1, 0, reward=0.1),
        trial(2, 1, reward=0.1),
        trial(3, 1, "PRUNED", reward=0.8),
        trial(4, 2, reward=0.8),
        trial(5, 2, reward=float("nan")),
        failed(6, 2, reward=5.0),
    )
    best = standing(policy, trials).best
    assert best is not None
    assert best.number == wanted


def test_too_many_failed_trials_end_a_search() -> None:
    trials = [failed(number, 0, draw=number, why=f"exit {number}") for number in range(5)]
    assert standing(POLICY, trials[:4]).failure is None
    told = standing(POLICY, trials)
    assert (told.failed, told.over) == (5, True)
    assert told.failure is not None
    assert told.failure.code == "search-too-many-failed"
    assert told.failure.message == (
        "5 of the trials failed, and more than 4 end the search; the last, 00000004: exit 4"
    )
    assert told.failure.action == (
        "Look at the log of trial 00000004, correct the boot file and start again: the search goes on, and counts anew."
        " --max-failed N allows more of them."
    )
    assert told.failure.evidence == ("00000004: exit 4",)


def test_values_that_kill_their_workers_are_one_failure_for_all_their_losses() -> None:
    policy = replace(POLICY, most_failed=0)
    trials = tuple(lost(number, 0) for number in range(MOST_LOST))
    assert standing(policy, trials[:-1]).failure is None
    told = standing(policy, trials)
    assert (told.failed, told.lost, told.over) == (1, 3, True)
    assert told.failure is not None
    assert told.failure.message.endswith("the last, 00000002: it was lost with its worker")


def test_the_last_failure_is_told_and_not_a_loss_that_is_tried_again() -> None:
    told = standing(replace(POLICY, most_failed=0), (failed(0, 0, why="exit 1"), lost(1, 1))).failure
    assert told is not None
    assert told.message.endswith("00000000: exit 1")


def test_three_trials_in_a_row_without_a_reward_end_a_search() -> None:
    trials = (
        trial(0, 0),
        *(failed(number, 1, "no-reward", draw=number, why=f"last lines {number}") for number in (1, 2)),
        lost(3, 2),
        failed(4, 1, "no-reward", draw=3, why="last lines 4"),
    )
    assert standing(POLICY, trials[:-1]).failure is None
    told = standing(POLICY, trials)
    assert (told.failed, told.over) == (3, True)
    assert told.failure is not None
    assert told.failure.code == "search-no-reward"
    assert told.failure.message == ("3 trials in a row gave no reward; the last, 00000004: last lines 4")
    assert told.failure.action == (
        "Let the boot file print acc so that the expression finds it, and start again; with another"
        " reward_attrs[0].regex it is another study (--study NAME)."
    )
    assert told.failure.evidence == ("00000001: last lines 1", "00000002: last lines 2", "00000004: last lines 4")


@pytest.mark.parametrize("verdict", ["boot", "no-reward", "lost"])
def test_who_starts_again_goes_on_whatever_failed_before(verdict: str) -> None:
    # of the lost ones, three of each draw are one that failed
    before = [failed(number, 0, verdict, draw=number // 3 if verdict == "lost" else number) for number in range(15)]
    assert standing(POLICY, before).over
    assert next_slot(POLICY, before) is None
    assert not standing(POLICY, before, since=115.0).over
    assert next_slot(POLICY, before, since=115.0) is not None
    assert standing(POLICY, before, since=115.0).failed == standing(POLICY, before).failed
    again = [failed(15 + number, 0, "boot", draw=15 + number) for number in range(5)]
    assert standing(POLICY, [*before, *again], since=115.0).over


def test_a_row_is_by_the_ends_of_the_trials_and_not_by_their_numbers() -> None:
    ends = {0: 5.0, 1: 9.0, 2: 7.0}
    trials = [failed(number, 0, "no-reward", draw=number, ended=when) for number, when in ends.items()]
    between = trial(3, 1, ended=8.0)
    assert standing(POLICY, [*trials, between]).failure is None
    assert standing(POLICY, [*trials, replace(between, ended=None)]).failure is not None


def test_a_search_with_its_budget_done_has_not_failed() -> None:
    done = [trial(number, number) for number in range(3)]
    told = standing(POLICY, [*done, *(failed(number, 0, "no-reward") for number in range(3, 20))])
    assert (told.over, told.failure, told.failed) == (True, None, 17)


class Workers:
    """Workers of one study, each step of which is under its lock."""

    def __init__(self, policy: Policy, most: int) -> None:
        self.policy = policy
        self.most = most
        self.trials: list[Trial] = []

    def running(self) -> list[Trial]:
        return [each for each in self.trials if each.state == "RUNNING"]

    def start(self) -> bool:
        slot = next_slot(self.policy, self.trials)
        if slot is None or len(self.running()) == self.most:
            return False
        number = len(self.trials)
        values = slot.values or {"lr": number / 1000}
        self.trials.append(trial(number, slot.index, "RUNNING", draw=slot.draw, values=values))
        return True

    def end(self, which: int, how: Any) -> None:
        running = self.running()
        if running:
            chosen = running[which % len(running)]
            state = how if how in ("COMPLETE", "PRUNED") else "FAIL"
            verdict = None if how in ("COMPLETE", "PRUNED", "stale") else how
            ended = float(len(self.trials))
            self.trials[chosen.number] = replace(chosen, state=state, verdict=verdict, ended=ended)

    def end_well(self) -> None:
        """From here on nothing fails any more."""
        while self.start() or self.running():
            self.end(0, "COMPLETE")


ENDS = st.sampled_from(["COMPLETE", "PRUNED", "boot", "no-reward", "lost", "stale", "superseded", "start"])


@settings(max_examples=300)
@given(
    samples=st.integers(1, 6),
    most=st.integers(1, 4),
    most_failed=st.integers(0, 30),
    steps=st.lists(st.tuples(ENDS, st.integers(0, 3)), max_size=120),
)
def test_whatever_happens_each_slot_is_finished_once(
    samples: int, most: int, most_failed: int, steps: list[tuple[str, int]]
) -> None:
    policy = replace(POLICY, num_samples=samples, most_failed=most_failed)
    workers = Workers(policy, most)
    for what, which in steps:
        if what == "start":
            workers.start()
        else:
            workers.end(which, what)
    workers.end_well()
    told = standing(policy, workers.trials)
    finished = [each.slot for each in workers.trials if each.finished]
    assert told.over
    assert len(finished) == len(set(finished))
    assert told.failure is not None or sorted(finished) == list(range(samples))
    drawn: dict[tuple[int, int], Any] = {}
    for each in workers.trials:
        if each.verdict != "superseded":
            assert drawn.setdefault((each.slot, each.draw), each.values) == each.values
