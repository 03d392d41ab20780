"""Where output goes: bytes stay bytes, a launcher line stays a line, and nothing that breaks there stops a training."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from launcher.core.errors import StageError
from launcher.streams.cuts import TAIL_BYTES
from launcher.streams.lines import PREFIX, ServiceLog
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from launcher.streams.pump import Pump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BYTES = bytes(range(256)) + b"\r 50%\r100%\n" + "进度".encode() + b"\xff half a line"
LINE = re.compile(rf"{re.escape(PREFIX)}\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} - (\w+) - (.*)\n")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(str(tmp_path / "job.log"))
    yield made
    made.close()


def text(log: LogFile) -> bytes:
    with open(log.path, "rb") as file:
        return file.read()


@contextmanager
def speaking(stderr: Outlet) -> Iterator[tuple[ServiceLog, logging.Logger]]:
    """The service log behind the launcher's own loggers."""
    service, root = ServiceLog(stderr), logging.getLogger("launcher")
    root.addHandler(service)
    try:
        yield service, logging.getLogger("launcher.test")
    finally:
        root.removeHandler(service)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """What the launcher says on a stderr that works."""
    path = tmp_path / "told"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with speaking(Outlet(fd, "stderr")):
        yield path.read_text
    os.close(fd)


def pumped(read: int, *sinks: Outlet | LogFile) -> Pump:
    """Run a pump to its end."""
    over = threading.Event()
    pump = Pump(read, sinks, over.set)
    pump.start()
    assert over.wait(60)
    assert pump.error is None
    return pump


