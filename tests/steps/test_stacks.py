"""Where every process stands: asked of real ones, by the real py-spy, and of spies that fail, hang or are missing."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from fake_processes import FakeClock, FakeProcesses
from frozen import freezable
from talking import PATIENCE_S, Talking, becomes, exit_of, state_of

from launcher.adapters.process import SystemProcesses
from launcher.core.kin import Relative
from launcher.core.lifecycle import Exited
from launcher.stacks import SPIES, SPY_S, Stacks
from launcher.stacks.outside import LINES, from_outside, left_behind
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPY = shutil.which("py-spy", path=f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}")
STUCK = (
    "import signal\n"
    "def waits_for_a_peer():\n"
    "    print('ready', flush=True)\n"
    "    while True: signal.pause()\n"
    "waits_for_a_peer()\n"
)


class Place:
    """Real children, and what the desk does about stacks: events are passed on, and a tick follows each batch."""

    def __init__(self, processes: SystemProcesses, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.processes = processes
        self.folder = folder
        self.log = LogFile(str(folder / "log"))
        self._caplog = caplog
        self._fd = os.open(folder / "err", os.O_WRONLY | os.O_CREAT)
        self._talking: list[Talking] = []
        self.stacks = self.with_spy(None)

    def close(self) -> None:
        self.log.close()
        os.close(self._fd)
        for one in self._talking:
            one.said.close()

    def with_spy(self, spy: str | None) -> Stacks:
        self.stacks = Stacks(self.processes, spy, {"MARK": "ours"}, Outlet(self._fd, "stderr"), self.log)
        return self.stacks

    def child(self, script: str, *program: str) -> Talking:
        """One that has said its first word."""
        self._talking.append(Talking(self.processes, script, *program))
        return self._talking[-1]

    def python(self, script: str = STUCK) -> Talking:
        child = self.child(script, sys.executable, "-c")
        assert child.line() == "ready"
        return child

    def turn(self, now: float | None = None) -> list[Exited]:
        exits = [event for event in self.processes.wait(0.2) if isinstance(event, Exited)]
        for event in exits:
            self.stacks.exited(event)
        self.stacks.tick(time.monotonic() if now is None else now)
        return exits

    def answer(self, *pids: int) -> None:
        self.stacks.ask(pids)
        self.stacks.tick(time.monotonic())
        end = time.monotonic() + PATIENCE_S
        while self.stacks.deadline is not None:
            assert time.monotonic() < end
            self.turn()

    def wrote(self, name: str = "err") -> str:
        return (self.folder / name).read_text()

    def told(self) -> str:
        return "\n".join(record.getMessage() for record in self._caplog.records)


@pytest.fixture
def place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Place]:
    with SystemProcesses() as processes:
        made = Place(processes, tmp_path, caplog)
        yield made
        made.close()


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[tuple[Outlet, LogFile]]:
    log = LogFile(str(tmp_path / "log"))
    yield Outlet(2, "stderr"), log
    log.close()


def script(tmp_path: Path, text: str) -> str:
    """A spy that does something else; it is called with `dump --pid N`."""
    path = tmp_path / "spy"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return str(path)


def relative(pid: int, name: str = "sh", state: str = "S", *, catches_quit: bool = False) -> Relative:
    return Relative(pid=pid, parent=1, name=name, state=state, threads=1, waits_in="do_wait", catches_quit=catches_quit)


needs_spy = pytest.mark.skipif(SPY is None, reason="py-spy is not installed")


@needs_spy
def test_a_python_that_is_stuck_tells_where(place: Place) -> None:
    child = place.python()
    place.with_spy(SPY)
    place.answer(child.pid)
    if "could not be looked into" in place.told() and os.geteuid() != 0:
        pytest.skip("no right to trace a process here")
    assert f"stacks of process {child.pid} (python" in place.told()
    assert "waits_for_a_peer" in place.wrote("log")
    assert place.wrote("err") == place.wrote("log")
    becomes(lambda: state_of(child.pid) == "S")


def test_who_catches_a_quit_shows_its_own_and_is_not_looked_into(place: Place) -> None:
    keen = place.python(f"import faulthandler\nimport signal\nfaulthandler.register(signal.SIGQUIT)\n{STUCK}")
    deaf = place.child("exec sleep 100")
    becomes(lambda: place.processes.family(deaf.pid)[0].name == "sleep")
    place.with_spy("/no/such/spy")
    place.answer(keen.pid, deaf.pid)
    assert "most recent call first" in keen.line()
    assert "waits_for_a_peer" in keen.line()
    assert f"{deaf.pid} sleep: " in place.told()
    assert "2 processes; 1 get SIGQUIT and show their own, 0 are looked into" in place.told()


@pytest.mark.parametrize("text", [None, "echo Permission denied >&2; exit 1"])
def test_without_a_spy_that_can_a_python_is_described(place: Place, text: str | None) -> None:
    child = place.python()
    place.with_spy("/no/such/spy" if text is None else script(place.folder, text))
    place.answer(child.pid)
    assert f"stacks: {child.pid} python" in place.told()
    assert ("could not be looked into (exit code 1)" in place.told()) is (text is not None)
    assert ("Permission denied" in place.wrote()) is (text is not None)


def test_a_spy_that_hangs_is_killed_and_what_it_stopped_goes_on(place: Place) -> None:
    child = place.python()
    stacks = place.with_spy(script(place.folder, 'kill -STOP "$3"; echo $$; exec sleep 100'))
    stacks.ask((child.pid,))
    now = time.monotonic()
    stacks.tick(now)
    becomes(lambda: state_of(child.pid) == "T" and place.wrote().endswith("\n"))
    spy = int(place.wrote())
    place.turn(now + SPY_S / 2)
    assert stacks.deadline == now + SPY_S, "its time is not over"
    place.turn(now + SPY_S)
    assert state_of(child.pid) != "T"
    becomes(lambda: bool(place.turn()) or state_of(spy) == "gone")
    assert f"process {child.pid} could not be looked into within 10 s" in place.told()
    assert f"stacks: {child.pid} python" in place.told()
    assert stacks.deadline is None


def test_when_it_is_over_no_spy_is_left(place: Place) -> None:
    children = [place.python() for _ in range(2)]
    stacks = place.with_spy(script(place.folder, "echo $$; exec sleep 100"))
    stacks.ask([child.pid for child in children])
    stacks.tick(time.monotonic())
    becomes(lambda: place.wrote().endswith("\n"))
    spy = int(place.wrote())
    stacks.over()
    assert stacks.deadline is None
    becomes(lambda: any(event.pid == spy for event in place.turn()))
    stacks.over()
    assert state_of(spy) == "gone"
    assert place.wrote() == f"{spy}\n", "the second is not looked into"
    assert "T" not in {state_of(child.pid) for child in children}


def test_a_spy_does_not_keep_the_leftovers_of_a_child_from_being_found(place: Place) -> None:
    processes = place.processes
    child = place.child("setsid sh -c 'echo $$; exec sleep 100' &\nwait")
    left = int(child.line())
    python = place.python()
    stacks = place.with_spy(script(place.folder, "exec sleep 100"))
    stacks.ask((python.pid,))
    stacks.tick(time.monotonic())
    for one in (python, child):
        assert processes.send(one.pid, signal.SIGKILL)
        exit_of(processes, one.pid)
    stacks.over()
    assert processes.signal(child.pid, signal.SIGTERM)
    becomes(lambda: bool(processes.wait(0)) or state_of(left) == "gone")


def test_one_request_is_answered_at_a_time(sinks: tuple[Outlet, LogFile], caplog: pytest.LogCaptureFixture) -> None:
    processes = FakeProcesses(FakeClock())
    processes.relatives = {7: [relative(7, "python"), relative(8, "python")]}
    stacks = Stacks(processes, "/spy", {}, *sinks)
    stacks.ask((7,))
    stacks.ask((7,))
    assert "still being answered" in caplog.text
    stacks.tick(0.0)
    stacks.ask((7,))
    assert [argv for argv, _, _ in processes.started] == [("/spy", "dump", "--pid", "7", "--full-filenames")]
    stacks.over()
    stacks.ask((7,))
    stacks.tick(0.0)
    assert len(processes.started) == 2, "the next one is"
    stacks.over()


def test_what_stands_still_is_looked_into_without_stopping_it(sinks: tuple[Outlet, LogFile]) -> None:
    processes = FakeProcesses(FakeClock())
    for state in "DT":
        processes.relatives = {7: [relative(7, "python", state)]}
        stacks = Stacks(processes, "/spy", {}, *sinks)
        stacks.ask((7,))
        stacks.tick(0.0)
        assert processes.started.pop()[0][-1] == "--nonblocking"
        stacks.over()
    assert (7, signal.SIGCONT) not in processes.sent, "what others stopped stays so"


def test_a_large_family_is_told_in_part(sinks: tuple[Outlet, LogFile], caplog: pytest.LogCaptureFixture) -> None:
    processes = FakeProcesses(FakeClock())
    family = [relative(pid, "python" if pid < SPIES + 5 else "worker") for pid in range(LINES + SPIES + 3)]
    processes.relatives = {7: [*family, relative(999, state="Z")]}
    stacks = Stacks(processes, "/spy", {}, *sinks)
    stacks.ask((7, 7))
    stacks.over()
    assert caplog.text.count("(state S)") == LINES
    assert "3 more processes are left out" in caplog.text
    assert f"{SPIES} are looked into" in caplog.text
    lines = left_behind(processes, 7)
    assert len(lines) == LINES + 1
    assert lines[-1] == f"{SPIES + 3} more processes are left out"
    assert left_behind(processes, 8) == []


def test_threads_are_told_by_what_they_do(tmp_path: Path) -> None:
    for number in range(600):
        task = tmp_path / "7" / "task" / str(number)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{number} (a) Z b) {'R' if number % 9 == 0 else 'S'} 1 2")
        (task / "wchan").write_text("0" if number % 9 == 0 else "futex_wait_queue")
    stuck = tmp_path / "7" / "task" / "17"
    (stuck / "stat").write_text("17 (a) Z b) D 1 2")
    (stuck / "stack").write_text("".join(f"[<0>] step_{number}\n" for number in range(30)))
    many = msgspec.structs.replace(relative(7, state="D"), threads=600)
    lines = from_outside(many, str(tmp_path))
    assert lines[1].startswith("7 threads: ")
    assert "S in futex_wait_queue, " in lines[1]
    assert "1 D in futex_wait_queue" in lines[1]
    assert lines[1].endswith(", 88 others")
    assert lines[2] == "7 in the kernel: [<0>] step_0"
    assert len(lines) == 18
    assert len(from_outside(many, str(tmp_path / "none"))) == 1


def test_what_waits_in_the_kernel_is_named(place: Place) -> None:
    processes = place.processes
    with freezable(place.folder) as frozen:
        frozen.freeze()
        try:
            child = place.python(
                "def writes_a_checkpoint():\n"
                "    print('ready', flush=True)\n"
                f"    open({frozen.path + '/checkpoint'!r}, 'w')\n"
                "writes_a_checkpoint()\n"
            )
            becomes(lambda: state_of(child.pid) == "D")
            place.with_spy(SPY)
            place.answer(child.pid)
            if SPY is not None and "could not be looked into" not in place.told():
                assert "writes_a_checkpoint" in place.wrote()
            assert processes.signal(child.pid, signal.SIGKILL)
            ends = [event for event in processes.wait(0.3) if isinstance(event, Exited)]
            assert ends == [], "nothing ends it"
            line, *rest = left_behind(processes, child.pid)
            assert line.startswith(f"{child.pid} python")
            assert "waits in the kernel and cannot be killed (state D) in " in line
            assert all(line.startswith(f"{child.pid} in the kernel: ") for line in rest)
        finally:
            frozen.thaw()
        assert exit_of(processes, child.pid).signal == signal.SIGKILL
        assert left_behind(processes, child.pid) == []


def test_one_thread_in_the_kernel_holds_a_whole_process_and_is_named(place: Place) -> None:
    processes = place.processes
    with freezable(place.folder) as frozen:
        frozen.freeze()
        try:
            child = place.python(
                "import signal, threading\n"
                f"threading.Thread(target=open, args=({frozen.path + '/checkpoint'!r}, 'w')).start()\n"
                "print('ready', flush=True)\n"
                "signal.pause()\n"
            )
            becomes(lambda: any(" 1 D in " in line for line in from_outside(processes.family(child.pid)[0])))
            assert processes.signal(child.pid, signal.SIGKILL)
            # Its first thread ends, and in /proc the whole process looks as if it had.
            becomes(lambda: state_of(child.pid) == "Z")
            assert list(processes.wait(0)) == []
            line, *_ = left_behind(processes, child.pid)
            assert "waits in the kernel and cannot be killed (state D) in " in line
        finally:
            frozen.thaw()
        assert exit_of(processes, child.pid).signal == signal.SIGKILL
