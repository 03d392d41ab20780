"""The trip as a state machine: each phase against each event, the budget of the end, what a success is."""

from __future__ import annotations

from math import nextafter
from signal import SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.errors import StageError
from launcher.core.lifecycle import (
    Action,
    Cancel,
    Dump,
    Entered,
    Event,
    Exited,
    Expire,
    Failure,
    Finished,
    Forward,
    Kill,
    Leave,
    Over,
    PeerEnded,
    Phase,
    Released,
    Signalled,
    Started,
    StartFailed,
    State,
    Stop,
    Suspend,
    Tick,
    Warn,
    Woken,
)
from launcher.core.lifecycle.deadlines import next_deadline, settle_by
from launcher.core.lifecycle.decide import decide
from launcher.core.outcome import exit_code, failure_of, never_began, outcome
from launcher.core.record import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

GRACE = 20.0  # so that the reserve is 5 and boot processes have 15
MISSING = Failure(66, Cause(code="input-missing", message="no such input", action="look"))
GONE = Failure(69, Cause(code="store-unreachable", message="no answer in time", action="look"))
UNSAVED = Failure(69, Cause(code="store", message="the store went away", action="wait"))
CHECK, STAGE, INSTALL, READY, RUN, SYNC, REPORT, END = Phase


def play(*timed: tuple[float, Event], grace: float = GRACE, state: State | None = None) -> tuple[State, list[Action]]:
    state, actions = state or State(grace=grace), list[Action]()
    for now, event in timed:
        state, more = decide(state, event, now)
        actions += more
    return state, actions


def trained(code: int = 0, *, signal: int | None = None) -> list[tuple[float, Event]]:
    return [(0, Entered(RUN)), (0, Started(7)), (50, Exited(7, code, signal))]


TOLD: tuple[Action, ...] = (Forward(SIGTERM), Forward(SIGCONT))


def in_phase(phase: Phase) -> State:
    """A state in the middle of a phase, with a child where there is one."""
    before: list[tuple[float, Event]] = trained() if phase in (SYNC, REPORT, END) else []
    state, _ = play(*before, (60, Entered(phase)))
    if phase in (INSTALL, RUN):
        state, _ = decide(state, Started(7), 60)
    return state


BEFORE_THE_END = (CHECK, STAGE, INSTALL, READY, RUN)
STOPS: dict[tuple[Phase, int], tuple[Action, ...]] = {
    (CHECK, SIGTERM): (Cancel(),),
    (CHECK, SIGINT): (Cancel(),),
    (STAGE, SIGTERM): (Cancel(),),
    (STAGE, SIGINT): (Cancel(),),
    (INSTALL, SIGTERM): (Cancel(), Forward(SIGTERM), Forward(SIGCONT)),
    (INSTALL, SIGINT): (Cancel(), Forward(SIGTERM), Forward(SIGCONT)),
    (RUN, SIGTERM): (Forward(SIGTERM), Forward(SIGCONT)),
    (RUN, SIGINT): (Forward(SIGINT), Forward(SIGCONT)),
}
PASSED_ON: tuple[int, ...] = (SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH)
SIGNAL_ACTIONS: dict[tuple[Phase, int], tuple[Action, ...]] = {
    **STOPS,
    **{(RUN, number): (Forward(number),) for number in PASSED_ON},
    **{(phase, SIGTSTP): (Suspend(),) for phase in (CHECK, STAGE, READY, SYNC, REPORT, END)},
    **{(phase, SIGTSTP): (Forward(SIGTSTP), Suspend()) for phase in (INSTALL, RUN)},
    **{(phase, SIGCONT): (Forward(SIGCONT),) for phase in (INSTALL, RUN)},
    (RUN, SIGQUIT): (Dump(),),
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("number", [SIGTERM, SIGINT, SIGTSTP, SIGCONT, SIGQUIT, *PASSED_ON])
def test_what_a_signal_does_in_each_phase(phase: Phase, number: int) -> None:
    before = in_phase(phase)
    after, actions = decide(before, Signalled(number), 100)
    assert actions == SIGNAL_ACTIONS.get((phase, number), ())
    stops = number in (SIGTERM, SIGINT)
    assert after.stopped == (Stop("signal", number) if stops and phase in BEFORE_THE_END else None)
    assert after.end_by == (120 if stops else None)
    assert after.stop_by == (115 if stops else None)
    assert stops or after == before


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", [Woken(), Tick(), Exited(99, 1), Exited(99, 0)])
def test_events_that_are_nobodys_change_nothing(phase: Phase, event: Event) -> None:
    assert decide(in_phase(phase), event, 100) == (in_phase(phase), ())


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", [Finished(MISSING), StartFailed(MISSING)])
def test_the_first_failure_is_kept_in_every_phase(phase: Phase, event: Event) -> None:
    after, actions = decide(in_phase(phase), event, 100)
    assert (after.failure, after.going) == (MISSING, False)
    assert actions == (TOLD if isinstance(event, StartFailed) and phase in (INSTALL, RUN) else ())
    assert decide(after, Finished(UNSAVED), 101)[0].failure == MISSING


@pytest.mark.parametrize("phase", Phase)
def test_a_child_that_ends_has_its_leftovers_stopped(phase: Phase) -> None:
    state, _ = decide(in_phase(phase), Started(8), 100)
    state, actions = decide(state, Exited(8, 4), 101)
    if phase in (INSTALL, RUN):
        assert (state.running, actions) == ((7,), TOLD if phase is RUN else ()), "another child still runs"
        state, actions = decide(state, Exited(7, 0), 102)
    assert (state.running, actions) == ((), TOLD)
    assert state.boot_code == {RUN: 4, SYNC: 0, REPORT: 0, END: 0}.get(phase), (
        "the first code that is not 0 is the run's"
    )


@pytest.mark.parametrize("phase", Phase)
def test_only_the_end_of_a_sync_makes_it_whole(phase: Phase) -> None:
    state, actions = decide(in_phase(phase), Finished(), 100)
    assert (state.synced, actions) == (phase is SYNC, ())
    assert (state.phase is END) == (phase in (SYNC, REPORT, END))


def test_nothing_presses_without_a_signal() -> None:
    for phase in Phase:
        assert next_deadline(in_phase(phase)) is None
        assert settle_by(in_phase(phase)) is None


# the budget of the end


def test_a_boot_process_has_the_grace_less_the_reserve() -> None:
    state, _ = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)))
    assert next_deadline(state) == 115
    assert decide(state, Tick(), 114.9) == (state, ())
    state, actions = decide(state, Tick(), 115)
    assert actions == (Kill(),)
    assert decide(state, Tick(), 115.5) == (state, ()), "once"
    assert next_deadline(state) == settle_by(state) == 116


