"""Stacks that are kept: of real processes, by the real py-spy where it is, in a file, in a sentence, and as a value."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fake_processes import FakeClock
from fake_store import make_plan
from talking import PATIENCE_S, Talking, becomes, state_of

from launcher.adapters.process import SystemProcesses
from launcher.core.flights import Flight
from launcher.core.lifecycle import Exited
from launcher.core.plan import Code
from launcher.core.stacktexts import MOST_BYTES
from launcher.core.standing import Standing, summary
from launcher.core.urls import Location
from launcher.stacks import Stacks
from launcher.stacks.flights import bring, plogs
from launcher.stacks.keeping import Keeping
from launcher.stacks.request import LOOKS_S, WHOLE_S
from launcher.stacks.taken import Capture, Veil
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from launcher.core.plan import Plan
    from launcher.core.record import Level, Staged, Synced

SPY = shutil.which("py-spy", path=f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}")
LABEL = "modelarts-job-id1-worker-0"
STUCK = (
    "import signal\n"
    "def waits_for_a_peer():\n"
    "    print('ready', flush=True)\n"
    "    while True: signal.pause()\n"
    "waits_for_a_peer()\n"
)
WHERE = "waits_for_a_peer (<string>:4), called at <string>:5"
ENGINE = """
import os, subprocess, sys
def started(rank):
    env = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(rank))
    return subprocess.Popen([sys.executable, "-c", {script!r}, str(rank)], env=env, stdout=subprocess.PIPE)
each = [started(rank) for rank in range({count})]
for one in each:
    one.stdout.readline()
    print(one.pid, flush=True)
for one in each:
    one.wait()
"""
needs_spy = pytest.mark.skipif(SPY is None, reason="py-spy is not installed")


class Notes:
    """The record of a run."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def event(self, message: str, level: Level = "Info") -> None:
        self.events.append((level, message))

    def staged(self, entry: Staged) -> None: ...

    def synced(self, entry: Synced) -> None: ...


class Desk:
    """Real children, and what a desk does about their stacks."""

    def __init__(self, processes: SystemProcesses, folder: Path) -> None:
        self.processes = processes
        self.folder = folder
        self.log = LogFile(str(folder / "own.log"))
        self.notes = Notes()
        self.done: list[Standing] = []
        self._fd = os.open(folder / "err", os.O_WRONLY | os.O_CREAT)
        self.err = Outlet(self._fd, "stderr")
        self._talking: list[Talking] = []
        self.tails: dict[int, bytes] = {}
        self.plan = planned(folder)
        self.stacks = self.with_spy(None)

    def close(self) -> None:
        self.log.close()
        os.close(self._fd)
        for one in self._talking:
            one.said.close()

    def with_spy(self, spy: str | None, *, native: bool = False, secrets: Sequence[str] = ()) -> Stacks:
        keeper = Keeping(
            self.plan,
            self.notes,
            clock=FakeClock(),
            secrets=lambda: secrets,
            done=self.done.append,
            woken=self.processes.wake,
        )
        self.stacks = Stacks(self.processes, spy, {}, self.err, self.log, native=native, keeper=keeper)
        return self.stacks

    def python(self, script: str) -> Talking:
        """One that has said that it is ready."""
        child = Talking(self.processes, script, sys.executable, "-c")
        self._talking.append(child)
        assert child.line() == "ready"
        return child

    def ranks(self, count: int, script: str, before: str = "") -> tuple[Talking, list[int]]:
        """An engine that has started so many ranks; the pids of these."""
        child = Talking(self.processes, before + ENGINE.format(count=count, script=script), sys.executable, "-c")
        self._talking.append(child)
        return child, [int(child.line()) for _ in range(count)]

    def answer(self, *pids: int, rank: int = 0, gently: bool = False) -> None:
        """Ask, and go on until all is said."""
        self.stacks.ask(pids, lambda pid: rank + pids.index(pid), lambda pid: self.tails.get(pid, b""), gently=gently)
        self.stacks.tick(time.monotonic())
        end = time.monotonic() + PATIENCE_S
        while self.stacks.deadline is not None:
            assert time.monotonic() < end
            self.turn()

    def turn(self) -> bool:
        """One round; it says nothing, so that it can stand before what is waited for."""
        for event in self.processes.wait(0.05):
            if isinstance(event, Exited):
                self.stacks.exited(event)
        self.stacks.tick(time.monotonic())
        return False

    def keep(self, child: Talking) -> None:
        """Let go of it in the end."""
        self._talking.append(child)

    @property
    def shown(self) -> str:
        """What people see."""
        return (self.folder / "err").read_text()

    def kept(self, number: int = 1) -> str:
        return (self.folder / "log" / f"{LABEL}-stacks-{number}.txt").read_text()

    @property
    def told(self) -> str:
        return "\n".join(message for _, message in self.notes.events)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with SystemProcesses() as processes:
        made = Desk(processes, tmp_path)
        yield made
        made.close()


