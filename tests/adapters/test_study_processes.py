"""Workers of one search in processes of their own, on one file: the budget is kept, and who is killed is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchers import Searcher, assert_each_slot_was_done_once, policy, searchers, study_at

if TYPE_CHECKING:
    from pathlib import Path


def test_four_workers_on_one_file_do_every_slot_once(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.db")
    searched = policy(num_samples=16)
    with searchers(storage, 4, searched) as workers:
        for worker in workers:
            worker.until("over")
            assert worker.end() == 0
    with study_at(storage) as study:
        trials = study.trials()
    assert_each_slot_was_done_once(searched, trials)
    assert len(trials) == 16


def test_what_a_killed_worker_of_this_machine_left_is_tried_again_at_once(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.db")
    searched = policy(num_samples=4)
    with searchers(storage, 1, searched, hold=2) as (killed,):
        killed.until("taken")
        left = killed.until("taken")
        killed.kill()
        other = Searcher(storage, "worker-1", searched, knows=True)
        again = other.until("taken")
        other.until("over")
        assert other.end() == 0
    assert (again["slot"], again["values"]) == (left["slot"], left["values"])
    with study_at(storage) as study:
        trials = study.trials()
    assert_each_slot_was_done_once(searched, trials)
    (lost,) = (trial for trial in trials if trial.verdict == "lost")
    assert lost.id == left["taken"]
    assert lost.why is not None
    assert "worker-0" in lost.why


def test_what_a_killed_worker_of_another_machine_left_is_tried_again_once_it_was_silent(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.db")
    searched = policy(num_samples=3)
    with searchers(storage, 1, searched, hold=1, grace_s=1, beat_s=1) as (killed,):
        left = killed.until("taken")
        killed.kill()
        other = Searcher(storage, "worker-1", searched, grace_s=1, beat_s=1)
        other.until("over")
        assert other.end() == 0
    with study_at(storage) as study:
        trials = study.trials()
    assert_each_slot_was_done_once(searched, trials)
    first, *rest = sorted((trial for trial in trials if trial.slot == left["slot"]), key=lambda trial: trial.number)
    assert (first.id, first.verdict) == (left["taken"], "lost")
    assert rest[0].values == first.values
