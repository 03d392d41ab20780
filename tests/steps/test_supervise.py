"""The desk with a scripted world: what it does about each event, without a kernel and without waiting."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from fake_processes import FAKE_PID, FakeClock, FakeProcesses
from talking import becomes
from threadless import no_threads

from launcher.children import Attended
from launcher.core.errors import BootError, Cancelled, StageError, StoreError, SyncError
from launcher.core.lifecycle import (
    Event,
    Exited,
    Failure,
    Over,
    PeerEnded,
    Phase,
    Released,
    Signalled,
    State,
    Woken,
)
from launcher.core.plan import Process
from launcher.core.record import Cause, Ended
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from launcher.supervise import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from launcher.children import Sinks

GRACE = 20.0
PROCESS = Process(rank=3, local_rank=1, argv=("train", "--lr=0.1"), env={"B": "job", "C": "job"}, cwd="/code")
CHECK, STAGE, INSTALL, READY, RUN, SYNC, REPORT, END = Phase


class World:
    """A desk, its fakes, and files for its streams."""

    def __init__(self, folder: Path, *script: Sequence[Event] | Callable[[], Sequence[Event]]) -> None:
        self.clock = FakeClock()
        self.processes = FakeProcesses(self.clock, *script)
        self.out, self.err, log = (folder / name for name in ("out", "err", "log"))
        self._fds = [os.open(path, os.O_WRONLY | os.O_CREAT, 0o600) for path in (self.out, self.err)]
        self.log = LogFile(str(log))
        self.streams = [Outlet(fd, name) for fd, name in zip(self._fds, ("stdout", "stderr"), strict=True)]
        self.told: list[str] = []
        self.desk = self.limited(None)

    def limited(self, seconds: float | None) -> Desk:
        self.desk = Desk(
            self.processes, self.clock, GRACE, stop_after=seconds, told=self.told.append, outlets=self.streams
        )
        return self.desk

    def sinks(self, _: Process) -> Sinks:
        return (self.log, self.streams[0]), (self.log, self.streams[1])

    def attend(self, phase: Phase = RUN) -> Attended | None:
        attended = self.desk.attend(phase, (PROCESS,), {"A": "ours", "B": "ours"}, self.sinks)
        return attended[0] if attended else None

    def passes(self, seconds: float, *events: Event) -> Callable[[], Sequence[Event]]:
        def batch() -> Sequence[Event]:
            self.clock.time += seconds
            return events

        return batch

    def close(self) -> None:
        self.processes.close()
        self.log.close()
        for fd in self._fds:
            os.close(fd)


def told(pid: int) -> list[tuple[int, int]]:
    """A request to end, and that who was stopped goes on."""
    return [(pid, signal.SIGTERM), (pid, signal.SIGCONT)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@contextmanager
def stuck() -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Work that ends when the test does."""
    over = threading.Event()

    def work(stopped: Callable[[], bool]) -> None:
        over.wait(60)

    try:
        yield work
    finally:
        over.set()


# a child from start to end


def test_a_child_is_started_with_its_variables_over_ours(world: World) -> None:
    world.processes.script = [[Exited(FAKE_PID, 0)]]
    assert world.attend() is not None
    assert world.processes.started == [(PROCESS.argv, {"A": "ours", "B": "job", "C": "job"}, "/code")]


def test_what_is_told_of_a_child(world: World) -> None:
    world.processes.script = [world.passes(5, Exited(FAKE_PID, 3, None, 4096))]
    world.processes.output = (b"a\r\xff", b"b" * 8000)
    attended = world.attend()
    assert attended == Attended(
        ended=Ended(
            rank=3,
            local_rank=1,
            pid=FAKE_PID,
            exit_code=3,
            signal=None,
            started="at 1000",
            ended="at 1005",
            peak_rss_bytes=4096,
        ),
        code=3,
        stdout=b"a\r\xff",
        stderr=b"b" * 8000,
    )
    assert world.out.read_bytes() == b"a\r\xff"
    assert world.err.read_bytes() == b"b" * 8000
    with open(world.log.path, "rb") as log:
        assert sorted(log.read()) == sorted(b"a\r\xff" + b"b" * 8000)


