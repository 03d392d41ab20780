"""Signals in numbers, children in numbers, and what stops and goes on: the process adapter under a storm."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from talking import PATIENCE_S, Talking, becomes, exit_of, sh, state_of, until

from launcher.adapters.process import REAPED_AT_ONCE, SystemProcesses, kin
from launcher.core.lifecycle import Exited, Signalled

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = (sys.executable, "-c")


def born(processes: SystemProcesses) -> list[int]:
    """Our children that were not there before: a test before this one may have left a server for the ones to come."""
    return [pid for pid in kin.children() if pid not in processes._inherited]


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_WRONLY)
    yield fd
    os.close(fd)


def waiting(processes: SystemProcesses) -> int:
    """How many signals the pipe holds."""
    (count,) = struct.unpack("i", fcntl.ioctl(processes._inbox._pipe, termios.FIONREAD, bytes(4)))
    return int(count)


def fill(processes: SystemProcesses, but: int = 0) -> None:
    """Until the pipe takes no more, or `but` so many."""
    while waiting(processes) < processes._inbox._room - but:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGWINCH)


def test_a_flood_of_other_signals_hides_neither_a_stop_nor_an_end(processes: SystemProcesses, null: int) -> None:
    fill(processes)
    pid = sh(processes, "exit 3", null)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.kill(os.getpid(), signal.SIGTERM)
    events = list(processes.wait(0))
    assert waiting(processes) == 0
    assert [event for event in events if event == Signalled(signal.SIGTERM)] == [Signalled(signal.SIGTERM)]
    assert [event.code for event in events if isinstance(event, Exited)] == [3]
    assert len(events) == 4, "of the flood, one of each kind is told"
    assert list(processes.wait(0)) == [], "nothing is told twice"


def test_a_stop_is_heard_while_another_process_floods(processes: SystemProcesses, null: int) -> None:
    flood = "import os, signal\nhere = os.getppid()\nwhile True: os.kill(here, signal.SIGUSR1)"
    pid = processes.start((*PYTHON, flood), {}, "/", null, null)
    # The main thread is busy, and what comes meanwhile has to wait.
    fill(processes, but=1000)
    while waiting(processes) < processes._inbox._room:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    assert Signalled(signal.SIGTERM) in processes.wait(0)
    for _ in range(3):
        seen = until(processes, lambda event: event == Signalled(signal.SIGUSR1))
        assert len(seen) < 10, "a flood makes a few events, not thousands"
    assert processes.signal(pid, signal.SIGKILL)
    assert exit_of(processes, pid).signal == signal.SIGKILL


def test_what_stops_and_what_continues_keeps_its_order(processes: SystemProcesses) -> None:
    sent = [signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR1, signal.SIGCONT, signal.SIGUSR1, signal.SIGTSTP]
    for number in sent:
        os.kill(os.getpid(), number)
    told = [event.number for event in processes.wait(PATIENCE_S) if isinstance(event, Signalled)]
    assert told == [signal.SIGUSR1, signal.SIGCONT, signal.SIGTSTP], "who is continued before it has stopped goes on"


def test_a_crowd_of_ended_orphans_hides_no_signal(processes: SystemProcesses, null: int) -> None:
    crowd = REAPED_AT_ONCE * 2 + 100
    child = sh(processes, f"i={crowd}; while [ $i -gt 0 ]; do (: &); i=$((i - 1)); done", null)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    becomes(lambda: len(born(processes)) >= crowd and not any(kin.lives(pid) for pid in born(processes)))
    os.kill(os.getpid(), signal.SIGTERM)
    assert Signalled(signal.SIGTERM) in processes.wait(0)
    assert len(born(processes)) > REAPED_AT_ONCE, "it looked up again before all were reaped"
    rounds = 0
    while born(processes):
        assert processes.wait(PATIENCE_S), "no signal comes for the others: it remembers them"
        rounds += 1
    assert rounds <= 3
    assert list(processes.wait(0)) == []


def test_orphans_are_reaped_while_they_storm(processes: SystemProcesses, null: int) -> None:
    script = "i=100000; while [ $i -gt 0 ]; do (: &); (setsid true &); i=$((i - 1)); done"  # for longer than we wait
    storms = {sh(processes, script, null) for _ in range(3)}
    met, gone = set[int](), set[int]()

    def hundreds_are_gone() -> bool:
        processes.wait(PATIENCE_S)
        there = set(born(processes)) - storms
        gone.update(met - there)
        met.update(there)
        return len(gone) > 500

    # Only who was reaped is gone; how many are there at once is for the machine to decide.
    becomes(hundreds_are_gone)
    assert all(kin.lives(pid) for pid in storms), "they are not left until the end"
    for pid in storms:
        assert processes.signal(pid, signal.SIGKILL)
    while storms:
        storms -= {event.pid for event in processes.wait(PATIENCE_S) if isinstance(event, Exited)}
    while processes.signal(0, 0) or born(processes):
        processes.wait(0.1)


def test_a_grandchild_that_moves_from_session_to_session_is_found_and_stopped(
    processes: SystemProcesses, null: int
) -> None:
    script = (
        "import os, sys\n"
        "for _ in range(50):\n"
        "    if os.fork(): os._exit(0)\n"
        "    os.setsid()\n"
        "print(os.getpid(), flush=True)\n"
        "os.execvp('sleep', ['sleep', '100'])\n"
    )
    child = Talking(processes, script, *PYTHON)
    deep = int(child.line())
    child.said.close()
    exit_of(processes, child.pid)
    becomes(lambda: bool(processes.wait(0)) or born(processes) == [deep])
    while processes.signal(child.pid, signal.SIGKILL):
        assert processes.wait(PATIENCE_S)
    becomes(lambda: bool(processes.wait(0)) or state_of(deep) == "gone")


def test_children_that_end_at_once_are_all_told(processes: SystemProcesses, null: int) -> None:
    for _ in range(100):
        assert exit_of(processes, processes.start(("true",), {"PATH": os.defpath}, "/", null, null)).code == 0
    assert born(processes) == []


def test_nothing_wakes_while_nothing_happens(processes: SystemProcesses, null: int) -> None:
    pid = sh(processes, "exec sleep 100", null)
    before = switches()
    assert list(processes.wait(0.5)) == []
    assert switches() - before <= 2, "one wait, however long, is one sleep"
    processes.signal(pid, signal.SIGKILL)


def switches() -> int:
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))


def test_every_start_is_enrolled(null: int) -> None:
    enrolled: list[int] = []
    with SystemProcesses(enrolled.append) as processes:
        pid = sh(processes, "exit 0", null)
        assert enrolled == [pid]
        exit_of(processes, pid)


# stopping and going on

CATCHING = (
    "import os, signal\n"
    "signal.signal(signal.SIGTSTP, lambda *_: os.write(1, b'caught\\n'))\n"
    "print(os.getpid(), flush=True)\n"
    "while True: signal.pause()\n"
)


def test_a_stop_from_a_terminal_stops_who_does_not_catch_it(processes: SystemProcesses) -> None:
    child = Talking(processes, "trap '' TSTP; sleep 100 & echo $!; trap - TSTP; sleep 100 & echo $!; wait")
    deaf, plain = int(child.line()), int(child.line())
    # The shell may not have come to its last words yet; a signal before them stops it all the same.
    assert processes.signal(child.pid, signal.SIGTSTP)
    becomes(lambda: state_of(child.pid) == state_of(plain) == "T")
    assert state_of(deaf) != "T", "who ignores it is left alone"
    assert processes.signal(child.pid, signal.SIGCONT)
    becomes(lambda: "T" not in {state_of(child.pid), state_of(plain)})
    assert processes.signal(child.pid, signal.SIGKILL)
    child.said.close()


def test_a_stop_from_a_terminal_is_heard_by_who_catches_it(processes: SystemProcesses) -> None:
    child = Talking(
        processes, f"import subprocess\np = subprocess.Popen(['sleep', '100'])\nprint(p.pid)\n{CATCHING}", *PYTHON
    )
    plain, pid = int(child.line()), int(child.line())
    assert pid == child.pid
    assert processes.signal(child.pid, signal.SIGTSTP)
    assert child.line() == "caught"
    becomes(lambda: state_of(plain) == "T")
    assert state_of(child.pid) != "T"
    assert processes.signal(child.pid, signal.SIGKILL)
    child.said.close()


BARE = """
import os, resource, signal
from launcher.adapters.process import SystemProcesses, _send_safely
with SystemProcesses() as processes:
    pids = [processes.start(("sleep", "100"), dict(os.environ), "/", 1, 2) for _ in range(2)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    print(*(_send_safely(pid, signal.SIGSTOP, lambda pid: pid == pids[0]) for pid in pids))
    print(processes.signal(pids[1], signal.SIGTSTP), list(processes.family(pids[0])), processes.send(pids[0], 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    print(*(os.waitid(os.P_PID, pid, os.WSTOPPED).si_pid == pid for pid in pids))
"""


def test_without_a_file_to_spare_a_stop_still_works_and_nothing_breaks() -> None:
    said = subprocess.check_output((*PYTHON, BARE), text=True, timeout=PATIENCE_S)
    assert said.splitlines() == ["True False", "True [] False", "True True"]


SUSPENDING = """
import os, signal, sys
from launcher.adapters.process import SystemProcesses
from launcher.core.lifecycle import Signalled
with SystemProcesses() as processes:
    print("ready", flush=True)
    processes.suspend()
    print(*(event.number for event in processes.wait(0) if isinstance(event, Signalled)), flush=True)
"""


def test_the_launcher_itself_stops_until_it_is_continued() -> None:
    with subprocess.Popen((*PYTHON, SUSPENDING), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        stopped = os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert stopped is not None
        assert stopped.si_status == signal.SIGSTOP
        os.kill(child.pid, signal.SIGCONT)
        assert child.stdout.read() == f"{signal.SIGCONT:d}\n"
    assert child.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs root")
def test_nobody_could_continue_pid_1_so_it_goes_on() -> None:
    said = subprocess.run(
        ("unshare", "--pid", "--fork", "--mount-proc", *PYTHON, SUSPENDING),
        stdout=subprocess.PIPE,
        check=True,
        timeout=PATIENCE_S,
    )
    assert said.stdout == b"ready\n\n"
