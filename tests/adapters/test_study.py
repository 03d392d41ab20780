"""The study of a search on a file: who may join, what is claimed, what is kept of a trial, and how it ends."""

from __future__ import annotations

import math
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec
import optuna
import pytest
from searchers import ME, finished, policy, reward_of, study_at

from launcher.adapters.study import importance
from launcher.adapters.study.rows import MOST_TEXT, as_study
from launcher.core.errors import StudyError
from launcher.core.search import Anneal, Dimension, Ending, Metric, Owner, Trial
from launcher.core.search.slots import standing

if TYPE_CHECKING:
    from pathlib import Path

OTHER = Owner(worker="worker-1", boot="here", pid=2, start=2)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "study.db")


def ended(trial: Trial, **words: Any) -> Ending:
    return Ending(**{"state": "COMPLETE", "reward": reward_of(trial), **words})


def test_a_search_is_as_many_trials_as_were_asked_for(storage: str) -> None:
    searched = policy(num_samples=5)
    with study_at(storage) as study:
        study.join(searched)
        done = finished(study)
        assert [trial.slot for trial in done] == [0, 1, 2, 3, 4]
        assert study.claim("0") is None
        now = standing(searched, study.trials())
    assert (now.finished, now.over, now.failure) == (5, True, None)
    assert now.best is not None
    assert now.best.reward == max(reward_of(trial) for trial in done)


def test_more_trials_can_be_asked_for_later(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy(num_samples=2))
        finished(study)
    with study_at(storage) as study:
        study.join(policy(num_samples=3, most_failed=1, pruner="median"))
        assert [trial.slot for trial in finished(study)] == [2]


def test_all_that_is_known_of_a_trial_is_kept(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy())
        trial = study.claim("lane 3")
        assert trial is not None
        study.started(trial, 4711)
        for step, value in ((1, 0.25), (2, 0.5), (2, 0.75), (10, 0.625)):
            assert not study.report(trial, step, value)
        assert study.finish(trial, ended(trial, reward=0.5, metrics={"loss": "tensor(0.1)"}, unread=3))
    with study_at(storage, owner=OTHER) as study:
        (kept,) = study.trials()
    assert (kept.id, kept.slot, kept.draw, kept.values) == (trial.id, 0, 0, trial.values)
    assert (kept.state, kept.verdict, kept.reward, kept.steps) == ("COMPLETE", None, 0.5, (0.25, 0.5, 0.625))
    assert (kept.metrics, kept.unread, kept.pid, kept.worker) == ({"loss": "tensor(0.1)"}, 3, 4711, "worker-0")
    assert kept.started is not None
    assert kept.ended is not None
    assert kept.started <= kept.ended
    assert len(trial.id) == 8
    int(trial.id, 16)


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, None])
def test_a_reward_that_is_no_number_ends_a_trial_without_one(storage: str, reward: float | None) -> None:
    with study_at(storage) as study:
        study.join(policy())
        trial = study.claim("0")
        assert trial is not None
        assert not study.report(trial, 1, math.nan)
        assert study.finish(trial, ended(trial, reward=reward))
        (kept,) = study.trials()
        again = study.claim("0")
    assert (kept.state, kept.verdict, kept.reward, kept.steps) == ("FAIL", "no-reward", None, ())
    assert again is not None
    assert (again.slot, again.draw) == (0, 1)
    assert again.values != trial.values


def test_a_failed_boot_file_is_drawn_anew_and_its_last_words_are_kept_within_reason(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy())
        first = study.claim("0")
        assert first is not None
        assert study.finish(first, Ending(state="FAIL", verdict="boot", why="é" * MOST_TEXT + "the end"))
        second = study.claim("0")
        assert second is not None
        (kept, _) = study.trials()
    assert (second.slot, second.draw) == (0, 1)
    assert second.values != first.values
    assert kept.why is not None
    assert kept.why.endswith("the end")
    assert len(kept.why.encode()) <= MOST_TEXT


