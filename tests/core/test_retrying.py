"""Whether a training that has failed is started again: after which cause, how often, after how long a pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.diagnose import CODES_OF_CAUSES
from launcher.core.outcome import UNEXPLAINED, Outcome
from launcher.core.record import Cause
from launcher.core.resilience import Retrying
from launcher.core.retrying import INFRASTRUCTURE, LONGEST_PAUSE_S, Past, judge, past_of

OWN = ("module-missing", "segfault", "oom-killed", "gpu-memory", "boot-failed", "aborted", "nccl-interface")
ALL = sorted({*INFRASTRUCTURE, *OWN, "hung"})


def past(*codes: str) -> list[Past]:
    return [Past(code=code, message=f"{code}.") for code in codes]


@pytest.mark.parametrize(
    "code", ["gpu-ecc", "gpu-lost", "npu-ecc", "nccl-timeout", "hccl-timeout", "store-unreachable"]
)
def test_a_failure_of_the_infrastructure_is_worth_another_attempt(code: str) -> None:
    decision = judge(past(code), Retrying(most=1))
    assert decision.again
    assert code in decision.why
    assert not judge(past(code), Retrying(most=0, hang=True)).again


@pytest.mark.parametrize("code", OWN)
def test_the_users_own_failure_comes_again(code: str) -> None:
    assert not judge(past(code), Retrying(most=3)).again
    assert judge(past(code), Retrying(most=3, unconditional=True)).again


def test_what_fails_before_the_training_is_tried_again_only_where_nobody_here_is_to_blame() -> None:
    rules = Retrying(most=3, unconditional=True)
    assert not judge([Past(code="pip-failed", message="No.", trained=False)], rules).again
    assert judge([Past(code="store-busy", message="No.", trained=False)], rules).again


def test_there_are_no_more_restarts_than_the_job_allows_and_hangs_have_their_own() -> None:
    rules = Retrying(most=2, hang=True)
    assert judge(past("gpu-ecc", "gpu-ecc"), rules).again
    over = judge(past("gpu-ecc", "gpu-ecc", "gpu-ecc"), rules)
    assert not over.again
    assert "2 times" in over.why
    assert over.spent
    assert not judge(past("segfault"), rules).spent
    assert judge(past("hung", "hung", "gpu-ecc", "hung"), rules).again
    assert "once" in judge(past("gpu-ecc", "gpu-ecc"), Retrying(most=1)).why
    assert "after a hang" in judge(past("gpu-ecc"), Retrying(most=0, hang=True)).why


def test_a_training_that_hangs_is_started_again_three_times_in_a_row() -> None:
    rules = Retrying(hang=True)
    assert judge(past("hung", "hung", "hung"), rules).again
    last = judge(past("hung", "hung", "hung", "hung"), rules)
    assert not last.again
    assert "4 times in a row" in last.why
    assert last.spent
    assert not judge(past("hung"), Retrying(most=3)).again


@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=40), st.integers(0, 3), st.booleans(), st.booleans())
def test_attempts_come_to_an_end(codes: list[str], most: int, unconditional: bool, hang: bool) -> None:  # noqa: FBT001 - drawn
    rules = Retrying(most=most, unconditional=unconditional, hang=hang)
    attempts: list[Past] = []
    for each in past(*codes):
        attempts.append(each)
        decision = judge(attempts, rules)
        assert 0 <= decision.pause_s <= LONGEST_PAUSE_S
        if not decision.again:
            break
    others = sum(1 for each in attempts if each.code != "hung")
    assert others <= most + 1
    assert len(attempts) <= (most + 1) * 4 + 1


def test_the_longest_pause_doubles_up_to_five_minutes() -> None:
    rules = Retrying(most=3, hang=True, pause_s=10)
    pauses = [judge(past(*["gpu-ecc"] * count), rules).pause_s for count in (1, 2, 3)]
    assert pauses == [10, 20, 40]
    assert judge(past("gpu-ecc"), Retrying(most=1, pause_s=9999)).pause_s == LONGEST_PAUSE_S


def test_only_a_failure_is_an_attempt_that_failed() -> None:
    cause = Cause(code="gpu-ecc", message="The GPU failed", action="Wait.")
    failed = Outcome(phase="Failed", exit_code=1, cause=cause)
    assert past_of(failed, trained=False) == Past(code="gpu-ecc", message="The GPU failed", trained=False)
    assert past_of(Outcome(phase="Completed", exit_code=0), trained=True) is None
    assert past_of(Outcome(phase="Terminated", exit_code=143, cause=cause), trained=True) is None


def test_every_cause_that_is_laid_to_the_infrastructure_is_one_that_somebody_gives() -> None:
    given_elsewhere = {"peer-lost", "store-unreachable", "store-busy", "store-broken", "stage-timeout"}
    assert set(INFRASTRUCTURE) <= CODES_OF_CAUSES | given_elsewhere | set(UNEXPLAINED)
