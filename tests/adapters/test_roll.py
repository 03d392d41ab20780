"""The roll of a run, and what is stopped by it: real processes of this test's own, marked and unmarked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from launcher.adapters.roll import VARIABLE, Roll, sweep
from launcher.adapters.roll.left import MOST_BYTES, read_roll
from launcher.adapters.roll.proc import namespace, start_of, variable
from launcher.adapters.roll.survivors import Seen, Survivors, _Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., subprocess.Popen[str]]

FORM = "0123456789abcdef" * 2
MARK, OTHER = (os.urandom(16).hex() for _ in range(2))  # a worker beside this one has marks of its own
STARTED = "2026-01-02T03:04:05.678+00:00"
LOCK = ".launcher.lock"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a python that has said a line, in a session of its own; all are ended with the test."""
    with contextlib.ExitStack() as stack:

        def begin(code: str, mark: str | None = MARK, **env: str) -> subprocess.Popen[str]:
            marked = {VARIABLE: mark} if mark else {}
            child = stack.enter_context(
                subprocess.Popen(
                    (sys.executable, "-c", code),
                    env={"PATH": os.environ["PATH"], **marked, **env},
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
            stack.callback(child.kill)
            return child

        yield begin


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def survivors(*recorded: tuple[int, int], **how: Any) -> Survivors:
    return Survivors(VARIABLE, MARK, recorded, **{"lock": LOCK, "grace": 20.0, "patience": 20.0, **how})


WAITS = "import signal; print('up', flush=True); signal.pause()"
IGNORES = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)


def document(**changes: Any) -> dict[str, Any]:
    here = namespace()
    assert here is not None
    good = {"boot_id": here[0], "pid_namespace": here[1], "mark": FORM, "started": STARTED, "processes": [[5, 6]]}
    return {**good, **changes}


def test_a_roll_is_there_before_the_first_child_and_gone_when_nobody_is_left(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "roll"
    with Roll(str(path), STARTED) as roll:
        left = read_roll(str(path))
        assert (left.started, left.processes, left.here) == (STARTED, (), True)
        assert path.stat().st_mode & 0o777 == 0o600
        assert roll.marked({"A": "b"}) == {"A": "b", VARIABLE: left.mark}
        child = start(WAITS)
        roll.enrol(child.pid)
        assert read_roll(str(path)).processes == ((child.pid, start_of(child.pid)),)
        child.kill()
        child.wait()
        roll.enrol(child.pid)
        assert len(read_roll(str(path)).processes) == 1, "one that is gone has no start to be known by"
    assert list(tmp_path.iterdir()) == []


def test_a_roll_stays_while_a_child_does(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "roll"
    with Roll(str(path), STARTED) as roll:
        roll.enrol(start(WAITS).pid)
    assert path.exists()


def test_marks_are_laid_behind_those_of_the_launchers_above() -> None:
    own = Roll("/nowhere/roll", STARTED).marked({})[VARIABLE]
    roll = Roll("/nowhere/roll", STARTED)
    mine = roll.marked({})[VARIABLE]
    assert mine != own
    assert roll.marked({VARIABLE: f"{MARK}.{OTHER}"})[VARIABLE] == f"{MARK}.{OTHER}.{mine}"
    assert roll.marked({VARIABLE: f"x.{MARK}y..{OTHER}"})[VARIABLE] == f"{OTHER}.{mine}", "what is no mark is dropped"
    assert roll.marked({VARIABLE: ".".join([OTHER] * 500)})[VARIABLE].count(".") == 15


def test_a_roll_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Roll(str(tmp_path / "gone" / "roll"), STARTED) as roll:
        roll.enrol(os.getpid())
        roll.enrol(os.getpid())
    (said,) = caplog.messages
    assert "cannot be written (No such file or directory)" in said


def test_what_lies_in_the_place_of_a_roll_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("roll", ".launcher-part-roll"):
        (tmp_path / name).symlink_to(victim)
    with Roll(str(tmp_path / "roll"), STARTED):
        assert not (tmp_path / "roll").is_symlink()
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "changes",
    [
        {"mark": ""},
        {"mark": "a"},
        {"mark": FORM.upper()},
        {"mark": [FORM]},
        {"mark": FORM + "\n"},
        {"started": "now; rm -rf"},
        {"started": "1" * 41},
        {"started": None},
        {"processes": {}},
        {"processes": [[1]]},
        {"processes": [[1, 2, 3]]},
        {"processes": [[True, 5]]},
        {"processes": [[-1, 5]]},
        {"processes": [[0, 5]]},
        {"processes": [[1.5, 5]]},
        {"processes": [[1 << 70, 5]]},
        {"processes": [["1", "5"]]},
        {"processes": [[1, 5]] * 5000},
        {"more": 1},
    ],
    ids=str,
)
def test_a_roll_that_no_launcher_writes_is_not_believed(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "roll"
    path.write_text(json.dumps(document(**changes)))
    with pytest.raises(ValueError, match="not a roll"):
        read_roll(str(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"[" * 60_000,
        b"\xff\xfe",
        b'{"mark": ' + b"9" * 50_000 + b"}",
        b" " * MOST_BYTES + b"1",
    ],
    ids=lambda each: repr(each[:6]),
)
def test_a_file_that_is_no_roll_is_not_believed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "roll"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a roll"):
        read_roll(str(path))


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "sparse", "device"])
def test_an_odd_file_is_not_believed_and_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "roll"
    if kind == "link":
        (tmp_path / "real").write_text(json.dumps(document()))
        path.symlink_to(tmp_path / "real")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 1 << 30)
    else:
        return expect_disbelief("/dev/zero")
    return expect_disbelief(str(path))


