"""Between two attempts, while files do not answer: signals are heard, and nothing is waited for long."""

from __future__ import annotations

import threading
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import pytest
from fake_processes import FakeClock, FakeProcesses
from fake_store import make_plan
from msgspec.structs import replace

from launcher.attempts import Attempts
from launcher.core.lifecycle import Entered, Exited, Phase, Signalled, Started
from launcher.core.plan import Process
from launcher.core.record import Cause
from launcher.core.resilience import Resilience, Retrying
from launcher.gain import Gains
from launcher.report import Report
from launcher.supervise import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from launcher.core.gain import Mark
    from launcher.core.plan import Plan
    from launcher.gain import Aside, Seen

BOOT = Process(rank=0, local_rank=0, argv=("boot",), env={}, cwd="/")
ECC = Cause(code="gpu-ecc", message="The GPU reports an error.", action="Take another node.")


class Slow(Gains):
    """Outputs whose look ends when it is let go; `error` is what then comes of it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.go = threading.Event()
        self.error: Exception | None = None
        self.go.set()

    def mark(self, aside: Aside = lambda look: look()) -> Mark:
        def slowly() -> Seen:
            assert self.go.wait(30)
            if self.error is not None:
                raise self.error
            return (), None

        return super().mark(lambda _: aside(slowly))


class World:
    """As much of a world as attempts need."""

    hardware = None

    def __init__(self, processes: FakeProcesses) -> None:
        self.processes = processes
        self.clock = processes.clock
        self.log = self
        self.parts = 0

    def part(self) -> None:
        self.parts += 1


class Place:
    """A job of which the first attempt has failed by its hardware."""

    def __init__(self, folder: Path) -> None:
        (folder / "log").mkdir()
        resilience = Resilience(retrying=Retrying(most=3))
        plan = replace(make_plan(str(folder)), resilience=resilience, processes=(BOOT,))
        self.processes = FakeProcesses(FakeClock())
        self.world = World(self.processes)
        world: Any = self.world
        self.desk = Desk(self.processes, self.processes.clock, 20)
        self.gains = Slow(plan)
        report = Report(plan, self.processes.clock, [])
        self.attempts = Attempts(plan, world, report, self.desk, None, gains=self.gains)
        self.processes.patient = True
        self.attempts.begin()
        self.processes.patient = False
        for event in (Entered(Phase.RUN), Started(7), Exited(7, 3)):
            self.desk.heed(event)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.gains.go.set()


def test_who_asks_for_the_end_while_it_is_looked_at_is_heard_and_the_failure_is_the_end(place: Place) -> None:
    place.gains.go.clear()
    place.processes.script = [[Signalled(SIGTERM)]]
    assert not place.attempts.again(ECC)
    assert (place.desk.state.attempt, place.desk.state.signals, place.world.parts) == (1, 1, 0)
    assert place.processes.clock.time == 1000
    assert (place.desk.outcome().phase, place.desk.outcome().exit_code) == ("Failed", 3)


def test_a_signal_that_has_come_by_then_is_heard_before_it_is_decided(place: Place) -> None:
    place.processes.pending = [(), [Signalled(SIGTERM)]]
    place.processes.patient = True
    assert not place.attempts.again(ECC)
    assert place.desk.outcome().exit_code == 3


def test_a_look_that_does_not_end_is_given_up_and_nothing_is_judged(place: Place) -> None:
    place.gains.go.clear()
    assert place.attempts.again(ECC)
    assert place.desk.state.attempt == 2


def test_a_defect_of_a_look_is_one_of_the_launchers(place: Place) -> None:
    place.gains.error = ZeroDivisionError("a defect")
    place.processes.patient = True
    with pytest.raises(ZeroDivisionError, match="a defect"):
        place.attempts.again(ECC)
