"""What a family of processes does, counted: real processes, sockets and files, looked at from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from talking import Talking, becomes, exit_of, state_of

from launcher.adapters.activity import ProcActivity
from launcher.adapters.activity.outputs import MOST
from launcher.adapters.activity.outputs import state_of as outputs_of
from launcher.adapters.activity.tcp import Connections, Spoken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from launcher.adapters.process import SystemProcesses
    from launcher.core.hang import Closely, Look

PYTHON = (sys.executable, "-c")
IO = "rchar: 1\nwchar: 2\nsyscr: 9\nsyscw: 9\nread_bytes: 4\nwrite_bytes: 8\n"
BESIDE_A_THREAD = """
import threading, time
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
time.sleep(1000)
"""
LOOKS_AFTER_A_CHILD = """
import subprocess, time
child = subprocess.Popen(("cat",), stdin=subprocess.PIPE)
print("ready", flush=True)
while True: time.sleep(0.001)
"""
"""It is woken again and again, and its child waits."""


def seen(activity: ProcActivity, *pids: int) -> Look:
    look = activity.look(pids, 0.0)
    assert look is not None
    return look


def closer(activity: ProcActivity, *pids: int) -> Closely:
    seen(activity, *pids)
    return activity.closer()


def waits_in(pid: int, *states: str) -> None:
    becomes(lambda: state_of(pid) in states)


def test_a_process_that_waits_moves_nothing(talk: Callable[..., Talking]) -> None:
    child = talk("import signal\nprint('ready', flush=True)\nsignal.pause()", *PYTHON)
    child.line()
    waits_in(child.pid, "S")
    activity = ProcActivity()
    first = seen(activity, child.pid)
    assert seen(activity, child.pid) == first


def test_bytes_through_a_pipe_are_counted(talk: Callable[..., Talking], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    child = talk(
        f"open({str(tmp_path / 'go')!r}).read()\nprint('x' * 50000, flush=True)\nimport signal; signal.pause()", *PYTHON
    )
    activity = ProcActivity()
    becomes(lambda: state_of(child.pid) == "S")
    before = seen(activity, child.pid)
    (tmp_path / "go").write_text("")
    assert len(child.line()) == 50000
    assert seen(activity, child.pid).moved - before.moved >= 50000


def test_children_that_come_and_go_between_two_looks_are_noticed(talk: Callable[..., Talking], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    child = talk(f"echo ready; read x <{tmp_path / 'go'}; true | true; echo done; read x <{tmp_path / 'go'}")
    child.line()
    activity = ProcActivity()
    seen(activity, child.pid)
    before = seen(activity, child.pid)
    (tmp_path / "go").write_text("\n")
    child.line()
    waits_in(child.pid, "S")
    assert seen(activity, child.pid).comings > before.comings


def test_a_start_and_an_end_are_noticed(talk: Callable[..., Talking]) -> None:
    child = talk("sleep 100 & echo $!; wait; echo done; exec sleep 100")
    near = int(child.line())
    activity = ProcActivity()
    before = seen(activity, child.pid)
    os.kill(near, signal.SIGKILL)
    child.line()
    after = seen(activity, child.pid)
    assert (before.processes, after.processes) == (2, 1)
    assert after.comings > before.comings


def test_computing_is_told_of_all_and_of_the_busiest(talk: Callable[..., Talking]) -> None:
    child = talk("print('ready', flush=True)\nwhile True: pass", *PYTHON)
    child.line()
    activity = ProcActivity()
    found = [seen(activity, child.pid)]

    def has_computed() -> bool:
        found.append(seen(activity, child.pid))
        return found[-1].cpu > found[0].cpu + 0.05

    becomes(has_computed)
    assert sum(each.busiest for each in found) == pytest.approx(found[-1].cpu - found[0].cpu)


def test_an_orphan_that_left_its_session_stays_one_of_the_family(
    processes: SystemProcesses, talk: Callable[..., Talking]
) -> None:
    child = talk("setsid sh -c 'sleep 100 & echo $!; exec sleep 100' & read x; wait")
    far = int(child.line())
    activity = ProcActivity()
    seen(activity, child.pid)
    assert far in {one.pid for one in activity._family}
    os.killpg(child.pid, signal.SIGKILL)
    exit_of(processes, child.pid)
    assert far in {one.pid for one in (seen(activity, child.pid), activity)[1]._family}


def test_the_launchers_own_tools_are_none_of_the_family(talk: Callable[..., Talking]) -> None:
    child, tool = talk("echo ready; exec sleep 100"), talk("echo ready; exec sleep 100")
    child.line()
    tool.line()
    assert seen(ProcActivity(), child.pid).processes == 1


def test_nobody_is_no_family() -> None:
    look = ProcActivity().look((999_999_999,), 0.0)
    assert look is None or look.processes == 0


def test_where_nothing_may_be_seen_nothing_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 100 0 0"
    (folder / "stat").write_text(stat)
    (tmp_path / "8").mkdir()
    (tmp_path / "self").mkdir()
    activity = ProcActivity(proc=str(tmp_path))
    assert activity.look((7,), 0.0) is None
    (folder / "io").write_text(IO)
    assert seen(activity, 7).processes == 1
    assert ProcActivity(proc=str(tmp_path / "none")).look((7,), 0.0) is not None, "nobody is there to be seen"


@pytest.mark.parametrize(
    "script",
    [
        "import time\nprint('ready', flush=True)\ntime.sleep(1000)",
        "import select\nprint('ready', flush=True)\nselect.select([], [], [], 1000)",
        "import asyncio\nprint('ready', flush=True)\nasyncio.run(asyncio.sleep(1000))",
        "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.01)",
        BESIDE_A_THREAD,
    ],
)
def test_a_timer_is_told_as_a_sleep(talk: Callable[..., Talking], script: str) -> None:
    child = talk(script, *PYTHON)
    child.line()
    activity = ProcActivity()
    becomes(
        lambda: closer(activity, child.pid).sleeping == (f"process {child.pid} (python)",) or named(child.pid, activity)
    )


def named(pid: int, activity: ProcActivity) -> bool:
    """Whether it sleeps, whatever its interpreter is called."""
    return any(each.startswith(f"process {pid} (") for each in closer(activity, pid).sleeping)


@pytest.mark.parametrize(
    "script",
    [
        "import threading\nprint('ready', flush=True)\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
        "import os\nprint('ready', flush=True)\nread, write = os.pipe()\nos.read(read, 1)",
        "import asyncio\nprint('ready', flush=True)\nasyncio.run(asyncio.Event().wait())",
        "import socket\na, b = socket.socketpair()\na.settimeout(1000)\nprint('ready', flush=True)\na.recv(1)",
        LOOKS_AFTER_A_CHILD,
    ],
)
def test_who_waits_for_somebody_else_does_not_sleep(talk: Callable[..., Talking], script: str) -> None:
    child = talk(script, *PYTHON)
    child.line()
    waits_in(child.pid, "S")
    activity = ProcActivity()
    closer(activity, child.pid)
    becomes(lambda: not closer(activity, child.pid).sleeping)


def test_who_is_stopped_is_named(talk: Callable[..., Talking]) -> None:
    child = talk("echo ready; read x; while :; do :; done")
    child.line()
    os.kill(child.pid, signal.SIGSTOP)
    waits_in(child.pid, "T")
    assert closer(ProcActivity(), child.pid).stopped == (f"process {child.pid} (sh)",)


def test_a_debugger_is_noticed(talk: Callable[..., Talking], tmp_path: Path) -> None:
    for pid, state in ((7, "t"), (8, "D")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (x) {state} 1 7 7 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 100 0 0")
        (tmp_path / str(pid) / "io").write_text(
            "rchar: 1\nwchar: 2\nsyscr: 9\nsyscw: 9\nread_bytes: 4\nwrite_bytes: 8\n"
        )
    found = closer(ProcActivity(proc=str(tmp_path)), 7, 8)
    assert (found.traced, found.stuck) == (True, ("process 8",))


def test_a_name_that_a_program_gave_itself_breaks_no_line(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "stat").write_text("7 (x) T 1 7 7 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 100 0 0")
    (folder / "io").write_text(IO)
    (folder / "comm").write_bytes(b"a\x1b[2J\nb\xff\n")
    assert closer(ProcActivity(proc=str(tmp_path)), 7).stopped == ("process 7 (a?[2J?b\\xff)",)


def test_where_the_kernel_tells_nothing_of_waiting_a_lonely_process_may_sleep(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "stat").write_text("7 (x) S 1 7 7 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 100 0 0")
    (folder / "io").write_text(IO)
    activity = ProcActivity(proc=str(tmp_path))
    assert closer(activity, 7).sleeping == ("process 7",)
    (folder / "wchan").write_text("futex_wait")
    assert closer(activity, 7).sleeping == ()
    (folder / "wchan").write_text("hrtimer_nanosleep")
    assert closer(activity, 7).sleeping == ("process 7",)


HEARS = """
import socket, sys
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while got := line.recv(1 << 16): print(len(got), flush=True)
"""


def test_what_comes_by_recv_from_outside_is_counted(talk: Callable[..., Talking]) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        child = talk(HEARS.replace("sys.argv[1]", repr(str(door.getsockname()[1]))), *PYTHON)
        line, _ = door.accept()
        with line:
            activity = ProcActivity()
            before = closer(activity, child.pid)
            first = seen(activity, child.pid)
            line.sendall(bytes(1000))
            assert child.line() == "1000"
            after = closer(activity, child.pid)
            assert after.received - before.received == 1000
            assert seen(activity, child.pid).moved - first.moved < 1000, "no counter of reads knows of it"


FAMILY = """
import os, socket
family = socket.AF_INET6 if {six} else socket.AF_INET
with socket.socket(family) as door:
    if {six}: door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    door.bind(("::" if {six} else "127.0.0.1", 0))
    door.listen()
    port = door.getsockname()[1]
    if not os.fork():
        line = socket.create_connection(("127.0.0.1", port))
        while got := line.recv(1 << 16): pass
        os._exit(0)
    line, _ = door.accept()
    print("ready", flush=True)
    open("{go}").close()
    for _ in range(3):
        line.sendall(bytes(100_000))
    print("sent", flush=True)
    line.recv(1)