class Noted:
    """A sink that keeps account."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def write(self, chunk: bytes | memoryview) -> None:
        self._heard.append(bytes(chunk).decode())

    def end(self) -> None:
        self._heard.append("end")


def spoken(output: bytes) -> int:
    """A pipe that holds this output and then ends."""
    read, write = os.pipe()

    def speak() -> None:
        with open(write, "wb") as file:
            file.write(output)

    threading.Thread(target=speak, daemon=True).start()
    return read


# the log file


def test_the_log_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    path.write_bytes(b"of an earlier attempt\n")
    path.chmod(0o644)
    log = LogFile(str(path))
    log.write(b"more\n")
    log.close()
    log.close()
    log.write(b"too late")
    assert path.read_bytes() == b"of an earlier attempt\nmore\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_or_a_pipe_in_the_log_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "fifo")
    for name, code in (("link", 77), ("fifo", 71), ("no/such/folder", 71)):
        with pytest.raises(StageError) as caught:
            LogFile(str(tmp_path / name))
        assert (caught.value.exit_code, caught.value.code) == (code, "log-not-writable")
    assert not (tmp_path / "elsewhere").exists()


def test_threads_write_whole_pieces(log: LogFile) -> None:
    def write(letter: bytes) -> None:
        for _ in range(200):
            log.write(letter * 999 + b"\n")

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = text(log).splitlines()
    assert len(lines) == 600
    assert {(len(line), len(set(line))) for line in lines} == {(999, 1)}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_counted_and_said_once(log: LogFile, told: Callable[[], str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._fd)
    os.close(full)
    log.write(b"12345")
    log.write(b"678")
    log.line(b"9\n")
    assert log.lost == 10
    assert told().count("cannot write the log file") == 1


def test_what_cannot_be_written_is_no_reason_to_stop(log: LogFile, told: Callable[[], str]) -> None:
    os.close(log._fd)
    closed = log._fd
    log.write(b"1234")
    log._fd = -1  # so that no other file's number is closed
    assert (log.lost, closed >= 0) == (4, True)
    assert "Bad file descriptor" in told()


# our own streams


def test_a_reader_that_went_away_is_said_once(log: LogFile, told: Callable[[], str]) -> None:
    read, write = os.pipe()
    os.close(read)
    outlet = Outlet(write, "stdout")
    pump = pumped(spoken(BYTES), outlet, log)
    outlet.write(b"more")
    outlet.line(b"a line\n")
    os.close(write)
    assert text(log).startswith(BYTES)
    assert pump.tail == BYTES
    assert outlet.lost >= len(BYTES) + 4
    assert told().count("cannot write to stdout any more (Broken pipe)") == 1


# the pump


@pytest.mark.parametrize("output", [b"", b"x", BYTES, BYTES * 5000], ids=["nothing", "one", "some", "much"])
def test_the_pump_changes_no_byte(tmp_path: Path, log: LogFile, output: bytes) -> None:
    with open(tmp_path / "out", "wb") as file:
        pump = pumped(spoken(output), Outlet(file.fileno(), "stdout"), log)
    assert (tmp_path / "out").read_bytes() == text(log) == output
    assert output.endswith(pump.tail)
    assert len(pump.tail) <= TAIL_BYTES
    assert pump.tail or not output


def test_the_tail_of_many_small_pieces(log: LogFile) -> None:
    read, write = os.pipe()
    over = threading.Event()
    pump = Pump(read, [log], over.set)
    pump.start()
    pieces = [b"%d\n" % number * 7 for number in range(12_000)]
    for piece in pieces:
        os.write(write, piece)
    os.close(write)
    assert over.wait(60)
    last = b"".join(pieces)[-TAIL_BYTES:]
    assert pump.tail == last[last.index(b"\n") + 1 :], "whole lines only: a line that was cut may begin inside a secret"


@pytest.mark.parametrize(
    "filler", [b"y" * (TAIL_BYTES - 15) + b"\n", b"y" * 4 * TAIL_BYTES + b"\r", b"y" * 4 * TAIL_BYTES]
)
def test_the_tail_never_begins_inside_what_was_cut(log: LogFile, filler: bytes) -> None:
    pump = pumped(spoken(b"bad topsecretvalue" + filler), log)
    assert b"secretvalue" not in pump.tail
    assert b"value" not in pump.tail


def test_a_pump_that_was_left_drops_what_still_comes(log: LogFile) -> None:
    read, write = os.pipe()
    over = threading.Event()
    ends: list[str] = []
    pump = Pump(read, [log, Noted(ends)], over.set)
    pump.leave()
    pump.start()
    os.write(write, b"late")
    os.close(write)
    assert over.wait(60)
    assert (text(log), pump.tail, ends) == (b"", b"", [])


def test_a_pump_that_was_left_while_a_reader_was_stuck_calls_no_other_sink(log: LogFile) -> None:
    stuck, freed = threading.Event(), threading.Event()

    class Stuck:
        def write(self, chunk: bytes | memoryview) -> None:
            stuck.set()
            assert freed.wait(60)

        def end(self) -> None:
            raise AssertionError("it was left")

    over = threading.Event()
    pump = Pump(spoken(b"late"), [Stuck(), log], over.set)
    pump.start()
    assert stuck.wait(60)
    pump.leave()
    freed.set()
    assert over.wait(60)
    assert (text(log), pump.error) == (b"", None)


def test_the_sinks_hear_of_the_end_once_and_before_anybody_else() -> None:
    heard: list[str] = []
    over = threading.Event()

    def ended() -> None:
        heard.append("over")
        over.set()

    Pump(spoken(b"x"), [Noted(heard)], ended).start()
    assert over.wait(60)
    assert heard == ["x", "end", "over"]


def test_a_defect_in_the_pump_is_kept_for_the_main_thread() -> None:
    class Broken:
        def write(self, chunk: bytes | memoryview) -> None:
            raise RuntimeError("a defect")

        def end(self) -> None:
            raise AssertionError("a pump with a defect is not at its end")

    over = threading.Event()
    pump = Pump(spoken(b"x"), [Broken()], over.set)
    pump.start()
    assert over.wait(60)
    assert isinstance(pump.error, RuntimeError)


# the launcher's own lines


def test_a_line_of_ours_has_the_service_s_form(log: LogFile, told: Callable[[], str]) -> None:
    logging.getLogger("launcher.test").warning("%d inputs for %s", 2, "训练")
    found = LINE.fullmatch(told())
    assert found is not None
    assert found.groups() == ("WARNING", "2 inputs for 训练")


def test_control_characters_cannot_forge_a_line(tmp_path: Path) -> None:
    # Not through a logger: pytest would show the lone surrogate to its other processes, which cannot take one.
    hostile = logging.makeLogRecord({"msg": "a\nb\r\t\x1b[2J\x00\x9b\u2028\u202e\ud800é", "levelname": "INFO"})
    with open(tmp_path / "err", "wb") as file:
        ServiceLog(Outlet(file.fileno(), "stderr")).handle(hostile)
    found = LINE.fullmatch((tmp_path / "err").read_text())
    assert found is not None
    assert found[2] == r"a\nb\r\t\x1b[2J\x00\x9b\u2028\u202e\ud800é"


def test_only_a_traceback_has_more_lines(told: Callable[[], str]) -> None:
    logging.getLogger("launcher.test").error("a defect", exc_info=ValueError("first\x1b\nsecond"))
    lines = told().splitlines()
    assert LINE.fullmatch(lines[0] + "\n")
    assert lines[1:] == [r"ValueError: first\x1b", "second"]


def test_the_log_file_gets_the_early_lines_too(tmp_path: Path, log: LogFile) -> None:
    with open(tmp_path / "err", "wb") as file, speaking(Outlet(file.fileno(), "stderr")) as (service, logger):
        logger.warning("early")
        service.open(log)
        logger.warning("late")
    assert text(log) == (tmp_path / "err").read_bytes()
    assert [found[1] for found in LINE.findall(text(log).decode())] == ["early", "late"]


def test_a_line_of_ours_is_not_glued_to_a_line_of_the_boot_process(tmp_path: Path, log: LogFile) -> None:
    with open(tmp_path / "err", "wb") as file:
        outlet = Outlet(file.fileno(), "stderr")
        with speaking(outlet) as (service, logger):
            service.open(log)
            pumped(spoken(b"50%"), outlet, log)
            logger.warning("ours")
            logger.warning("again")
            pumped(spoken(b"100%\n"), outlet, log)
            logger.warning("ours")
    for written in (text(log), (tmp_path / "err").read_bytes()):
        assert re.fullmatch(rb"50%\n\[.*ours\n\[.*again\n100%\n\[.*ours\n", written)


def test_a_log_that_was_cut_off_within_a_line_is_continued_on_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_bytes(b"cut o")
    log = LogFile(str(tmp_path / "job.log"))
    log.line(b"ours\n")
    log.close()
    assert (tmp_path / "job.log").read_bytes() == b"cut o\nours\n"


def test_a_bad_format_is_told_and_raises_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(tmp_path / "err", "wb") as file:
        ServiceLog(Outlet(file.fileno(), "stderr")).handle(logging.makeLogRecord({"msg": "%d", "args": ("text",)}))
    assert "Logging error" in capsys.readouterr().err
    assert (tmp_path / "err").read_bytes() == b""


def test_the_modules_bring_nothing_heavy() -> None:
    heavy = {"pathlib", "tempfile", "shutil", "dataclasses", "ctypes", "concurrent.futures", "importlib.metadata"}
    code = """
import click, logging, msgspec, subprocess, sys, threading
before = set(sys.modules)
import launcher.supervise, launcher.adapters.process
print(*set(sys.modules) - before)
"""
    brought = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not heavy & set(brought)