def test_a_child_that_was_killed_has_a_signal_and_no_code(world: World) -> None:
    world.processes.script = [[Exited(FAKE_PID, 137, 9)]]
    attended = world.attend()
    assert attended is not None
    assert (attended.code, attended.ended.exit_code, attended.ended.signal) == (137, None, 9)


def test_a_child_that_cannot_be_started_is_the_outcome(world: World) -> None:
    world.processes.refusal = BootError("no python", code="program-not-found", action="install it", exit_code=127)
    assert world.attend() is None
    outcome = world.desk.outcome()
    assert (outcome.phase, outcome.exit_code) == ("Failed", 127)
    assert outcome.cause is not None
    assert (outcome.cause.code, outcome.cause.message, outcome.cause.action) == (
        "program-not-found",
        "no python",
        "install it",
    )


def test_after_a_failure_nothing_but_the_sync_starts(world: World) -> None:
    world.desk.fail(StageError("no input", code="input-missing", action="look"))
    assert world.attend() is None
    assert world.desk.during(STAGE, lambda stopped: 1) is None
    assert world.processes.started == []
    assert world.desk.during(SYNC, lambda stopped: 1) == 1
    assert world.desk.outcome().exit_code == 66


def test_a_signal_that_came_between_two_steps_stops_the_next(world: World) -> None:
    world.processes.pending = [[Signalled(signal.SIGTERM)]]
    assert world.attend() is None
    assert world.processes.started == []
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Terminated", 143)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH])
def test_other_signals_are_passed_on_to_a_running_child(world: World, number: int) -> None:
    world.processes.script = [[Signalled(number)], [Exited(FAKE_PID, 0)], [Signalled(number)]]
    world.attend()
    assert world.processes.sent == [(FAKE_PID, number), *told(FAKE_PID)]
    assert world.desk.state.signals == 0


def test_ctrl_z_stops_the_children_and_then_the_launcher(world: World) -> None:
    world.processes.script = [[Signalled(signal.SIGTSTP)], [Signalled(signal.SIGCONT)], [Exited(FAKE_PID, 0)]]
    world.attend()
    assert world.processes.sent == [(FAKE_PID, signal.SIGTSTP), (FAKE_PID, signal.SIGCONT), *told(FAKE_PID)]
    assert world.processes.suspended == 1


def test_ctrl_z_between_two_steps_stops_the_launcher_alone(world: World) -> None:
    world.processes.pending = [[Signalled(signal.SIGTSTP)]]
    world.desk.during(STAGE, lambda stopped: 1)
    assert (world.processes.sent, world.processes.suspended) == ([], 1)


# several children


def several(world: World, *more: Sequence[Event] | Callable[[], Sequence[Event]]) -> tuple[Attended, ...]:
    world.processes.script = list(more)
    second = msgspec.structs.replace(PROCESS, rank=4, local_rank=2)
    return world.desk.attend(RUN, (PROCESS, second), {}, world.sinks)


def test_the_first_child_that_fails_ends_the_others(world: World) -> None:
    ended = several(world, [Exited(FAKE_PID + 1, 3)], world.passes(1, Exited(FAKE_PID, 143, 15)))
    assert world.processes.sent[:4] == [
        (pid, number) for number in (signal.SIGTERM, signal.SIGCONT) for pid in (FAKE_PID + 1, FAKE_PID)
    ]
    assert [(each.ended.rank, each.code) for each in ended] == [(3, 143), (4, 3)]
    assert (world.desk.first_failed, world.desk.outcome().exit_code) == (4, 3)


def test_no_child_has_failed_first_where_all_ended_well(world: World) -> None:
    several(world, [Exited(FAKE_PID + 1, 0), Exited(FAKE_PID, 0)])
    assert world.desk.first_failed is None