def planned(root: Path, **changes: Any) -> Plan:
    (root / "log").mkdir(exist_ok=True)
    plan = make_plan(str(root), log_target=Location("b", "logs/"))
    files = msgspec.structs.replace(plan.files, stacks=f"{root}/log/{LABEL}-stacks")
    return msgspec.structs.replace(plan, files=files, **changes)


def script(folder: Path, text: str) -> str:
    """A spy that does something else; it is called with `dump --pid N`."""
    path = folder / "spy"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return str(path)


def spied(line: int, function: str = "load") -> str:
    """What py-spy would print, from the shell."""
    return f'printf "Process $3: x\\nThread $3 (idle)\\n    {function} (/code/train.py:{line})\\n"'


@needs_spy
def test_where_a_process_stands_is_kept_told_and_handed_on(desk: Desk) -> None:
    child = desk.python(STUCK)
    desk.with_spy(SPY)
    desk.answer(child.pid, rank=4)
    if "nothing is known" in desk.kept() and os.geteuid() != 0:
        pytest.skip("no right to trace a process here")
    text = desk.kept()
    assert text.startswith(f"{LABEL}, at 1000\nrank 4 is in {WHERE}\n")
    assert re.search(rf"^== process {child.pid} \(python.*\), rank 4$", text, re.MULTILINE)
    assert "    waits_for_a_peer (<string>:4)" in text
    path = desk.folder / "log" / f"{LABEL}-stacks-1.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert desk.notes.events == [
        ("Warning", f"[worker-0] Where the training stands: rank 4 is in {WHERE}."),
        ("Warning", f"[worker-0] All stacks are in {path}, which goes to obs://b/logs/{LABEL}.stacks-1.txt."),
    ]
    (standing,) = desk.done
    assert summary(standing) == f"rank 4 is in {WHERE}"
    assert standing.text == str(path)
    assert desk.shown.count("waits_for_a_peer (<string>:4)") == 1, "it is shown as well"


@needs_spy
def test_eight_ranks_of_an_engine_and_the_odd_one_among_them(desk: Desk) -> None:
    waits = "import signal, sys\ndef meet(): signal.pause()\ndef load(): signal.pause()\nprint(flush=True)\n"
    engine, pids = desk.ranks(8, waits + "load() if sys.argv[1] == '3' else meet()\n")
    desk.with_spy(SPY)
    desk.answer(engine.pid)
    if "nothing is known" in desk.kept() and os.geteuid() != 0:
        pytest.skip("no right to trace a process here")
    called = "called at <string>:5"
    assert (
        summary(desk.done[0])
        == f"7 of 8 ranks are in meet (<string>:2), {called}; rank 3 is in load (<string>:3), {called}"
    )
    order = re.findall(r"^== process (\d+) .*, rank \d$", desk.kept(), re.MULTILINE)
    assert order == [str(pid) for pid in pids]
    assert re.search(rf"^== process {engine.pid} \(python[^,]*$", desk.kept(), re.MULTILINE), "the engine is no rank"


@needs_spy
def test_a_python_that_would_end_by_the_signal_is_looked_into_instead_if_nobody_asked(desk: Desk) -> None:
    child = desk.python(f"import signal, sys\nsignal.signal(signal.SIGQUIT, lambda *_: sys.exit(1))\n{STUCK}")
    desk.with_spy(SPY)
    desk.answer(child.pid, gently=True)
    assert "waits_for_a_peer" in desk.told
    assert state_of(child.pid) in "RS"