def test_the_reserve_is_a_quarter_of_a_short_grace() -> None:
    state, _ = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), grace=4)
    assert (state.stop_by, state.end_by) == (103, 104)


def test_a_process_stuck_in_the_kernel_is_left_and_counts_as_killed() -> None:
    state, _ = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), (115, Tick()))
    state, actions = decide(state, Tick(), 116)
    assert (actions, state.left, state.running) == ((Leave(),), True, ())
    assert (outcome(state).phase, outcome(state).exit_code) == ("Terminated", 137)


def test_a_second_request_leaves_two_seconds() -> None:
    state, actions = play(
        (0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), (103, Signalled(SIGINT)), (103.5, Tick())
    )
    assert actions == [Forward(SIGTERM), Forward(SIGCONT), Forward(SIGINT), Forward(SIGCONT)]
    assert (state.stop_by, state.end_by) == (104.5, 105)
    assert (state.stopped, state.signals) == (Stop("signal", SIGTERM), 2)


def test_a_second_request_never_lengthens_the_time() -> None:
    state, _ = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), (119.5, Signalled(SIGTERM)))
    assert (state.stop_by, state.end_by) == (115, 120)


def test_one_request_read_twice_in_one_go_is_one() -> None:
    state, actions = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), (100, Signalled(SIGTERM)))
    assert (state.signals, state.end_by, actions) == (1, 120, list(TOLD))


def test_leftovers_have_five_seconds() -> None:
    state, actions = play(*trained())
    assert actions == list(TOLD)
    assert next_deadline(state) == 55
    state, actions_at_55 = decide(state, Tick(), 55)
    assert actions_at_55 == (Kill(),)
    assert decide(state, Tick(), 56)[1] == (Leave(),)


def test_leftovers_have_no_more_than_the_budget() -> None:
    state, _ = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), (113, Exited(7, 0)))
    assert next_deadline(state) == 115
    state, _ = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), (115, Tick()), (115.1, Exited(7, 0)))
    assert decide(state, Tick(), 115.1)[1] == (Kill(),), "leftovers of a killed process are killed at once"


def test_a_signal_after_the_boot_process_ended_is_no_interruption() -> None:
    state, _ = play(*trained(), (51, Signalled(SIGTERM)), (52, Entered(SYNC)), (53, Finished()))
    assert (outcome(state).phase, outcome(state).exit_code) == ("Completed", 0)
    assert state.end_by == 71


def test_the_final_sync_is_cancelled_just_before_the_end() -> None:
    state, _ = play(*trained(), (60, Entered(SYNC)), (100, Signalled(SIGTERM)))
    assert next_deadline(state) == 118
    state, actions = decide(state, Tick(), 118)
    assert actions == (Cancel(),)
    assert next_deadline(state) == 119, "a second to name what it did not save"
    state, actions = decide(state, Tick(), 119)
    assert actions == (Leave(),)
    assert (outcome(state).phase, outcome(state).exit_code) == ("Failed", 73)
    cause = outcome(state).cause
    assert cause is not None
    assert cause.code == "sync-unfinished"


def test_the_report_has_a_time_of_its_own_after_a_sync_that_was_left() -> None:
    state, _ = play(*trained(), (60, Entered(SYNC)), (100, Signalled(SIGTERM)), (118, Tick()), (119, Tick()))
    assert state.left
    state, actions = decide(state, Entered(REPORT), 119)
    assert (actions, state.left) == ((), False)
    assert next_deadline(state) == pytest.approx(119.6)
    assert decide(state, Tick(), 119.5) == (state, ())
    state, actions = decide(state, Tick(), 119.7)
    assert (actions, state.left, next_deadline(state)) == ((Cancel(),), False, 120)
    state, actions = decide(state, Tick(), 120)
    assert (actions, state.left, state.phase) == ((Leave(),), True, END)
    assert outcome(state).exit_code == 73


@pytest.mark.parametrize("phase", [CHECK, STAGE])
def test_a_store_that_was_waited_for_in_vain_is_not_waited_for_as_long_again(phase: Phase) -> None:
    state, _ = play((0, Entered(phase)), (60, Finished(GONE)), (60, Entered(REPORT)))
    assert state.end_by == 70
    state, actions = play((70, Tick()), state=state)
    assert (actions, state.phase) == ([Cancel(), Leave()], END)
    ended = outcome(state)
    assert (ended.phase, ended.exit_code, ended.cause) == ("Failed", 69, GONE.cause)


