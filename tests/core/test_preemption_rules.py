"""What counts as a notice of a preemption, and what becomes of it, on texts as platforms write them."""

from __future__ import annotations

import json
from signal import SIGINT, SIGTERM, SIGUSR1

import pytest
from msgspec.structs import replace

from launcher.core.errors import Exit
from launcher.core.lifecycle import Announced, Failure, Phase, Signalled, State, Stop
from launcher.core.lifecycle.decide import decide
from launcher.core.lifecycle.stopping import lies_ready, presses
from launcher.core.outcome import outcome
from launcher.core.preemption import (
    WELL_KNOWN,
    Notice,
    by_annotation,
    by_graceful_exit,
    by_nologin,
    by_schedule,
    catches,
    cause,
    document,
    first_line,
    sources,
)
from launcher.core.record import Cause

NOW = 1_800_000_000.0
TAKEN = cause(Notice(path="/n", who="the platform", reason="spot"))


def scheduled(in_seconds: float, mode: str = "poweroff") -> str:
    return f"USEC={int((NOW + in_seconds) * 1e6)}\nWARN_WALL=1\nMODE={mode}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n  \n spot reclaim in 2 min \nmore\n", "spot reclaim in 2 min"),
        ("", ""),
        ("\x1b[2Jgone\x07", "?[2Jgone?"),
        ("x" * 5000, "x" * 200),
    ],
)
def test_the_first_line_that_says_something_is_the_reason(text: str, told: str) -> None:
    assert first_line(text) == told


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('build="two"\nlauncher/preempted="spot, 120 s"\n', "launcher/preempted=spot, 120 s"),
        (
            'descheduler.alpha.kubernetes.io/eviction-in-progress="kubevirt"',
            "descheduler.alpha.kubernetes.io/eviction-in-progress=kubevirt",
        ),
        ('launcher/preempted="a \\"word\\" of it"', 'launcher/preempted=a \\"word\\" of it'),
        ('launcher/preempted=""', None),
        ('launcher/preempted="False"', None),
        ('other="launcher/preempted=\\"yes\\""', None),
        ("launcher/preempted=yes", None),
        ("", None),
    ],
)
def test_an_annotation_of_the_pod_may_say_so(text: str, reason: str | None) -> None:
    assert by_annotation(text, NOW) == reason


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ('{"RankList": [], "GracefulExit": 1}', True),
        ('{"GracefulExit":true}', True),
        ('{"GracefulExit": 0}', False),
        ('{"GracefulExit": 10}', False),
        ("", False),
    ],
)
def test_mindcluster_asks_for_a_graceful_exit(text: str, is_one: bool) -> None:  # noqa: FBT001 - a column of the table
    assert (by_graceful_exit(text, NOW) is not None) == is_one


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (scheduled(60), "poweroff is on the schedule"),
        (scheduled(-5, "reboot"), "reboot is on the schedule"),
        (scheduled(5 * 3600), None),
        (scheduled(60, "dry-poweroff"), None),
        ("MODE=poweroff\n", None),
        ("USEC=99999999999999999999999\nMODE=poweroff\n", None),
    ],
)
def test_a_shutdown_counts_when_it_is_near(text: str, reason: str | None) -> None:
    assert by_schedule(text, NOW) == reason


def test_who_may_not_log_in_is_told_why() -> None:
    assert by_nologin("System is going down.\n", NOW) == "System is going down."
    assert by_nologin("System is booting up.\n", NOW) is None


def test_a_file_that_was_named_is_a_notice_whatever_it_says() -> None:
    first, *others = sources("/run/spot")
    assert (first.path, first.who, first.watched) == ("/run/spot", "the platform", True)
    assert (first.read("", NOW), first.read("soon\n", NOW)) == ("no reason is given", "soon")
    assert tuple(others) == WELL_KNOWN == sources(None)


def test_boot_processes_are_told_as_json() -> None:
    assert json.loads(document(TAKEN, "at 5", 18.75)) == {
        "version": 1,
        "reason": "The machine is taken away, says the platform in /n: spot.",
        "time": "at 5",
        "seconds": 18.75,
    }