def test_a_pruned_trial_counts_with_the_reward_that_it_had(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy(num_samples=2))
        for reward in (0.5, None):
            trial = study.claim("0")
            assert trial is not None
            assert study.finish(trial, Ending(state="PRUNED", reward=reward))
        assert [(trial.state, trial.reward) for trial in study.trials()] == [("PRUNED", 0.5), ("PRUNED", None)]
        assert study.claim("0") is None


def test_two_lanes_have_two_slots(storage: str) -> None:
    with study_at(storage) as study, study_at(storage, owner=OTHER) as other:
        study.join(policy(num_samples=2))
        other.join(policy(num_samples=2))
        first, second = study.claim("0"), other.claim("0")
        assert first is not None
        assert second is not None
        assert {first.slot, second.slot} == {0, 1}
        assert first.values != second.values
        assert study.claim("1") is None


@pytest.mark.parametrize("verdict", ["lost", "boot"])
def test_who_was_given_up_cannot_finish(storage: str, verdict: Any) -> None:
    with study_at(storage) as study, study_at(storage, owner=OTHER, alive=lambda _owner: False) as other:
        study.join(policy())
        other.join(policy())
        trial = study.claim("0")
        again = other.claim("0")
        assert trial is not None
        assert again is not None
        assert (again.slot, again.draw, again.values) == (trial.slot, trial.draw, trial.values)
        assert study.beat([trial]) == (trial.id,)
        assert not study.report(trial, 1, 0.5)
        study.started(trial, 1)
        assert not study.finish(trial, ended(trial))
        assert not study.finish(trial, Ending(state="FAIL", verdict=verdict))
        assert [(one.state, one.verdict) for one in other.trials()] == [("FAIL", "lost"), ("RUNNING", None)]


def test_an_ending_that_is_told_twice_counts_once(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy())
        trial = study.claim("0")
        assert trial is not None
        assert study.finish(trial, ended(trial))
        assert not study.finish(trial, ended(trial, reward=7.0))
        assert [kept.reward for kept in study.trials()] == [reward_of(trial)]


def test_a_user_can_stop_a_trial_from_elsewhere(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy())
        first, second = study.claim("0"), study.claim("1")
        assert first is not None
        assert second is not None
        assert study.beat([first, second]) == ()
        assert study.beat([]) == ()
        with study_at(storage, owner=OTHER) as user:
            assert user.stop(second.id).slot == second.slot
        assert study.beat([first, second]) == (second.id,)
        assert study.finish(second, Ending(state="PRUNED", reward=0.1))
        with pytest.raises(StudyError, match=f"running: {first.id} .worker-0.") as refused:
            study.stop(second.id)
    assert refused.value.exit_code == 66


DIFFERENT: tuple[tuple[dict[str, Any], str], ...] = (
    ({"seed": 2}, "seed is 2 here and 1 there"),
    ({"take": "best"}, 'take is "best" here and "last" there'),
    ({"algorithm": Anneal()}, 'algorithm.type is "anneal_search" here and "tpe_search" there'),
    ({"reward": Metric(name="accuracy", mode="min", regex="x")}, 'reward.mode is "min" here and "max" there'),
    ({"others": (Metric(name="loss", mode="min", regex="x"),)}, "others is loss here and [] there"),
    ({"space": policy().space[:1]}, "space is lr here and lr, momentum, layers, width, optimizer, batch there"),
    (
        {"space": (Dimension(name="lr", kind="float", low=1e-5, high=0.2, log=True), *policy().space[1:])},
        "space[lr].high is 0.2 here and 0.1 there",
    ),
)


@pytest.mark.parametrize(("different", "said"), DIFFERENT, ids=[next(iter(which)) for which, _ in DIFFERENT])
def test_another_search_of_the_same_name_is_refused_with_what_differs(
    storage: str, different: dict[str, Any], said: str
) -> None:
    with study_at(storage) as study:
        study.join(policy())
    with study_at(storage) as study, pytest.raises(StudyError) as refused:
        study.join(policy(**different))
    assert said in str(refused.value)
    assert (refused.value.code, refused.value.exit_code) == ("study-differs", 65)


