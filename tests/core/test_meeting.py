"""Who meets whom and by what they know each other, the words they say, and what an end means to the others."""

from __future__ import annotations

from signal import SIGINT, SIGTERM
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.facts import Facts
from launcher.core.lifecycle import (
    Announced,
    Entered,
    Event,
    Exited,
    Failure,
    Finished,
    Hung,
    Over,
    PeerEnded,
    Phase,
    Signalled,
    Started,
    StartFailed,
    State,
    Tick,
)
from launcher.core.lifecycle.decide import decide
from launcher.core.meeting import rendezvous
from launcher.core.meeting.partings import apart, failed, lost, parting, peer_ended
from launcher.core.meeting.words import (
    GREETING,
    GUEST,
    HOST,
    LONGEST,
    LONGEST_OFFER,
    LONGEST_TEXT,
    Ended,
    Hello,
    Offers,
    Parting,
    Ping,
    Ready,
    Released,
    Welcome,
    bundled,
    fits,
    heard,
    line,
    sendable,
    shortened,
)
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.record import Cause
from launcher.core.settings import Settings
from launcher.core.topology import Topology

JOB = {
    "kind": "job",
    "metadata": {"name": "resnet", "id": "1"},
    "algorithm": {"code_dir": "obs://bkt/code/", "boot_file": "obs://bkt/code/train.py"},
}


def met(job: Any = JOB, *, vj: str = "", nonce: str = "", **said: Any) -> Any:
    topology = Topology(**{"count": 4, "index": 2, "workers": 4, "master": "w0", **said})
    environ = {"MA_VJ_NAME": vj} if vj else {}
    facts = Facts(environ=environ, host="h", started="20240506T070809Z", settings=Settings(nonce=nonce))
    return rendezvous(parse_job(job, Log()), facts, topology)


# who meets


def test_one_node_meets_nobody() -> None:
    assert met(count=1, index=0, workers=1) is None


def test_the_nodes_of_a_job_meet_at_worker_0() -> None:
    found = met()
    assert (found.host, found.number, found.names) == ("w0", 2, ("worker-0", "worker-1", "worker-2", "worker-3"))
    assert (found.meeting.port, len(found.nonce)) == (6665, 64)


def test_servers_are_behind_the_workers() -> None:
    worker = met(count=2, index=1, workers=2, servers=("p0", "p1"))
    server = met(count=2, index=1, workers=2, role="ps", servers=("p0", "p1"))
    assert worker.names == server.names == ("worker-0", "worker-1", "ps-0", "ps-1")
    assert (worker.number, server.number) == (1, 3)
    assert worker.nonce == server.nonce


def test_all_nodes_of_a_job_have_one_nonce_and_another_job_another() -> None:
    renamed: Any = {**JOB, "metadata": {"name": "resnet", "id": "2"}}
    unnumbered: Any = {**JOB, "metadata": {"name": "resnet"}}
    nonces = [
        met(index=0).nonce,
        met(renamed).nonce,
        met(unnumbered).nonce,
        met(vj="ma-job-1").nonce,
        met(nonce="secret").nonce,
        met(count=5, workers=5).nonce,
        met(nonce="\udcff").nonce,
    ]
    assert len(set(nonces)) == len(nonces)
    assert met(index=3).nonce == nonces[0]
    assert "secret" not in nonces[4]


# words


def test_a_word_is_one_line_and_comes_back_as_it_was() -> None:
    words = (
        Ready(offer="ssh-ed25519 AAAA", serves=True),
        Parting(how="failed", during="staging", exit_code=66, code="c", message="line\nbreak", action="a"),
        Ping(),
    )
    for word in words:
        text = line(word)
        assert text.endswith(b"}\n")
        assert text.count(b"\n") == 1
        assert heard(text[:-1], GUEST) == word
    ended = Ended(number=3, parting=Parting(how="lost"))
    assert heard(line(ended)[:-1], HOST) == ended
    assert heard(line(Offers(offers={7: "x"}))[:-1], HOST) == Offers(offers={7: "x"})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET / HTTP/1.1",
        b"{}",
        b"[]",
        b"null",
        b'{"is":"shutdown"}',
        b'{"is":"ready","offer":7}',
        b'{"is":"parting","how":"exploded"}',
        b'{"is":"parting","how":"failed","exit_code":256}',
        b'{"is":"parting","how":"failed","exit_code":-1}',
        b'{"is":"ping"} {"is":"ping"}',
        b"[" * 60_000,
        b'{"is":"ready","offer":"\xff"}',
        b'{"is":"released"}',
    ],
)
def test_what_is_no_word_of_a_node_is_none(text: bytes) -> None:
    assert heard(text, GUEST) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_word_or_none(text: bytes) -> None:
    heard(text, GREETING)
    heard(text, GUEST)
    heard(text, HOST)