def test_a_request_to_end_leaves_less_than_a_store_that_is_gone() -> None:
    state, _ = play((0, Entered(STAGE)), (1, Signalled(SIGTERM)), (2, Signalled(SIGTERM)), (2, Finished(GONE)))
    assert state.end_by == 4


@pytest.mark.parametrize(
    "story",
    [
        [(0, Entered(STAGE)), (60, Finished(MISSING))],
        [*trained(), (60, Entered(SYNC)), (120, Finished(GONE))],
        [*trained(), (60, Entered(REPORT)), (120, Finished(GONE))],
    ],
    ids=["another failure", "outputs to save", "a report to send"],
)
def test_nothing_hurries_for_any_other_reason(story: Sequence[tuple[float, Event]]) -> None:
    assert play(*story)[0].end_by is None


def test_a_report_that_may_not_begin_any_more_is_no_success() -> None:
    state, _ = play(*trained(), (60, Entered(SYNC)), (100, Signalled(SIGTERM)), (110, Finished()))
    assert outcome(state).exit_code == 0
    state, actions = play(
        *trained(),
        (60, Entered(SYNC)),
        (100, Signalled(SIGTERM)),
        (110, Finished()),
        (120, Entered(REPORT)),
        (120, Tick()),
    )
    assert actions[-2:] == [Cancel(), Leave()]
    ended = outcome(state)
    assert ended.cause is not None
    assert (ended.exit_code, ended.cause.code) == (73, "report-unfinished")


@pytest.mark.parametrize(("grace", "reserve"), [(600.0, 5.0), (25.0, 5.0), (6.0, 1.5), (2.0, 0.5), (1.0, 0.25)])
def test_sync_and_report_share_the_reserve(grace: float, reserve: float) -> None:
    start, end = 100.0, 100.0 + grace
    state, _ = play(*trained(), (60, Entered(SYNC)), (start, Signalled(SIGTERM)), grace=grace)
    cancelled_at = next_deadline(state)
    assert cancelled_at is not None
    state, _ = decide(state, Tick(), cancelled_at)
    left_at = next_deadline(state)
    assert left_at is not None
    state, _ = decide(state, Entered(REPORT), left_at)
    report_cancelled_at = next_deadline(state)
    assert report_cancelled_at is not None
    assert end - reserve < cancelled_at < left_at < report_cancelled_at < end
    assert left_at - cancelled_at >= reserve / 5.01, "time to say what is not saved"
    assert report_cancelled_at - left_at >= reserve / 10.01, "time to send what was said"


def test_nobody_is_called_stuck_for_want_of_a_moment() -> None:
    state, actions = play((0, Entered(RUN)), (0, Started(7)), (100, Signalled(SIGTERM)), (100, Tick()), grace=0)
    assert actions == [*TOLD, Kill()]
    assert not state.left
    assert (next_deadline(state), settle_by(state)) == (100.1, 100.1)


def test_a_second_signal_in_the_final_sync_leaves_two_seconds() -> None:
    state, _ = play(*trained(), (60, Entered(SYNC)), (100, Signalled(SIGTERM)), (101, Signalled(SIGTERM)))
    assert (next_deadline(state), state.end_by) == (102.55, 103)


def test_a_sync_after_an_interruption_has_the_rest_of_the_budget() -> None:
    state, _ = play((0, Entered(STAGE)), (100, Signalled(SIGTERM)), (101, Entered(SYNC)))
    assert (state.done, state.left, next_deadline(state)) == ((), False, 118)


def test_a_stage_that_does_not_stop_is_left() -> None:
    state, _ = play((0, Entered(STAGE)), (100, Signalled(SIGTERM)), (115, Tick()), (116, Tick()))
    assert state.left
    assert outcome(state).exit_code == 143


def test_a_child_that_was_started_into_an_interruption_is_told() -> None:
    assert play((0, Entered(INSTALL)), (1, Signalled(SIGINT)), (2, Started(7)))[1] == [Cancel(), *TOLD]


# several boot processes


def two(*more: tuple[float, Event]) -> tuple[State, list[Action]]:
    return play((0, Entered(RUN)), (1, Started(7)), (2, Started(8)), *more)


def test_the_first_that_fails_ends_the_others_in_five_seconds() -> None:
    state, actions = two((10, Exited(8, 3)))
    assert (actions, next_deadline(state)) == (list(TOLD), 15)
    state, killing = decide(state, Tick(), 15)
    assert killing == (Kill(),)
    state, _ = decide(state, Exited(7, 137, 9), 15.1)
    assert (state.boot_code, state.boot_signal, state.first, state.running) == (3, None, 8, ())
    assert outcome(state).exit_code == 3


def test_one_that_ends_well_waits_for_the_others() -> None:
    state, actions = two((10, Exited(8, 0)))
    assert (state.running, actions, next_deadline(state)) == ((7,), [], None)
    state, _ = decide(state, Exited(7, 5), 11)
    assert (state.boot_code, state.first) == (5, 7)


def test_one_that_ends_on_sigterm_leaves_the_others_their_whole_grace() -> None:
    state, actions = two((10, Signalled(SIGTERM)), (11, Exited(8, 143, 15)))
    assert (actions, next_deadline(state)) == (list(TOLD), 25)


def test_one_that_cannot_be_started_ends_those_before_it_and_is_the_cause() -> None:
    state, actions = play((0, Entered(RUN)), (1, Started(7)), (2, StartFailed(MISSING)), (3, Exited(7, 143, 15)))
    assert actions == [*TOLD, *TOLD]
    assert (outcome(state).exit_code, state.boot_code) == (66, None)


