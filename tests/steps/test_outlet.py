"""Our own streams: every byte while somebody reads, and nobody held up for good by who does not."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from talking import becomes

from launcher.streams.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BYTES = bytes(range(256)) + b"\r 50%\r100%\n" + "进度".encode() + b"\xff half a line"
MUCH = b"0123456789abcde\n" * 64 * 1024


def ends_of(kind: str) -> tuple[int, int]:
    """Where to read and where to write."""
    if kind == "terminal":
        return os.openpty()
    if kind == "socket":
        ours, theirs = socket.socketpair()
        return ours.detach(), theirs.detach()
    return os.pipe()


@contextmanager
def outlet_of(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int, Outlet]]:
    """What a reader has, what a writer has, and an outlet over that."""
    read, write = ends_of(kind)
    opens = os.open

    def refuses(path: str, *more: int) -> int:
        if path.startswith("/proc/self/fd/"):
            raise PermissionError(13, "Permission denied")
        return opens(path, *more)

    with monkeypatch.context() as patched:
        if kind == "pipe of another user":
            patched.setattr(os, "open", refuses)
        outlet = Outlet(write, "stdout")
    try:
        yield read, write, outlet
    finally:
        for fd in {read, write, outlet._own}:
            os.close(fd)


@contextmanager
def writing(outlet: Outlet, chunk: bytes) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=outlet.write, args=(chunk,), daemon=True)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    with suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 65536)
    os.set_blocking(fd, True)


def exactly(fd: int, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        got += os.read(fd, 65536)
    return bytes(got)


KINDS = ["pipe", "pipe of another user", "socket", "terminal"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_an_outlet_passes_bytes_untouched(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        outlet = Outlet(file.fileno(), "stdout")
        outlet.write(BYTES)
    assert (tmp_path / "out").read_bytes() == BYTES
    assert (outlet.passed, outlet.lost) == (len(BYTES), 0)


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("waits", [True, False])
def test_a_slow_reader_is_waited_for(kind: str, monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:  # noqa: FBT001
    with outlet_of(kind, monkeypatch) as (read, write, outlet):
        os.set_blocking(write, waits)
        with writing(outlet, MUCH):
            assert exactly(read, len(MUCH)) == MUCH
        assert os.get_blocking(write) is waits, "who shares our stream finds it as it was"
        assert (outlet.passed, outlet.lost, outlet.take_up()) == (len(MUCH), 0, 0)


@every_kind
def test_a_reader_that_takes_nothing_is_let_go_of(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with outlet_of(kind, monkeypatch) as (read, _, outlet):
        if kind == "terminal":
            subprocess.run(("stty", "raw"), stdin=read, check=True)
        with writing(outlet, MUCH) as thread:
            becomes(lambda: outlet.passed > 0)
            outlet.let_go()
            thread.join(60)
            outlet.write(b"more")
        assert outlet.passed + outlet.lost == len(MUCH) + 4
        assert (outlet.take_up(), outlet.take_up()) == (outlet.lost, 0)
        assert exactly(read, outlet.passed) == MUCH[: outlet.passed]
        outlet.write(b"read again")
        assert exactly(read, 10) == b"read again"


def test_a_reader_that_takes_no_more_can_be_let_go_of_before_anybody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with outlet_of("pipe", monkeypatch) as (_, _, outlet):
        outlet.let_go()
        outlet.write(b"lost")
        assert (outlet.passed, outlet.lost, outlet.take_up()) == (0, 4, 4)


def test_two_streams_may_share_one_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    with outlet_of("pipe", monkeypatch) as (read, write, out):
        err = Outlet(write, "stderr")
        size = 3 * len(MUCH)
        with writing(out, b"o" * size), writing(err, b"e" * size):
            got = exactly(read, 2 * size)
        assert (got.count(b"o"), got.count(b"e")) == (size, size)
        with writing(out, b"o" * size), writing(err, b"e" * size):
            becomes(lambda: out.passed + err.passed > 2 * size)
            out.let_go()
            err.let_go()
        assert out.lost + err.lost + out.passed + err.passed == 4 * size
        os.close(err._own)


def test_a_disk_that_is_full_for_stdout_may_be_freed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with caplog.at_level(logging.WARNING, logger="launcher"):
        outlet = Outlet(fd, "stdout")
        outlet.write(b"lost")
        room = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
        os.dup2(room, fd)
        outlet.write(b"kept")
    for one in (room, fd):
        os.close(one)
    assert (outlet.lost, (tmp_path / "out").read_bytes()) == (4, b"kept")
    assert "No space left" in caplog.text


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_reader_that_went_away_is_said_once_and_nobody_was_let_go_of(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="launcher"), outlet_of(kind, monkeypatch) as (read, write, outlet):
        os.dup2(write, read)  # the last that could read
        if kind == "socket":
            socket.socket(fileno=os.dup(write)).close()
        outlet.write(BYTES)
        outlet.write(b"more")
        outlet.line(b"a line\n")
    assert (outlet.lost, outlet.take_up()) == (len(BYTES) + 4 + 7, 0)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot write to stdout any more (Broken pipe); the log file goes on"
    ]


# no terminal: it goes on taking what it was given for a while, and then takes more
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "terminal"])
def test_a_stuck_reader_does_not_hold_up_the_launcher_s_own_lines(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with outlet_of(kind, monkeypatch) as (read, write, outlet):
        while outlet._writable(100):
            fill(write)
        outlet.line(b"lost\n")
        outlet.line(b"lost too\n")
        assert outlet.lost == 14
        while not outlet._writable(0):
            os.read(read, 65536)
        outlet.line(b"told\n")
        assert outlet.lost == 14


def test_a_line_while_a_pump_waits_for_the_reader_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with outlet_of("pipe", monkeypatch) as (_, _, outlet), writing(outlet, MUCH):
        becomes(lambda: outlet.passed > 0 and not outlet._writable(0))
        outlet.line(b"ours\n")
        assert outlet.lost >= 5
        outlet.let_go()


def test_a_closed_stream_is_no_reason_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    script = """
import os, logging
os.close(1)
logging.basicConfig(format="%(message)s")
from launcher.streams.outlet import Outlet
outlet = Outlet(1, "stdout")
outlet.write(b"lost")
outlet.line(b"lost too")
assert outlet.lost == 12
"""
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, check=True, timeout=60, text=True)
    assert done.stderr == "cannot write to stdout any more (Bad file descriptor); the log file goes on\n"


def test_lines_and_bytes_each_on_their_own(tmp_path: Path) -> None:
    with open(tmp_path / "err", "wb") as file:
        outlet = Outlet(file.fileno(), "stderr")
        speak: Callable[[bytes], None] = outlet.write
        for say, words in ((speak, b"50%"), (outlet.line, b"ours\n"), (outlet.line, b"again\n"), (speak, b"100%\n")):
            say(words)
        outlet.line(b"ours\n")
    assert (tmp_path / "err").read_bytes() == b"50%\nours\nagain\n100%\nours\n"
