"""The table of number 0 as values: words and times in, words out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.meeting import Rhythm
from launcher.core.meeting.naming import and_more
from launcher.core.meeting.table import Notes, Table
from launcher.core.meeting.words import (
    Ended,
    FromGuest,
    Noted,
    Offers,
    Over,
    Parting,
    Ping,
    Ready,
    Released,
    Waiting,
    Word,
)
from launcher.core.plan import Meeting, Rendezvous

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE = Parting(how="done")
FAILED = Parting(how="failed", during="staging", exit_code=66, code="input-missing", message="no such input")


def table(count: int = 3, *, peers_s: float = 600, ready_s: float = 3600, servers: int = 0) -> Table:
    names = (*(f"worker-{i}" for i in range(count - servers)), *(f"ps-{i}" for i in range(servers)))
    meeting = Meeting(peers_s=peers_s, ready_s=ready_s)
    known = Rendezvous(host="w0", number=0, names=names, nonce="n", meeting=meeting)
    return Table(known, Rhythm(), 0.0)


def called(count: int = 3, **said: float) -> Table:
    made = table(count, **said)  # type: ignore[arg-type]
    for number in range(1, count):
        assert made.call(number, f"launcher {number}", 0.0) == ("in", ())
    return made


def released(count: int = 3, serving: Sequence[int] = ()) -> Table:
    made = called(count)
    for number in range(count):
        made.hear(number, Ready(serves=number in serving), 1.0)
    assert made.released
    return made


def told(notes: Notes, number: int) -> list[Word]:
    return [word for numbers, word in notes if number in numbers]


# the barrier


def test_all_are_released_by_the_last_that_is_ready() -> None:
    made = called()
    assert made.hear(2, Ready(), 1.0) == ()
    assert made.hear(0, Ready(), 2.0) == ()
    assert made.hear(1, Ready(), 3.0) == (((0, 1, 2), Released()),)
    assert made.hear(1, Ready(), 4.0) == (), "said again, it changes nothing"


def test_what_each_offers_goes_to_all_before_they_are_released() -> None:
    made = called()
    made.hear(0, Ready(offer="zero"), 1.0)
    made.hear(1, Ready(), 1.0)
    notes = made.hear(2, Ready(offer="two"), 1.0)
    assert told(notes, 1) == [Offers(offers={0: "zero", 2: "two"}), Released()]


def test_an_offer_that_is_too_long_is_none() -> None:
    made = called(2)
    made.hear(0, Ready(), 1.0)
    assert told(made.hear(1, Ready(offer="x" * 20_000), 1.0), 0) == [Released()]


def test_who_calls_again_is_told_what_it_missed() -> None:
    made = released(serving=(2,))
    made.gone(1, 2.0, by_itself=True)
    assert made.call(1, "launcher 1", 3.0) == ("in", ())
    assert made.standing(1) == (Released(),)
    made.hear(0, DONE, 4.0)
    made.hear(1, DONE, 5.0)
    assert made.standing(2) == (Released(), Over())
    assert made.standing(1) == (Released(),)


def test_a_node_that_was_ready_and_is_not_connected_holds_nobody_up() -> None:
    made = called()
    made.hear(1, Ready(), 1.0)
    made.gone(1, 2.0, by_itself=True)
    made.hear(0, Ready(), 3.0)
    assert told(made.hear(2, Ready(), 4.0), 2) == [Released()]


def test_those_who_are_ready_are_told_for_whom_they_wait() -> None:
    made = table(5)
    assert made.beat(4.0) == ()
    for number in (1, 2, 3):
        made.call(number, "s", 0.0)
    made.hear(1, Ready(), 10.0)
    made.gone(3, 10.0, by_itself=True)
    assert told(made.beat(35.0), 1) == [Ping()], "thirty seconds have not passed since the first was ready"
    notes = made.beat(40.0)
    text = (
        "Waiting for the other nodes: worker-4 never called; worker-3 called once, and is not connected now; "
        "worker-0, worker-2 not ready yet."
    ).replace("worker-0, worker-2", "worker-0 and worker-2")
    assert (told(notes, 1)[-1], told(notes, 2)) == (Waiting(text=text), [Ping()])
    made.hear(2, Ping(), 50.0)
    assert not any(isinstance(word, Waiting) for _, word in made.beat(69.0))


def test_a_thousand_names_are_counted() -> None:
    assert and_more(["a"]) == "a"
    assert and_more(["a", "b", "c"]) == "a, b and c"
    assert and_more([f"worker-{i}" for i in range(1000)]).endswith("worker-6, worker-7 and 992 more")


# who does not come


def test_a_node_that_never_calls_ends_all() -> None:
    made = table(4, peers_s=60)
    made.roll.place = "10.0.0.1:6665"
    made.call(2, "s", 1.0)
    assert made.refused(3, "is of another job")
    assert not made.refused(3, "is of another job"), "it is told once"
    assert made.deadline <= 60
    notes = quiet(made, 60.0)
    assert [numbers for numbers, _ in notes] == [(0, 1, 2, 3)]
    ended = notes[0][1]
    assert isinstance(ended, Ended)
    assert (ended.parting.how, ended.parting.code, ended.parting.exit_code) == ("apart", "peers-missing", 71)
    assert ended.parting.message == (
        "worker-1 and worker-3 (is of another job) did not call worker-0 within 60 s, which listens at 10.0.0.1:6665."
    )
    assert made.standing(1) == (ended,), "who calls later is told"
    assert made.hear(0, FAILED, 61.0)[1:] == (), "and nothing else becomes the cause"


def quiet(made: Table, until: float) -> Notes:
    """Beat as the loop does, with nobody lost, and give what came but greetings."""
    found: Notes = ()
    now = 0.0
    while now < until:
        now = min(until, now + 5.0)
        for number in (1, 2, 3):
            if number < len(made._names):
                made._seats[number].heard = now
        found += tuple(note for note in made.beat(now) if note[1] != Ping())
    return found


def test_the_place_is_left_out_where_it_is_not_known() -> None:
    made = table(2, peers_s=60)
    ended = quiet(made, 60.0)[0][1]
    assert isinstance(ended, Ended)
    assert ended.parting.message == "worker-1 did not call worker-0 within 60 s."


def test_a_node_that_is_not_ready_in_time_ends_all() -> None:
    made = called(3, ready_s=100)
    made.hear(0, Ready(), 0.0)
    made.hear(1, Ready(), 50.0)
    ended = quiet(made, 100.0)[-1][1]
    assert isinstance(ended, Ended)
    assert (ended.parting.code, ended.parting.exit_code) == ("barrier-timeout", 71)
    assert ended.parting.message == (
        "The nodes are not ready together: worker-2 not ready yet, 100 s after the first was."
    )
    assert made.hear(2, Ready(), 101.0) == (), "nobody is released after that"


def test_nobody_is_waited_for_before_anybody_is_ready() -> None:
    made = called(3)
    assert made.deadline == 5.0
    assert quiet(made, 100.0) == ()


# who ends


def test_a_node_that_fails_ends_the_others_and_is_noted() -> None:
    made = called()
    assert made.hear(1, FAILED, 1.0) == (((1,), Noted()), ((0, 2), Ended(number=1, parting=FAILED)))
    assert made.standing(2) == (Ended(number=1, parting=FAILED),)
    assert made.standing(1) == ()
    assert made.hear(2, FAILED, 2.0) == (((2,), Noted()),), "the first one is the cause"
    known = Parting(how="failed", during="staging", exit_code=66, message="better known")
    assert told(made.hear(1, known, 3.0), 2) == [Ended(number=1, parting=known)]


def test_number_0_that_fails_ends_the_others() -> None:
    assert told(called().hear(0, FAILED, 1.0), 1) == [Ended(number=0, parting=FAILED)]


def test_one_that_is_done_ends_nobody() -> None:
    made = released()
    assert made.hear(1, DONE, 2.0) == (((1,), Noted()),)
    made.gone(1, 3.0, by_itself=True)
    assert quiet(made, 300.0) == (), "nor is it missed when it leaves"


# who is lost


def passes(made: Table, start: float, end: float, *alive: int) -> list[tuple[float, Ended]]:
    """Time in which some say something every five seconds; what ended, and when."""
    found = []
    now = start
    while now < end:
        now += 5.0
        for number in alive:
            made.hear(number, Ping(), now)
        found += [(now, word) for _, word in made.beat(now) if isinstance(word, Ended)]
    return found


def test_a_node_whose_connection_is_gone_is_lost_after_thirty_seconds() -> None:
    made = released()
    made.gone(2, 10.0, by_itself=True)
    [(now, ended)] = passes(made, 5.0, 100.0, 1)
    assert (now, ended.number, ended.parting.how, ended.parting.code) == (40.0, 2, "lost", "peer-lost")
    assert (ended.parting.during, ended.parting.exit_code) == ("training", 71)


def test_a_node_that_nothing_is_heard_of_is_lost_counted_from_its_last_word() -> None:
    made = released()
    made.hear(2, Ping(), 4.0)
    made.gone(2, 20.0, by_itself=False)
    [(now, _)] = passes(made, 0.0, 100.0, 1)
    assert now == 35.0


def test_a_launcher_that_stands_still_has_two_minutes() -> None:
    [(now, ended)] = passes(released(), 0.0, 200.0, 1)
    assert (now, ended.number) == (125.0, 2)
    assert "said nothing for 120 s" in ended.parting.message


def test_a_node_that_calls_again_in_time_is_not_lost() -> None:
    made = released()
    made.gone(2, 10.0, by_itself=True)
    assert passes(made, 5.0, 35.0, 1) == []
    assert made.call(2, "launcher 2", 36.0) == ("in", ())
    assert passes(made, 35.0, 300.0, 1, 2) == []


@pytest.mark.parametrize(("ready", "during"), [(True, "waiting"), (False, "staging")])
def test_a_node_is_lost_before_the_training_as_well(ready: bool, during: str) -> None:  # noqa: FBT001 - a row of a table
    made = called()
    if ready:
        made.hear(2, Ready(), 1.0)
    made.gone(2, 1.0, by_itself=True)
    [(_, ended)] = passes(made, 0.0, 60.0, 1)
    assert ended.parting.during == during


def test_who_never_called_cannot_be_lost() -> None:
    made = table(3)
    made.call(1, "s", 0.0)
    assert passes(made, 0.0, 300.0, 1) == []


def test_nobody_is_lost_while_number_0_itself_stands_still() -> None:
    made = called(3, peers_s=60, ready_s=60)
    made.hear(1, Ready(), 1.0)
    made.beat(5.0)
    assert not any(isinstance(word, Ended) for _, word in made.beat(1000.0))
    assert passes(made, 1000.0, 1040.0, 1, 2) == [], "the deadline of the barrier has stood still too"
    [(_, ended)] = passes(made, 1040.0, 1100.0, 1, 2)
    assert ended.parting.code == "barrier-timeout"


def test_the_deadline_for_calls_stands_still_as_well() -> None:
    made = table(2, peers_s=60)
    assert [word for _, word in made.beat(1000.0)] == [Ping()]
    assert passes(made, 1000.0, 1040.0) == []
    assert len(passes(made, 1040.0, 1100.0)) == 1


def test_what_was_lost_may_tell_itself_what_had_happened() -> None:
    made = released()
    made.gone(2, 0.0, by_itself=True)
    assert len(passes(made, 0.0, 60.0, 1)) == 1
    made.call(2, "launcher 2", 61.0)
    assert told(made.hear(2, FAILED, 61.0), 1) == [Ended(number=2, parting=FAILED)]


def test_a_failure_is_blamed_on_the_node_whose_connection_was_gone_by_then() -> None:
    broken = Parting(how="failed", during="training", exit_code=1, code="boot-failed", message="gloo lost a rank.")
    made = released()
    made.gone(2, 5.0, by_itself=True)
    made.beat(6.0)
    assert told(made.hear(1, broken, 6.0), 0) == [Ended(number=1, parting=broken)], "all end at once"
    assert (made.waited_for, made.deadline) == (True, 8.0)
    [ended] = [word for word in told(made.beat(8.0), 2) if isinstance(word, Ended)]
    assert (ended.number, ended.parting.code) == (2, "peer-lost")
    assert ended.parting.message == (
        "its connection was gone when worker-1 failed (gloo lost a rank), and is not made again."
    )
    assert (made.ended, made.waited_for) == (ended, False)


def test_a_connection_that_was_only_cut_is_not_to_blame() -> None:
    broken = Parting(how="failed", during="training", exit_code=1, code="boot-failed", message="m")
    made = released()
    made.gone(2, 5.0, by_itself=True)
    made.hear(1, broken, 5.01)
    made.call(2, "launcher 2", 5.03)
    assert told(made.beat(8.0), 0) == []
    assert (made.ended, made.waited_for) == (Ended(number=1, parting=broken), False)


def test_a_failure_is_nobody_elses_while_all_are_there_or_have_left() -> None:
    broken = Parting(how="failed", during="training", exit_code=1, code="boot-failed", message="m")
    made = released()
    made.hear(2, DONE, 4.0)
    made.gone(2, 5.0, by_itself=True)
    made.gone(1, 5.0, by_itself=True)
    made.hear(1, broken, 6.0)
    made.beat(9.0)
    assert made.ended == Ended(number=1, parting=broken)
    made.hear(0, broken, 9.0)
    assert made.ended == Ended(number=1, parting=broken)
    staging = called()
    staging.gone(2, 1.0, by_itself=True)
    staging.hear(1, FAILED, 2.0)
    staging.beat(4.9)
    assert staging.ended == Ended(number=1, parting=FAILED)


def test_who_was_given_up_is_told_so_where_it_still_listens() -> None:
    made = released()
    notes = [note for time in range(5, 130, 5) for note in (made.hear(1, Ping(), time), made.beat(time))]
    ended = [word for each in notes for word in told(each, 2) if isinstance(word, Ended)]
    assert [each.number for each in ended] == [2]


def test_who_was_given_up_and_comes_back_is_told_so() -> None:
    made = released()
    made.gone(2, 0.0, by_itself=True)
    passes(made, 0.0, 60.0, 1)
    assert made.standing(2) == (Released(), made.ended)
    failed = released()
    failed.hear(2, FAILED, 1.0)
    assert failed.standing(2) == (Released(),)


# who comes twice


def test_the_same_launcher_may_take_its_seat_again_at_any_time() -> None:
    made = called()
    assert made.call(1, "launcher 1", 1.0) == ("in", ())


def test_another_launcher_of_a_number_waits_until_the_first_is_gone() -> None:
    made = called()
    made.hear(1, Ready(), 1.0)
    assert made.call(1, "second", 1.0) == ("taken", ())
    made.gone(1, 2.0, by_itself=True)
    assert made.call(1, "second", 3.0) == ("in", ())
    made.hear(0, Ready(), 4.0)
    assert made.hear(2, Ready(), 4.0) == (), "the second one is not ready yet"
    assert told(made.hear(1, Ready(), 5.0), 0) == [Released()]


def test_a_launcher_that_is_started_again_into_a_training_shows_that_the_first_is_gone() -> None:
    made = released()
    made.gone(1, 2.0, by_itself=True)
    answer, notes = made.call(1, "second", 3.0)
    assert answer == "taken"
    [ended] = told(notes, 0)
    assert isinstance(ended, Ended)
    assert (ended.number, ended.parting.message) == (1, "its launcher was started again.")


def test_nobody_takes_the_seat_of_one_that_has_ended() -> None:
    made = released()
    made.hear(1, DONE, 2.0)
    made.gone(1, 2.0, by_itself=True)
    assert made.call(1, "second", 3.0) == ("taken", ())


# who serves


def test_who_serves_is_told_when_all_who_train_are_done() -> None:
    made = released(4, serving=(2, 3))
    assert made.waited_for
    assert told(made.hear(0, DONE, 2.0), 2) == []
    notes = made.hear(1, DONE, 3.0)
    assert notes == (((1,), Noted()), ((2, 3), Over()))
    assert made.waited_for, "they have still to end"
    made.hear(2, DONE, 4.0)
    assert made.hear(3, DONE, 4.0) == (((3,), Noted()),)
    assert not made.waited_for


def test_everybody_is_waited_for_who_trains_or_serves_until_all_have_ended() -> None:
    assert not called().waited_for
    made = released(serving=(2,))
    assert (made.waited_for, made.roll.serving) == (True, True)
    made.hear(0, DONE, 2.0)
    made.hear(1, DONE, 2.0)
    assert (made.waited_for, made.roll.serving) == (True, True)
    made.hear(2, DONE, 2.0)
    assert (made.waited_for, made.roll.serving) == (False, False)
    made = released()
    assert (made.waited_for, made.roll.serving) == (True, False)
    made.hear(1, FAILED, 2.0)
    assert not made.waited_for


def test_who_has_not_called_yet_is_to_hear_of_an_end() -> None:
    made = table(3)
    made.call(1, "s", 0.0)
    made.hear(1, FAILED, 1.0)
    assert made.waited_for
    made.call(2, "s", 2.0)
    assert (made.waited_for, made.standing(2)) == (False, (Ended(number=1, parting=FAILED),))


def test_who_was_waited_for_in_vain_is_not_waited_for_any_more() -> None:
    made = table(2, peers_s=60)
    assert quiet(made, 60.0)
    assert not made.waited_for


def test_who_served_and_is_lost_or_fails_when_the_workers_are_done_ends_nobody() -> None:
    made = released(4, serving=(2, 3))
    made.hear(0, DONE, 2.0)
    made.hear(1, DONE, 2.0)
    made.gone(2, 3.0, by_itself=True)
    assert passes(made, 0.0, 60.0, 3) == []
    assert made.waited_for
    assert made.hear(3, FAILED, 61.0) == (((3,), Noted()),)
    assert not made.waited_for


# whatever happens

words: st.SearchStrategy[FromGuest] = st.sampled_from([Ping(), Ready(), Ready(serves=True), DONE, FAILED])
acts = st.lists(
    st.tuples(st.sampled_from(["call", "hear", "gone", "pass"]), st.integers(1, 3), words, st.sampled_from("ab")),
    max_size=60,
)


@given(acts)
def test_whatever_happens_there_is_one_end_and_it_is_told_to_all(acts: list[tuple[str, int, FromGuest, str]]) -> None:
    made, now, ends, freed = table(4), 0.0, [], 0
    for act, number, word, session in acts:
        now += 1.0
        notes: Notes = ()
        if act == "call":
            _, notes = made.call(number, session, now)
        elif act == "hear" and made._seats[number].session is not None:
            notes = made.hear(number if session == "a" else 0, word, now)
        elif act == "gone":
            made.gone(number, now, by_itself=session == "a")
        elif act == "pass":
            now += 7.0
        notes += made.beat(now)
        ends += [word for _, word in notes if isinstance(word, Ended)]
        freed += sum(isinstance(word, Released) for _, word in notes)
        assert made.deadline > now, "a deadline with nothing to do would spin"
    assert len({each.number for each in ends}) <= 1
    assert freed <= 1
    assert bool(ends) == (made.ended is not None)
    if freed:
        assert all(seat.session is not None for seat in made._seats)