def test_a_child_that_cannot_be_started_ends_those_before_it(world: World) -> None:
    def refuse(number: int = 0) -> Sequence[Event]:
        return [Exited(FAKE_PID, 143, 15)]

    def sinks(process: Process) -> Sinks:
        if process.rank == 4:
            world.processes.refusal = BootError("no memory", code="start-failed", action="x", exit_code=126)
        return world.sinks(process)

    world.processes.script = [refuse]
    started: list[bool] = []
    second = msgspec.structs.replace(PROCESS, rank=4)
    ended = world.desk.attend(RUN, (PROCESS, second), {}, sinks, started=lambda: started.append(True))
    assert [each.code for each in ended] == [143]
    assert (started, world.desk.outcome().exit_code) == ([], 126)


# the time that a job may take


def test_a_job_is_warned_and_stopped_when_its_time_is_over(world: World) -> None:
    world.limited(7200)
    world.processes.script = [world.passes(6600), world.passes(600), world.passes(3, Exited(FAKE_PID, 0))]
    world.attend()
    assert world.told == [
        "auto_stop: the job may take 7200 s and is stopped in 600 s",
        "auto_stop: the job has had its 7200 s and is stopped now",
    ]
    assert world.processes.sent[:2] == told(FAKE_PID)
    assert (world.desk.outcome().exit_code, world.desk.outcome().phase) == (124, "Terminated")


def test_a_short_time_is_warned_of_in_its_last_tenth(world: World) -> None:
    world.limited(100)
    world.processes.script = [world.passes(90), world.passes(1, Exited(FAKE_PID, 0))]
    world.attend()
    assert world.told == ["auto_stop: the job may take 100 s and is stopped in 10 s"]


def test_a_child_has_the_grace_less_the_reserve(world: World) -> None:
    killed_at: list[float] = []

    def alive(pid: int, number: int) -> bool:
        if number == signal.SIGKILL and not killed_at:
            killed_at.append(world.clock.time)
            world.processes.script = [[Exited(FAKE_PID, 137, 9)]]
            return True
        return False

    world.processes.alive = alive
    world.processes.script = [world.passes(7, Signalled(signal.SIGTERM))]
    attended = world.attend()
    assert attended is not None
    assert (killed_at, attended.ended.signal) == ([1000 + 7 + 15], 9)
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Terminated", 137)