def test_one_that_cannot_be_started_alone_leaves_nothing_to_stop() -> None:
    assert play((0, Entered(RUN)), (2, StartFailed(MISSING)))[1] == []


def test_all_that_is_stuck_in_the_kernel_is_left_for_the_failure_that_came_first() -> None:
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (2, StartFailed(MISSING)), (7, Tick()), (8, Tick()))
    assert (state.running, state.left, outcome(state).exit_code) == ((), True, 66)


# the time that a job may take

LIMITED = State(grace=GRACE, expires_at=3600, warn_at=3240)


@pytest.mark.parametrize("phase", Phase)
def test_a_job_is_warned_and_stopped_when_its_time_is_over_unless_it_is_trained(phase: Phase) -> None:
    state, _ = play(*(trained() if phase in (SYNC, REPORT, END) else []), (60, Entered(phase)), state=LIMITED)
    if phase in (SYNC, REPORT, END):
        assert next_deadline(state) is None
        return
    assert next_deadline(state) == 3240
    state, actions = decide(state, Tick(), 3240)
    assert (actions, next_deadline(state)) == ((Warn(),), 3600)
    state, actions = decide(state, Tick(), 3600)
    assert actions == ((Expire(),) if phase in (READY, RUN) else (Expire(), Cancel())), "no child runs yet"
    assert (state.stopped, state.end_by) == (Stop("auto-stop", SIGTERM), 3600 + GRACE)


def test_it_is_warned_once_whatever_is_started() -> None:
    state, actions = play((3300, Tick()), (3301, Entered(RUN)), (3302, Started(7)), (3303, Tick()), state=LIMITED)
    assert (actions, next_deadline(state)) == ([Warn()], 3600)


def test_a_boot_process_has_its_grace_when_the_time_is_over() -> None:
    state, actions = play((1, Entered(RUN)), (2, Started(7)), (3600, Tick()), state=LIMITED)
    assert actions == [Warn(), Expire(), *TOLD]
    assert next_deadline(state) == 3600 + GRACE - 5
    state, _ = decide(state, Signalled(SIGTERM), 3601)
    assert state.end_by == 3600 + GRACE, "a signal that comes then does not lengthen it"
    state, _ = decide(state, Signalled(SIGTERM), 3602)
    assert state.end_by == 3604


@pytest.mark.parametrize("code", [0, 7, 143])
def test_a_job_that_was_stopped_so_is_124_however_it_ended(code: int) -> None:
    state, _ = play((1, Entered(RUN)), (2, Started(7)), (3600, Tick()), (3601, Exited(7, code)), state=LIMITED)
    ended = outcome(state)
    assert (ended.phase, ended.exit_code, ended.cause and ended.cause.code) == ("Terminated", 124, "auto-stop")
    assert ended.cause is not None
    assert f"exit code {code}" in ended.cause.message


def test_a_job_whose_time_is_over_while_it_is_staged_never_starts() -> None:
    state, _ = play((3600, Tick()), (3601, Finished()), state=LIMITED)
    ended = outcome(state)
    assert (state.going, ended.exit_code) == (False, 124)
    assert ended.cause is not None
    assert "had not started" in ended.cause.message


def test_time_that_ends_after_the_last_boot_process_is_no_interruption() -> None:
    state, _ = play((1, Entered(RUN)), (2, Started(7)), (3599, Exited(7, 0)), (3600, Tick()), state=LIMITED)
    assert state.stopped is None


# the other nodes of a job

FAILED = PeerEnded(2, Failure(66, Cause(code="peer-failed", message="worker-2 failed while staging", action="look")))
BROKEN = PeerEnded(1, Failure(1, Cause(code="peer-failed", message="worker-1 failed while training", action="look")))
ASKED = PeerEnded(2, Failure(143, Cause(code="peer-stopped", message="worker-2 was stopped", action="x")), stopped=True)


def how(state: State) -> tuple[str, int, str | None]:
    ended = outcome(state)
    return ended.phase, ended.exit_code, ended.cause.code if ended.cause else None


@pytest.mark.parametrize("phase", Phase)
def test_a_node_that_ends_ends_the_others_that_have_not_trained(phase: Phase) -> None:
    state, actions = decide(in_phase(phase), FAILED, 100)
    stops: dict[Phase, tuple[Action, ...]] = {
        CHECK: (Cancel(),),
        STAGE: (Cancel(),),
        INSTALL: (Cancel(), *TOLD),
        READY: (),
        RUN: TOLD,
    }
    assert actions == stops.get(phase, ())
    assert state.stopped == (Stop("peer", SIGTERM) if phase in stops else None)
    assert state.peer == FAILED
    assert (state.stop_by, state.end_by) == ((115 if phase in stops else None), None), "the outputs have all their time"