@given(st.text(max_size=80), st.integers(-2, 100_001))
def test_a_hello_holds_a_number_that_could_be_a_nodes(text: str, number: int) -> None:
    said = msgspec.json.encode(
        {"is": "hello", "version": 1, "number": number, "session": text, "random": text, "proof": text}
    )
    found = heard(said, GREETING)
    assert (found is not None) == (0 <= number <= 99_999)
    assert found is None or isinstance(found, Hello)


def test_words_of_number_0_are_none_of_a_node() -> None:
    assert heard(line(Welcome(session="s", proof="p"))[:-1], GUEST) is None
    assert heard(line(Released())[:-1], HOST) == Released()


@given(st.text())
def test_a_sentence_of_any_text_can_be_sent_in_a_line(text: str) -> None:
    long = shortened(Parting(how="failed", code=text, message=text * 3000, action="\udcff" * 9000))
    assert len(line(long)) < LONGEST
    assert heard(line(long)[:-1], GUEST) == long


def test_a_sentence_that_is_too_long_is_cut() -> None:
    long = shortened(Parting(how="failed", code="c", message="m" * (2 * LONGEST_TEXT), action="a"))
    assert (long.code, long.message, long.action) == ("c", "m" * LONGEST_TEXT, "a")


def test_an_odd_file_name_is_sent_escaped() -> None:
    assert sendable("a\udcff") == "a\\udcff"