@pytest.mark.parametrize("gently", [False, True])
@pytest.mark.parametrize("spy", [None, "echo Permission denied >&2; exit 1", "/no/such/program"])
def test_one_that_cannot_be_looked_into_shows_its_own_stacks(desk: Desk, spy: str | None, *, gently: bool) -> None:
    child = desk.python(f"import faulthandler, signal\nfaulthandler.register(signal.SIGQUIT)\n{STUCK}")
    desk.with_spy(spy and script(desk.folder, spy))
    desk.tails[child.pid] = b"warming up\n"

    def listen() -> None:
        while b"<module>" not in desk.tails[child.pid]:
            desk.tails[child.pid] += child.said.readline().encode()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    desk.answer(child.pid, gently=gently)
    assert summary(desk.done[0]).startswith("rank 0 is in waits_for_a_peer (<string>:")
    assert "warming up" not in desk.kept()
    listener.join()


@needs_spy
def test_who_shows_its_own_stacks_is_looked_into_in_silence(desk: Desk) -> None:
    child = desk.python(f"import faulthandler, signal\nfaulthandler.register(signal.SIGQUIT)\n{STUCK}")
    desk.with_spy(SPY)
    desk.answer(child.pid)
    assert "most recent call first" in child.line()
    assert "waits_for_a_peer" in desk.kept()
    assert "waits_for_a_peer" not in desk.shown


@pytest.mark.parametrize("gently", [False, True])
def test_an_engine_that_would_end_by_the_signal_does_not_get_it(desk: Desk, *, gently: bool) -> None:
    catches = "import signal, sys\nsignal.signal(signal.SIGQUIT, lambda *_: sys.exit(1))\n"
    engine, pids = desk.ranks(
        2, f"import faulthandler, signal\nfaulthandler.register(signal.SIGQUIT)\n{STUCK}", catches
    )
    desk.answer(engine.pid, gently=gently)
    assert state_of(engine.pid) in "RS"
    assert desk.done[0].unknown == (0, 1)
    assert "Nothing could be seen" not in desk.told, "there is a file that says what is known"
    assert desk.kept().count("nothing could be seen of it") == len(pids)


def test_what_nobody_can_look_into_is_kept_as_it_was_described(desk: Desk) -> None:
    child = desk.python(STUCK)
    desk.with_spy(None)
    desk.answer(child.pid)
    assert re.search(rf"^{child.pid} python\S*: \w+ \(state [RS]\)", desk.kept(), re.MULTILINE)
    assert "its stacks are not known: py-spy is not installed" in desk.kept()
    assert "nothing could be seen" not in desk.kept()
    desk.with_spy(script(desk.folder, "exit 1"))
    desk.answer(child.pid)
    assert f"\n{child.pid} python" in desk.kept(2)
    assert "not installed" not in desk.kept(2)