"""


@pytest.mark.parametrize("six", [0, 1])
def test_what_a_family_says_to_itself_is_counted_apart(talk: Callable[..., Talking], six: int, tmp_path: Path) -> None:
    if six and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("there is no IPv6 here")
    go = tmp_path / "go"
    os.mkfifo(go)
    child = talk(FAMILY.format(six=six, go=go), *PYTHON)
    child.line()
    activity = ProcActivity()
    before = closer(activity, child.pid)
    go.write_text("")
    child.line()
    after = closer(activity, child.pid)
    assert after.received == before.received
    assert after.spoken - before.spoken == after.inside - before.inside > 0


def test_where_sockets_are_not_told_the_interfaces_are_heard(tmp_path: Path) -> None:
    """A sandbox whose kernel answers no question: nothing that receives is taken for dead."""
    script = (
        "import sys\nfrom launcher.adapters.activity import tcp\n"
        "def refused(): raise OSError(1, 'no')\n"
        "tcp._sockets = refused\n"
        "print(tcp.Connections(sys.argv[1])._now([7]))\n"
    )
    (tmp_path / "7/fd").mkdir(parents=True)
    os.symlink("socket:[123]", tmp_path / "7/fd/3")
    os.symlink("pipe:[124]", tmp_path / "7/fd/4")
    (tmp_path / "self/net").mkdir(parents=True)
    (tmp_path / "self/net/dev").write_text("Inter-| Receive\n face |bytes\n    lo: 500 1\n  eth0: 70 1\n  eth1:7 1\n")
    done = subprocess.run((*PYTHON, script, str(tmp_path)), capture_output=True, text=True, check=True)
    assert done.stdout == "{0: Spoken(received=77, inside=0, spoken=0)}\n"


def test_who_has_no_socket_is_not_asked_for(tmp_path: Path) -> None:
    connections = Connections(str(tmp_path))
    assert (connections.look([7]), connections.look([7])) == (Spoken(), Spoken())


def test_outputs_change_with_every_entry(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    states = [outputs_of([str(tmp_path)])]
    (tmp_path / "deep" / "model").write_text("a")
    states.append(outputs_of([str(tmp_path)]))
    with open(tmp_path / "deep" / "model", "a") as file:
        file.write("b")
    states.append(outputs_of([str(tmp_path)]))
    os.utime(tmp_path / "deep" / "model", ns=(1, 2**62))
    states.append(outputs_of([str(tmp_path)]))
    assert len(set(states)) == len(states)
    assert outputs_of([str(tmp_path)]) == states[-1]


def test_a_look_at_outputs_is_bounded_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "out" / "link")
    before = outputs_of([str(tmp_path / "out"), str(tmp_path / "none")])
    (tmp_path / "elsewhere" / "file").write_text("x")
    assert outputs_of([str(tmp_path / "out"), str(tmp_path / "none")]) == before
    for number in range(MOST + 10):
        (tmp_path / "out" / str(number)).touch()
    assert outputs_of([str(tmp_path / "out")])[0] == MOST
