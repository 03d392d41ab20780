"""Runs among each other, over real sockets: each has a desk and a thread of its own, and all go from one attempt on."""

from __future__ import annotations

import queue
import signal
import threading
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from launchers import PATIENCE_S, QUICK, SLOW, Process, known, until
from ports import free_port

from launcher.adapters.clock import SystemClock
from launcher.company import Company
from launcher.core.errors import BootError
from launcher.core.lifecycle import Event, Exited, Failure, GivenUp, PeerEnded, Phase, Signalled, Started
from launcher.core.meeting.words import Again, Ended, Final, Parting, Released
from launcher.core.record import Cause
from launcher.rendezvous import Meeting
from launcher.rendezvous.ear import Ear
from launcher.supervise import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from launcher.core.meeting import Rhythm

SECRET = "s3cr3t-of-the-job"
PID = 7
NCCL = Cause(code="nccl-timeout", message="NCCL timed out.", action="Look.")


class Waking:
    """Processes of which there are none: a wait lasts until somebody calls."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def wait(self, timeout: float | None) -> Sequence[Event]:
        self._woken.wait(PATIENCE_S if timeout is None else timeout)
        self._woken.clear()
        return ()


class Report:
    """What is told of a run."""

    secrets = (SECRET,)

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, text: str, level: str = "Info") -> None:
        self.lines.append(text)

    def phase(self, name: str) -> None:
        """Nobody asks."""


class Run:
    """One launcher's run; `script` says how each of its attempts goes, `tried` which it took part in."""

    def __init__(self, who: Any, *script: str, rhythm: Rhythm = QUICK, pause: float | None = 0.25) -> None:
        clock, self.processes = SystemClock(), Waking()
        self.report = Report()
        self.desk = Desk(self.processes, clock, 5.0)  # type: ignore[arg-type]
        self.meeting = Meeting(who, clock, self.desk.hear, self.report.event, rhythm)
        plan: Any = SimpleNamespace(
            node=SimpleNamespace(task=who.names[who.number]), serves=False, grace=5.0, rendezvous=who
        )
        world: Any = SimpleNamespace(clock=clock)
        report: Any = self.report
        self.company = Company(plan, world, report, self.desk, self.meeting)
        self.script = list(script)
        self.tried: list[int] = []
        self.asked: list[Failure] = []
        self.pauses: list[float] = []
        self.pause = pause
        self.given_up: Failure | None = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Run:
        self.meeting.open()
        self.thread.start()
        return self

    def go(self) -> None:
        """Wait no longer in any attempt."""
        self.over.set()
        self.processes.wake()

    def end(self) -> None:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def close(self) -> None:
        self.go()
        self.desk.hear(Signalled(15))
        self.end()
        self.meeting.close()

    @property
    def ended_as(self) -> tuple[int | None, str]:
        """The exit code of the boot process, and why another node ended this run."""
        peer = self.desk.state.peer
        return self.desk.state.boot_code, "" if peer is None else peer.failure.cause.code

    def _run(self) -> None:
        while True:
            how = self.script.pop(0)
            if how == "cannot stage":
                self.desk.during(Phase.STAGE, self._refuse)
            self.tried.append(self._attempt(how))
            if how.startswith("nccl"):
                self.company.explain(NCCL)
            attempt = self.company.agree(self._decide)
            if attempt is None:
                break
            self.pauses.append(self.meeting.pause_s)
            self.company.begin(attempt)
        self.company.outlast()

    def _refuse(self, stopped: Callable[[], bool]) -> None:
        raise BootError("no such file", code="boot-file-missing", action="Look.", exit_code=66)

    def _decide(self, failure: Failure) -> float | None:
        self.asked.append(failure)
        if self.given_up is not None:
            self.desk.heed(GivenUp(self.given_up))
        return self.pause

    def _attempt(self, how: str) -> int:
        desk = self.desk
        if desk.state.going:
            self.company.ready("")
        if desk.state.going:
            desk.hear(Started(PID))
            desk.until(Phase.RUN, lambda: self._trains(how))
        return desk.state.attempt

    def _trains(self, how: str) -> bool:
        """Whether the boot process has ended, which it does by itself where it does not wait."""
        state = self.desk.state
        waits = how in {"waits", "nccl, later"} and not self.over.is_set()
        if state.running and not (waits and state.going):
            code = 143 if not state.going else 3 if how.startswith("nccl") else 0
            self.desk.hear(Exited(PID, code))
        return state.boot_code is not None


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def runs(opened: ExitStack) -> Callable[..., list[Run]]:
    """Runs of one job, number 0 first, each by its script."""

    def start(*scripts: tuple[str, ...], rhythm: Rhythm = SLOW, pause: float | None = 0.25, **said: Any) -> list[Run]:
        port = free_port()
        made = [
            Run(known(number, len(scripts), port, **said), *script, rhythm=rhythm, pause=pause)
            for number, script in enumerate(scripts)
        ]
        for each in made:
            opened.callback(each.close)
        return [each.start() for each in made]

    return start


