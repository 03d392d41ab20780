"""A search of many processes on a real PostgreSQL: no trial twice, though workers and the server are killed."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from databases import Server, postgres
from searchers import Searcher, assert_each_slot_was_done_once, finished, policy, searchers, study_at

from launcher.core.errors import StudyError
from launcher.core.search import Ending, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.search, pytest.mark.timeout(300)]
DOWN_S = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


def test_a_search_goes_on_from_where_it_was(server: Server) -> None:
    storage = server.fresh()
    with study_at(storage) as study:
        study.join(policy(num_samples=4))
        first = finished(study, 2)
        assert not study.copy("/nowhere")
    with study_at(storage) as study:
        study.join(policy(num_samples=4))
        rest = finished(study)
        assert [trial.values for trial in study.trials()] == [trial.values for trial in [*first, *rest]]
        trial = study.trials()[0]
        with pytest.raises(StudyError, match="runs in the study"):
            study.stop(trial.id)
    assert [trial.slot for trial in rest] == [2, 3]


def test_strange_texts_are_kept(server: Server) -> None:
    with study_at(server.fresh(), "a name with ünïcode and 'quotes'") as study:
        study.join(policy())
        trial = study.claim("0")
        assert trial is not None
        why = "nul \x00, half a pair \ud800, ünïcode"
        assert study.finish(trial, Ending(state="FAIL", verdict="boot", why=why, metrics={"a": why}))
        assert study.trials()[0].why == why


def test_eight_workers_on_one_server_do_every_slot_once(server: Server) -> None:
    storage = server.fresh()
    searched = policy(num_samples=40)
    with searchers(storage, 8, searched) as workers:
        for worker in workers:
            worker.until("over")
            assert worker.end() == 0
    with study_at(storage) as study:
        trials = study.trials()
    assert_each_slot_was_done_once(searched, trials)
    assert len(trials) == 40
    assert len({trial.worker for trial in trials}) > 1


def test_what_a_killed_worker_left_is_tried_again_once_it_was_silent(server: Server) -> None:
    storage = server.fresh()
    searched = policy(num_samples=6)
    with searchers(storage, 1, searched, hold=2, beat_s=1, grace_s=3) as (killed,):
        killed.until("taken")
        left = killed.until("taken")
        killed.kill()
    with searchers(storage, 2, searched, beat_s=1, grace_s=3) as others:
        for other in others:
            other.until("over")
    with study_at(storage) as study:
        trials = study.trials()
    assert_each_slot_was_done_once(searched, trials)
    first, *rest = (trial for trial in trials if trial.slot == left["slot"])
    assert (first.id, first.verdict) == (left["taken"], "lost")
    assert rest[0].values == first.values


def test_a_trial_whose_worker_never_gave_a_sign_of_life_is_tried_again(server: Server) -> None:
    storage = server.fresh()
    dead = Owner(worker="worker-9", boot="elsewhere", pid=9, start=9)
    with study_at(storage, owner=dead) as study:
        study.join(policy())
        trial = study.claim("0")
        assert trial is not None
    with psycopg.connect(storage, autocommit=True) as connection:
        connection.execute("DELETE FROM trial_heartbeats")
    with study_at(storage, grace_s=0.01) as study:
        study.join(policy())
        threading.Event().wait(0.2)
        again = study.claim("0")
        assert again is not None
        assert (again.slot, again.values) == (trial.slot, trial.values)
        assert "never given a sign" in (study.trials()[0].why or "")


@pytest.mark.parametrize("rounds", [1])
def test_a_server_that_is_killed_and_comes_back_costs_nothing_but_time(rounds: int) -> None:
    """Workers take and finish trials all the while, so that it is killed in the middle of what they do."""
    searched = policy(num_samples=60)
    with postgres() as server:
        storage = server.fresh()
        with searchers(storage, 4, searched) as workers:
            for worker in workers:
                worker.until("counts")
            for _ in range(rounds):
                server.kill()
                threading.Event().wait(DOWN_S)
                server.start()
            told = [_to_the_end(worker) for worker in workers]
        with study_at(storage) as study:
            trials = study.trials()
    assert_each_slot_was_done_once(searched, trials)
    assert len([trial for trial in trials if trial.verdict != "superseded"]) == 60
    counted = [line["counts"] for lines in told for line in lines if "counts" in line]
    assert len(counted) == len(set(counted))
    assert any("note" in line for lines in told for line in lines)


def test_many_short_losses_of_the_server_leave_every_slot_done_once() -> None:
    searched = policy(num_samples=40)
    with postgres() as server:
        storage = server.fresh()
        with searchers(storage, 4, searched) as workers:
            for worker in workers:
                worker.until("counts")
            for _ in range(6):
                server.kill()
                server.start()
                threading.Event().wait(0.7)
            for worker in workers:
                _to_the_end(worker)
        with study_at(storage) as study:
            trials = study.trials()
    assert_each_slot_was_done_once(searched, trials)
    assert {trial.verdict for trial in trials} <= {None, "superseded"}


def test_a_server_that_refuses_is_not_waited_for(server: Server) -> None:
    with (
        study_at(server.url("nothing"), patience=1000) as study,
        pytest.raises(StudyError, match="does not exist") as told,
    ):
        study.join(policy())
    assert (told.value.code, told.value.exit_code) == ("study-refused", 69)


def _to_the_end(worker: Searcher) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    with contextlib.suppress(StopIteration):
        while "over" not in (line := worker.line()):
            lines.append(line)
    assert worker.end() == 0
    return lines
