"""What a hang, a restart, a run that is given up, and a machine that goes make of the state, and of the outcome."""

from __future__ import annotations

from signal import SIGCONT, SIGTERM

import pytest

from launcher.core.errors import Exit
from launcher.core.lifecycle import (
    Again,
    Announced,
    Dump,
    Entered,
    Event,
    Exited,
    Failure,
    Finished,
    Forward,
    GivenUp,
    Hung,
    Kill,
    PeerEnded,
    Phase,
    Signalled,
    Started,
    State,
    Suspected,
    Tick,
)
from launcher.core.lifecycle.decide import decide
from launcher.core.lifecycle.troubles import may_begin_again
from launcher.core.meeting.partings import parting
from launcher.core.outcome import outcome
from launcher.core.record import Cause

HANGS = Cause(code="hung", message="The training hung.", action="Look at the stacks.")
FAILURE = Failure(Exit.NO_PROGRESS, Cause(code="no-progress", message="It came nowhere.", action="Look."))


def after(*events: Event, state: State | None = None, now: float = 0.0) -> State:
    state = state or State(grace=20.0)
    for event in events:
        state, _ = decide(state, event, now)
    return state


RUNNING = (Entered(Phase.RUN), Started(10))
FAILED = (*RUNNING, Exited(10, 1))


def test_a_suspicion_shows_where_everybody_stands_and_changes_nothing() -> None:
    running = after(*RUNNING)
    assert decide(running, Suspected(), 1.0) == (running, (Dump(gently=True),))
    idle = after(Entered(Phase.SYNC))
    assert decide(idle, Suspected(), 1.0) == (idle, ())
    assert decide(after(Entered(Phase.RUN)), Suspected(), 1.0)[1] == ()


def test_a_training_that_hangs_is_asked_to_end_and_killed_soon() -> None:
    state, actions = decide(after(*RUNNING), Hung(HANGS), 100.0)
    assert actions == (Forward(SIGTERM), Forward(SIGCONT))
    assert Kill() in decide(state, Tick(), 105.0)[1]
    ended = outcome(after(Exited(10, 137, 9), state=state))
    assert (ended.phase, ended.exit_code, ended.cause) == ("Failed", Exit.HUNG, HANGS)


@pytest.mark.parametrize(
    "events",
    [
        (Entered(Phase.STAGE),),
        FAILED,
        (*RUNNING, Signalled(SIGTERM)),
        (Entered(Phase.RUN),),
    ],
)
def test_what_does_not_run_or_is_to_end_already_does_not_hang(events: tuple[Event, ...]) -> None:
    state = after(*events)
    assert decide(state, Hung(HANGS), 1.0) == (state, ())


def test_a_hang_says_what_went_wrong_beside_it() -> None:
    state = after(*RUNNING, Hung(HANGS), Exited(10, 137, 9), Entered(Phase.SYNC), Finished(FAILURE))
    ended = outcome(state)
    assert ended.cause is not None
    assert ended.cause.evidence == ("It came nowhere.",)


def test_the_other_nodes_are_told_of_a_hang_as_of_a_failure() -> None:
    told = parting(after(*RUNNING, Hung(HANGS)))
    assert told is not None
    assert (told.how, told.code, told.exit_code) == ("failed", "hung", Exit.HUNG)


def test_another_attempt_begins_as_the_first_did() -> None:
    failed = after(*FAILED, PeerEnded(1, FAILURE))
    fresh = after(Again(2), state=failed)
    assert fresh == State(grace=20.0, attempt=2)
    assert fresh.going
    assert outcome(after(*RUNNING, Exited(10, 0), Entered(Phase.SYNC), Finished(), state=fresh)).exit_code == 0


def test_what_belongs_to_the_whole_run_stays() -> None:
    first = State(grace=9.0, serves=True, expires_at=50.0, warn_at=40.0, warned=True, announced=HANGS)
    fresh = after(*FAILED, Again(2), state=first)
    assert (fresh.grace, fresh.serves, fresh.expires_at, fresh.warn_at, fresh.warned) == (9.0, True, 50.0, 40.0, True)
    assert fresh.announced == HANGS


@pytest.mark.parametrize(
    "events",
    [
        (*FAILED, Signalled(SIGTERM)),
        (*RUNNING, Signalled(SIGTERM), Exited(10, 143, 15)),
        RUNNING,
        (*FAILED, GivenUp(FAILURE)),
    ],
)
def test_a_run_that_is_to_end_is_not_started_again(events: tuple[Event, ...]) -> None:
    state = after(*events)
    assert not may_begin_again(state)
    assert after(Again(2), state=state) == state


def test_a_hang_and_the_end_of_another_node_may_be_followed_by_another_attempt() -> None:
    assert may_begin_again(after(*RUNNING, Hung(HANGS), Exited(10, 137, 9)))
    assert may_begin_again(after(*RUNNING, PeerEnded(1, FAILURE), Exited(10, 143, 15)))


@pytest.mark.parametrize("events", [FAILED, (*RUNNING, Hung(HANGS), Exited(10, 137, 9))])
def test_a_job_whose_time_ran_out_while_an_attempt_was_ended_is_not_started_again(events: tuple[Event, ...]) -> None:
    limited = after(*events, state=State(grace=20.0, expires_at=50.0), now=49.0)
    assert may_begin_again(after(Entered(Phase.READY), state=limited, now=49.9))
    state = after(Entered(Phase.READY), Tick(), state=limited, now=50.0)
    assert state.expired
    assert after(Again(2), state=state, now=51.0) == state
    assert outcome(state).phase == "Failed"


def test_time_that_ends_while_it_is_decided_ends_the_run_with_its_failure() -> None:
    limited = State(grace=20.0, expires_at=50.0)
    state = after(Tick(), state=after(*FAILED, Entered(Phase.READY), state=limited), now=50.0)
    assert not may_begin_again(state)
    assert outcome(state).exit_code == 1


def test_time_that_ends_between_two_attempts_says_which_one_did_not_begin() -> None:
    state = after(*FAILED, Again(2), Entered(Phase.READY), state=State(grace=20.0, expires_at=50.0))
    ended = outcome(after(Tick(), state=state, now=50.0))
    assert ended.exit_code == Exit.AUTO_STOP
    assert ended.cause is not None
    assert ended.cause.message.endswith("was stopped; the boot process had not started for attempt 2.")


def test_a_signal_between_two_attempts_ends_the_run() -> None:
    state = after(*FAILED, Again(2), Entered(Phase.READY), Signalled(SIGTERM))
    ended = outcome(state)
    assert (ended.phase, ended.exit_code) == ("Terminated", 143)
    assert ended.cause is not None
    assert ended.cause.message == "SIGTERM came before the boot process started for attempt 2."


def test_a_run_that_is_given_up_says_so_in_place_of_its_last_failure() -> None:
    ended = outcome(after(*FAILED, GivenUp(FAILURE)))
    assert (ended.phase, ended.exit_code, ended.cause) == ("Failed", Exit.NO_PROGRESS, FAILURE.cause)
    twice = after(*FAILED, GivenUp(FAILURE), GivenUp(Failure(1, HANGS)))
    assert twice.given_up == FAILURE
    stopped = outcome(after(*RUNNING, Signalled(SIGTERM), Exited(10, 143, 15), GivenUp(FAILURE)))
    assert stopped.exit_code == 143


def test_an_announcement_is_kept_and_the_first_counts() -> None:
    state = after(*RUNNING, Announced(HANGS), Announced(FAILURE.cause))
    assert state.announced == HANGS
    assert state.going
