"""The search from Python: what its documentation shows runs."""

from __future__ import annotations

import doctest
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from searchers import policy

import launcher.study
from launcher.core.errors import StudyError
from launcher.study import Ending, best, join, this_process

if TYPE_CHECKING:
    from pathlib import Path


def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(launcher.study, "launcher.study")
    assert len(example.examples) >= 4
    monkeypatch.chdir(tmp_path)
    result = doctest.DocTestRunner().run(example)
    assert (result.failed, result.attempted) == (0, len(example.examples))
    assert (tmp_path / "study.db").exists()


def test_a_loop_of_ones_own_finds_the_best(tmp_path: Path) -> None:
    searched = policy(num_samples=3)
    with closing(join(searched, str(tmp_path / "study.db"), "mine")) as study:
        assert best(searched, study.trials()) is None
        for reward in (0.1, 0.9, 0.5):
            trial = study.claim("0")
            assert trial is not None
            assert trial.worker == this_process().worker
            study.finish(trial, Ending(state="COMPLETE", reward=reward))
        found = best(searched, study.trials())
    assert found is not None
    assert found.reward == 0.9


def test_a_study_that_cannot_be_joined_is_closed(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.db")
    with closing(join(policy(), storage, "mine")):
        pass
    with pytest.raises(StudyError, match="seed"), closing(join(policy(seed=5), storage, "mine")):
        pass
