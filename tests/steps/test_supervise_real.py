"""The desk over the real process adapter in a process of its own, once as an ordinary process and once as PID 1."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# argv: where the report goes, the grace, the phase of a step before the training or "", and the boot process.
LAUNCHER = """
import logging, os, signal, sys
import msgspec
from launcher.adapters.clock import SystemClock
from launcher.adapters.process import SystemProcesses
from launcher.core.errors import Cancelled
from launcher.core.lifecycle import Phase
from launcher.core.plan import Process
from launcher.streams.lines import ServiceLog
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from launcher.stacks import Stacks
from launcher.supervise import Desk

folder, grace, before, *argv = sys.argv[1:]

def slow(stopped):
    print("slow", flush=True)
    while not stopped():
        signal.sigtimedwait([], 0.01)
    raise Cancelled

err = Outlet(2, "stderr")
service = ServiceLog(err)
logging.basicConfig(handlers=[service], level=logging.INFO)
attended = None
with SystemProcesses() as processes:
    log = LogFile(folder + "/log")
    service.open(log)
    out = Outlet(1, "stdout")
    stacks = lambda: Stacks(processes, None, {}, err, log)
    desk = Desk(processes, SystemClock(), float(grace), stacks=stacks, outlets=(out, err))
    sinks = lambda process: ((log, out), (log, err))
    if before == "stage":
        desk.during(Phase.STAGE, slow)
    process = Process(rank=0, local_rank=0, argv=tuple(argv), env={}, cwd="/")
    if before == "install":
        desk.attend(Phase.INSTALL, (process,), os.environ, sinks)
    else:
        (attended,) = desk.attend(Phase.RUN, (process,), os.environ, sinks) or (None,)
    desk.during(Phase.SYNC, slow if before == "sync" else lambda stopped: None)
    outcome = desk.outcome()
    with open(folder + "/report", "wb") as report:
        report.write(msgspec.json.encode({"outcome": outcome, "ended": attended and attended.ended}))
sys.exit(outcome.exit_code)
"""

PATIENCE_S = 60.0


class Launcher:
    """One run, seen from outside."""

    def __init__(self, folder: Path, prefix: tuple[str, ...], argv: tuple[str, ...], grace: float, before: str) -> None:
        self.folder = folder
        self._err = open(folder / "err", "wb")  # noqa: SIM115 - closed in close()
        command = (*prefix, sys.executable, "-c", LAUNCHER, str(folder), str(grace), before, *argv)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._err)
        self._inner = bool(prefix)

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def signal(self, number: int) -> None:
        pid = self._process.pid
        if self._inner:
            with open(f"/proc/{pid}/task/{pid}/children") as children:
                pid = int(children.read())
        os.kill(pid, number)

    def end(self) -> tuple[int, bytes]:
        """The exit code, and what is left on stdout."""
        out, _ = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, out

    def hang_up(self) -> None:
        """Read stdout no further."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.stdout = None

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "report").read_bytes())
        return found

    @property
    def phase(self) -> str:
        return str(self.report()["outcome"]["phase"])

    @property
    def log(self) -> bytes:
        return (self.folder / "log").read_bytes()

    @property
    def err(self) -> bytes:
        return (self.folder / "err").read_bytes()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._err.close()


PID_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def namespaces() -> bool:
    try:
        return subprocess.run([*PID_1, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(params=["plain", "pid 1"])
def prefix(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if request.param == "plain":
        return ()
    if not namespaces():
        pytest.skip("no pid namespace can be made here (needs root and util-linux)")
    return PID_1


@pytest.fixture
def launch(tmp_path: Path, prefix: tuple[str, ...]) -> Iterator[Callable[..., Launcher]]:
    made: list[Launcher] = []

    def start(*argv: str, grace: float = 30, before: str = "") -> Launcher:
        made.append(Launcher(tmp_path, prefix, argv, grace, before))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("script", "code", "phase"),
    [
        ("exit 0", 0, "Completed"),
        ("exit 3", 3, "Failed"),
        ("exit 255", 255, "Failed"),
        ("kill -9 $$", 137, "Failed"),
        ("kill -15 $$", 143, "Failed"),
        ("ulimit -c 0; kill -6 $$", 134, "Failed"),
    ],
)
def test_exit_status(launch: Callable[..., Launcher], script: str, code: int, phase: str) -> None:
    run = launch("sh", "-c", script)
    assert run.end() == (code, b"")
    assert run.phase == phase


def test_python_that_exits_with_a_text(launch: Callable[..., Launcher]) -> None:
    run = launch(sys.executable, "-c", "raise SystemExit('the reason')")
    assert run.end() == (1, b"")
    assert run.err == b"the reason\n"


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("/", 126)])
def test_a_program_that_cannot_be_started(launch: Callable[..., Launcher], program: str, code: int) -> None:
    run = launch(program)
    assert run.end() == (code, b"")
    assert program in run.report()["outcome"]["cause"]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("own", "code"), [(9, 9), (0, None)])
