"""The trip of a search: its trials come and go, and nobody but the search says how it went."""

from __future__ import annotations

from signal import SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGWINCH
from typing import TYPE_CHECKING

import pytest

from launcher.core.lifecycle import (
    Dump,
    Entered,
    Event,
    Exited,
    Failure,
    Finished,
    Forward,
    Phase,
    Signalled,
    Started,
    State,
    Stop,
)
from launcher.core.lifecycle.decide import decide
from launcher.core.outcome import outcome
from launcher.core.record import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_REWARD = Failure(1, Cause(code="search-no-reward", message="no trial has a reward", action="look"))
UNSAVED = Failure(69, Cause(code="store", message="the store went away", action="wait"))


def play(*events: Event) -> State:
    state = State(grace=20, trials=True)
    for event in (Entered(Phase.RUN), *events):
        state, _ = decide(state, event, 0.0)
    return state


def test_a_trial_that_fails_ends_no_other() -> None:
    state = play(Started(7), Started(8))
    after, actions = decide(state, Exited(7, 3), 1.0)
    assert (after.running, after.boot_code, actions) == ((8,), None, ())
    last, actions = decide(after, Exited(8, 0), 2.0)
    assert (last.running, last.boot_code, last.ended_at, actions) == ((), None, None, ())


def test_a_signal_reaches_every_trial() -> None:
    state, actions = decide(play(Started(7), Started(8)), Signalled(SIGTERM), 1.0)
    assert (state.stopped, actions) == (Stop("signal", SIGTERM), (Forward(SIGTERM), Forward(SIGCONT)))


@pytest.mark.parametrize("number", [SIGHUP, SIGUSR1, SIGWINCH])
def test_what_is_meant_for_the_search_alone_reaches_no_trial(number: int) -> None:
    assert decide(play(Started(7)), Signalled(number), 1.0)[1] == ()
    assert decide(play(Started(7)), Signalled(SIGQUIT), 1.0)[1] == (Dump(),)


SAVED = (Entered(Phase.SYNC), Finished(), Entered(Phase.REPORT), Finished())


@pytest.mark.parametrize(
    ("events", "ended"),
    [
        ((Finished(), *SAVED), ("Completed", 0, None)),
        ((Finished(NO_REWARD), *SAVED), ("Failed", 1, "search-no-reward")),
        ((Finished(), Entered(Phase.SYNC), Finished(UNSAVED)), ("Failed", 73, "store")),
        ((Signalled(SIGTERM), Finished(), *SAVED), ("Terminated", 143, "interrupted")),
        ((Signalled(SIGINT), Finished(), *SAVED), ("Terminated", 130, "interrupted")),
    ],
)
def test_how_a_search_ended(events: Sequence[Event], ended: tuple[str, int, str | None]) -> None:
    made = outcome(play(Started(7), Exited(7, 9), *events))
    assert (made.phase, made.exit_code, made.cause and made.cause.code) == ended


def test_a_search_that_was_stopped_is_told_to_go_on() -> None:
    state = play(Signalled(SIGTERM))
    cause = outcome(state).cause
    assert cause is not None
    assert cause.message == "SIGTERM interrupted the search; its finished trials are kept."
    assert cause.action == "Start the same command again: it goes on from there."
    stopped = State(grace=1, trials=True, stopped=Stop("auto-stop", SIGTERM))
    late = outcome(stopped)
    assert late.exit_code == 124
    assert late.cause is not None
    assert late.cause.message.endswith("was stopped; the search's finished trials are kept.")