def expect_disbelief(path: str) -> None:
    with pytest.raises(ValueError, match=r"not a file of ours|symbolic link|Is a directory|not a roll"):
        read_roll(path)


@pytest.mark.parametrize("changes", [{"boot_id": "another"}, {"pid_namespace": 1}, {"boot_id": None}], ids=str)
def test_the_pids_of_another_boot_or_namespace_mean_nobody_here(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "roll"
    path.write_text(json.dumps(document(**changes)))
    assert read_roll(str(path)).here is False


def test_who_carries_the_mark_is_stopped_and_named(start: Start) -> None:
    marked, nested = start(WAITS), start(WAITS, f"{MARK}.{OTHER}")
    others = [start(WAITS, None), start(WAITS, OTHER), start(WAITS, None, OTHER_VARIABLE=MARK)]
    for child in (marked, nested, *others):
        assert line_of(child) == "up"
    told = survivors().stop()
    assert {marked.wait(), nested.wait()} == {-signal.SIGTERM}
    program = os.path.basename(sys.executable)
    assert set(told) == {
        f"an earlier run left process {pid} ({program}) running; it was stopped" for pid in (marked.pid, nested.pid)
    }
    assert [child.poll() for child in others] == [None] * 3


def test_nobody_left_is_nothing_to_tell() -> None:
    assert survivors((1 << 21, 7)).stop() == ()


def test_who_ignores_the_request_is_killed_after_its_time(start: Start) -> None:
    child = start(IGNORES)
    assert line_of(child) == "up"
    (told,) = survivors(patience=0.1, grace=0.1).stop()
    assert child.wait() == -signal.SIGKILL
    assert told.endswith("it was stopped")


def test_who_answers_the_request_with_a_new_process_is_killed_too(start: Start) -> None:
    code = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.write(1, b'up\\n')
while signal.sigwait([signal.SIGTERM]):
    if os.fork():
        os._exit(0)
    os.write(1, b'%d\\n' % os.getpid())
"""
    child = start(code)
    assert line_of(child) == "up"
    survivors(patience=0.3, grace=0.3).stop()
    assert child.wait() == 0
    assert child.stdout is not None
    newcomers = [int(line) for line in child.stdout]  # the pipe ends when nobody holds it
    assert newcomers
    assert [start_of(pid) for pid in newcomers] == [None] * len(newcomers)


def test_who_was_suspended_hears_the_request(start: Start) -> None:
    child = start("import os, signal; print('up', flush=True); os.kill(os.getpid(), signal.SIGSTOP)")
    assert line_of(child) == "up"
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    survivors().stop()
    assert child.wait() == -signal.SIGTERM


def test_a_child_that_dropped_its_environment_is_known_by_its_parent(start: Start) -> None:
    inner = f"import os; print(os.getpid(), flush=True)\n{IGNORES}"
    argv = f"[sys.executable, '-c', {inner!r}], env={{}}, start_new_session=True"
    code = f"import subprocess, sys, signal; subprocess.Popen({argv}); signal.pause()"
    child = start(code)
    stray = int(line_of(child))
    assert line_of(child) == "up"
    assert variable(stray, VARIABLE) == ""
    told = survivors(patience=0.1, grace=0.1).stop()
    child.wait()
    assert start_of(stray) is None, "known still when its parent had ended at the first request"
    assert len(told) == 2


def test_a_stranger_on_the_roll_is_left_alone_and_named(start: Start) -> None:
    stranger = start(WAITS, None)
    assert line_of(stranger) == "up"
    began = start_of(stranger.pid)
    assert began is not None
    (told,) = survivors((stranger.pid, began)).stop()
    assert f"process {stranger.pid} " in told
    assert told.endswith("does not carry its mark; it was left alone")
    assert survivors((stranger.pid, began + 1)).stop() == (), "a number that was given to somebody else"
    assert stranger.poll() is None


def test_neither_we_nor_those_above_us_are_stopped(start: Start) -> None:
    ours = f"""
from launcher.adapters.roll.survivors import Survivors
print(len(Survivors({VARIABLE!r}, {MARK!r}, lock={LOCK!r}, grace=9.0).stop()), flush=True)
"""
    above = f"""
import subprocess, sys, signal
subprocess.run([sys.executable, "-c", {ours!r}], check=True)
print("over", flush=True)
signal.pause()
"""
    child = start(above, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert (line_of(child), line_of(child)) == ("0", "over")  # who still ends would be found by the next test
    assert child.poll() is None


def test_a_launcher_among_them_gets_its_grace_and_those_below_are_left_to_it(tmp_path: Path, start: Start) -> None:
    below = "import signal; print('up', flush=True); signal.pause()"
    code = f"""
import os, signal, subprocess, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
lock = open({str(tmp_path / LOCK)!r}, "w")
child = subprocess.Popen([sys.executable, "-c", {below!r}], start_new_session=True)
signal.sigwait([signal.SIGTERM])
signal.sigtimedwait([signal.SIGUSR1], 0.5)  # the last uploads take longer than an ordinary process is given
print("below", child.poll(), flush=True)
child.kill()
print("ended", child.wait(), flush=True)
"""
    launcher = start(code)
    assert line_of(launcher) == "up"
    told = survivors(patience=0.05).stop()
    assert (line_of(launcher), line_of(launcher)) == ("below None", f"ended {-signal.SIGKILL}")
    assert launcher.wait() == 0
    assert told[0].startswith(f"an earlier run left process {launcher.pid} ")


def test_where_there_is_no_pidfd_the_start_tells_who_is_meant(start: Start) -> None:
    child = start(WAITS)
    assert line_of(child) == "up"
    began = start_of(child.pid)
    assert began is not None
    stranger = _Held(Seen(pid=child.pid, parent=1, start=began - 1), -1, launcher=False, marked=True)
    assert not stranger.lives()
    stranger.send(signal.SIGKILL)
    assert child.poll() is None
    held = _Held(Seen(pid=child.pid, parent=1, start=began), -1, launcher=False, marked=True)
    assert held.lives()
    held.send(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    held.send(signal.SIGTERM)
    assert held.sentence().endswith("it was stopped")


def test_only_our_unfinished_files_in_the_folder_itself_are_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "log"
    (folder / ".launcher-part-folder").mkdir(parents=True)
    (folder / ".launcher-part-folder" / ".launcher-part-1").touch()
    for name in (".launcher-part-1", ".launcher-part-run.json-77", "run.json", "x.launcher-part-1"):
        (folder / name).touch()
    (folder / ".launcher-part-link").symlink_to(victim)
    os.mkfifo(folder / ".launcher-part-fifo")
    assert sweep(str(folder)) == 2
    assert {entry.name for entry in folder.iterdir()} == {
        ".launcher-part-folder", ".launcher-part-link", ".launcher-part-fifo", "run.json", "x.launcher-part-1"
    }  # fmt: skip
    assert victim.read_text() == "mine"
    assert sweep(str(tmp_path / "nowhere")) == 0