def test_how_a_run_ends_that_another_node_has_ended() -> None:
    assert how(play((0, Entered(STAGE)), (1, FAILED), (2, Finished()))[0]) == ("Failed", 66, "peer-failed")
    assert how(play((0, Entered(READY)), (1, FAILED))[0]) == ("Failed", 66, "peer-failed")
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (2, FAILED), (3, Exited(7, 143, 15)), (4, Entered(SYNC)))
    assert how(state) == ("Failed", 66, "peer-failed")
    cause = outcome(state).cause
    assert cause is not None
    assert cause.evidence == ("Here the boot process was ended by signal 15.",)
    state, _ = decide(state, Finished(UNSAVED), 5)
    cause = outcome(state).cause
    assert cause is not None
    assert cause.evidence[-1] == "the store went away"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (ASKED, ("Terminated", 143, "peer-stopped")),
        (PeerEnded(1, Failure(0, MISSING.cause), stopped=True), ("Terminated", 70, "input-missing")),
        (PeerEnded(1, Failure(70, MISSING.cause)), ("Abnormal", 70, "input-missing")),
        (PeerEnded(1, Failure(0, MISSING.cause)), ("Abnormal", 70, "input-missing")),
    ],
)
def test_a_node_ends_as_the_one_did_that_ended_it(peer: PeerEnded, expected: tuple[str, int, str]) -> None:
    assert how(play((0, Entered(RUN)), (1, Started(7)), (2, peer), (3, Exited(7, 0)))[0]) == expected


def test_a_boot_process_that_another_node_ends_has_the_grace_and_the_outputs_have_longer() -> None:
    state, actions = play((0, Entered(RUN)), (0, Started(7)), (100, FAILED), (115, Tick()), (116, Tick()))
    assert actions == [*TOLD, Kill(), Leave()]
    state, _ = decide(state, Entered(SYNC), 116)
    assert next_deadline(state) is None
    state, _ = decide(state, Signalled(SIGTERM), 1000)
    assert (state.end_by, next_deadline(state)) == (1020, 1018), "a signal limits them as it always does"


def test_a_child_of_a_run_that_another_node_has_ended_settles_in_a_second() -> None:
    state, _ = play((0, Entered(RUN)), (0, Started(7)), (100, FAILED))
    assert settle_by(state) == 116


def test_the_first_node_that_ended_is_the_cause_and_may_become_better_known() -> None:
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (2, FAILED), (3, BROKEN))
    assert state.peer == FAILED
    known = PeerEnded(2, Failure(66, Cause(code="peer-failed", message="worker-2 failed: no such object", action="x")))
    state, actions = decide(state, known, 4)
    assert (state.peer, actions, state.stop_by) == (known, (), 17)


def test_a_boot_process_that_had_failed_before_is_the_cause_and_the_other_node_is_named() -> None:
    state, actions = play((0, Entered(RUN)), (1, Started(7)), (2, Started(8)), (3, Exited(8, 5)), (4, BROKEN))
    assert actions == list(TOLD)
    state, _ = decide(state, Exited(7, 143, 15), 5)
    assert how(state) == ("Failed", 5, "boot-failed")
    cause = outcome(state).cause
    assert cause is not None
    assert cause.evidence == ("worker-1 failed while training",)


def test_a_server_that_hears_that_all_is_over_before_it_has_started_is_stopped_as_soon_as_it_has() -> None:
    state, actions = play((0, Entered(READY)), (1, Over()), (2, Entered(RUN)), state=SERVING)
    assert (actions, state.stop_by) == ([], 16)
    state, asked = decide(state, Started(7), 3)
    assert asked == TOLD
    state, _ = decide(state, Exited(7, 143, 15), 4)
    state, _ = decide(decide(state, Entered(SYNC), 5)[0], Finished(), 6)
    assert how(state) == ("Completed", 0, None)


def test_a_boot_process_that_failed_for_want_of_a_node_that_is_gone_names_it() -> None:
    gone = PeerEnded(1, Failure(71, Cause(code="peer-lost", message="worker-1 was lost", action="look")))
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (2, Exited(7, 1)), (3, gone), (4, Entered(SYNC)))
    assert how(state) == ("Failed", 1, "peer-lost")
    cause = outcome(state).cause
    assert cause is not None
    assert cause.evidence == ("Here the boot process ended with exit code 1.",)


def test_a_node_that_ends_after_this_ones_training_changes_nothing_here() -> None:
    state, actions = play(*trained(), (60, Entered(SYNC)), (61, FAILED), (62, Finished()))
    assert (how(state), actions) == (("Completed", 0, None), list(TOLD))


def test_a_signal_of_its_own_stands_over_that_of_another_node_and_not_over_a_failure() -> None:
    for peer, expected in ((ASKED, ("Terminated", 143, "interrupted")), (FAILED, ("Failed", 66, "peer-failed"))):
        state, actions = play((0, Entered(RUN)), (1, Started(7)), (2, peer), (3, Signalled(SIGTERM)), (4, Exited(7, 0)))
        assert (how(state), actions[:4]) == (expected, [*TOLD, *TOLD])
        state, _ = play((0, Entered(RUN)), (1, Started(7)), (2, peer), (3, Exited(7, 0)), (4, Signalled(SIGTERM)))
        assert how(state) == expected


def test_all_are_released_together() -> None:
    state, actions = play((0, Entered(READY)), (1, Released()))
    assert (state.released, state.going, actions) == (True, True, [])


SERVING = State(grace=GRACE, serves=True)


@pytest.mark.parametrize("code", [0, 1, 143])
def test_a_server_is_ended_when_the_workers_are_done_and_that_is_a_success(code: int) -> None:
    state, actions = play((0, Entered(RUN)), (1, Started(7)), (50, Over()), (51, Over()), state=SERVING)
    assert (actions, state.stop_by, state.going) == (list(TOLD), 65, True)
    state, _ = play((52, Exited(7, code)), (53, Entered(SYNC)), (54, Finished()), state=state)
    assert how(state) == ("Completed", 0, None)


def test_a_server_that_cannot_be_killed_was_done_as_well() -> None:
    state, actions = play(
        *((0, Entered(RUN)), (1, Started(7)), (50, Over()), (65, Tick()), (66, Tick())),
        *((67, Entered(SYNC)), (68, Finished())),
        state=SERVING,
    )
    assert actions == [*TOLD, Kill(), Leave()]
    assert how(state) == ("Completed", 0, None)