def ended(made: Sequence[Run]) -> None:
    for each in made:
        each.end()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_all_begin_again_when_one_has_failed(runs: Callable[..., list[Run]], number: int) -> None:
    scripts = [("waits", "well")] * 3
    scripts[number] = ("nccl", "well")
    made = runs(*scripts)
    ended(made)
    assert [each.tried for each in made] == [[1, 2]] * 3
    assert [each.ended_as for each in made] == [(0, "")] * 3
    [failure] = made[0].asked
    assert (failure.exit_code, failure.cause.code) == (3, "nccl-timeout"), "as it was explained"
    assert [each.pauses for each in made] == [[0.25]] * 3
    assert [each.asked for each in made[1:]] == [[], []], "number 0 decides for all"


def test_a_node_that_cannot_stage_lets_all_begin_again_too(runs: Callable[..., list[Run]]) -> None:
    made = runs(("waits", "well"), ("cannot stage", "well"))
    ended(made)
    assert [each.tried for each in made] == [[1, 2]] * 2
    assert made[0].asked[0].cause.code == "boot-file-missing"


def test_each_attempt_may_fail_anew_and_the_last_one_is_how_all_end(runs: Callable[..., list[Run]]) -> None:
    made = runs(
        ("waits", "nccl", "waits", "well"), ("nccl", "waits", "waits", "well"), ("waits", "waits", "nccl", "well")
    )
    ended(made)
    assert [each.tried for each in made] == [[1, 2, 3, 4]] * 3
    assert [failure.exit_code for failure in made[0].asked] == [3, 3, 3]


def test_without_another_attempt_all_end_as_ever(runs: Callable[..., list[Run]]) -> None:
    made = runs(("waits",), ("nccl, later",), ("waits",), pause=None)
    until(lambda: all(each.desk.state.running for each in made))
    made[1].go()
    ended(made)
    assert [each.ended_as for each in made] == [(143, "peer-failed"), (3, ""), (143, "peer-failed")]
    assert len(made[0].asked) == 1


@pytest.mark.parametrize("number", [0, 1])
def test_a_node_that_was_done_begins_again_with_the_one_that_failed(
    runs: Callable[..., list[Run]], number: int
) -> None:
    scripts = [("nccl, later", "well")] * 2
    scripts[number] = ("well", "well")
    made = runs(*scripts)
    until(lambda: made[number].company._said is not None)
    assert made[number].thread.is_alive()
    made[1 - number].go()
    ended(made)
    assert [each.tried for each in made] == [[1, 2]] * 2


def test_a_node_that_was_done_ends_well_where_nobody_begins_again(runs: Callable[..., list[Run]]) -> None:
    made = runs(("nccl, later",), ("well",), pause=None)
    until(lambda: made[1].company._said is not None)
    made[0].go()
    ended(made)
    assert [each.ended_as for each in made] == [(3, ""), (0, "peer-failed")]


def test_when_another_attempt_would_lead_nowhere_all_end_for_that(runs: Callable[..., list[Run]]) -> None:
    made = runs(("waits",), ("nccl",), ("waits",), pause=None)
    cause = Cause(code="no-progress", message=f"It comes no further than {SECRET}.", action="Look.")
    made[0].given_up = Failure(122, cause)
    ended(made)
    for each in made:
        assert each.desk.state.given_up is not None
        assert (each.desk.outcome().exit_code, each.desk.outcome().phase) == (122, "Failed")
    for each in made[1:]:
        assert each.desk.state.given_up is not None
        assert SECRET not in each.desk.state.given_up.cause.message


def test_when_all_are_done_nobody_is_asked(runs: Callable[..., list[Run]]) -> None:
    made = runs(("well",), ("well",), ("well",))
    ended(made)
    assert [each.tried for each in made] == [[1]] * 3
    assert made[0].asked == []


@pytest.mark.parametrize("number", [0, 1])
def test_a_node_that_is_asked_to_end_while_it_waits_ends_the_hope_of_all(
    runs: Callable[..., list[Run]], number: int
) -> None:
    made = runs(("nccl, later", "well"), ("nccl, later", "well"), ("waits", "well"))
    first, other = made[number], made[1 - number]
    until(lambda: all(each.desk.state.running for each in made))
    first.pause = None
    first.desk.hear(Signalled(15))
    ended(made)
    assert [each.tried for each in made] == [[1]] * 3
    assert other.ended_as == (143, "peer-stopped")


def test_a_node_that_was_done_and_is_asked_to_end_cannot_begin_again(runs: Callable[..., list[Run]]) -> None:
    made = runs(("nccl, later",), ("well",))
    until(lambda: made[1].company._said is not None)
    made[1].desk.hear(Signalled(15))
    made[1].end()
    until(lambda: made[0].meeting.table and made[0].meeting.table.hopeless)
    made[0].go()
    ended(made)
    assert (made[0].ended_as, made[0].asked) == ((3, ""), [])


def test_without_number_0_nobody_begins_again_and_it_is_said(opened: ExitStack) -> None:
    port = free_port()
    number_0 = Process(0, 3, port)
    opened.callback(number_0.close)
    made = [Run(known(number, 3, port), "waits").start() for number in (1, 2)]
    for each in made:
        opened.callback(each.close)
        until(lambda each=each: each.desk.state.running)  # type: ignore[misc]
    number_0.signal(signal.SIGKILL)
    ended(made)
    assert [each.ended_as for each in made] == [(143, "peer-lost")] * 2
    for each in made:
        assert any("worker-0, which would decide on it, is gone." in line for line in each.report.lines)