def test_a_child_that_cannot_be_killed_is_left_for_the_uploads(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.processes.held = True
    world.processes.alive = lambda pid, number: True
    world.processes.script = [[Signalled(signal.SIGTERM)]]
    attended = world.attend()
    assert world.clock.time == pytest.approx(1016.1), "a second after the kill and a look at the pipes"
    assert attended is not None
    assert (attended.code, attended.ended.signal, attended.ended.ended) == (137, 9, None)
    assert "does not end" in caplog.text
    assert world.desk.during(SYNC, lambda stopped: 1) == 1
    assert world.desk.outcome().exit_code == 137


def test_leftovers_get_five_seconds(world: World) -> None:
    killed = threading.Event()

    def alive(pid: int, number: int) -> bool:
        if number == signal.SIGKILL:
            killed.set()
        return not killed.is_set()

    world.processes.alive = alive
    world.processes.script = [[Exited(FAKE_PID, 0)], [Woken()]]
    world.attend()
    assert world.processes.sent == told(FAKE_PID) + [(FAKE_PID, signal.SIGKILL)] * 2
    assert world.clock.time == 1005


def test_leftovers_that_end_by_themselves_are_not_waited_for_longer(world: World) -> None:
    answers = iter([True, True, True, True, False])
    world.processes.alive = lambda pid, number: next(answers)
    world.processes.script = [[Exited(FAKE_PID, 0)], world.passes(1, Woken()), world.passes(1, Woken())]
    world.attend()
    assert world.processes.sent == told(FAKE_PID)
    assert world.clock.time == 1002


def settled(world: World, count: int) -> Callable[[], Sequence[Event]]:
    """An end, once the pump of stdout has moved so many bytes and the one of stderr is at its end."""

    def wait() -> Sequence[Event]:
        out, err = world.desk._children.pumps
        becomes(lambda: out._done == count and err.over)
        return [Exited(FAKE_PID, 0)]

    return wait


def test_an_output_that_is_held_open_is_drained_for_two_seconds(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.processes.held = True
    world.processes.output = (b"said", b"")

    world.processes.script = [settled(world, 4)]
    attended = world.attend()
    assert world.clock.time == 1002
    assert attended is not None
    assert "held open" in caplog.text


@contextmanager
def unread(world: World) -> Iterator[int]:
    """Our stdout is a pipe that is full already; where to read."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    size = 0
    with suppress(BlockingIOError):
        while True:
            size += os.write(write, b"x" * 4096)
    world.streams[0] = Outlet(write, "stdout")
    world.desk = world.limited(None)
    world.processes.output = (b"line\n" * 20_000, b"")
    try:
        yield read
    finally:
        for fd in (read, write, world.streams[0]._own):
            os.close(fd)


def logged(world: World) -> Sequence[Event]:
    """Wait until the pump has begun."""
    becomes(lambda: os.path.getsize(world.log.path) > 0)
    return [Exited(FAKE_PID, 0)]


def test_a_reader_that_pauses_at_the_end_gets_all(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with unread(world) as read:
        got = bytearray()

        def goes_on() -> Sequence[Event]:
            while len(got) < 165_536:
                got.extend(os.read(read, 65536))
            return ()

        world.processes.script = [lambda: logged(world), *[world.passes(1.5)] * 6, goes_on]
        attended = world.attend()
        assert got == b"x" * 65_536 + b"line\n" * 20_000
    with open(world.log.path, "rb") as log:
        assert log.read() == b"line\n" * 20_000
    assert attended is not None
    assert attended.stdout.endswith(b"line\nline\n")
    assert caplog.messages == []


def test_a_reader_that_never_goes_on_costs_nothing_but_what_it_does_not_read(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with unread(world):
        world.processes.script = [lambda: logged(world), *[world.passes(1.0)] * 11]
        attended = world.attend()
        assert world.streams[0].lost == 100_000
    with open(world.log.path, "rb") as log:
        assert log.read() == b"line\n" * 20_000
    assert attended is not None
    assert attended.stdout.endswith(b"line\nline\n")
    assert caplog.messages == [
        "100000 bytes were not passed on to stdout: its reader took nothing for 10 s; the log has them"
    ]


def test_a_stop_is_heard_while_a_reader_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with unread(world):
        stop = [Signalled(signal.SIGTERM)]
        world.processes.script = [
            lambda: logged(world), world.passes(1.0, *stop), world.passes(1.0, *stop), world.passes(1.0, Woken()),
            world.passes(1.0, Woken()),
        ]  # fmt: skip
        world.attend()
        assert world.streams[0].lost == 100_000
        assert world.clock.time <= 1004
    assert "no time was left to wait for its reader" in caplog.text
    with open(world.log.path, "rb") as log:
        assert log.read() == b"line\n" * 20_000


def test_a_held_output_may_not_eat_the_reserve(world: World) -> None:
    world.processes.held = True
    world.processes.script = [[Signalled(signal.SIGTERM)], world.passes(14.5), settled(world, 0)]
    world.attend()
    assert world.clock.time == 1016


def test_a_defect_at_the_desk_kills_the_child(world: World) -> None:
    def broken() -> Sequence[Event]:
        raise ZeroDivisionError

    world.processes.script = [broken]
    with pytest.raises(ZeroDivisionError):
        world.attend()
    assert world.processes.sent == [(FAKE_PID, signal.SIGKILL)]


def test_a_defect_in_a_pump_is_raised(world: World) -> None:
    class Broken(Outlet):
        def write(self, chunk: bytes | memoryview) -> None:
            raise ZeroDivisionError

    world.processes.script = [[Exited(FAKE_PID, 0)]]
    world.processes.output = (b"x", b"")
    with pytest.raises(ZeroDivisionError):
        world.desk.attend(RUN, (PROCESS,), {}, lambda _: ((Broken(1, "stdout"),), ()))


# other threads, and other nodes

FAILED = PeerEnded(2, Failure(66, Cause(code="peer-failed", message="worker-2 failed while staging", action="look")))


def test_what_another_thread_says_is_heard_where_the_main_thread_waits(world: World) -> None:
    world.processes.patient = True
    threading.Thread(target=world.desk.hear, args=(Released(),)).start()
    world.desk.until(READY, lambda: world.desk.state.released)
    assert world.desk.state.phase is READY


def test_a_wait_ends_at_its_time(world: World) -> None:
    world.desk.until(READY, lambda: False, by=1003.0)
    assert world.clock.time == 1003.0


def test_a_signal_is_heard_while_others_are_waited_for(world: World) -> None:
    world.processes.script = [[Signalled(signal.SIGTERM)]]
    world.desk.until(READY, lambda: not world.desk.state.going)
    assert world.desk.outcome().exit_code == 143


def test_what_was_said_between_two_steps_stops_the_next(world: World) -> None:
    world.desk.hear(FAILED)
    assert world.attend() is None
    assert (world.processes.started, world.desk.outcome().exit_code) == ([], 66)


def test_a_node_that_fails_cancels_a_step_here(world: World) -> None:
    world.processes.patient = True
    over = threading.Event()

    def work(stopped: Callable[[], bool]) -> None:
        world.desk.hear(FAILED)
        becomes(stopped)
        over.set()
        raise Cancelled

    assert world.desk.during(STAGE, work) is None
    assert over.is_set()
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Failed", 66)


def test_a_node_that_fails_ends_the_children_here(world: World) -> None:
    def fails() -> Sequence[Event]:
        world.desk.hear(FAILED)
        return ()

    world.processes.script = [fails, [Exited(FAKE_PID, 143, 15)]]
    world.attend()
    assert world.processes.sent[:2] == told(FAKE_PID)
    assert world.desk.during(SYNC, lambda stopped: 1) == 1
    assert world.desk.outcome().exit_code == 66


def test_who_listens_is_told_of_every_change_and_of_nothing_else(world: World) -> None:
    heard: list[State] = []
    world.desk.listener = heard.append
    world.processes.script = [[Woken()], [Exited(FAKE_PID, 3)]]
    world.attend()
    assert all(one != other for one, other in pairwise(heard))
    assert heard[-1] == world.desk.state
    assert next(each.boot_code for each in heard if each.boot_code is not None) == 3


def test_a_server_is_ended_when_the_workers_are_done(world: World) -> None:
    desk = Desk(world.processes, world.clock, GRACE, serves=True, outlets=world.streams)

    def over() -> Sequence[Event]:
        desk.hear(Over())
        return ()

    world.processes.script = [over, [Exited(FAKE_PID, 143, 15)]]
    desk.attend(RUN, (PROCESS,), {}, world.sinks)
    desk.during(SYNC, lambda stopped: 1)
    assert (desk.outcome().phase, desk.outcome().exit_code) == ("Completed", 0)


def test_signals_go_from_the_last_child_to_the_first(world: World) -> None:
    ended = [Exited(FAKE_PID, 0), Exited(FAKE_PID + 1, 0)]
    several(world, [Signalled(signal.SIGUSR1)], [Signalled(signal.SIGTERM)], ended)
    assert [pid for pid, number in world.processes.sent if number == signal.SIGUSR1] == [FAKE_PID + 1, FAKE_PID]
    assert [pid for pid, number in world.processes.sent if number == signal.SIGTERM][:2] == [FAKE_PID + 1, FAKE_PID]


# steps on a thread


def test_a_step_brings_its_result(world: World) -> None:
    assert world.desk.during(STAGE, lambda stopped: ("staged", stopped())) == ("staged", False)
    assert world.desk.state.going


def test_a_failing_step_is_the_outcome(world: World) -> None:
    def work(stopped: Callable[[], bool]) -> None:
        raise StoreError("cannot reach the store", code="store-unreachable", action="check the network")

    assert world.desk.during(STAGE, work) is None
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Failed", 69)


def test_a_defect_in_a_step_is_raised_with_its_traceback(world: World) -> None:
    def work(stopped: Callable[[], bool]) -> None:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect") as caught:
        world.desk.during(STAGE, work)
    assert caught.traceback[-1].name == "work"
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Abnormal", 70)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("ending", ["cancelled", "failed", "done"])
def test_a_signal_cancels_a_step(tmp_path: Path, number: int, code: int, ending: str) -> None:
    world = World(tmp_path, [Signalled(number)])

    def work(stopped: Callable[[], bool]) -> str:
        # The signal is scripted; this asks for it the way transfers do, without waiting.
        assert cancelled.wait(30)
        assert stopped()
        if ending == "cancelled":
            raise Cancelled
        if ending == "failed":
            raise StoreError("aborted", code="store", action="none")
        return ending

    cancelled = threading.Event()

    def after() -> Sequence[Event]:
        cancelled.set()
        return ()

    world.processes.script.append(after)
    world.processes.alive = lambda pid, number: False
    world.processes.patient = True
    world.desk.during(STAGE, work)
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Terminated", code)
    world.close()


def test_a_step_that_says_it_was_cancelled_when_it_was_not_is_a_defect(world: World) -> None:
    def work(stopped: Callable[[], bool]) -> None:
        raise Cancelled

    world.desk.during(STAGE, work)
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Abnormal", 70)


def test_a_step_that_does_not_stop_is_left_behind(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.processes.script = [[Signalled(signal.SIGTERM)]]
    with stuck() as work:
        assert world.desk.during(STAGE, work) is None
    assert world.clock.time == 1016
    assert "left behind" in caplog.text
    assert world.desk.outcome().exit_code == 143


def trained(world: World) -> None:
    world.processes.script = [[Exited(FAKE_PID, 0)]]
    world.attend()


def test_a_training_and_a_sync_make_a_success(world: World) -> None:
    trained(world)
    assert world.desk.outcome().exit_code == 70, "not before the sync"
    world.desk.during(SYNC, lambda stopped: None)
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Completed", 0)


def test_a_failing_sync_is_73(world: World) -> None:
    trained(world)

    def work(stopped: Callable[[], bool]) -> None:
        raise SyncError("no room in the bucket", code="quota", action="make room")

    world.desk.during(SYNC, work)
    outcome = world.desk.outcome()
    assert outcome.cause is not None
    assert (outcome.exit_code, outcome.cause.code) == (73, "quota")


def test_a_sync_that_says_afterwards_what_is_missing_is_73(world: World) -> None:
    trained(world)
    world.desk.during(SYNC, lambda stopped: None)
    world.desk.fail(SyncError("model.bin", code="not-saved", action="look"))
    assert world.desk.outcome().exit_code == 73


def test_a_sync_is_cancelled_at_the_end_of_the_budget(world: World) -> None:
    trained(world)
    asked = threading.Event()

    def work(stopped: Callable[[], bool]) -> None:
        assert asked.wait(30)
        assert stopped()
        raise Cancelled

    def before() -> Sequence[Event]:
        assert world.clock.time == 1018, "just before the end, so that it can stop between two parts"
        asked.set()
        world.processes.patient = True
        return ()

    def signalled() -> Sequence[Event]:
        world.processes.patient = False
        return [Signalled(signal.SIGTERM)]

    world.processes.script = [signalled, world.passes(18), before]
    world.desk.during(SYNC, work)
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Failed", 73)


def test_a_sync_that_does_not_stop_is_left_at_the_end(world: World) -> None:
    trained(world)
    world.processes.patient = False
    world.processes.script = [[Signalled(signal.SIGTERM)]]
    with stuck() as work:
        assert world.desk.during(SYNC, work) is None
    assert world.clock.time == 1019
    assert (world.desk.outcome().phase, world.desk.outcome().exit_code) == ("Failed", 73)
    assert world.desk.during(SYNC, lambda stopped: 1) is None, "there is no time for another one"
    assert world.desk.during(REPORT, lambda stopped: stopped()) is False, "but for telling of it"
    with stuck() as work:
        assert world.desk.during(REPORT, work) is None
    assert world.clock.time == pytest.approx(1020)
    assert world.desk.during(REPORT, lambda stopped: 1) is None


def test_a_second_stop_leaves_time_for_the_report(world: World) -> None:
    world.processes.script = [[Signalled(signal.SIGTERM)], world.passes(1, Signalled(signal.SIGTERM))]
    world.processes.alive = lambda pid, number: True
    world.attend()
    with stuck() as work:
        world.desk.during(SYNC, work)
    assert world.desk.during(REPORT, lambda stopped: stopped()) is False
    assert 1002.7 < world.clock.time < 1003
    assert world.desk.outcome().phase == "Terminated"


def test_a_report_that_fails_is_73(world: World) -> None:
    trained(world)
    world.desk.during(SYNC, lambda stopped: None)

    def work(stopped: Callable[[], bool]) -> None:
        raise SyncError("run.json", code="not-saved", action="look")

    world.desk.during(REPORT, work)
    assert world.desk.outcome().exit_code == 73


def test_a_report_that_says_it_was_cancelled_is_73(world: World) -> None:
    trained(world)
    world.desk.during(SYNC, lambda stopped: None)
    asked = threading.Event()

    def work(stopped: Callable[[], bool]) -> None:
        assert asked.wait(30)
        assert stopped()
        raise Cancelled

    def before() -> Sequence[Event]:
        asked.set()
        world.processes.patient = True
        return ()

    def signalled() -> Sequence[Event]:
        world.processes.patient = False
        return [Signalled(signal.SIGTERM)]

    world.processes.script = [signalled, world.passes(19.7), before]
    world.desk.during(REPORT, work)
    cause = world.desk.outcome().cause
    assert cause is not None
    assert (world.desk.outcome().exit_code, cause.code) == (73, "report-unfinished")


# a node that allows no more threads


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("phase", [STAGE, SYNC, REPORT])
def test_a_step_without_a_thread_is_told_by_its_limit(world: World, phase: Phase) -> None:
    with no_threads():
        assert world.desk.during(phase, lambda stopped: 1) is None
    outcome = world.desk.outcome()
    assert outcome.cause is not None
    assert (outcome.phase, outcome.exit_code, outcome.cause.code) == ("Failed", 71, "no-threads")
    assert "ulimit -u is " in outcome.cause.message


def test_without_threads_for_its_output_no_child_is_started(world: World) -> None:
    before = descriptors()
    with no_threads():
        assert world.attend() is None
    assert descriptors() == before
    assert world.processes.started == []
    outcome = world.desk.outcome()
    assert outcome.cause is not None
    assert (outcome.exit_code, outcome.cause.code) == (71, "no-threads")


def test_a_stop_is_told_with_the_time_that_is_left(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.processes.script = [
        [Signalled(signal.SIGHUP)],
        [Signalled(signal.SIGTERM), Signalled(signal.SIGTERM)],
        [Exited(FAKE_PID, 0)],
    ]
    with caplog.at_level(logging.INFO, "launcher"):
        world.attend()
    assert [record.getMessage() for record in caplog.records] == ["SIGTERM during run: 20.0 s until the end"]