def test_a_server_that_ends_before_the_workers_are_done_has_failed() -> None:
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (50, Exited(7, 3)), (51, Over()), state=SERVING)
    assert how(state) == ("Failed", 3, "boot-failed")
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (50, Exited(7, 0)), (51, Finished()), state=SERVING)
    assert how(state) == ("Failed", 71, "server-ended")
    state, _ = play((52, Over()), (53, Entered(SYNC)), (54, Finished()), state=state)
    assert how(state) == ("Completed", 0, None), "unless they say so a moment later"


@pytest.mark.parametrize("late", [BROKEN, Signalled(SIGTERM)])
def test_what_comes_when_a_server_is_ending_anyway_is_no_interruption(late: Event) -> None:
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (50, Over()), (51, late), (52, Exited(7, 143)), state=SERVING)
    assert how(play((53, Entered(SYNC)), (54, Finished()), state=state)[0]) == ("Completed", 0, None)


def test_a_server_that_another_node_has_ended_is_no_success_when_the_workers_say_that_they_are_done() -> None:
    state, _ = play((0, Entered(RUN)), (1, Started(7)), (2, FAILED), (3, Over()), (4, Exited(7, 0)), state=SERVING)
    assert how(state) == ("Failed", 66, "peer-failed")


def test_the_end_of_the_workers_means_nothing_to_who_trains() -> None:
    state, actions = play((0, Entered(RUN)), (1, Started(7)), (2, Over()))
    assert (actions, state.stop_by) == ([], None)


# how it ends


OUTCOMES: list[tuple[str, Sequence[Event], tuple[str, int, str | None]]] = [
    ("nothing happened", [], ("Abnormal", 70, "did-not-finish")),
    ("no sync", [Entered(RUN), Started(7), Exited(7, 0)], ("Abnormal", 70, "did-not-finish")),
    ("still running", [Entered(RUN), Started(7), Entered(SYNC), Finished()], ("Abnormal", 70, "did-not-finish")),
    ("one of two runs", [Entered(RUN), Started(7), Started(8), Exited(7, 0)], ("Abnormal", 70, "did-not-finish")),
    ("all well", [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished()], ("Completed", 0, None)),
    (
        "all well and ended",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished(), Entered(END)],
        ("Completed", 0, None),
    ),
    ("code 3", [Entered(RUN), Started(7), Exited(7, 3), Entered(SYNC), Finished()], ("Failed", 3, "boot-failed")),
    ("code 70 of its own", [Entered(RUN), Started(7), Exited(7, 70)], ("Failed", 70, "boot-failed")),
    ("killed by 9", [Entered(RUN), Started(7), Exited(7, 137, 9), Entered(SYNC)], ("Failed", 137, "boot-killed")),
    (
        "failed and not saved",
        [Entered(RUN), Started(7), Exited(7, 3), Entered(SYNC), Finished(UNSAVED)],
        ("Failed", 3, "boot-failed"),
    ),
    (
        "trained, not saved",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished(UNSAVED)],
        ("Failed", 73, "store"),
    ),
    (
        "trained, the second sync whole, the first not",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished(UNSAVED), Entered(SYNC), Finished()],
        ("Failed", 73, "store"),
    ),
    ("staging failed", [Finished(MISSING), Entered(SYNC), Finished()], ("Failed", 66, "input-missing")),
    (
        "staging failed, the report not sent",
        [Finished(MISSING), Entered(REPORT), Finished(UNSAVED)],
        ("Failed", 66, "input-missing"),
    ),
    (
        "all well and reported",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished(), Entered(REPORT), Finished()],
        ("Completed", 0, None),
    ),
    (
        "all well so far, the report under way",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished(), Entered(REPORT)],
        ("Completed", 0, None),
    ),
    (
        "trained, saved, the report not sent",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished(), Entered(REPORT), Finished(UNSAVED)],
        ("Failed", 73, "store"),
    ),
    (
        "trained, not saved, but reported",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished(UNSAVED), Entered(REPORT), Finished()],
        ("Failed", 73, "store"),
    ),
    (
        "a report saves no output",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(REPORT), Finished()],
        ("Abnormal", 70, "did-not-finish"),
    ),
    (
        "SIGTERM while the report is sent",
        [
            *(Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Finished()),
            *(Entered(REPORT), Signalled(SIGTERM), Finished()),
        ],
        ("Completed", 0, None),
    ),
    (
        "interrupted, and the report not sent",
        [
            *(Entered(RUN), Started(7), Signalled(SIGTERM), Exited(7, 0), Entered(SYNC), Finished()),
            *(Entered(REPORT), Finished(UNSAVED)),
        ],
        ("Terminated", 143, "interrupted"),
    ),
    ("a defect", [Finished(Failure(70, MISSING.cause))], ("Abnormal", 70, "input-missing")),
    ("a failure that claims 0", [Finished(Failure(0, MISSING.cause))], ("Abnormal", 70, "input-missing")),
    ("not started", [Entered(RUN), StartFailed(Failure(127, MISSING.cause))], ("Failed", 127, "input-missing")),
    ("stopped while staging", [Signalled(SIGTERM), Finished()], ("Terminated", 143, "interrupted")),
    ("interrupted while staging", [Signalled(SIGINT), Finished(MISSING)], ("Terminated", 130, "interrupted")),
    ("failed, then stopped", [Finished(MISSING), Signalled(SIGTERM)], ("Failed", 66, "input-missing")),
    (
        "stopped while installing",
        [Entered(INSTALL), Started(7), Signalled(SIGTERM), Exited(7, 143, 15), Entered(SYNC), Finished()],
        ("Terminated", 143, "interrupted"),
    ),
    ("stopped before start", [Entered(RUN), Signalled(SIGTERM)], ("Terminated", 143, "interrupted")),
    (
        "interrupted, ends with 0",
        [Entered(RUN), Started(7), Signalled(SIGTERM), Exited(7, 0), Entered(SYNC), Finished()],
        ("Terminated", 143, "interrupted"),
    ),
    (
        "interrupted by SIGINT, ends with 0, not saved",
        [Entered(RUN), Started(7), Signalled(SIGINT), Exited(7, 0), Entered(SYNC), Finished(UNSAVED)],
        ("Terminated", 130, "interrupted"),
    ),
    (
        "interrupted, ends with 5",
        [Entered(RUN), Started(7), Signalled(SIGTERM), Exited(7, 5), Entered(SYNC), Finished()],
        ("Terminated", 5, "interrupted"),
    ),
    (
        "SIGTERM while the outputs are saved, all saved",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Signalled(SIGTERM), Finished()],
        ("Completed", 0, None),
    ),
    (
        "SIGTERM while the outputs are saved, not all saved",
        [Entered(RUN), Started(7), Exited(7, 0), Entered(SYNC), Signalled(SIGTERM), Finished(UNSAVED)],
        ("Failed", 73, "store"),
    ),
]