def test_offers_are_sent_in_as_many_lines_as_they_need() -> None:
    offers = dict.fromkeys(range(20), "\n" * (LONGEST_OFFER // 2 - 1))
    assert all(fits(text) for text in offers.values())
    words = bundled(offers)
    assert len(words) > 1
    assert all(len(line(word)) < LONGEST for word in words)
    assert {number: text for word in words for number, text in word.offers.items()} == offers
    assert bundled({}) == ()


def test_an_offer_has_a_limit() -> None:
    assert not fits("x" * LONGEST_OFFER)


# what is told of an end

MISSING = Failure(66, Cause(code="input-missing", message="no such input", action="Look at inputs[0]."))
STAGE, INSTALL, READY, RUN, SYNC = (getattr(Phase, name) for name in ("STAGE", "INSTALL", "READY", "RUN", "SYNC"))


def after(*events: Event, serves: bool = False, expires_at: float | None = None) -> State:
    state = State(grace=20, serves=serves, expires_at=expires_at)
    for event in events:
        state, _ = decide(state, event, 100)
    return state


@pytest.mark.parametrize(
    ("events", "during"),
    [
        ([Finished(MISSING)], "checking"),
        ([Entered(STAGE), Finished(MISSING)], "staging"),
        ([Entered(INSTALL), Finished(MISSING)], "installing"),
        ([Entered(READY), Finished(MISSING)], "waiting"),
        ([Entered(RUN), StartFailed(MISSING)], "starting"),
    ],
)
def test_a_failure_is_told_with_where_it_happened(events: list[Event], during: str) -> None:
    found = parting(after(*events))
    assert found == Parting(
        how="failed",
        during=during,  # type: ignore[arg-type]
        exit_code=66,
        code="input-missing",
        message="no such input",
        action="Look at inputs[0].",
    )


def test_a_boot_process_that_fails_is_told_at_once() -> None:
    found = parting(after(Entered(RUN), Started(7), Started(8), Exited(8, 3)))
    assert found is not None
    assert (found.how, found.during, found.exit_code, found.code) == ("failed", "training", 3, "boot-failed")
    assert found.message == "Training failed: the boot process ended with exit code 3."


@pytest.mark.parametrize(
    ("events", "during", "code"),
    [
        ([Entered(STAGE), Signalled(SIGTERM)], "staging", 143),
        ([Entered(INSTALL), Started(7), Signalled(SIGTERM)], "installing", 143),
        ([Entered(RUN), Signalled(SIGINT)], "starting", 130),
        ([Entered(RUN), Started(7), Signalled(SIGTERM)], "training", 143),
    ],
)
def test_a_signal_is_told(events: list[Event], during: str, code: int) -> None:
    found = parting(after(*events))
    assert found is not None
    assert (found.how, found.during, found.exit_code, found.code) == ("stopped", during, code, "interrupted")


def test_who_takes_the_machine_away_is_told_with_the_signal() -> None:
    cause = Cause(code="preempted", message="The cloud takes the machine away.", action="Start the job again.")
    found = parting(after(Entered(RUN), Started(7), Announced(cause), Signalled(SIGTERM)))
    assert found is not None
    assert (found.message, found.final) == ("The cloud takes the machine away. SIGTERM came.", True)


def test_a_job_whose_time_is_over_is_told() -> None:
    found = parting(after(Entered(RUN), Started(7), Tick(), expires_at=99))
    assert found is not None
    assert (found.how, found.exit_code, found.code) == ("stopped", 124, "auto-stop")


def test_a_training_that_hangs_is_told_as_a_failure_of_the_training() -> None:
    cause = Cause(code="hung", message="It hangs.", action="Look.")
    found = parting(after(Entered(RUN), Started(7), Hung(cause)))
    assert found is not None
    assert (found.how, found.during, found.exit_code, found.code) == ("failed", "training", 121, "hung")
    assert not found.final


def test_a_node_is_done_when_its_boot_processes_are_whatever_becomes_of_its_outputs() -> None:
    running = after(Entered(RUN), Started(7), Started(8), Exited(7, 0))
    assert parting(running) is None
    done, _ = decide(running, Exited(8, 0), 100)
    assert parting(done) == Parting(how="done")
    for event in (Entered(SYNC), Finished(MISSING)):
        done, _ = decide(done, event, 101)
    assert parting(done) == Parting(how="done")


def test_a_server_is_done_when_the_workers_are() -> None:
    ended = after(Entered(RUN), Started(7), Exited(7, 0), serves=True)
    assert parting(ended) is None
    assert parting(decide(ended, Over(), 100)[0]) == Parting(how="done")


def test_nothing_is_told_while_all_goes_on_or_of_what_others_have_ended() -> None:
    assert parting(after()) is None
    assert parting(after(Entered(RUN), Started(7))) is None
    assert parting(after(Entered(RUN), Started(7), PeerEnded(1, MISSING))) is None


NAMES = ("worker-0", "worker-1", "ps-0")


@pytest.mark.parametrize(
    ("told", "code", "message", "action"),
    [
        (
            failed("staging", MISSING),
            "peer-failed",
            "worker-1 failed while staging: no such input",
            "Look in the log and the run.json of worker-1. Look at inputs[0].",
        ),
        (
            Parting(how="stopped", during="training", exit_code=143, message="SIGTERM came."),
            "peer-stopped",
            "worker-1 was stopped while training: SIGTERM came.",
            "Start the job again if worker-1 was not stopped on purpose.",
        ),
        (
            lost("training", "its launcher has said nothing for 120 s"),
            "peer-lost",
            "worker-1 was lost while training: its launcher has said nothing for 120 s.",
            "Look whether the machine of worker-1 and the network to it work; its own log may say more.",
        ),
        (apart("peers-missing", "worker-1 never called.", "Look."), "peers-missing", "worker-1 never called.", "Look."),
    ],
)
def test_what_another_nodes_end_is_to_this_one(told: Parting, code: str, message: str, action: str) -> None:
    found = peer_ended(NAMES, 1, told)
    cause = found.failure.cause
    assert (cause.code, cause.message, cause.action) == (code, message, action)
    assert (found.number, found.failure.exit_code) == (1, told.exit_code)
    assert found.stopped == (told.how == "stopped")


def test_an_end_that_claims_0_is_a_defect() -> None:
    assert failed("training", Failure(0, MISSING.cause)).exit_code == 70
    assert peer_ended(NAMES, 1, Parting(how="failed", exit_code=0)).failure.exit_code == 70
