"""Who belongs to a child, and what /proc tells of each: real processes, looked at from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from talking import PATIENCE_S, Talking, becomes, exit_of, state_of

from launcher.adapters.process import SystemProcesses, kin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from launcher.core.kin import Relative

NOBODY = 999_999_999
PYTHON = (sys.executable, "-c")


def by_pid(family: object) -> dict[int, Relative]:
    assert isinstance(family, list)
    return {one.pid: one for one in family}


def test_a_family_is_a_child_and_all_below_it(processes: SystemProcesses, talk: Callable[..., Talking]) -> None:
    other = talk("echo ready; exec sleep 100")
    child = talk("sleep 100 & echo $!; setsid sh -c 'sleep 100 & echo $!; wait' & wait")
    near, far = int(child.line()), int(child.line())
    other.line()
    family = processes.family(child.pid)
    assert family[0].pid == child.pid, "itself first"
    found = by_pid(family)
    assert {near, far} < found.keys()
    assert len(found) == 4
    assert found[near].parent == child.pid
    assert found[far].parent in found
    assert other.pid not in found
    assert [one.pid for one in processes.family(other.pid)] == [other.pid]
    assert list(processes.family(NOBODY)) == []


def test_a_family_has_its_orphans_and_outlives_its_child(
    processes: SystemProcesses, talk: Callable[..., Talking]
) -> None:
    child = talk("(sleep 100 & echo $!)")
    orphan = int(child.line())
    exit_of(processes, child.pid)
    assert [one.pid for one in processes.family(child.pid)] == [orphan]


def test_what_is_told_of_a_process(processes: SystemProcesses, talk: Callable[..., Talking]) -> None:
    child = talk(
        "import faulthandler, signal, threading\n"
        "faulthandler.register(signal.SIGQUIT)\n"
        "for _ in range(3): threading.Thread(target=signal.pause).start()\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n",
        *PYTHON,
    )
    child.line()
    becomes(lambda: processes.family(child.pid)[0].state == "S")
    (told,) = processes.family(child.pid)
    assert (told.pid, told.parent, told.threads, told.catches_quit) == (child.pid, os.getpid(), 4, True)
    assert told.python
    plain = talk("echo ready; exec sleep 100")
    plain.line()
    becomes(lambda: processes.family(plain.pid)[0].name == "sleep")
    assert not processes.family(plain.pid)[0].catches_quit
    assert not processes.family(plain.pid)[0].python


def test_a_python_that_calls_itself_otherwise_is_still_told_as_one(
    processes: SystemProcesses, talk: Callable[..., Talking]
) -> None:
    child = talk(
        "with open('/proc/self/comm', 'w') as name: name.write('trainer: x')\nprint('ready', flush=True)\n"
        "import signal; signal.pause()",
        *PYTHON,
    )
    child.line()
    (told,) = processes.family(child.pid)
    assert told.name.startswith("python")
    assert told.name.endswith(" (trainer: x)")
    assert told.python


def test_a_process_that_ended_is_told_so(processes: SystemProcesses, talk: Callable[..., Talking]) -> None:
    child = talk("exit 0")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    (told,) = processes.family(child.pid)
    assert told.ended
    exit_of(processes, child.pid)
    assert list(processes.family(child.pid)) == []


def test_a_name_of_any_bytes_is_a_name(processes: SystemProcesses, tmp_path: Path) -> None:
    odd = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"a) Z\n\xff:b"))
    shutil.copy(shutil.which("sleep") or "", odd)
    read, write = os.pipe()
    pid = processes.start((odd, "100"), {}, "/", write, write)
    os.close(write)
    os.close(read)
    # For a moment after it has begun it still has the name of whoever started it.
    becomes(lambda: processes.family(pid)[0].name == r"a) Z\n\xff:b")
    assert processes.family(pid)[0].parent == os.getpid()
    assert kin.parent(pid) == os.getpid()


def test_a_large_family_is_told_in_part(processes: SystemProcesses) -> None:
    below = {number: (2 * number, 2 * number + 1) for number in range(1, 100_000)}
    found = kin.descendants((1,), lambda pid: below.get(pid, ()))
    assert len(found) == len(set(found)) == kin.FAMILY
    assert found[:4] == [1, 2, 3, 4]
    assert kin.descendants((1, 2, 2), lambda pid: (3 - pid,)) == [1, 2], "a circle ends"


def test_a_family_is_found_without_the_kernel_s_lists(processes: SystemProcesses, talk: Callable[..., Talking]) -> None:
    child = talk("sleep 100 & echo $!; sleep 100 & echo $!; wait")
    below = {int(child.line()), int(child.line())}
    assert set(kin.descendants((child.pid,), kin.by_scan())) == {child.pid, *below}
    assert set(kin.descendants((child.pid,))) == {child.pid, *below}
    assert child.pid in kin.in_session(child.pid)
    assert below < set(kin.in_group(child.pid))


def test_what_is_gone_is_nobody(processes: SystemProcesses) -> None:
    assert kin.relative(NOBODY) is None
    assert kin.session(NOBODY) == kin.group(NOBODY) == kin.parent(NOBODY) == -1
    assert kin.takes(NOBODY, signal.SIGQUIT) is False
    assert kin._waits_in(f"/proc/{NOBODY}") is None
    assert kin._name(NOBODY, "was") == "was"
    assert kin._living(NOBODY)[0] == "Z"
    assert kin._numbers("/no/such/folder") == []
    assert kin.descendants((NOBODY,)) == [NOBODY]


def test_a_signal_to_one_reaches_that_one_alone(processes: SystemProcesses, talk: Callable[..., Talking]) -> None:
    child = talk("sleep 100 & echo $!; sleep 100 & echo $!; (setsid sleep 100 & echo $!); wait")
    first, second, moved = int(child.line()), int(child.line()), int(child.line())
    assert processes.send(first, signal.SIGKILL)
    becomes(lambda: state_of(first) in "Zgone")
    assert {state_of(second), state_of(child.pid)} <= {"S", "R"}
    assert processes.send(moved, signal.SIGKILL), "an adopted orphan"
    becomes(lambda: state_of(moved) in "Zgone")
    assert processes.send(child.pid, signal.SIGKILL), "a child itself"
    assert exit_of(processes, child.pid).signal == signal.SIGKILL
    assert not processes.send(child.pid, signal.SIGKILL)


def test_no_stranger_is_ever_signalled(processes: SystemProcesses) -> None:
    with subprocess.Popen(("sh", "-c", "echo ready; read line; exit 7"), stdin=-1, stdout=-1) as theirs:
        assert theirs.stdout is not None
        theirs.stdout.readline()
        for pid in (theirs.pid, os.getpid(), os.getppid(), 1, NOBODY):
            assert not processes.send(pid, signal.SIGKILL)
        theirs.communicate(b"go\n", timeout=PATIENCE_S)
    assert theirs.returncode == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs root")
def test_pid_1_does_the_same() -> None:
    code = (
        "import os, signal\n"
        "from launcher.adapters.process import SystemProcesses\n"
        "with SystemProcesses() as processes:\n"
        "    read, write = os.pipe()\n"
        "    argv = ('sh', '-c', '(sleep 100 & echo $!); sleep 100 & echo; wait')\n"
        "    pid = processes.start(argv, dict(os.environ), '/', write, 2)\n"
        "    with os.fdopen(read) as said:\n"
        "        orphan = int(said.readline())\n"
        "        said.readline()\n"
        "    family = {one.pid for one in processes.family(pid)}\n"
        "    print(os.getpid(), orphan in family, len(family))\n"
        "    print(processes.send(orphan, signal.SIGKILL), processes.send(1, 0))\n"
    )
    said = subprocess.check_output(("unshare", "--pid", "--fork", "--mount-proc", *PYTHON, code), text=True)
    assert said == "1 True 3\nTrue False\n"
