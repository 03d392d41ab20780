"""A container in the care of `launcher.local`: an engine that only notes, and streams that somebody reads or not."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from fake_processes import FakeClock, FakeProcesses

from launcher.core.container import Container, End
from launcher.core.lifecycle import Signalled, Woken
from launcher.local import Attendance
from launcher.streams.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.core.lifecycle import Event
    from launcher.protocols import Session, Sinks

WANTED = Container(
    image="image",
    name="one",
    argv=(),
    variables={},
    files={},
    mounts=(),
    top=None,
    make=(),
    owner=None,
    user=None,
    network=None,
    labels={},
    gpus=None,
    devices=(),
    groups=(),
    cpus=None,
    memory_bytes=None,
    shm_bytes=None,
    confined=True,
    stop_s=30,
)


class FakeEngine:
    """One container that ends when the test says so."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.sinks: Sinks
        self.ended: End | None = None

    def make(self, wanted: Container) -> str:
        return wanted.name

    def start(self, container: str, sinks: Sinks, woken: Callable[[], object]) -> Callable[[], End | None]:
        self.sinks = sinks
        return lambda: self.ended

    def signal(self, container: str, number: int) -> None:
        self.sent.append(number)

    def enter(
        self,
        container: str,
        argv: Sequence[str],
        size: tuple[int, int] | None,
        sinks: Sinks,
        woken: Callable[[], object],
    ) -> Session:
        raise NotImplementedError

    def remove(self, container: str) -> None:
        self.ended = None


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, Outlet]]]:
    """Where to read, and an outlet: of stdout and of stderr."""
    with ExitStack() as stack:
        made = []
        for name in ("stdout", "stderr"):
            read, write = os.pipe()
            outlet = Outlet(write, name)
            for fd in {read, write, outlet._own}:
                stack.callback(os.close, fd)
            made.append((read, outlet))
        yield made


def told_after_three_times(pipes: list[tuple[int, Outlet]], before: bytes, lines: Sequence[bytes]) -> None:
    """The container says `before`, is asked three times, says the lines, and ends."""
    engine, clock = FakeEngine(), FakeClock()

    def says() -> Sequence[Event]:
        engine.sinks[1](before)
        return [Signalled(signal.SIGINT)] * 3

    def ends() -> Sequence[Event]:
        for line in lines:
            engine.sinks[1](line)
        engine.ended = End(code=130, out_of_memory=False)
        return [Woken()]

    attendance = Attendance(engine, FakeProcesses(clock, says, ends), clock, (pipes[0][1], pipes[1][1]))
    end, _ = attendance.run(WANTED)
    assert (end.code, engine.sent) == (130, [signal.SIGINT] * 3)
    assert attendance.explained


LAST = (b"stopped by SIGINT\n", b"error: stopped\n")


def test_who_reads_gets_the_last_lines_after_asking_a_third_time(pipes: list[tuple[int, Outlet]]) -> None:
    told_after_three_times(pipes, b"begun\n", LAST)
    assert os.read(pipes[1][0], 1 << 16) == b"begun\nstopped by SIGINT\nerror: stopped\n"


def test_who_reads_nothing_keeps_nobody_after_asking_a_third_time(pipes: list[tuple[int, Outlet]]) -> None:
    read, outlet = pipes[1]
    while outlet._takes(0):
        os.write(outlet._own, b"x" * 4096)
    told_after_three_times(pipes, b"", LAST)
    assert b"error" not in os.read(read, 1 << 20)
