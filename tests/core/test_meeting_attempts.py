"""The table of number 0 over several attempts: who is waited for, which words come too late, and what is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from launcher.core.meeting import Rhythm
from launcher.core.meeting.part import Part
from launcher.core.meeting.partings import first_failure, withdrawn
from launcher.core.meeting.table import Notes, Table
from launcher.core.meeting.words import (
    Again,
    Ended,
    Farewell,
    Final,
    Gathered,
    Hung,
    Idle,
    Look,
    Noted,
    Offers,
    Over,
    Parting,
    Ping,
    Quiet,
    Ready,
    Released,
    Stood,
    Told,
    Waiting,
    Word,
)
from launcher.core.plan import Meeting, Rendezvous

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE = Parting(how="done")
FAILED = Parting(how="failed", during="training", exit_code=1, code="nccl-timeout", message="NCCL timed out.")
STOPPED = Parting(final=True, how="stopped", during="training", exit_code=143, code="interrupted", message="SIGTERM.")
EVERYBODY = (0, 1, 2)


def at(attempt: int, word: Parting) -> Parting:
    return msgspec.structs.replace(word, attempt=attempt)


def released(count: int = 3, *, peers_s: float = 60.0, servers: int = 0) -> Table:
    """All train in the first attempt."""
    names = (*(f"worker-{i}" for i in range(count - servers)), *(f"ps-{i}" for i in range(servers)))
    meeting = Meeting(peers_s=peers_s, ready_s=3600)
    made = Table(Rendezvous(host="w0", number=0, names=names, nonce="n", meeting=meeting), Rhythm(), 0.0)
    for number in range(1, count):
        assert made.call(number, f"launcher {number}", 0.0) == ("in", ())
    for number in range(count):
        made.hear(number, Ready(serves=number >= count - servers), 1.0)
    assert made.released
    return made


def told(notes: Notes, number: int) -> list[Word]:
    return [word for numbers, word in notes if number in numbers]


def failed(made: Table, *idle: int, number: int = 1) -> Table:
    """One node has failed, and nothing runs any more on these."""
    made.hear(number, FAILED, 2.0)
    for each in idle:
        assert made.hear(each, Idle(), 3.0) == ()
    return made


def again(count: int = 3) -> Table:
    """All come together for the second attempt, at 4 s."""
    made = failed(released(count), *range(count))
    assert made.rested
    assert made.hear(0, Again(attempt=2, pause_s=1.5), 4.0) == ((tuple(range(count)), Again(attempt=2, pause_s=1.5)),)
    return made


def pass_by(made: Table, start: float, end: float, *alive: int) -> list[tuple[float, Word]]:
    """Time in which these say something every five seconds; what was told but greetings, and when."""
    found: list[tuple[float, Word]] = []
    now = start
    while now < end:
        now += 5.0
        for number in alive:
            found += [(now, word) for _, word in made.hear(number, Ping(), now)]
        found += [(now, word) for _, word in made.beat(now) if not isinstance(word, Ping)]
    return found


# what is decided, and when


def test_an_attempt_is_over_when_nothing_of_it_runs_any_more_on_any_node() -> None:
    made = released()
    assert not made.rested
    for number in EVERYBODY[:2]:
        made.hear(number, Idle(), 1.5)
    assert not made.rested, "nobody has failed"
    made = failed(made)
    assert not made.rested
    made.hear(2, Idle(), 3.0)
    assert made.rested


def test_all_begin_another_attempt_and_are_released_by_the_last_that_is_ready() -> None:
    made = again()
    assert (made.attempt, made.released, made.ended, made.rested) == (2, False, None, False)
    assert made.hear(0, Ready(attempt=2), 5.0) == ()
    assert made.hear(1, Ready(attempt=2, offer="new"), 5.0) == ()
    notes = made.hear(2, Ready(attempt=2), 6.0)
    assert notes == (
        (EVERYBODY, Offers(attempt=2, offers={1: "new"})),
        (EVERYBODY, Released(attempt=2)),
    )
    assert told(made.hear(2, at(2, FAILED), 7.0), 0) == [Ended(attempt=2, number=2, parting=at(2, FAILED))]


def test_without_another_attempt_all_are_told_so() -> None:
    made = failed(released(), 0, 1)
    assert made.hear(0, Final(), 4.0) == ((EVERYBODY, Final()),)
    assert made.hear(2, Idle(), 5.0) == (((2,), Final()),), "who asks later is told, too"
    assert made.hear(0, Again(attempt=2), 6.0) == ((EVERYBODY, Final()),), "and it is not taken back"


def test_why_another_attempt_would_lead_nowhere_is_told_to_all() -> None:
    made = failed(released(), 0, 1)
    why = Parting(how="failed", exit_code=122, code="no-progress")
    assert made.hear(0, Final(given_up=why), 4.0) == ((EVERYBODY, Final(given_up=why)),)
    assert made.hear(2, Idle(), 5.0) == (((2,), Final(given_up=why)),)


def test_the_failure_is_told_by_its_own_code_and_by_whose_it_is() -> None:
    made = failed(released())
    assert made.ended is not None
    found = first_failure(made._names, made.ended)
    assert (found.exit_code, found.cause.code) == (1, "nccl-timeout")
    assert found.cause.message == "worker-1 failed while training: NCCL timed out."
    own = failed(released(), number=0)
    assert own.ended is not None
    assert first_failure(own._names, own.ended).cause.message == "NCCL timed out."


def test_a_connection_that_is_gone_is_looked_for_before_anything_is_decided() -> None:
    made = released()
    made.gone(2, 1.5, by_itself=True)
    failed(made, 0, 1)
    assert not made.rested
    made.beat(4.1)
    assert not made.rested, "it may call again"
    assert made.ended is not None
    assert (made.ended.number, made.ended.parting.code) == (2, "peer-lost")


# who comes too late


def test_words_of_an_earlier_attempt_change_nothing() -> None:
    made = again()
    for word in (Ready(), Idle(), Quiet(quiet=True), Stood(turn=1, text="t"), Hung(code="c", message="m", action="a")):
        assert made.hear(1, word, 5.0) == ()
    assert made.hear(1, FAILED, 5.0) == (((1,), Noted()),)
    assert made.hear(2, DONE, 5.0) == (((2,), Noted()),)
    assert (made.ended, made._seats[1].ready, made._seats[1].idle) == (None, False, False)
    assert made.hear(1, Ready(attempt=3), 5.0) == ()
    assert not made._seats[1].ready


def test_a_launcher_that_ends_ends_the_attempt_that_it_does_not_know_of() -> None:
    made = again()
    notes = made.hear(1, STOPPED, 5.0)
    assert notes == (((1,), Noted()), ((0, 2), Ended(attempt=2, number=1, parting=at(2, STOPPED))))
    assert made.hopeless
    made = again()
    [ended] = told(made.hear(1, msgspec.structs.replace(DONE, final=True), 5.0), 0)
    assert isinstance(ended, Ended)
    assert ended.parting.how == "stopped", "it will not come, however well it had ended"


def test_number_0_that_ends_has_decided_for_all() -> None:
    made = failed(released(), 1, 2)
    assert told(made.hear(0, withdrawn(None), 4.0), 2) == [Final()]
    late = again()
    assert told(late.hear(0, withdrawn(None), 5.0), 1)[0] == Final(attempt=2)


# who cannot come again


def test_no_attempt_follows_where_a_launcher_ends_or_the_nodes_are_apart() -> None:
    assert not released().hopeless
    made = released()
    made.hear(1, STOPPED, 2.0)
    assert made.hopeless
    assert made.hear(0, Again(attempt=2), 3.0) == ((EVERYBODY, Final()),)
    leaves = failed(released())
    leaves.hear(2, msgspec.structs.replace(FAILED, final=True), 3.0)
    assert leaves.hopeless
    apart = released()
    apart.end(0, Parting(how="apart", code="peers-missing"))
    assert apart.hopeless


def test_a_node_that_was_done_and_is_gone_without_a_word_cannot_begin_again() -> None:
    made = released()
    made.hear(2, DONE, 1.5)
    made.gone(2, 1.6, by_itself=True)
    failed(made, 0, 1)
    assert (made.hopeless, made.rested) == (False, False), "it may call again to say that it waits"
    pass_by(made, 5.0, 40.0, 1)
    assert (made.hopeless, made.rested) == (True, True)
    made.call(2, "launcher 2", 41.0)
    made.hear(2, Idle(), 41.0)
    assert (made.hopeless, made.rested) == (False, True), "one that waits can"


def test_when_all_are_done_who_waits_is_told_that_nothing_follows() -> None:
    made = released()
    made.hear(1, DONE, 2.0)
    made.hear(1, Idle(), 2.0)
    made.hear(0, DONE, 2.0)
    assert made.hear(2, DONE, 3.0) == (((2,), Noted()), ((1,), Final()))
    assert made.hear(0, Idle(), 4.0) == (((0,), Final()),)


def test_one_that_is_done_after_another_has_failed_makes_nothing_final() -> None:
    made = failed(released(), 1)
    made.hear(2, DONE, 2.5)
    assert made.hear(0, DONE, 2.5) == (((0,), Noted()),)
    for number in (0, 2):
        assert made.hear(number, Idle(), 3.0) == ()
    assert (made.rested, made.hopeless, made.over) == (True, False, False)


def test_servers_are_told_that_the_workers_are_done_in_any_attempt() -> None:
    made = failed(released(servers=1), 0, 1, 2)
    made.hear(0, Again(attempt=2), 4.0)
    for number in EVERYBODY:
        made.hear(number, Ready(attempt=2, serves=number == 2), 5.0)
    made.hear(0, at(2, DONE), 6.0)
    assert told(made.hear(1, at(2, DONE), 6.0), 2) == [Over(attempt=2)]
    assert made.standing(2) == (Again(attempt=2), Released(attempt=2), Over(attempt=2))


# who is lost


def test_a_node_that_is_lost_is_waited_for_once_more_and_another_launcher_may_take_its_seat() -> None:
    made = released()
    made.gone(2, 2.0, by_itself=True)
    [(now, ended), *_] = pass_by(made, 0.0, 60.0, 1)
    assert (now, isinstance(ended, Ended)) == (35.0, True)
    for number in (0, 1):
        made.hear(number, Idle(), 61.0)
    assert made.rested, "it cannot be heard"
    assert made.call(2, "second", 62.0) == ("taken", ()), "not before all begin again"
    made.hear(0, Again(attempt=2), 63.0)
    assert made.call(2, "second", 64.0) == ("in", ())
    assert made.standing(2) == (Again(attempt=2),), "of what ended the first one it knows nothing, and need not"
    for number in (0, 1):
        made.hear(number, Ready(attempt=2), 65.0)
    assert told(made.hear(2, Ready(attempt=2), 66.0), 1) == [Released(attempt=2)]


def test_a_node_that_does_not_come_back_ends_all_and_is_named() -> None:
    made = released()
    made.roll.place = "10.0.0.1:6665"
    made.gone(2, 2.0, by_itself=True)
    pass_by(made, 0.0, 60.0, 1)
    made.hear(0, Again(attempt=2), 60.0)
    for number in (0, 1):
        made.hear(number, Ready(attempt=2), 61.0)
    waiting, *_, (now, ended) = pass_by(made, 60.0, 130.0, 1)
    assert waiting[1] == Waiting(text="Waiting for the other nodes: worker-2 was lost and has not come back.")
    assert isinstance(ended, Ended)
    assert (now, ended.attempt, ended.parting.code, ended.parting.exit_code) == (120.0, 2, "peers-missing", 71)
    assert ended.parting.message == (
        "worker-2 did not come back to worker-0 within 60 s, which listens at 10.0.0.1:6665, "
        "after an attempt had failed."
    )
    assert made.hopeless


def test_who_never_called_and_who_did_not_come_back_are_told_apart() -> None:
    made = Table(
        Rendezvous(
            host="w0", number=0, names=("worker-0", "worker-1", "worker-2"), nonce="n", meeting=Meeting(peers_s=60)
        ),
        Rhythm(),
        0.0,
    )
    made.call(1, "launcher 1", 0.0)
    made.gone(1, 1.0, by_itself=True)
    [(_, lost), *_] = pass_by(made, 0.0, 40.0)
    assert isinstance(lost, Ended)
    made.hear(0, Idle(), 40.0)
    assert made.rested
    made.hear(0, Again(attempt=2), 40.0)
    [(_, ended)] = pass_by(made, 40.0, 110.0)
    assert isinstance(ended, Ended)
    assert ended.parting.message == (
        "worker-2 did not call worker-0 within 60 s; worker-1 did not come back to worker-0 within 60 s, "
        "after an attempt had failed."
    )


def test_who_is_lost_while_all_come_together_again_has_its_time_and_ends_nobody() -> None:
    made = again()
    made.hear(1, Ready(attempt=2), 5.0)
    made.gone(1, 5.0, by_itself=True)
    assert pass_by(made, 5.0, 40.0, 2) == [
        (
            35.0,
            Waiting(
                text="Waiting for the other nodes: worker-1 was lost and has not come back; "
                "worker-0 and worker-2 not ready yet."
            ),
        )
    ]
    assert (made._seats[1].lost, made.ended) == (True, None)
    made.hear(0, Ready(attempt=2), 41.0)
    assert made.hear(2, Ready(attempt=2), 41.0) == (), "it was ready, and is gone"
    assert made.call(1, "launcher 1", 42.0) == ("in", ()), "the same one"
    assert made.hear(1, Ready(attempt=2), 43.0)[-1] == (EVERYBODY, Released(attempt=2))


def test_one_that_is_lost_in_the_second_attempt_ends_it() -> None:
    made = again()
    for number in EVERYBODY:
        made.hear(number, Ready(attempt=2), 5.0)
    made.gone(1, 5.0, by_itself=True)
    [(now, ended)] = pass_by(made, 5.0, 60.0, 2)
    assert (now, isinstance(ended, Ended)) == (35.0, True)
    assert made.call(1, "second", 61.0) == ("taken", ())
    for number in (0, 2):
        made.hear(number, Idle(attempt=2), 62.0)
    made.hear(0, Again(attempt=3), 63.0)
    assert made.call(1, "second", 64.0) == ("in", ())
    assert made.roll.uncalled == 0


def test_one_that_was_silent_and_is_heard_again_is_not_lost_any_more() -> None:
    made = released()
    [(now, ended)] = pass_by(made, 0.0, 130.0, 1)
    assert (now, isinstance(ended, Ended)) == (125.0, True)
    made.hear(2, Ping(), 131.0)
    for number in (0, 1):
        made.hear(number, Idle(), 132.0)
    assert not made.rested, "its training may still run"
    made.hear(2, Idle(), 133.0)
    assert made.rested


def test_a_node_that_cannot_be_heard_after_a_failure_is_given_up_and_blamed_if_it_was_gone_before() -> None:
    made = failed(released(), 0, 1)
    [(now, ended)] = [each for each in pass_by(made, 3.0, 130.0, 1) if isinstance(each[1], Ended)]
    assert isinstance(ended, Ended)
    assert (ended.number, ended.parting.code) == (2, "peer-lost")
    assert ended.parting.message == "nothing was heard of it any more when worker-1 failed (NCCL timed out)."
    assert made.rested
    assert now >= 121.0


@pytest.mark.parametrize(
    "after", ["a word", "its own end", "another kind of failure", "no wish to begin again", "final"]
)
def test_who_is_given_up_later_is_not_blamed(after: str) -> None:
    made = released()
    if after == "another kind of failure":
        made.hear(1, msgspec.structs.replace(FAILED, during="starting"), 2.0)
    else:
        made.hear(1, FAILED, 2.0)
    if after == "a word":
        made.hear(2, Ping(), 2.5)
    if after == "its own end":
        made.hear(2, FAILED, 2.0)
    for number in (0, 1) if after != "no wish to begin again" else ():
        made.hear(number, Idle(), 3.0)
    if after == "final":
        made.hear(0, Final(), 3.5)
    assert [word for _, word in pass_by(made, 3.0, 200.0, 1) if isinstance(word, Ended)] == []
    assert made.rested == (after not in ("no wish to begin again", "final"))


def test_a_node_that_was_cut_off_hears_that_its_attempt_has_ended_and_that_another_begins() -> None:
    made = released()
    made.gone(2, 1.5, by_itself=True)
    made.hear(1, msgspec.structs.replace(FAILED, during="starting"), 2.0)
    for number in (0, 1):
        made.hear(number, Idle(), 3.0)
    made.hear(0, Again(attempt=2), 4.0)
    assert made.call(2, "launcher 2", 5.0) == ("in", ())
    ended, begins = made.standing(2)
    assert isinstance(ended, Ended)
    assert (ended.attempt, ended.number, begins) == (1, 1, Again(attempt=2))
    made.hear(2, Ready(attempt=2), 6.0)
    assert made.standing(2) == (Again(attempt=2),)
    assert again().standing(1) == (Again(attempt=2),), "its own end it knows"


# what a launcher that ends says


def test_a_launcher_that_ends_between_attempts_says_so_and_no_other_cause() -> None:
    assert withdrawn(FAILED) == msgspec.structs.replace(FAILED, final=True)
    found = withdrawn(None)
    assert (found.how, found.final, found.exit_code, found.code) == ("stopped", True, 143, "interrupted")


# stillness


def looked(made: Table, *quiet: int, now: float = 10.0) -> Notes:
    notes: Notes = ()
    for number in quiet:
        notes += made.hear(number, Quiet(attempt=made.attempt, quiet=True), now)
    return notes


def test_all_are_asked_where_they_stand_when_nothing_moves_anywhere() -> None:
    made = released()
    assert looked(made, 0, 2) == ()
    assert looked(made, 1) == ((EVERYBODY, Look(turn=1)),)
    assert looked(made, 1) == (), "they are asked once"
    for number in (0, 1):
        assert made.hear(number, Stood(turn=1, text=f"of {number}"), 11.0) == ()
    notes = made.hear(2, Stood(turn=1, text="of 2"), 12.0)
    assert notes == (((0,), Gathered(texts={0: "of 0", 1: "of 1", 2: "of 2"})),)
    assert looked(made, *EVERYBODY) == (), "nor again, while nothing moves"


def test_who_does_not_show_where_it_stands_is_not_waited_for_longer_than_a_minute() -> None:
    made = released()
    looked(made, *EVERYBODY)
    made.hear(1, Stood(turn=1, text="of 1"), 11.0)
    gathered = [each for each in pass_by(made, 10.0, 80.0, 1, 2) if isinstance(each[1], Gathered)]
    assert gathered == [(70.0, Gathered(texts={1: "of 1"}))]


def test_when_something_has_moved_they_are_asked_again_and_old_answers_count_no_more() -> None:
    made = released()
    looked(made, *EVERYBODY)
    for number in EVERYBODY:
        made.hear(number, Stood(turn=1, text="t"), 11.0)
    made.hear(1, Quiet(quiet=False), 12.0)
    assert looked(made, 1, now=13.0) == ((EVERYBODY, Look(turn=2)),)
    for number in EVERYBODY:
        assert made.hear(number, Stood(turn=1, text="late"), 14.0) == ()


def test_nodes_that_are_done_or_serve_are_not_asked_and_a_barrier_is_no_hang() -> None:
    made = released(4, servers=1)
    made.hear(1, DONE, 2.0)
    assert looked(made, 0) == ()
    assert looked(made, 2) == (((0, 2), Look(turn=1)),)
    waiting = again()
    assert looked(waiting, *EVERYBODY) == ()
    over = failed(released())
    assert looked(over, *EVERYBODY) == ()


def test_a_training_that_hangs_is_ended_everywhere_unless_something_moves_again() -> None:
    made = released()
    word = Hung(code="hung", message="It hangs.", action="Look.")
    assert made.hear(0, word, 9.0) == ()
    looked(made, *EVERYBODY)
    assert made.hear(0, word, 12.0) == ((EVERYBODY, word),)
    made.hear(2, Quiet(quiet=False), 13.0)
    assert made.hear(0, word, 14.0) == ()
    made.hear(2, Quiet(quiet=True), 15.0)
    failed(made)
    assert made.hear(0, word, 16.0) == ()
    assert again().hear(0, msgspec.structs.replace(word, attempt=2), 16.0) == ()


def test_an_attempt_forgets_how_still_the_last_one_was() -> None:
    made = released()
    looked(made, *EVERYBODY)
    failed(made, *EVERYBODY)
    made.hear(0, Again(attempt=2), 14.0)
    for number in EVERYBODY:
        made.hear(number, Ready(attempt=2), 15.0)
    assert looked(made, 0, 1) == ()
    assert looked(made, 2) == ((EVERYBODY, Look(attempt=2, turn=2)),)


def test_what_number_0_found_out_is_told_to_all() -> None:
    assert released().hear(0, Told(text="7 of 8 wait"), 2.0) == ((EVERYBODY, Told(text="7 of 8 wait")),)


# what one node has to say


def said(part: Part) -> Sequence[Word]:
    return part.to_say()


def test_what_matters_is_said_again_on_each_connection_until_it_is_answered() -> None:
    part = Part(1)
    assert (part.to_say(), part.is_told, part.has_ended, part.idles) == ([], True, False, False)
    part.take(Ready())
    assert said(part) == [Ready()]
    assert said(part) == []
    part.connect()
    assert said(part) == [Ready()]
    part.hear(Released())
    assert part.released
    part.take(FAILED)
    part.take(Idle())
    part.take(Quiet(quiet=True))
    part.connect()
    assert said(part) == [FAILED, Idle(), Quiet(quiet=True)]
    assert (part.is_told, part.known, part.free) == (False, False, False)
    part.hear(Noted())
    assert (part.is_told, part.known, part.free, part.is_done, part.idles) == (True, True, True, False, True)
    part.connect()
    assert said(part) == [Idle(), Quiet(quiet=True)]


def test_an_end_that_is_better_known_is_told_once_more() -> None:
    part = Part(1)
    part.take(FAILED)
    said(part)
    known = msgspec.structs.replace(FAILED, message="known")
    part.take(known)
    part.hear(Noted())
    assert not part.is_told
    assert said(part) == [known]
    part.hear(Noted())
    assert part.is_told


def test_a_part_that_is_done_and_noted_cannot_become_better_known() -> None:
    part = Part(2)
    assert not part.is_done
    part.take(at(2, DONE))
    said(part)
    part.hear(Noted(attempt=2))
    assert part.is_done


def test_a_part_has_no_use_for_words_of_another_attempt() -> None:
    part = Part(2)
    for word in (Ready(), FAILED, Idle(), Again(attempt=2)):
        part.take(word)
    assert said(part) == []
    for heard in (Noted(), Released(), Over(), Ended(number=1, parting=FAILED), Ping()):
        part.hear(heard)
    assert (part.released, part.free, part.known) == (False, False, False)
    part.hear(Farewell())
    assert part.free