def test_without_native_frames_where_they_cannot_be_had(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    child = desk.python(STUCK)
    desk.with_spy(script(desk.folder, f'case "$*" in *--native*) exit 1;; *) {spied(9)};; esac'), native=True)
    desk.answer(child.pid)
    assert f"no native frames of process {child.pid} can be shown (exit code 1)" in caplog.text
    assert summary(desk.done[0]) == "rank 0 is in load (/code/train.py:9)"


@needs_spy
def test_native_frames_are_kept_where_they_are_asked_for(desk: Desk) -> None:
    child = desk.python(STUCK)
    desk.with_spy(SPY, native=True)
    desk.answer(child.pid)
    if "no native frames" not in desk.kept() and ".so" not in desk.kept():
        pytest.skip("no native frames here")
    assert "waits_for_a_peer" in desk.told


def test_the_newest_eight_are_kept_and_nothing_else_is_touched(desk: Desk) -> None:
    child = desk.python(STUCK)
    log = desk.folder / "log"
    (log / f"{LABEL}-stacks-1.txt").mkdir()
    (log / f"{LABEL}-stacks-2.txt").symlink_to(desk.folder / "precious")
    (log / f".{LABEL}-stacks-3.txt.part").symlink_to(desk.folder / "precious")
    (log / "other.txt").write_text("other")
    (desk.folder / "precious").write_text("precious")
    desk.with_spy(script(desk.folder, spied(9)))
    for _ in range(9):
        desk.answer(child.pid)
    assert (desk.folder / "precious").read_text() == "precious"
    assert sorted(path.name for path in log.iterdir()) == sorted(
        [f"{LABEL}-stacks-1.txt", "other.txt", *(f"{LABEL}-stacks-{number}.txt" for number in range(4, 12))]
    )


def test_words_that_leave_the_node_are_masked_and_code_is_named_shortly(desk: Desk) -> None:
    child = desk.python(STUCK)
    desk.plan = planned(desk.folder, code=Code(source=None, path="/code", boot_file=None))
    desk.with_spy(script(desk.folder, spied(9, "hunter2hunter2")), secrets=("hunter2hunter2",))
    desk.answer(child.pid)
    assert summary(desk.done[0]) == "rank 0 is in ****** (train.py:9)"
    assert "hunter2hunter2" in desk.kept(), "as the log on the node has all"


def test_what_a_look_prints_has_no_secret_also_where_it_comes_in_pieces() -> None:
    shown = Capture()
    veil = Veil(shown, lambda: ["hidden-4711"])
    veil.write(b"Process 7: train.py --password=hidd")
    assert shown.text == ""
    veil.write(memoryview(b"en-4711\nThread 7\xff\n    of hidden-4711"))
    veil.end()
    assert shown.text == "Process 7: train.py --password=******\nThread 7\ufffd\n    of ******"


def test_a_line_without_an_end_is_not_held_for_ever() -> None:
    shown = Capture()
    Veil(shown, list).write(b"x" * (MOST_BYTES + 1))
    assert len(shown.text) == MOST_BYTES


def test_where_nothing_can_be_written_it_is_told_all_the_same(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    child = desk.python(STUCK)
    (desk.folder / "log").rmdir()
    (desk.folder / "log").symlink_to("/")
    desk.with_spy(script(desk.folder, spied(9)))
    desk.answer(child.pid)
    assert "they are not kept" in caplog.text
    assert desk.notes.events == [
        ("Warning", "[worker-0] Where the training stands: rank 0 is in load (/code/train.py:9).")
    ]
    assert desk.done[0].text == ""


@pytest.mark.parametrize("late", [False, True])
def test_what_was_seen_when_all_children_end_or_time_is_over_is_kept(desk: Desk, *, late: bool) -> None:
    children = [desk.python(STUCK) for _ in range(2)]
    hangs = f'if [ "$3" = {children[1].pid} ]; then echo hangs; exec sleep 100; fi'
    stacks = desk.with_spy(script(desk.folder, f"{hangs}; {spied(9)}"))
    began = time.monotonic()
    stacks.ask([child.pid for child in children], lambda pid: int(pid == children[1].pid))
    stacks.tick(began)
    becomes(lambda: desk.turn() or "hangs" in desk.shown)
    if late:
        assert stacks.deadline is not None
        stacks.tick(began + LOOKS_S + 1)
    else:
        stacks.over()
    becomes(lambda: desk.turn() or bool(desk.done))
    assert summary(desk.done[0]) == "rank 0 is in load (/code/train.py:9); nothing is known of rank 1"
    assert stacks.deadline is None
    assert "T" not in {state_of(child.pid) for child in children}


def test_who_waits_is_told_in_time_even_if_nothing_can_be_kept(desk: Desk) -> None:
    class Stopped(Keeping):
        """A disk that stands still."""

        @property
        def over(self) -> bool:
            return False

    child = desk.python(STUCK)
    keeper = Stopped(
        desk.plan, desk.notes, clock=FakeClock(), secrets=tuple, done=desk.done.append, woken=desk.processes.wake
    )
    stacks = Stacks(desk.processes, None, {}, desk.err, desk.log, keeper=keeper)
    stacks.ask((child.pid,), lambda _pid: 0)
    stacks.tick(1.0)
    assert stacks.deadline == 1.0 + WHOLE_S
    stacks.ask((child.pid,))
    stacks.tick(1.0 + WHOLE_S)
    assert not stacks.deadline
    assert len(desk.done) == 1


FLIES = """
import os, signal, sys
folder, rank = sys.argv[1], 0
os.mkfifo(f"{folder}/pipe_{rank}.pipe")
pipe = os.open(f"{folder}/pipe_{rank}.pipe", os.O_RDONLY | os.O_NONBLOCK)
held = os.open(f"{folder}/pipe_{rank}.pipe", os.O_WRONLY)
os.set_blocking(pipe, True)
print("ready", flush=True)
os.read(pipe, 128)
with open(f"{folder}/trace_{rank}", "wb") as file:
    file.write(b"record")
signal.pause()
"""


def flying(desk: Desk, program: str, **told: str) -> Talking:
    """A rank with these variables."""
    named = " ".join(f"{name}={shlex.quote(value)}" for name, value in told.items())
    child = Talking(desk.processes, f"{named} exec {sys.executable} -c {shlex.quote(program)} {desk.folder}")
    desk.keep(child)
    assert child.line() == "ready"
    return child


def test_the_flight_record_of_a_rank_is_asked_for_and_kept(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    child = flying(
        desk,
        FLIES,
        TORCH_NCCL_TRACE_BUFFER_SIZE="2000",
        TORCH_NCCL_DEBUG_INFO_PIPE_FILE=f"{desk.folder}/pipe_",
        TORCH_NCCL_DEBUG_INFO_TEMP_FILE=f"{desk.folder}/trace_",
    )
    desk.answer(child.pid)
    record = desk.folder / "log" / f"{LABEL}-stacks-1-nccl-rank-0"
    assert record.read_bytes() == b"record"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert f"flight record of rank 0: {record}" in desk.kept()
    assert f"stacks: flight record of rank 0: {record}" in caplog.text


def test_a_recorder_that_does_not_listen_is_told_of(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    child = flying(desk, STUCK, TORCH_FR_BUFFER_SIZE="2000")
    desk.answer(child.pid)
    assert "does not listen for a word to write it: set TORCH_NCCL_DEBUG_INFO_PIPE_FILE" in caplog.text


def test_a_record_that_is_too_large_stays_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "trace_2").write_bytes(b"record")
    one = Flight(name="nccl", rank=2, pipe=None, files=(f"{tmp_path}/trace_2",), variable="X")
    by = time.monotonic() + PATIENCE_S
    assert bring(one, 0, by, lambda _chunks: "copy", most=5) is None
    assert f"the flight record of rank 2, {tmp_path}/trace_2: it is too large and stays there" in caplog.text
    assert bring(one, 0, by, lambda chunks: b"".join(chunks).decode(), most=6) == "record"


@pytest.mark.parametrize("there", ["nothing", "file", "link", "deaf"])
def test_what_is_no_fifo_of_a_rank_is_left_alone(desk: Desk, there: str, caplog: pytest.LogCaptureFixture) -> None:
    pipe, other = desk.folder / "pipe_0.pipe", desk.folder / "other"
    other.write_text("other")
    if there == "file":
        pipe.write_text("file")
    elif there == "link":
        pipe.symlink_to(other)
    elif there == "deaf":
        os.mkfifo(pipe)
    named = {"TORCH_FR_BUFFER_SIZE": "1", "TORCH_NCCL_DEBUG_INFO_PIPE_FILE": f"{desk.folder}/pipe_"}
    desk.answer(flying(desk, STUCK, **named).pid)
    assert "no flight record of rank 0" in caplog.text
    assert other.read_text() == "other"
    assert there != "file" or pipe.read_text() == "file"


def test_a_record_that_does_not_come_is_waited_for_in_vain(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    one = Flight(name="nccl", rank=2, pipe=None, files=(f"{tmp_path}/old", f"{tmp_path}/link"), variable="X")
    assert bring(one, time.time_ns() + 10**9, time.monotonic() + 0.01, lambda _chunks: "copy") is None
    assert "rank 2 has not written its flight record" in caplog.text


def test_the_newest_logs_of_cann_are_named_and_the_last_of_them_is_shown(desk: Desk) -> None:
    folder = desk.folder / "ascend" / "debug" / "plog"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"plog-{number}.log").write_text(f"word {number}\n" + "x" * 20_000 + f"\nend {number}")
        os.utime(folder / f"plog-{number}.log", ns=(number, number))
    (folder / "plog-9.log").symlink_to("/etc/passwd")
    (folder / "note.txt").write_text("note")
    (folder / "deep" / "deeper" / "deepest").mkdir(parents=True)
    (folder / "deep" / "deeper" / "deepest" / "plog-7.log").write_text("too deep")
    desk.plan = planned(desk.folder, engine="ascend")
    desk.with_spy(None)
    desk.answer(flying(desk, STUCK, ASCEND_PROCESS_LOG_PATH=f"{desk.folder}/ascend").pid)
    text = desk.kept()
    assert re.findall(r"plog of rank 0: .*/(plog-\d\.log) \(", text) == ["plog-4.log", "plog-3.log", "plog-2.log"]
    assert "  end 4" in text
    assert "word 4" not in text, "its end alone"
    assert "end 3" not in text
    assert plogs(f"{desk.folder}/nowhere") == []
    (desk.folder / "linked").symlink_to(folder)
    assert plogs(f"{desk.folder}/linked") == []