def test_number_0_that_leaves_while_others_wait_holds_nobody_up(runs: Callable[..., list[Run]]) -> None:
    made = runs(("well",), ("well",), ("nccl, later",))
    until(lambda: made[1].company._said is not None and made[0].company._said is not None)
    made[0].meeting._post.finish()
    made[1].end()
    assert made[1].ended_as == (0, "")
    for each in made:
        until(lambda each=each: each.go() or not each.thread.is_alive())  # type: ignore[misc]


def test_a_launcher_in_place_of_one_that_is_gone_takes_part_in_the_next_attempt(
    runs: Callable[..., list[Run]], opened: ExitStack
) -> None:
    made = runs(("waits", "waits"), ("waits",), ("waits", "waits"), rhythm=QUICK)
    until(lambda: all(each.desk.state.released for each in made))
    made[1].meeting._post.finish()
    new = Run(made[1].company._plan.rendezvous, "waits", rhythm=QUICK)
    opened.callback(new.close)
    new.start()
    until(lambda: all(each.desk.state.running for each in (made[0], new, made[2])))
    assert [each.desk.state.attempt for each in (made[0], new, made[2])] == [2, 2, 2]
    assert made[0].asked[0].cause.code == "peer-lost"
    for each in (made[0], new, made[2]):
        each.go()
    ended([made[0], new, made[2]])


def test_a_node_that_does_not_come_back_is_waited_for_and_then_named(runs: Callable[..., list[Run]]) -> None:
    made = runs(("waits", "waits"), ("waits",), ("waits", "waits"), rhythm=QUICK, peers_s=2.0)
    until(lambda: all(each.desk.state.released for each in made))
    made[1].meeting._post.finish()
    for each in (made[0], made[2]):
        each.end()
        assert each.desk.state.peer is not None
        cause = each.desk.state.peer.failure.cause
        assert cause.code == "peers-missing"
        assert cause.message.startswith(
            "worker-1 did not come back to worker-0 within 2 s, which listens at 127.0.0.1:"
        )
        assert cause.message.endswith(", after an attempt had failed.")
        assert each.tried == [1, 2]


def test_what_is_said_of_an_attempt_is_heard_when_this_run_has_begun_it_and_nothing_of_the_last_one() -> None:
    heard: list[Event] = []
    ear = Ear(("worker-0", "worker-1"), 1, heard.append, lambda text, level: None)
    old, new = (Ended(attempt=n, number=0, parting=Parting(attempt=n, how="failed", exit_code=n)) for n in (1, 2))
    ear.take(Again(attempt=2))
    ear.take(new)
    ear.take(Final(attempt=2))
    assert (ear.attempt, ear.final, [type(each).__name__ for each in heard]) == (2, False, ["Woken", "Woken"])
    ear.wait(2)
    ear.take(old)
    ear.take(Released(attempt=2))
    assert len(heard) == 2
    ear.go()
    ended, released = heard[2:]
    assert isinstance(ended, PeerEnded)
    assert (ended.failure.exit_code, type(released).__name__) == (2, "Released")


# stillness


def test_all_show_where_they_stand_and_number_0_sums_it_up_for_all(runs: Callable[..., list[Run]]) -> None:
    made = runs(("waits",), ("waits",), pause=None)
    until(lambda: all(each.desk.state.running for each in made))
    found: queue.Queue[Mapping[int, str]] = queue.Queue()
    for number, each in enumerate(made):
        each.company.watch(lambda each=each, number=number: each.company.stood(f"{number} {SECRET}"), found.put)  # type: ignore[misc]
        each.company.quiet(True)
    shown = found.get(timeout=PATIENCE_S)
    assert shown.keys() == {0, 1}
    assert not any(SECRET in text for text in shown.values())
    made[0].company.tell(f"1 of 2 waits for {SECRET}")
    for each in made:
        until(lambda each=each: any("1 of 2 waits for" in line for line in each.report.lines))  # type: ignore[misc]
        assert SECRET not in "".join(each.report.lines)
    made[0].company.hung(Cause(code="hung", message=f"It hangs with {SECRET}.", action="Look."))
    for each in made:
        each.end()
        assert each.desk.state.hung is not None
        assert SECRET not in each.desk.state.hung.message


def test_what_shows_too_much_shows_nothing(runs: Callable[..., list[Run]]) -> None:
    made = runs(("waits",), ("waits",))
    until(lambda: all(each.desk.state.running for each in made))
    found: queue.Queue[Mapping[int, str]] = queue.Queue()
    made[1].company.stood("nobody has asked")
    for each in made:
        each.company.watch(lambda each=each: each.company.stood("x" * 20_000), found.put)  # type: ignore[misc]
        each.company.quiet(True)
    assert found.get(timeout=PATIENCE_S) == {0: "", 1: ""}
    for each in made:
        each.go()