def test_studies_of_two_names_share_a_file_and_nothing_else(storage: str) -> None:
    with study_at(storage, "one") as one, study_at(storage, "two") as two:
        one.join(policy(num_samples=2))
        two.join(policy(seed=9, num_samples=3))
        assert (len(finished(one)), len(finished(two))) == (2, 3)


def test_a_study_that_somebody_elses_program_made_is_refused(storage: str) -> None:
    study = optuna.create_study(storage=f"sqlite:///{storage}", study_name="digits", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("lr", 0, 1), n_trials=1)
    study._storage.remove_session()
    with study_at(storage) as joining, pytest.raises(StudyError, match="no launcher made it"):
        joining.join(policy())


def test_a_study_that_is_not_there_is_named_with_those_that_are(storage: str) -> None:
    with study_at(storage, "digits") as study:
        study.join(policy())
    with study_at(storage, "digit") as study, pytest.raises(StudyError, match=r"no study 'digit'.*digits") as refused:
        study.trials()
    assert refused.value.exit_code == 66


def test_a_copy_is_a_whole_study_while_the_first_goes_on(storage: str, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    with study_at(storage) as study:
        study.join(policy(num_samples=4))
        finished(study, 2)
        assert study.copy(copy)
        finished(study, 1)
        assert study.copy(copy)
        whole = study.trials()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("copy")) == ["copy.db"]
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    with study_at(copy) as study:
        assert study.trials() == whole
        study.join(policy(num_samples=4))
        assert len(finished(study)) == 1


@pytest.mark.parametrize("name", ["median", "percentile", "halving", "hyperband", "patient"])
def test_every_pruner_ends_what_is_far_worse_than_all_before_it(storage: str, name: Any) -> None:
    ending = 0
    with study_at(storage) as study:
        study.join(policy(num_samples=24, pruner=name))
        for index in range(24):
            trial = study.claim("0")
            assert trial is not None
            bad = index % 2 == 1 and index > 7
            told = [study.report(trial, step, (-100.0 - step if bad else 1.0 + step)) for step in range(1, 12)]
            ending += bad and any(told)
            assert study.finish(trial, ended(trial))
    assert ending > 0


def test_without_a_pruner_nothing_is_ended(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy())
        trial = study.claim("0")
        assert trial is not None
        assert not any(study.report(trial, step, -step) for step in range(20))


def test_what_matters_is_found_and_told_with_its_deviation(storage: str) -> None:
    searched = policy(num_samples=20, algorithm=Anneal())
    with study_at(storage) as study:
        study.join(searched)
        finished(study)
        trials = study.trials()
    told = importance(searched, trials)
    assert told[0][0] == "layers"
    assert {name for name, _, _ in told} == {"lr", "momentum", "layers", "width", "optimizer"}
    assert sum(mean for _, mean, _ in told) == pytest.approx(1)
    assert all(mean >= 0 and deviation >= 0 for _, mean, deviation in told)
    assert importance(searched, trials) == told
    assert importance(searched, trials[:3]) == ()
    assert importance(policy(space=searched.space[:1]), trials) == ()
    same = [msgspec.structs.replace(trial, reward=1.0) for trial in trials]
    assert importance(searched, same) == ()


def test_all_trials_can_be_had_as_optunas_study(storage: str) -> None:
    with study_at(storage) as study:
        study.join(policy())
        finished(study, 2)
        failed = study.claim("0")
        assert failed is not None
        study.finish(failed, Ending(state="FAIL", verdict="boot"))
        assert study.claim("0") is not None
        trials = study.trials()
    seen = as_study(policy(), trials)
    assert [trial.state.name for trial in seen.trials] == ["COMPLETE", "COMPLETE", "FAIL", "RUNNING"]
    assert seen.best_trial.params == max(trials[:2], key=reward_of).values
    assert seen.metric_names == ["accuracy"]


def test_who_has_not_joined_is_told_so(storage: str) -> None:
    with study_at(storage) as study, pytest.raises(StudyError, match="not joined"):
        study.claim("0")


def test_a_study_can_be_left_twice(storage: str) -> None:
    with study_at(storage, owner=ME) as study:
        study.join(policy())
        study.close()