@pytest.mark.parametrize(("events", "expected"), [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES])
def test_how_a_run_ends(events: Sequence[Event], expected: tuple[str, int, str | None]) -> None:
    state, _ = play(*((float(at), event) for at, event in enumerate(events)))
    ended = outcome(state)
    assert (ended.phase, ended.exit_code, ended.cause.code if ended.cause else None) == expected
    assert exit_code(ended) == expected[1]


def test_the_cause_says_what_happened() -> None:
    def message(*events: Event) -> str:
        cause = outcome(play(*((float(at), event) for at, event in enumerate(events)))[0]).cause
        assert cause is not None
        return cause.message

    run = (Entered(RUN), Started(7))
    assert message(Signalled(SIGTERM)) == "SIGTERM came before the boot process started."
    assert "SIGTERM interrupted the training" in message(*run, Signalled(SIGTERM), Exited(7, 0))
    assert "exit code 255" in message(*run, Exited(7, 255))
    assert "signal 6" in message(*run, Exited(7, 134, 6))
    assert never_began(SIGINT) == outcome(play((0, Signalled(SIGINT)))[0])


def test_a_run_without_an_outcome_is_a_defect() -> None:
    assert exit_code(None) == 70


def test_an_error_becomes_the_failure_of_its_code() -> None:
    error = StageError("no such input", code="input-missing", action="look")
    assert failure_of(error) == MISSING


# whatever happens

failures = st.sampled_from([None, MISSING, UNSAVED, Failure(0, MISSING.cause)])
pids = st.integers(7, 9)
passing: list[int] = [SIGTSTP, SIGCONT, SIGQUIT, *PASSED_ON]
events = st.one_of(
    st.builds(Entered, st.sampled_from(Phase)),
    st.builds(Started, pids),
    st.builds(Exited, pids, st.sampled_from([0, 0, 0, 1, 137])),
    st.builds(Signalled, st.sampled_from([SIGTERM, SIGINT, *passing])),
    st.builds(Finished, failures),
    st.builds(StartFailed, st.just(MISSING)),
    st.sampled_from([FAILED, BROKEN, ASKED, Released(), Over()]),
    st.just(Woken()),
    st.just(Tick()),
)
# Without these hardly any story but the plainest would come to a good end.
mild = st.one_of(st.builds(Signalled, st.sampled_from([SIGTERM, SIGINT, *passing])), st.just(Tick()), st.just(Woken()))
likely = st.lists(mild, max_size=2) | st.lists(events, max_size=3)
trainings = st.one_of(
    st.builds(lambda a, b: [Started(7), *a, Exited(7, 0), *b], likely, likely),
    st.builds(lambda a, b: [Started(7), Started(8), *a, Exited(7, 0), *b, Exited(8, 0)], likely, likely),
)
stories = st.builds(
    lambda a, b, training, d, e, f, g: [
        *(*a, Entered(RUN), *b, *training, *d, Entered(SYNC), *e, Finished()),
        *(*f, Entered(REPORT), *g, Finished()),
    ],
    *(likely, likely, trainings, likely, likely, likely, likely),
) | st.lists(events, max_size=30)
steps = st.lists(st.sampled_from([1.0, 0.0, 0.1, 4.0, 30.0]), min_size=60, max_size=60)
limited = st.builds(
    lambda expires_at, lead: State(grace=GRACE, expires_at=expires_at, warn_at=expires_at - lead),
    st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0, 100.0, 1e6]),
    st.sampled_from([0.0, 0.1, 4.0, 600.0]),
)
starts = st.just(State(grace=GRACE)) | limited


