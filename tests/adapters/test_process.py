"""The process adapter with real children and real signals, inside the test's own process."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from talking import ENV, PATIENCE_S, Talking, exit_of, sh, until

from launcher.adapters.process import FORWARDED, SystemProcesses, kin
from launcher.core.errors import BootError
from launcher.core.lifecycle import Exited, Signalled, Woken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_WRONLY)
    yield fd
    os.close(fd)


def ignored(line: str) -> int:
    """The ignored signals of a SigIgn line; 32 and 33 are the C library's own and no program's to set."""
    return int(line.split()[1], 16) & ~(0b11 << 31)


@pytest.fixture
def talk(processes: SystemProcesses) -> Iterator[Callable[[str], Talking]]:
    made: list[Talking] = []

    def start(script: str) -> Talking:
        made.append(Talking(processes, script))
        return made[-1]

    yield start
    for one in made:
        one.said.close()


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [
        ("exit 0", 0, None),
        ("exit 3", 3, None),
        ("exit 255", 255, None),
        ("kill -9 $$", 137, 9),
        ("kill -15 $$", 143, 15),
        ("kill -6 $$", 134, 6),
    ],
)
def test_a_child_ends_with_its_own_code(
    processes: SystemProcesses, null: int, script: str, code: int, number: int | None
) -> None:
    ended = exit_of(processes, sh(processes, f"ulimit -c 0; {script}", null))
    assert (ended.code, ended.signal) == (code, number)
    assert ended.peak_rss_bytes is not None
    assert ended.peak_rss_bytes > 100_000


def test_a_child_has_its_own_session_default_signals_and_nothing_on_stdin(talk: Callable[[str], Talking]) -> None:
    child = talk("cat; cut -d' ' -f1,5,6 /proc/$$/stat; grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/$$/fd")
    assert child.line() == f"{child.pid} {child.pid} {child.pid}"
    assert child.line().split() == ["SigBlk:", "0" * 16]
    assert ignored(child.line()) == 0
    assert {int(fd) for fd in child.said.read().split()} <= {0, 1, 2, 10}, "no fd of ours; 10 is dash's own"


@pytest.mark.parametrize("number", FORWARDED)
def test_every_signal_to_the_launcher_is_an_event(processes: SystemProcesses, number: int) -> None:
    os.kill(os.getpid(), number)
    assert until(processes, lambda event: event == Signalled(number))


def test_signals_are_told_in_their_order(processes: SystemProcesses) -> None:
    sent = [signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1]
    for number in sent:
        os.kill(os.getpid(), number)
    assert list(processes.wait(PATIENCE_S)) == [Signalled(number) for number in sent]


def test_wait_is_over_after_its_time(processes: SystemProcesses) -> None:
    started = time.monotonic()
    assert list(processes.wait(0.05)) == []
    assert 0.05 <= time.monotonic() - started < PATIENCE_S
    assert list(processes.wait(0)) == []
    assert list(processes.wait(-1)) == []


def test_a_thread_can_wake_the_main_thread(processes: SystemProcesses) -> None:
    thread = threading.Thread(target=processes.wake)
    thread.start()
    assert list(processes.wait(PATIENCE_S)) == [Woken()]
    thread.join()


def test_no_number_of_wakes_crowds_out_a_signal(processes: SystemProcesses) -> None:
    for _ in range(70_000):
        processes.wake()
    os.kill(os.getpid(), signal.SIGTERM)
    assert list(processes.wait(PATIENCE_S)) == [Signalled(signal.SIGTERM), Woken()]


def test_a_signal_reaches_the_whole_group(processes: SystemProcesses, talk: Callable[[str], Talking]) -> None:
    child = talk("sh -c 'trap \"echo inner; exit\" TERM; echo ready; sleep 100 & wait' & trap 'wait' TERM; wait")
    assert child.line() == "ready"
    assert processes.signal(child.pid, signal.SIGTERM)
    assert child.line() == "inner"
    exit_of(processes, child.pid)


def test_a_quit_goes_only_to_a_process_that_handles_it(
    processes: SystemProcesses, talk: Callable[[str], Talking]
) -> None:
    deaf = talk("echo ready; exec sleep 100")
    keen = talk("trap 'echo got' QUIT; sleep 100 & echo ready; wait; wait")
    assert deaf.line() == "ready"
    assert keen.line() == "ready"
    assert processes.signal(deaf.pid, signal.SIGQUIT)
    assert processes.signal(keen.pid, signal.SIGQUIT)
    assert keen.line() == "got"
    assert processes.signal(deaf.pid, 0)
    assert processes.signal(deaf.pid, signal.SIGKILL)
    assert exit_of(processes, deaf.pid).signal == signal.SIGKILL


def test_nobody_is_left_of_a_child_that_ended_alone(processes: SystemProcesses, null: int) -> None:
    pid = sh(processes, "exit 0", null)
    exit_of(processes, pid)
    assert not processes.signal(pid, 0)
    assert not processes.signal(pid, signal.SIGKILL)
    assert not processes.signal(999_999_999, 0)


LEFTOVERS = {
    "in the group": "sleep 100 & echo $!",
    "double fork": "(sleep 100 & echo $!)",
    "own session": "setsid sh -c 'echo $$; exec sleep 100' &",
    "own session, double fork": "(setsid sh -c 'echo $$; exec sleep 100' &) &",
}


@pytest.mark.parametrize("script", LEFTOVERS.values(), ids=LEFTOVERS)
def test_leftovers_are_stopped_and_their_end_is_an_event(
    processes: SystemProcesses, talk: Callable[[str], Talking], script: str
) -> None:
    child = talk(f"{script}\nexit 4")
    left = int(child.line())
    assert exit_of(processes, child.pid).code == 4
    assert processes.signal(child.pid, 0)
    assert processes.signal(child.pid, signal.SIGTERM)
    until(processes, lambda event: event == Woken() and not os.path.exists(f"/proc/{left}"))
    assert not processes.signal(child.pid, 0)


def test_a_leftover_that_hides_below_a_leftover_comes_to_light(
    processes: SystemProcesses, talk: Callable[[str], Talking]
) -> None:
    child = talk("setsid sh -c 'setsid sleep 100 & echo $!; wait' &")
    deep = int(child.line())
    exit_of(processes, child.pid)
    while processes.signal(child.pid, signal.SIGKILL):
        assert processes.wait(PATIENCE_S)
    while os.path.exists(f"/proc/{deep}"):  # ended, and to be reaped by the next wait
        assert processes.wait(PATIENCE_S)


def test_the_leftovers_of_one_child_are_not_another_child(
    processes: SystemProcesses, talk: Callable[[str], Talking], null: int
) -> None:
    other = sh(processes, "sleep 100", null)
    child = talk("sleep 100 & echo $!")
    left = int(child.line())
    exit_of(processes, child.pid)
    assert processes.signal(child.pid, signal.SIGKILL)
    until(processes, lambda event: event == Woken() and not os.path.exists(f"/proc/{left}"))
    assert processes.signal(other, 0), "it was not touched"


class Unadopting(SystemProcesses):
    """Where prctl is not to be had."""

    def _adopt(self) -> None:
        return


@pytest.mark.skipif(os.getpid() == 1, reason="PID 1 adopts in any case")
def test_without_adoption_the_group_is_still_stopped() -> None:
    with Unadopting() as processes:
        child = Talking(processes, "sleep 100 & echo $!")
        child.line()
        exit_of(processes, child.pid)
        assert processes.signal(child.pid, signal.SIGTERM)
        assert child.said.read() == "", "its end of the pipe is closed: it has ended"
        child.said.close()


def test_children_of_others_are_left_to_them(processes: SystemProcesses, null: int) -> None:
    theirs = subprocess.Popen(["sh", "-c", "exit 7"])
    os.waitid(os.P_PID, theirs.pid, os.WEXITED | os.WNOWAIT)
    mine = sh(processes, "(sh -c 'exit 1' &) ; exit 5", null)
    assert exit_of(processes, mine).code == 5, "a foreign zombie does not hide ours"
    assert theirs.wait() == 7


def test_a_child_of_others_in_a_session_of_its_own_is_neither_reaped_nor_stopped(null: int) -> None:
    theirs = subprocess.Popen(["sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE, start_new_session=True)
    with SystemProcesses() as processes:
        mine = sh(processes, "exit 5", null)
        assert exit_of(processes, mine).code == 5
        assert not processes.signal(mine, signal.SIGKILL)
    theirs.communicate(b"go\n")
    assert theirs.returncode == 7


def test_no_child_is_lost_when_many_end_at_once(processes: SystemProcesses, null: int) -> None:
    pids = {sh(processes, f"exit {code}", null): code for code in range(40)}
    codes: dict[int, int] = {}
    while len(codes) < len(pids):
        codes |= {event.pid: event.code for event in processes.wait(PATIENCE_S) if isinstance(event, Exited)}
    assert codes == pids


def test_children_are_found_without_the_kernel_s_lists(processes: SystemProcesses, null: int) -> None:
    pid = sh(processes, "sleep 100", null)
    assert pid in kin._by_parent()[os.getpid()]
    assert set(kin._by_parent()[os.getpid()]) == set(kin.children())
    assert kin.session(999_999_999) == kin.group(999_999_999) == kin.parent(999_999_999) == -1
    assert not kin.takes(999_999_999, signal.SIGQUIT)
    assert kin._numbers("/no/such/folder") == []


# what cannot be started


def refused(processes: SystemProcesses, argv: tuple[str, ...], cwd: str = "/", env: dict[str, str] = ENV) -> BootError:
    with open(os.devnull, "wb") as out, pytest.raises(BootError) as caught:
        processes.start(argv, env, cwd, out.fileno(), out.fileno())
    assert caught.value.action
    return caught.value


def executable(path: Path, text: bytes, mode: int = stat.S_IRWXU) -> str:
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


def test_a_missing_program_is_127(processes: SystemProcesses, tmp_path: Path) -> None:
    by_name = refused(processes, ("no-such-program",))
    assert (by_name.exit_code, by_name.code) == (127, "program-not-found")
    assert ENV["PATH"] in str(by_name)
    by_path = refused(processes, ("./no-such-program",), str(tmp_path))
    assert (by_path.exit_code, by_path.code) == (127, "program-not-found")


def test_a_missing_interpreter_is_told_from_a_missing_program(processes: SystemProcesses, tmp_path: Path) -> None:
    error = refused(processes, (executable(tmp_path / "train", b"#!/no/such/shell\n"),))
    assert (error.exit_code, error.code) == (127, "interpreter-not-found")


def test_what_cannot_be_executed_is_126(processes: SystemProcesses, tmp_path: Path) -> None:
    plain = executable(tmp_path / "plain", b"#!/bin/sh\n", stat.S_IRUSR)
    assert (refused(processes, (plain,)).exit_code, refused(processes, (plain,)).code) == (
        126,
        "program-not-executable",
    )
    garbage = refused(processes, (executable(tmp_path / "garbage", b"\0\1\2"),))
    assert (garbage.exit_code, garbage.code) == (126, "program-format")


def test_a_missing_working_directory_is_named(processes: SystemProcesses, tmp_path: Path) -> None:
    missing = refused(processes, ("true",), str(tmp_path / "gone"))
    assert (missing.exit_code, missing.code) == (127, "cwd-unusable")
    assert str(tmp_path / "gone") in str(missing)
    (tmp_path / "file").touch()
    assert refused(processes, ("true",), str(tmp_path / "file")).exit_code == 126


def test_arguments_that_are_too_long_are_told_as_such(processes: SystemProcesses) -> None:
    error = refused(processes, ("true", "x" * 200_000))
    assert (error.exit_code, error.code) == (126, "arguments-too-long")


@pytest.mark.parametrize(("argument", "name"), [("a\0b", "A"), ("\ud800", "A"), ("a", "A=B")])
def test_arguments_that_no_kernel_takes(processes: SystemProcesses, argument: str, name: str) -> None:
    error = refused(processes, ("true", argument), env={**ENV, name: "x"})
    assert (error.exit_code, error.code) == (126, "argument-invalid")


def test_a_limit_is_named(tmp_path: Path) -> None:
    code = (
        "import os, resource\n"
        "from launcher.adapters.process import SystemProcesses\n"
        "from launcher.core.errors import BootError\n"
        "with SystemProcesses() as processes:\n"
        "    processes._adopt()\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))\n"
        "    try:\n"
        "        processes.start(('true',), dict(os.environ), '/', 1, 2)\n"
        "    except BootError as error:\n"
        "        print(error.exit_code, error.code, error)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.startswith("126 start-failed")
    assert "Too many open files" in said


# the adapter leaves the process as it was


def subreaper() -> int:
    flag = ctypes.c_int()
    ctypes.CDLL(None).prctl(37, ctypes.byref(flag), 0, 0, 0)
    return flag.value


def test_everything_is_restored(null: int) -> None:
    fds = set(os.listdir("/proc/self/fd"))
    handlers = {number: signal.getsignal(number) for number in (*FORWARDED, signal.SIGCHLD)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    was = subreaper()
    try:
        with SystemProcesses() as processes:
            assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "a blocked SIGTERM is unblocked"
            exit_of(processes, sh(processes, "exit 0", null))
            assert subreaper() == (0 if os.getpid() == 1 else 1)
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    processes.wake()  # a thread that was left behind: no harm
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert subreaper() == was
    assert signal.set_wakeup_fd(-1) == -1
    assert set(os.listdir("/proc/self/fd")) == fds


def test_closing_stops_what_still_runs() -> None:
    with SystemProcesses() as processes:
        child = Talking(processes, "setsid sh -c 'echo $$; exec sleep 100' & trap '' TERM; sleep 100; sleep 100")
        pids = (child.pid, int(child.line()))
        child.said.close()
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


def test_what_was_ignored_stays_ignored_but_sigterm(null: int) -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        with SystemProcesses() as processes:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert list(processes.wait(PATIENCE_S)) == [Signalled(signal.SIGTERM)]
            child = Talking(processes, "grep SigIgn /proc/$$/status")
            assert ignored(child.line()) == 1 << signal.SIGHUP - 1, "nohup holds for the boot process too"
            child.said.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
