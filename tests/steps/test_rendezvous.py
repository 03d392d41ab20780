"""Launchers that meet over real sockets: together, one late, one gone, cut off, and strangers at the door."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import socket
import struct
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from launchers import NONCE, QUICK, SLOW, Between, Launcher, Process, known, until
from ports import free_port
from threadless import no_threads

from launcher.adapters.clock import SystemClock
from launcher.core.errors import LauncherError
from launcher.core.lifecycle import Event, Over, PeerEnded, Released, Woken
from launcher.core.meeting import Rhythm
from launcher.core.meeting.words import Parting
from launcher.rendezvous import Meeting, proof
from launcher.rendezvous.listening import only_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DONE = Parting(how="done")
FAILED = Parting(how="failed", during="staging", exit_code=66, code="input-missing", message="no such input")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def meet(opened: ExitStack) -> Callable[..., list[Launcher]]:
    """So many launchers of one job, number 0 first; `port` is where they meet."""

    def start(count: int, port: int, **said: object) -> list[Launcher]:
        made = [Launcher(known(number, count, port, **said)) for number in range(count)]  # type: ignore[arg-type]
        for each in made:
            opened.callback(each.close)
        return made

    return start


@contextmanager
def calling(port: int) -> Iterator[socket.socket]:
    """Somebody at the door."""
    with socket.create_connection(("127.0.0.1", port)) as made:
        made.settimeout(30)
        yield made


# together


@pytest.mark.parametrize("count", [2, 3, 40])
def test_all_are_released_when_all_are_ready(meet: Callable[..., list[Launcher]], count: int) -> None:
    launchers = meet(count, free_port())
    for number, each in enumerate(launchers):
        each.meeting.ready(f"of {number}")
    for each in launchers:
        each.hears(Released)
        assert each.meeting.offers == {number: f"of {number}" for number in range(count)}


def test_they_meet_over_ipv6(opened: ExitStack) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    launchers = [Launcher(known(number, 2, port, host="::1")) for number in range(2)]
    for each in launchers:
        opened.callback(each.close)
        each.meeting.ready()
    for each in launchers:
        each.hears(Released)


def test_a_node_that_calls_before_number_0_is_there_gets_in(opened: ExitStack) -> None:
    port = free_port()
    early = Launcher(known(1, 2, port))
    opened.callback(early.close)
    until(lambda: "refused" in early.guest._why)
    number_0 = Launcher(known(0, 2, port))
    opened.callback(number_0.close)
    for each in (early, number_0):
        each.meeting.ready()
    for each in (early, number_0):
        each.hears(Released)


def test_those_who_are_ready_wait_for_one_that_is_not_and_say_so(meet: Callable[..., list[Launcher]]) -> None:
    launchers = meet(3, free_port())
    for each in launchers[:2]:
        each.meeting.ready()
    for each in launchers[:2]:
        each.says("Waiting for the other nodes: worker-2 not ready yet.")
        assert not any(isinstance(event, Released) for event in each.heard())
    launchers[2].meeting.ready()
    for each in launchers:
        each.hears(Released)


# ends


@pytest.mark.parametrize("number", [0, 1])
def test_a_node_that_fails_ends_all_others_at_once(meet: Callable[..., list[Launcher]], number: int) -> None:
    launchers = meet(3, free_port())
    launchers[number].meeting.part(FAILED)
    for other in (each for each in launchers if each is not launchers[number]):
        event = other.hears(PeerEnded)
        assert (event.number, event.failure.exit_code, event.stopped) == (number, 66, False)
        assert event.failure.cause.message == f"worker-{number} failed while staging: no such input"


def test_why_it_failed_may_be_told_later(meet: Callable[..., list[Launcher]]) -> None:
    launchers = meet(3, free_port())
    launchers[1].meeting.part(FAILED)
    assert launchers[2].cause()[1] == "worker-1 failed while staging: no such input"
    launchers[1].meeting.part(Parting(how="failed", during="staging", exit_code=66, code="x", message="known"))
    assert launchers[2].cause()[1] == "worker-1 failed while staging: known"
    assert launchers[0].cause()[1] == "worker-1 failed while staging: no such input"
    assert launchers[0].cause()[1] == "worker-1 failed while staging: known"


def test_a_node_that_is_stopped_ends_the_others_as_stopped(meet: Callable[..., list[Launcher]]) -> None:
    launchers = meet(2, free_port())
    launchers[0].meeting.part(Parting(how="stopped", during="training", exit_code=143, message="SIGTERM came."))
    event = launchers[1].hears(PeerEnded)
    assert (event.stopped, event.failure.exit_code) == (True, 143)


def test_a_node_that_never_comes_ends_the_others_and_is_named(opened: ExitStack) -> None:
    port = free_port()
    launchers = [Launcher(known(number, 4, port, peers_s=1.0)) for number in (0, 2)]
    for each in launchers:
        opened.callback(each.close)
        each.meeting.ready()
    for each in launchers:
        event = each.hears(PeerEnded)
        assert (event.failure.cause.code, event.failure.exit_code) == ("peers-missing", 71)
        assert event.failure.cause.message == (
            f"worker-1 and worker-3 did not call worker-0 within 1 s, which listens at 127.0.0.1:{port}."
        )


def test_a_node_that_is_not_ready_in_time_ends_the_others_and_is_named(meet: Callable[..., list[Launcher]]) -> None:
    launchers = meet(3, free_port(), ready_s=0.5)
    for each in launchers[:2]:
        each.meeting.ready()
    for each in launchers:
        code, message = each.cause()
        assert (code, "worker-2 not ready yet" in message) == ("barrier-timeout", True)


def test_without_number_0_a_node_ends_and_says_where_it_called(opened: ExitStack) -> None:
    port = free_port()
    alone = Launcher(known(1, 2, port, peers_s=0.5))
    opened.callback(alone.close)
    alone.meeting.ready()
    alone.says(f"Waiting for worker-0 at 127.0.0.1, port {port}: connection refused.")
    code, message = alone.cause()
    assert code == "peers-missing"
    assert message == f"worker-0 could not be called at 127.0.0.1, port {port} for 0.5 s: connection refused."


def test_a_name_that_nobody_knows_is_told(opened: ExitStack) -> None:
    for number in (0, 1):
        each = Launcher(known(number, 2, free_port(), host="no such host", peers_s=0.3))
        opened.callback(each.close)
        code, message = each.cause()
        assert (code, "no such host" in message, "resolved" in message) == ("peers-missing", True, True)


# cut off


def test_a_connection_that_is_cut_is_made_again_and_nothing_is_forgotten(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 3, port), SLOW)
    between = Between(port)
    far, near = Launcher(known(1, 3, between.port), SLOW), Launcher(known(2, 3, port), SLOW)
    for each in (number_0, far, near, between):
        opened.callback(each.close)
    far.meeting.ready("of far")
    number_0.meeting.ready()
    number_0.says("worker-2 not ready yet")
    between.cut()
    number_0.says("worker-2 not ready yet")
    near.meeting.ready()
    near.hears(Released)
    between.mend()
    far.hears(Released)
    assert far.meeting.offers == near.meeting.offers == {1: "of far"}
    between.cut()
    number_0.meeting.part(FAILED)
    near.hears(PeerEnded)
    between.mend()
    assert far.cause()[1].startswith("worker-0 failed")


def test_a_failure_that_could_not_be_told_at_once_is_told_later(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port), SLOW)
    between = Between(port)
    far = Launcher(known(1, 2, between.port), SLOW)
    for each in (number_0, far, between):
        opened.callback(each.close)
    until(lambda: far.guest._host is not None)
    between.cut()
    far.meeting.part(FAILED)
    between.mend()
    assert number_0.cause()[1].startswith("worker-1 failed")


def test_a_way_that_stays_cut_ends_both_sides(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    between = Between(port)
    far = Launcher(known(1, 2, between.port))
    for each in (number_0, far, between):
        opened.callback(each.close)
    for launcher in (number_0, far):
        launcher.meeting.ready()
    far.hears(Released)
    between.cut()
    code, message = far.cause()
    assert (code, message.startswith("worker-0 was lost while training")) == ("peer-lost", True)
    code, message = number_0.cause()
    assert (code, message.startswith("worker-1 was lost while training")) == ("peer-lost", True)


def test_a_launcher_that_is_killed_is_lost(opened: ExitStack) -> None:
    port = free_port()
    launchers = [Launcher(known(number, 3, port)) for number in (0, 1)]
    killed = Process(2, 3, port)
    opened.callback(killed.close)
    for each in launchers:
        opened.callback(each.close)
        each.meeting.ready()
    for each in launchers:
        each.hears(Released)
    killed.signal(signal.SIGKILL)
    for each in launchers:
        event = each.hears(PeerEnded)
        assert (event.number, event.failure.exit_code) == (2, 71)
        assert "has not called again for 1 s since its connection was gone" in event.failure.cause.message


def test_number_0_that_is_killed_is_lost_to_all(opened: ExitStack) -> None:
    port = free_port()
    killed = Process(0, 3, port)
    opened.callback(killed.close)
    launchers = [Launcher(known(number, 3, port)) for number in (1, 2)]
    for each in launchers:
        opened.callback(each.close)
        each.meeting.ready()
    for each in launchers:
        each.hears(Released)
    killed.signal(signal.SIGKILL)
    for each in launchers:
        event = each.hears(PeerEnded)
        assert (event.number, event.failure.cause.code) == (0, "peer-lost")
        assert "could not be called again for 1 s: connection refused" in event.failure.cause.message


@pytest.mark.parametrize("number", [0, 1])
def test_a_launcher_that_stands_still_is_not_lost_before_its_longer_time(opened: ExitStack, number: int) -> None:
    port = free_port()
    stopped = Process(number, 2, port)
    other = Launcher(known(1 - number, 2, port))
    for each in (stopped, other):
        opened.callback(each.close)
    other.meeting.ready()
    other.hears(Released)
    stopped.signal(signal.SIGSTOP)
    assert "its launcher has said nothing for 3 s" in other.cause()[1]
    stopped.signal(signal.SIGCONT)


def test_number_0_that_is_started_again_before_the_training_gets_all_back(opened: ExitStack) -> None:
    port = free_port()
    first = Process(0, 2, port, ready=False)
    opened.callback(first.close)
    guest = Launcher(known(1, 2, port))
    opened.callback(guest.close)
    guest.meeting.ready("again")
    until(lambda: guest.guest._host is not None)
    session = guest.guest._host
    first.signal(signal.SIGKILL)
    second = Launcher(known(0, 2, port))
    opened.callback(second.close)
    until(lambda: guest.guest._host not in (None, session))
    second.meeting.ready()
    guest.hears(Released)
    assert second.meeting.offers == {1: "again"}


# leaving


def test_who_trains_on_hears_of_a_failure_when_number_0_is_done(meet: Callable[..., list[Launcher]]) -> None:
    launchers = meet(3, free_port())
    for each in launchers:
        each.meeting.ready()
    for each in launchers:
        each.hears(Released)
    launchers[0].meeting.part(DONE)
    assert launchers[0].meeting.needed
    launchers[1].meeting.part(FAILED)
    assert launchers[2].cause()[0] == "peer-failed"
    until(lambda: not launchers[0].meeting.needed)


def test_a_word_that_was_just_left_is_still_to_be_said(meet: Callable[..., list[Launcher]]) -> None:
    for number in (0, 1):
        launchers = meet(2, free_port())
        launchers[number].meeting.part(FAILED)
        assert launchers[number].meeting.needed


def test_who_is_done_may_leave_and_is_not_missed(meet: Callable[..., list[Launcher]]) -> None:
    launchers = meet(3, free_port())
    for each in launchers:
        each.meeting.ready()
    for each in launchers:
        each.hears(Released)
    launchers[1].meeting.part(DONE)
    launchers[1].close()
    launchers[0].meeting.part(DONE)
    assert launchers[0].meeting.needed, "as long as somebody trains who must hear of a failure"
    launchers[0].close()
    until(launchers[2].guest._rests)
    launchers[2].meeting.part(DONE)
    launchers[2].close()
    assert not any(isinstance(event, PeerEnded) for each in launchers for event in each.heard())


def test_who_serves_is_told_when_the_workers_are_done(meet: Callable[..., list[Launcher]]) -> None:
    number_0, worker, server = meet(3, free_port(), servers=1)
    for each in (number_0, worker):
        each.meeting.ready()
    server.meeting.ready(serves=True)
    server.hears(Released)
    number_0.meeting.part(DONE)
    until(lambda: number_0.meeting.needed)
    worker.meeting.part(DONE)
    server.hears(Over)
    assert number_0.meeting.needed, "until the server has ended"
    server.meeting.part(DONE)
    until(lambda: not number_0.meeting.needed)


def test_number_0_that_cannot_stay_ends_those_who_serve(meet: Callable[..., list[Launcher]]) -> None:
    number_0, worker, server = meet(3, free_port(), servers=1)
    for each in (number_0, worker):
        each.meeting.ready()
    server.meeting.ready(serves=True)
    server.hears(Released)
    number_0.meeting.part(DONE)
    number_0.close()
    assert server.cause() == (
        "peer-stopped",
        "worker-0 was stopped while training: it left before the other workers were done.",
    )


def test_to_leave_takes_nobody_and_leaves_nothing_open() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    port = free_port()
    launchers = [Launcher(known(number, 3, port)) for number in range(3)]
    for each in launchers:
        each.meeting.ready()
    for each in launchers:
        each.hears(Released)
    launchers[1].meeting.part(FAILED)
    for each in reversed(launchers):
        each.close()
    alone = Launcher(known(1, 2, free_port()))
    alone.meeting.part(FAILED)
    alone.close()
    until(lambda: not alone.meeting._thread.is_alive())
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_node_without_threads_says_so(opened: ExitStack) -> None:
    with no_threads(), pytest.raises(LauncherError) as raised:
        Launcher(known(1, 2, free_port()))
    assert (raised.value.code, raised.value.exit_code) == ("no-threads", 71)


def test_a_defect_of_the_meeting_ends_the_run(opened: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    def breaks(text: str, level: str) -> None:
        raise ZeroDivisionError(text)

    heard: queue.Queue[Event] = queue.Queue()
    meeting = Meeting(known(1, 2, free_port()), SystemClock(), heard.put, breaks, QUICK)
    opened.callback(meeting.close)
    meeting.open()
    meeting.ready()
    while not isinstance(ended := heard.get(timeout=60), PeerEnded):
        assert isinstance(ended, Woken)
    assert (ended.number, ended.failure.exit_code) == (1, 70)
    assert "ZeroDivisionError" in caplog.text


def test_an_offer_has_a_limit(opened: ExitStack) -> None:
    launcher = Launcher(known(1, 2, free_port()))
    opened.callback(launcher.close)
    with pytest.raises(ValueError, match="16384 bytes"):
        launcher.meeting.ready("x" * 20_000)


# strangers


def hello(nonce: str, challenge: dict[str, str], number: int = 1, **said: object) -> bytes:
    who = known(number, 2, 1, nonce=nonce)
    shown = proof.guest(who, challenge["random"], "b", "s")
    word = {"is": "hello", "version": 2, "number": number, "session": "s", "random": "b", "proof": shown}
    return json.dumps({**word, **said}).encode() + b"\n"


def asked(caller: socket.socket) -> dict[str, str]:
    found: dict[str, str] = json.loads(caller.makefile().readline())
    return found


def answered(caller: socket.socket) -> str:
    """The rest of what number 0 says, until it closes."""
    with suppress(ConnectionError):
        return caller.makefile().read()
    return ""


HOSTILE = {
    "nothing": b"",
    "http": b"GET / HTTP/1.1\r\nHost: worker-0\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "a huge line": b"x" * 300_000,
    "a huge line of JSON": b'{"is":"hello","session":"' + b"x" * 300_000 + b'"}\n',
    "many lines": b"\n" * 10_000,
    "nested": b"[" * 900 + b"\n",
    "no hello": b'{"is":"ready"}\n',
    "another number": b'{"is":"hello","version":2,"number":7,"session":"","random":"","proof":""}\n',
    "number 0": b'{"is":"hello","version":2,"number":0,"session":"","random":"","proof":""}\n',
    "below 0": b'{"is":"hello","version":2,"number":-1,"session":"","random":"","proof":""}\n',
    "odd text": '{"is":"hello","version":2,"number":1,"session":"\\ud800","random":"ä","proof":"ü"}\n'.encode(),
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_a_stranger_is_closed_and_told_of_once_and_the_nodes_meet(opened: ExitStack, said: bytes) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    opened.callback(number_0.close)
    number_0.listens()
    for _ in range(3):
        with calling(port) as caller, suppress(OSError):
            caller.sendall(said)
            if not said:
                caller.shutdown(socket.SHUT_WR)
            answered(caller)
    node = Launcher(known(1, 2, port))
    opened.callback(node.close)
    for each in (number_0, node):
        each.meeting.ready()
    node.hears(Released)
    number_0.says("is no launcher of this job and was not let in")


def test_random_bytes_at_the_door_do_no_harm(opened: ExitStack) -> None:
    seed = int(os.environ.get("STRANGERS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"STRANGERS_SEED={seed}")
    chance = random.Random(seed)
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    opened.callback(number_0.close)
    number_0.listens()
    for _ in range(int(os.environ.get("STRANGERS_ROUNDS", "60"))):
        with calling(port) as caller, suppress(OSError):
            good = hello("b" * 64, asked(caller))
            spoilt = bytearray(good)
            for _ in range(chance.randrange(4)):
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
            said = chance.choice([chance.randbytes(chance.randrange(3000)), bytes(spoilt), good[:50], good * 3])
            caller.sendall(said)
            if chance.random() < 0.5:
                caller.shutdown(socket.SHUT_WR)
                answered(caller)
    node = Launcher(known(1, 2, port))
    opened.callback(node.close)
    for each in (number_0, node):
        each.meeting.ready()
    node.hears(Released)
    assert not [event for event in number_0.heard() if isinstance(event, PeerEnded)]


def test_who_says_nothing_or_says_it_slowly_is_sent_away_and_holds_nobody_up(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    opened.callback(number_0.close)
    number_0.listens()
    with ExitStack() as callers:
        slow = [callers.enter_context(calling(port)) for _ in range(200)]
        for each in slow[::2]:
            with suppress(ConnectionError):
                each.sendall(b'{"is":')
        node = Launcher(known(1, 2, port))
        opened.callback(node.close)
        for launcher in (number_0, node):
            launcher.meeting.ready()
        node.hears(Released)
        for each in slow:
            answered(each)
    until(lambda: not number_0.host._reception.callers)


def test_a_hello_that_was_overheard_is_of_no_use(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    opened.callback(number_0.close)
    number_0.listens()
    with calling(port) as first:
        overheard = hello(NONCE, asked(first))
        first.sendall(overheard)
        assert json.loads(first.makefile().readline())["is"] == "welcome"
    with calling(port) as second:
        asked(second)
        second.sendall(overheard)
        assert json.loads(answered(second)) == {"is": "refused", "why": "nonce"}


def test_a_launcher_of_another_job_is_told_so_on_both_sides(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    other = Launcher(known(1, 2, port, nonce="b" * 64, peers_s=1.0))
    for each in (number_0, other):
        opened.callback(each.close)
    number_0.says("is of another job, sees other nodes, or has another LAUNCHER_NONCE")
    other.says("worker-0 does not let this node in: it is of another job, sees other nodes, or has another")
    assert "has another LAUNCHER_NONCE" in other.cause()[1]


def test_another_version_is_told_so(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    opened.callback(number_0.close)
    number_0.listens()
    with calling(port) as caller:
        caller.sendall(hello(NONCE, asked(caller), version=3))
        assert json.loads(answered(caller)) == {"is": "refused", "why": "version"}
    number_0.says("speaks version 3 of the rendezvous, and this launcher 2")


def test_a_second_launcher_of_a_number_waits_until_the_first_is_gone(opened: ExitStack) -> None:
    port = free_port()
    number_0, first, second = (Launcher(known(number, 2, port)) for number in (0, 1, 1))
    for each in (number_0, first, second):
        opened.callback(each.close)
    refused = number_0.says("is here already, and another launcher calls itself so")
    assert "worker-1 at 127.0.0.1:" in refused
    until(lambda: first.guest._host or second.guest._host)
    late = next(each for each in (first, second) if each.guest._host is None)
    early = second if late is first else first
    late.says("another launcher of this number is there already")
    early.close()
    late.meeting.ready()
    number_0.meeting.ready()
    late.hears(Released)


def test_what_speaks_nonsense_once_it_is_in_is_let_go(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port))
    opened.callback(number_0.close)
    number_0.listens()
    for said in (b"nonsense\n", b'{"is":"released"}\n', b"x" * 70_000):
        with calling(port) as caller:
            caller.sendall(hello(NONCE, asked(caller)))
            assert json.loads(caller.makefile().readline())["is"] == "welcome"
            with suppress(ConnectionError):
                caller.sendall(said)
            answered(caller)
    assert number_0.cause()[0] == "peer-lost"


def test_something_else_at_the_port_of_number_0_is_told(opened: ExitStack) -> None:
    door = opened.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
    node = Launcher(known(1, 2, door.getsockname()[1], peers_s=2.0))
    opened.callback(node.close)
    door.settimeout(30)
    for said in (b"SSH-2.0-OpenSSH_9.2\r\n", b'{"is":"challenge","version":2,"random":"r"}\n{}\n', b"x" * 5000):
        caller, _ = door.accept()
        with caller:
            caller.sendall(said)
            with suppress(ConnectionError):
                caller.recv(4096)
    caller, _ = door.accept()
    with caller:  # says nothing at all
        assert node.cause()[0] == "peers-missing"


def test_number_0_of_another_job_is_not_believed(opened: ExitStack) -> None:
    door = opened.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
    door.settimeout(30)
    node = Launcher(known(1, 2, door.getsockname()[1]))
    opened.callback(node.close)
    caller, _ = door.accept()
    with caller:
        caller.sendall(b'{"is":"challenge","version":2,"random":"r"}\n')
        assert json.loads(caller.makefile().readline())["is"] == "hello"
        caller.sendall(b'{"is":"welcome","session":"s","proof":"00"}\n{"is":"released"}\n')
        node.says("worker-0 does not let this node in: it is of another job")
    assert node.heard() == []


def test_two_jobs_cannot_meet_at_one_port(opened: ExitStack) -> None:
    port = free_port()
    first, second = (Launcher(known(0, 2, port, nonce=nonce)) for nonce in (NONCE, "b" * 64))
    for each in (first, second):
        opened.callback(each.close)
        each.listens()
    late = first if first.host.table.ended else second
    event = late.hears(PeerEnded)
    assert (event.failure.cause.code, event.failure.exit_code) == ("rendezvous-port", 71)
    assert f"at 127.0.0.1, port {port}: address already in use" in event.failure.cause.message


def test_number_0_on_the_wrong_machine_is_told(opened: ExitStack) -> None:
    number_0 = Launcher(known(0, 2, free_port(), host="192.0.2.1"))
    opened.callback(number_0.close)
    event = number_0.hears(PeerEnded)
    assert event.failure.cause.code == "rendezvous-port"
    assert "at 192.0.2.1, port" in event.failure.cause.message
    assert "--master" in event.failure.cause.action


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("worker-0.job", "127.0.1.1", True),
        ("worker-0.job", "::1", True),
        ("worker-0.job", "10.0.0.1", False),
        ("localhost", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("::1", "::1", False),
    ],
)
def test_a_name_that_stands_for_this_machine_alone_is_known(host: str, address: str, *, expected: bool) -> None:
    assert only_here(host, [address]) == expected


def test_it_listens_at_the_address_of_its_name_alone(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Launcher(known(0, 2, port, host="127.0.0.2"))
    opened.callback(number_0.close)
    number_0.listens()
    with pytest.raises(ConnectionRefusedError), calling(port):
        pass


def test_without_descriptors_for_callers_those_who_say_nothing_make_room(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Process(0, 2, port, files=24)
    opened.callback(number_0.close)
    with ExitStack() as callers:
        node = None
        for _ in range(60):
            with suppress(ConnectionError):
                callers.enter_context(calling(port))
        node = Launcher(known(1, 2, port))
        opened.callback(node.close)
        node.meeting.ready()
        node.hears(Released)


def test_a_meeting_takes_one_thread(opened: ExitStack) -> None:
    before = threading.active_count()
    for number in range(2):
        opened.callback(Launcher(known(number, 2, free_port())).close)
    assert threading.active_count() == before + 2


# what answers in worker-0's place


@contextmanager
def answering(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Somebody who listens where worker-0 should, and answers each call so; the port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = door.accept()
                    with connection, suppress(OSError):
                        answer(connection, over)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            over.set()
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


def reset(connection: socket.socket, over: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def by_the_byte(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.08):
        connection.send(b"a")


@pytest.mark.parametrize("answer", [reset, by_the_byte])
def test_who_answers_otherwise_than_a_launcher_holds_nobody_up(
    opened: ExitStack, answer: Callable[[socket.socket, threading.Event], None]
) -> None:
    port = opened.enter_context(answering(answer))
    caller = Launcher(known(1, 2, port, peers_s=0.5), Rhythm(hello_s=0.1))
    opened.callback(caller.close)
    assert caller.cause()[0] == "peers-missing"