class Tale:
    """A story as it is told, and what a person who hears it remembers."""

    def __init__(self, start: State, story: Sequence[Event], pauses: Sequence[float]) -> None:
        self.state, self.now = start, 0.0
        self.cut_short: list[str] = []
        self.timed: list[Action] = []
        self.saved, self.reported = list[int](), list[int]()
        self.hear(Tick())
        for at, (event, pause) in enumerate(zip(story, pauses, strict=False)):
            self.now += pause
            if event == Finished():
                self.saved += [at] if self.state.phase is SYNC else []
                self.reported += [at] if self.state.phase is REPORT else []
            self.hear(event)
            # As the desk does: a tick after whatever happened.
            self.hear(Tick())

    def hear(self, event: Event) -> tuple[Action, ...]:
        before = self.state
        self.state, actions = decide(before, event, self.now)
        if isinstance(event, Signalled) and event.number in passing:
            assert self.state == before, "nothing but a request to end changes how it goes on"
            assert Kill() not in actions
        over = before.boot_code is not None and not before.running
        if isinstance(event, PeerEnded) and before.peer is None and not over and not before.boot_code:
            self.cut_short.append("peer")
        if self.state.signals > before.signals and not over:
            self.cut_short.append("signal")
        if Expire() in actions and not over:
            self.cut_short.append("auto-stop")
        if isinstance(event, Tick | Woken):
            self.timed += actions
        return actions


@settings(max_examples=1000, deadline=None)
@given(starts, stories, steps)
def test_no_story_is_a_success_but_a_whole_one(start: State, story: list[Event], pauses: list[float]) -> None:
    tale = Tale(start, story, pauses)
    state, ended = tale.state, outcome(tale.state)
    assert (ended.exit_code == 0) == (ended.phase == "Completed") == (ended.cause is None)
    if ended.exit_code == 0:
        runs = [at for at, event in enumerate(story) if isinstance(event, Exited) and event.code == 0]
        assert not state.boot_code, "no boot process failed"
        assert runs, "a boot process ended with 0"
        assert tale.saved, "a sync ended"
        assert tale.saved[-1] > runs[0]
        entered = [at for at, event in enumerate(story) if event == Entered(REPORT)]
        told = not entered or any(at > entered[-1] for at in tale.reported)
        assert told or not state.left, "a report that was left is no success"
        assert not any(isinstance(event, StartFailed) for event in story)
        assert all(event.failure is None for event in story if isinstance(event, Finished))
        assert not tale.cut_short, "nothing was to end before the boot processes had ended"


@settings(max_examples=1000, deadline=None)
@given(starts, stories, steps)
def test_a_run_is_124_exactly_when_its_time_ended_it(start: State, story: list[Event], pauses: list[float]) -> None:
    tale = Tale(start, story, pauses)
    ended = outcome(tale.state)
    # What runs still has not ended at all; no boot process of these stories ends with 124 of its own.
    expired = "auto-stop" in tale.cut_short and not tale.state.running
    assert (ended.exit_code == 124) == expired
    assert (ended.cause is not None and ended.cause.code == "auto-stop") == expired
    assert not expired or ended.phase == "Terminated"
    assert max(tale.timed.count(Warn()), tale.timed.count(Expire())) <= 1
    if Expire() in tale.timed:
        assert Warn() in tale.timed[: tale.timed.index(Expire())], "it is never stopped unwarned"
        assert start.expires_at is not None
        assert tale.now >= start.expires_at


@settings(max_examples=1000, deadline=None)
@given(starts, stories, steps)
def test_a_deadline_is_when_there_is_something_to_do(start: State, story: list[Event], pauses: list[float]) -> None:
    tale = Tale(start, story, pauses)
    deadline = next_deadline(tale.state)
    if deadline is None:
        assert decide(tale.state, Tick(), tale.now + 1e9) == (tale.state, ())
        return
    assert deadline > tale.now, "what is due is done"
    assert decide(tale.state, Tick(), nextafter(deadline, 0)) == (tale.state, ())
    assert decide(tale.state, Tick(), deadline)[1]


@settings(max_examples=300, deadline=None)
@given(starts, stories, steps, st.sampled_from([SIGTERM, SIGINT]))
def test_whatever_happens_the_end_comes_in_time(
    start: State, story: list[Event], pauses: list[float], number: int
) -> None:
    tale = Tale(start, story, pauses)
    tale.now += 0.01
    tale.hear(Signalled(number))
    played_out(tale, by=tale.now + GRACE)


@settings(max_examples=300, deadline=None)
@given(limited, stories, steps)
def test_whatever_happens_a_limited_job_ends_in_its_time(start: State, story: list[Event], pauses: list[float]) -> None:
    tale = Tale(start, story, pauses)
    assert start.expires_at is not None
    ending = tale.state.ended_at is not None or tale.state.stop_by is not None
    if tale.state.going and tale.state.phase in BEFORE_THE_END:
        played_out(tale, by=max(tale.now, start.expires_at) + GRACE)
        assert ending or Expire() in tale.timed


@settings(max_examples=300, deadline=None)
@given(stories, steps)
def test_a_server_is_no_success_before_the_workers_are_done(story: list[Event], pauses: list[float]) -> None:
    tale = Tale(SERVING, story, pauses)
    if outcome(tale.state).exit_code == 0:
        assert Over() in story
        assert tale.saved
    tale.now += 0.01
    tale.hear(Signalled(SIGTERM))
    played_out(tale, by=tale.now + GRACE)


def played_out(tale: Tale, by: float) -> None:
    """Let nothing happen any more but time, which is over soon, with nobody left."""
    for _ in range(6):
        deadline = next_deadline(tale.state)
        if deadline is None:
            break
        assert deadline <= by
        tale.now = max(tale.now, deadline)
        assert tale.hear(Tick()), "a deadline without anything to do would spin"
    assert next_deadline(tale.state) is None
    assert not tale.state.running or tale.state.phase in (SYNC, END)