@pytest.mark.parametrize(
    ("status", "heard"),
    [
        ("Name:\tx\nSigIgn:\t0000000000000200\nSigCgt:\t0000000000000200\n", True),
        ("SigCgt:\t0000000180004002\n", False),
        ("SigIgn:\t0000000000000200\n", False),
        ("SigCgt:\tnone\n", False),
    ],
)
def test_who_has_no_handler_is_sent_nothing(status: str, heard: bool) -> None:  # noqa: FBT001 - a column of the table
    assert catches(status, SIGUSR1) == heard


# what it makes of a run


RUNNING = State(grace=20, phase=Phase.RUN, running=(7,))


def test_nothing_presses_as_long_as_nobody_asks() -> None:
    assert not presses(RUNNING)
    assert presses(replace(RUNNING, announced=TAKEN))
    assert presses(replace(RUNNING, stopped=Stop("auto-stop", SIGTERM)))
    assert not presses(State(grace=20, phase=Phase.STAGE, announced=TAKEN))
    assert not presses(State(grace=20, phase=Phase.RUN, announced=TAKEN))


def test_outputs_lie_ready_where_nothing_runs_or_is_about_to() -> None:
    assert not lies_ready(RUNNING)
    assert not lies_ready(State(grace=20, phase=Phase.RUN))
    assert lies_ready(State(grace=20, phase=Phase.RUN, boot_code=1))
    assert lies_ready(State(grace=20, phase=Phase.READY))


def announced(number: int, code: int = 0) -> State:
    state, _ = decide(RUNNING, Announced(TAKEN), 99)
    state, _ = decide(state, Signalled(number), 100)
    return replace(state, running=(), boot_code=code)


@pytest.mark.parametrize(("code", "told"), [(0, 143), (3, 3), (137, 137)])
def test_a_sigterm_after_a_notice_is_a_preemption(code: int, told: int) -> None:
    ended = outcome(announced(SIGTERM, code))
    assert (ended.phase, ended.exit_code) == ("Terminated", told)
    assert ended.cause is not None
    assert ended.cause.code == "preempted"
    assert ended.cause.message == (
        "The machine is taken away, says the platform in /n: spot. "
        f"SIGTERM interrupted the training; the boot process ended with exit code {code}."
    )


def test_a_sigint_is_a_persons_all_the_same() -> None:
    ended = outcome(announced(SIGINT))
    assert ended.cause is not None
    assert (ended.exit_code, ended.cause.code) == (130, "interrupted")


def test_what_came_before_the_boot_process_is_told_too() -> None:
    state, _ = decide(State(grace=20, phase=Phase.STAGE), Announced(TAKEN), 99)
    state, _ = decide(state, Signalled(SIGTERM), 100)
    ended = outcome(state)
    assert ended.cause is not None
    assert (ended.exit_code, ended.cause.code) == (143, "preempted")


def test_a_training_that_leaves_for_a_notice_has_not_failed() -> None:
    ended = outcome(State(grace=20, phase=Phase.SYNC, announced=TAKEN, boot_code=143, boot_signal=15))
    assert (ended.phase, ended.exit_code) == ("Terminated", 143)
    assert ended.cause is not None
    assert ended.cause.message.endswith("The training left for it; the boot process was ended by signal 15.")


@pytest.mark.parametrize(("told", "code"), [(TAKEN, 1), (None, 143)])
def test_any_other_failure_is_one(told: Cause | None, code: int) -> None:
    ended = outcome(State(grace=20, phase=Phase.SYNC, announced=told, boot_code=code))
    assert (ended.phase, ended.exit_code) == ("Failed", code)


def test_a_training_that_ends_well_before_anybody_asks_is_complete() -> None:
    ended = outcome(State(grace=20, phase=Phase.END, announced=TAKEN, boot_code=0, synced=True))
    assert (ended.phase, ended.exit_code) == ("Completed", Exit.OK)


def test_what_failed_beside_is_evidence() -> None:
    lost = Failure(73, Cause(code="x", message="the output is lost", action="Look."))
    ended = outcome(State(grace=20, phase=Phase.END, announced=TAKEN, boot_code=143, failure=lost))
    assert ended.cause is not None
    assert ended.cause.evidence == ("the output is lost",)
