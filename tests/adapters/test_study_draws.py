"""What is drawn: inside the space, the same again for a seed, also after a kill, and never what another draws."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import msgspec
import pytest
from searchers import ALGORITHMS, ME, finished, policy, reward_of, study_at

from launcher.adapters.study.samplers import MOST_FOR_A_PROCESS, draw
from launcher.core.search import Anneal, Bayes, Dimension, Ending, Owner, Slot, Tpe, Trial
from launcher.core.search.space import point

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.core.search import Algorithm, Policy, Scalar

COUNT = 16
each_algorithm = pytest.mark.parametrize(
    "algorithm", ALGORITHMS, ids=lambda one: getattr(one, "kind", type(one).__name__)
)


def never(sentence: str) -> None:
    raise AssertionError(sentence)


def drawn(searched: Policy, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for index in range(count):
        values = draw(searched, Slot(index=index, draw=0), trials, never)
        trial = Trial(number=index, id=f"{index:08x}", slot=index, values=values, state="COMPLETE")
        trials.append(msgspec.structs.replace(trial, reward=reward_of(trial)))
    return trials


@each_algorithm
def test_every_value_is_one_of_its_dimension(algorithm: Algorithm) -> None:
    searched = policy(algorithm=algorithm)
    grid = [point(searched.space[1], index) for index in range(9)]
    for trial in drawn(searched, COUNT):
        lr, momentum, layers, width, optimizer, batch = trial.values.values()
        assert list(trial.values) == [dimension.name for dimension in searched.space]
        assert isinstance(lr, float)
        assert 1e-5 <= lr <= 0.1
        assert momentum in grid
        assert (type(layers), type(width)) == (int, int)
        assert layers in range(1, 9)
        assert width in range(1, 513)
        assert optimizer in ("sgd", "adam")
        assert batch == "32"


@each_algorithm
def test_one_worker_with_the_same_seed_draws_the_same_trials_also_after_it_was_killed(
    algorithm: Algorithm, tmp_path: Path
) -> None:
    searched = policy(algorithm=algorithm, num_samples=COUNT)
    with study_at(str(tmp_path / "whole.db")) as study:
        study.join(searched)
        whole = [trial.values for trial in finished(study)]
    resumed = str(tmp_path / "resumed.db")
    with study_at(resumed) as study:
        study.join(searched)
        before = finished(study, 11)
        left = study.claim("0")
    successor = Owner(worker="worker-0", boot="here", pid=7, start=7)
    with study_at(resumed, owner=successor, alive=lambda owner: owner != ME) as study:
        study.join(searched)
        after = finished(study)
    assert left is not None
    assert [trial.values for trial in [*before, *after]] == whole
    assert after[0].values == left.values


@each_algorithm
def test_the_order_in_which_trials_ended_decides_nothing(algorithm: Algorithm) -> None:
    searched = policy(algorithm=algorithm)
    trials = drawn(searched, COUNT)
    wanted = draw(searched, Slot(index=COUNT, draw=0), trials, never)
    shuffled = [
        msgspec.structs.replace(trial, number=number, ended=float(number)) for number, trial in enumerate(trials[::-1])
    ]
    assert draw(searched, Slot(index=COUNT, draw=0), shuffled, never) == wanted
    other = policy(algorithm=algorithm, seed=2)
    assert draw(other, Slot(index=COUNT, draw=0), trials, never) != wanted
    assert draw(searched, Slot(index=COUNT, draw=1), trials, never) != wanted


@each_algorithm
def test_workers_that_start_together_never_draw_the_same(algorithm: Algorithm) -> None:
    searched = policy(algorithm=algorithm, space=policy().space[:1])
    running: list[Trial] = []
    for index in range(8):
        values = draw(searched, Slot(index=index, draw=0), running, never)
        running.append(Trial(number=index, id=f"{index:08x}", slot=index, values=values))
    assert len({trial.values["lr"] for trial in running}) == 8
    trials = drawn(searched, 12)
    for index in range(12, 18):
        values = draw(searched, Slot(index=index, draw=0), trials, never)
        trials.append(Trial(number=index, id=f"{index:08x}", slot=index, values=values))
    assert len({trial.values["lr"] for trial in trials}) == 18


@each_algorithm
def test_all_find_better_values_than_the_first_ones(algorithm: Algorithm) -> None:
    searched = policy(algorithm=algorithm)
    rewards = [reward_of(trial) for trial in drawn(searched, 30)]
    assert fmean(rewards[-8:]) > fmean(rewards[:8]) + 0.2


@each_algorithm
@pytest.mark.parametrize("rewards", [(1.0,), (1e308, -1e308), (0.0, 1e-320)], ids=["equal", "huge", "tiny"])
def test_strange_rewards_are_no_reason_to_end(algorithm: Algorithm, rewards: tuple[float, ...]) -> None:
    searched = policy(algorithm=algorithm)
    trials = [
        msgspec.structs.replace(trial, reward=rewards[index % len(rewards)])
        for index, trial in enumerate(drawn(searched, 12))
    ]
    notes: list[str] = []
    values = draw(searched, Slot(index=12, draw=0), trials, notes.append)
    assert values.keys() == trials[0].values.keys()


@each_algorithm
def test_a_space_whose_values_are_all_tried_is_no_reason_to_end(algorithm: Algorithm) -> None:
    small = (
        Dimension(name="momentum", kind="float", low=0.0, high=1.0, points=2),
        Dimension(name="layers", kind="choice", choices=("1", "2")),
    )
    trials = drawn(policy(algorithm=algorithm, space=small), 14)
    assert len({tuple(trial.values.values()) for trial in trials}) <= 4


def test_a_space_without_a_choice_needs_no_algorithm() -> None:
    fixed: tuple[tuple[Dimension, Scalar], ...] = (
        (Dimension(name="a", kind="float", low=0.5, high=0.5), 0.5),
        (Dimension(name="b", kind="int", low=3, high=3), 3),
        (Dimension(name="c", kind="choice", choices=("x",)), "x"),
    )
    searched = policy(space=tuple(dimension for dimension, _ in fixed))
    assert draw(searched, Slot(index=0, draw=0), (), never) == {dimension.name: value for dimension, value in fixed}


def test_less_is_better_where_the_policy_says_so() -> None:
    reward = msgspec.structs.replace(policy().reward, mode="min")
    for algorithm in ALGORITHMS:
        searched = policy(algorithm=algorithm, reward=reward)
        more = policy(algorithm=algorithm)
        trials = drawn(more, 14)
        mirrored = [msgspec.structs.replace(trial, reward=-reward_of(trial)) for trial in trials]
        slot = Slot(index=14, draw=0)
        assert draw(searched, slot, mirrored, never) == draw(more, slot, trials, never)


def test_trials_without_a_reward_teach_nothing() -> None:
    trials = drawn(policy(), 6)
    odd = [
        Trial(number=90, id="a", slot=90, values=trials[0].values, state="FAIL", verdict="boot"),
        Trial(number=91, id="b", slot=91, values=trials[1].values, state="PRUNED"),
        Trial(number=92, id="c", slot=92, values={}, state="RUNNING"),
        Trial(number=93, id="d", slot=93, values=trials[1].values, state="COMPLETE", reward=math.nan),
    ]
    for algorithm in ALGORITHMS:
        searched = policy(algorithm=algorithm)
        slot = Slot(index=95, draw=0)
        assert draw(searched, slot, [*trials, *odd], never) == draw(searched, slot, trials, never)


def test_a_gaussian_process_gives_way_when_it_would_cost_too_much(tmp_path: Path) -> None:
    searched = policy(algorithm=Bayes(), space=policy().space[:1])
    trials = [
        Trial(number=n, id=f"{n:08x}", slot=n, values={"lr": 1e-5 * (n + 1)}, state="COMPLETE", reward=float(n))
        for n in range(MOST_FOR_A_PROCESS + 1)
    ]
    notes: list[str] = []
    slot = Slot(index=len(trials), draw=0)
    found = draw(searched, slot, trials, notes.append)
    assert found == draw(policy(algorithm=Tpe(), space=searched.space), slot, trials, never)
    assert len(notes) == 1
    assert "tpe_search" in notes[0]


def test_a_trial_that_was_lost_before_it_had_values_gets_the_same_that_it_would_have_had(tmp_path: Path) -> None:
    searched = policy(algorithm=Anneal(), num_samples=8)
    with study_at(str(tmp_path / "study.db")) as study:
        study.join(searched)
        finished(study, 5)
        trial = study.claim("0")
        assert trial is not None
        study.finish(trial, Ending(state="FAIL", verdict="lost"))
        again = study.claim("0")
    assert again is not None
    assert (again.values, again.draw) == (trial.values, 0)
