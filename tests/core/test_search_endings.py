"""What an ended trial means: its run, what was read of its log, and who asked it to end, as one verdict."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.core.search import Dimension, Metric, Policy
from launcher.core.search.endings import LONGEST_WHY, Asked, Read, RunEnd, ending
from launcher.core.search.recorded import recorded

POLICY = Policy(
    space=(Dimension(name="lr", kind="float", high=1.0),), reward=Metric(name="acc", mode="max", regex="acc=([0-9.]+)")
)
READ = Read(count=2, last=0.5, best=0.75, metrics={"acc": "0.5"}, unread=1)
DONE = RunEnd(code=0, phase="Completed", booted=True)
BEST = Policy(space=POLICY.space, reward=POLICY.reward, take="best")


def failed(code: int, cause: str, **more: Any) -> RunEnd:
    return RunEnd(code=code, phase="Failed", cause=cause, message=f"said {cause}", **more)


@pytest.mark.parametrize(
    ("ran", "read", "asked", "end"),
    [
        (DONE, READ, None, ("COMPLETE", None, None)),
        # whoever asked came too late
        (DONE, READ, "pruner", ("COMPLETE", None, None)),
        (DONE, READ, "end", ("COMPLETE", None, None)),
        (DONE, Read(), None, ("FAIL", "no-reward", "no value of acc")),
        (failed(73, "not-saved", booted=True), READ, None, ("COMPLETE", None, "said not-saved")),
        # a boot file of its own may end with 73
        (failed(73, "boot-failed", booted=True), READ, None, ("FAIL", "boot", "said boot-failed")),
        (failed(3, "boot-failed", booted=True), READ, None, ("FAIL", "boot", "said boot-failed")),
        (failed(137, "oom", booted=True), READ, None, ("FAIL", "boot", "said oom")),
        (failed(66, "no-code"), Read(), None, ("FAIL", "boot", "said no-code")),
        (failed(71, "no-room"), Read(), None, ("FAIL", "lost", "said no-room")),
        (failed(71, "boot-failed", booted=True), READ, None, ("FAIL", "boot", "said boot-failed")),
        (RunEnd(code=5, phase="Failed", booted=True), READ, None, ("FAIL", "boot", "it ended with exit code 5")),
        (RunEnd(code=143, phase="Terminated", booted=True), READ, "pruner", ("PRUNED", None, "stopped by the pruner")),
        (RunEnd(code=143, phase="Terminated", booted=True), READ, "user", ("PRUNED", None, "stopped by a user")),
        (RunEnd(code=143, phase="Terminated", booted=True), READ, "end", ("FAIL", "lost", "the search was ended")),
        # its own launcher was asked to end by somebody else, or was killed, or lost the store before it began
        (RunEnd(code=143, phase="Terminated", message="SIGTERM"), READ, None, ("FAIL", "lost", "SIGTERM")),
        (RunEnd(code=137), READ, None, ("FAIL", "lost", "its launcher was killed")),
        (RunEnd(code=137, phase="Abnormal", booted=True), READ, None, ("FAIL", "lost", "its launcher was killed")),
        (failed(69, "store-unreachable"), Read(), None, ("FAIL", "lost", "said store-unreachable")),
        (failed(69, "boot-failed", booted=True), READ, None, ("FAIL", "boot", "said boot-failed")),
    ],
)
def test_every_end_has_one_verdict(
    ran: RunEnd, read: Read, asked: Asked | None, end: tuple[str, str | None, str | None]
) -> None:
    state, verdict, why = end
    made = ending(POLICY, ran, read, asked)
    assert (made.state, made.verdict) == (state, verdict)
    assert made.why == why or (why is not None and made.why is not None and made.why.startswith(why))
    assert made.reward == (read.last if state != "FAIL" else None)
    assert (made.metrics, made.unread) == (read.metrics, read.unread)


def test_the_reward_is_the_last_match_or_the_best() -> None:
    assert ending(POLICY, DONE, READ, None).reward == 0.5
    assert ending(BEST, DONE, READ, None).reward == 0.75


def test_who_finds_no_reward_is_told_the_expression_and_the_last_lines() -> None:
    read = Read(tail=("one", "", "accuracy: 0.9 "), notes=("The expression of acc was given up",))
    assert ending(POLICY, DONE, read, None).why == (
        "no value of acc: nothing that it printed is matched by 'acc=([0-9.]+)'; its last lines: one | accuracy: 0.9. "
        "The expression of acc was given up"
    )
    unread = ending(POLICY, DONE, Read(unread=2, example="nan"), None).why or ""
    assert "2 matches of 'acc=([0-9.]+)' gave no number, such as 'nan'; it printed nothing" in unread
    once = ending(POLICY, DONE, Read(unread=1, example="nan"), None).why or ""
    assert "1 match of 'acc=([0-9.]+)' gave no number" in once


def test_what_was_not_looked_at_is_said_of_a_good_trial_too() -> None:
    odd = Read(count=1, last=0.5, best=0.5, notes=("The expression of acc was given up", "9 bytes were not looked at"))
    assert ending(POLICY, DONE, odd, None).why == "The expression of acc was given up. 9 bytes were not looked at"
    stopped = RunEnd(code=143, phase="Terminated", booted=True)
    assert ending(POLICY, stopped, odd, "user").why == (
        "stopped by a user. The expression of acc was given up. 9 bytes were not looked at"
    )


def test_a_reason_has_an_end() -> None:
    long = ending(POLICY, failed(1, "x" * 9000, booted=True), READ, None).why or ""
    assert len(long) == LONGEST_WHY


def test_of_very_many_rewards_few_are_kept() -> None:
    assert [step for step in range(1, 131) if recorded(step)] == [*range(1, 101), 110, 120, 130]
    assert recorded(1_000)
    assert not recorded(1_010)
    assert recorded(1_100)
    assert sum(map(recorded, range(1, 100_001))) == 100 + 90 * 3