def test_forwards_a_stop(launch: Callable[..., Launcher], number: int, own: int, code: int | None) -> None:
    run = launch("sh", "-c", f"trap 'echo got; exit {own}' TERM INT; echo ready; sleep 100 & wait")
    assert run.line() == "ready"
    run.signal(number)
    assert run.line() == "got"
    assert run.end()[0] == (128 + number if code is None else code)
    assert run.phase == "Terminated"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGQUIT])
def test_forwards_other_signals(launch: Callable[..., Launcher], number: int) -> None:
    run = launch("sh", "-c", f"trap 'echo got; exit 0' {int(number)}; echo ready; sleep 100 & wait")
    assert run.line() == "ready"
    run.signal(number)
    assert run.line() == "got"
    assert run.end()[0] == 0


def test_a_quit_that_nobody_handles_kills_nobody(launch: Callable[..., Launcher]) -> None:
    run = launch("sh", "-c", "echo ready; read line < /dev/null; exec sleep 100")
    assert run.line() == "ready"
    run.signal(signal.SIGQUIT)
    run.signal(signal.SIGTERM)
    assert run.end()[0] == 143


def test_a_stop_that_is_ignored_ends_in_a_kill(launch: Callable[..., Launcher]) -> None:
    run = launch("sh", "-c", "trap '' TERM; echo ready; sleep 100", grace=1.2)
    assert run.line() == "ready"
    started = time.monotonic()
    run.signal(signal.SIGTERM)
    assert run.end()[0] == 137
    assert 0.9 <= time.monotonic() - started < 20
    assert (run.phase, run.report()["ended"]["signal"]) == ("Terminated", 9)


STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: print("got", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_a_second_stop_leaves_two_seconds(launch: Callable[..., Launcher]) -> None:
    run = launch(sys.executable, "-c", STUBBORN, grace=600)
    assert run.line() == "ready"
    started = time.monotonic()
    for _ in range(2):
        run.signal(signal.SIGTERM)
        assert run.line() == "got"
    assert run.end()[0] == 137
    assert 1.5 <= time.monotonic() - started < 30


def test_timeout_counts_as_one_stop(tmp_path: Path) -> None:
    """timeout(1) signals its child and then its whole group."""
    run = Launcher(tmp_path, ("timeout", "1"), (sys.executable, "-c", STUBBORN), 600, "")
    try:
        assert [run.line(), run.line()] == ["ready", "got"]
        assert run.err.count(b"SIGTERM during run: 600.0 s until the end") == 1
        assert b"2.0 s" not in run.err
    finally:
        run.signal(signal.SIGTERM)
        run.signal(signal.SIGTERM)
        assert run.end()[0] in (124, 137)
        run.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_while_staging(launch: Callable[..., Launcher], number: int, code: int) -> None:
    run = launch("echo", "trained", before="stage")
    assert run.line() == "slow"
    run.signal(number)
    assert run.end() == (code, b"")
    assert run.phase == "Terminated"


def test_an_interrupt_while_installing_is_a_term_for_the_child(launch: Callable[..., Launcher]) -> None:
    run = launch("sh", "-c", "trap 'echo term; exit 0' TERM; echo ready; sleep 100 & wait", before="install")
    assert run.line() == "ready"
    run.signal(signal.SIGINT)
    assert run.line() == "term"
    assert run.end()[0] == 130


def test_a_stop_in_the_final_sync_cancels_it_at_the_end(launch: Callable[..., Launcher]) -> None:
    run = launch("true", grace=1, before="sync")
    assert run.line() == "slow"
    run.signal(signal.SIGTERM)
    assert run.end()[0] == 73
    assert run.phase == "Failed"


def test_a_grace_of_nothing_accuses_nobody(launch: Callable[..., Launcher]) -> None:
    run = launch(sys.executable, "-c", STUBBORN, grace=0)
    assert run.line() == "ready"
    run.signal(signal.SIGTERM)
    assert run.end()[0] == 137
    assert b"held open" not in run.err
    assert b"left behind" not in run.err
    assert (run.phase, run.report()["ended"]["signal"]) == ("Terminated", 9)


LEFTOVERS = {
    "in the group": "sleep 1000 & echo $!",
    "double fork": "(sleep 1000 & echo $!)",
    "own session": "setsid sh -c 'echo $$; exec sleep 1000' &",
    "own session, double fork": "(setsid sh -c 'echo $$; exec sleep 1000' &) &",
}


@pytest.mark.parametrize("script", LEFTOVERS.values(), ids=LEFTOVERS)
def test_leftovers_are_stopped(tmp_path: Path, script: str) -> None:
    run = Launcher(tmp_path, (), ("sh", "-c", f"{script}\nread line < {tmp_path}/go; exit 5"), 30, "")
    os.mkfifo(tmp_path / "go")
    try:
        left = int(run.line())
        (tmp_path / "go").write_text("go\n")
        started = time.monotonic()
        assert run.end() == (5, b""), "nobody holds stdout open any more"
        assert time.monotonic() - started < 4
        assert not os.path.exists(f"/proc/{left}")
    finally:
        run.close()


def test_a_leftover_that_ignores_sigterm_is_killed(launch: Callable[..., Launcher]) -> None:
    run = launch("sh", "-c", "(trap '' TERM; echo ready; sleep 1000; sleep 1000) & trap 'exit 0' TERM; wait", grace=2)
    assert run.line() == "ready"
    started = time.monotonic()
    run.signal(signal.SIGTERM)
    assert run.end() == (143, b"")
    assert 1.4 <= time.monotonic() - started < 20


ORPHANS = """
import os, sys
for _ in range(5):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
def zombies():
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                found.append(file.read().rpartition(")")[2].split())
        except OSError:
            pass
    return [fields for fields in found if fields[0] == "Z" and int(fields[1]) == os.getppid()]
while zombies():
    pass
print("none", flush=True)
"""


def test_reaps_orphans_while_the_boot_process_runs(launch: Callable[..., Launcher]) -> None:
    run = launch(sys.executable, "-c", ORPHANS)
    assert run.end() == (0, b"none\n")


def test_bytes_pass_untouched(launch: Callable[..., Launcher]) -> None:
    script = "import os; os.write(1, bytes(range(256)) + b' 50%\\r100%\\r\\n end'); os.write(2, b'\\xff\\r')"
    run = launch(sys.executable, "-c", script)
    expected = bytes(range(256)) + b" 50%\r100%\r\n end"
    assert run.end() == (0, expected)
    assert run.err == b"\xff\r"
    assert sorted(run.log) == sorted(expected + b"\xff\r")


def test_64_mib_of_output(launch: Callable[..., Launcher]) -> None:
    size = 64 * 1024**2
    script = "import os\nchunk = bytes(range(256)) * 4096\nfor _ in range(64): os.write(1, chunk)"
    run = launch(sys.executable, "-c", script)
    code, out = run.end()
    expected = hashlib.sha256(bytes(range(256)) * 4096 * 64).digest()
    assert (code, len(out), hashlib.sha256(out).digest()) == (0, size, expected)
    assert hashlib.sha256(run.log).digest() == expected


def test_a_reader_that_went_away_stops_no_training(launch: Callable[..., Launcher], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    run = launch("sh", "-c", f"echo ready; read line < {tmp_path}/go; echo more; exit 6")
    assert run.line() == "ready"
    run.hang_up()
    (tmp_path / "go").write_text("go\n")
    assert run.end()[0] == 6
    assert [line for line in run.log.splitlines() if not line.startswith(b"[ModelArts")] == [b"ready", b"more"]
    assert run.err.count(b"cannot write to stdout any more (Broken pipe)") == 1


def test_a_nohup_holds(tmp_path: Path) -> None:
    script = "trap 'exit 4' TERM; grep SigIgn /proc/$$/status; sleep 100 & wait"
    run = Launcher(tmp_path, ("nohup",), ("sh", "-c", script), 30, "")
    run._inner = False
    try:
        assert int(run.line().split()[1], 16) & 1 << signal.SIGHUP - 1
        run.signal(signal.SIGHUP)
        run.signal(signal.SIGTERM)
        assert run.end()[0] == 4
    finally:
        run.close()


def test_a_reader_of_both_streams_that_pauses_at_the_end_gets_all(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 4000 ]; do echo out $i of many lines; echo err $i of many lines >&2; i=$((i+1)); done"
    command = (sys.executable, "-c", LAUNCHER, str(tmp_path), "30", "", "sh", "-c", script)
    pauses = ("sh", "-c", '"$@" 2>&1 | (sleep 3; exec cat)', "sh", *command)
    done = subprocess.run(pauses, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=True)
    wanted = b"".join(b"%s %d of many lines\n" % (name, i) for name in (b"out", b"err") for i in range(4000))
    # Pieces of lines may mix as they do without a launcher, but none is missing.
    assert sorted(done.stdout) == sorted((tmp_path / "log").read_bytes()) == sorted(wanted)


def test_a_held_open_stdout_does_not_hold_up_the_end(launch: Callable[..., Launcher]) -> None:
    run = launch("sh", "-c", "echo ready; (trap '' TERM HUP; setsid sleep 1000) & exit 0")
    started = time.monotonic()
    assert run.end() == (0, b"ready\n")
    assert time.monotonic() - started < 20
