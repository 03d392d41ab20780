"""Several boot processes on one node: whole lines with their rank, each its own raw log, and nothing lost between."""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.plan import LogRules, Process
from launcher.streams.cuts import OVER_BYTES, Seams
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from launcher.streams.pump import Pump
from launcher.streams.ranks import RankedLines, Streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from launcher.streams.pump import Sink

PIECES = [b"a", b"some words", b"\n", b"\r", b"\r\n", b"\n\n", b"[rank 3] ", b"\xe8\xbf\x9b\xff"]


class Place:
    """A log folder with our own two streams and the common log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fds = [os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600) for name in ("out", "err")]
        self.out, self.err = (Outlet(fd, name) for fd, name in zip(self._fds, ("stdout", "stderr"), strict=True))
        self.log = LogFile(str(folder / "job.log"))

    def streams(self, rules: LogRules | None = None) -> Streams:
        return Streams(rules or LogRules(), self.out, self.err, self.log)

    def process(self, rank: int, log: str | None = "") -> Process:
        own = f"{self.folder}/proc-rank-{rank}.txt" if log == "" else log
        return Process(rank=rank, local_rank=rank, argv=("python",), env={}, cwd="/", log=own)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def close(self) -> None:
        self.log.close()
        for fd in self._fds:
            os.close(fd)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


class Kept:
    """An outlet and a log of one test's own."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, chunk: bytes | memoryview) -> None:
        assert chunk
        self.text += chunk

    def line(self, line: bytes) -> None:
        self.text += line


def ranked(text: bytes, rank: int) -> bytes:
    """What whole lines look like, told one by one."""
    lines = re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
    given_out = b"".join(b"[rank %d] " % rank + line for line in lines)
    return given_out if not text or text[-1:] in b"\r\n" else given_out + b"\n"


def pumped(outputs: Sequence[tuple[Sequence[bytes], Sequence[Sink]]]) -> None:
    """Write each of the outputs through a pipe and a pump of its own, all at once, and wait for their ends."""
    pipes = [os.pipe() for _ in outputs]
    overs = [threading.Event() for _ in outputs]

    def speak(end: int, pieces: Sequence[bytes]) -> None:
        with open(end, "wb", buffering=0) as file:
            file.writelines(pieces)

    for (read, _), (_, sinks), over in zip(pipes, outputs, overs, strict=True):
        Pump(read, sinks, over.set).start()
    for (_, write), (pieces, _) in zip(pipes, outputs, strict=True):
        threading.Thread(target=speak, args=(write, pieces), daemon=True).start()
    assert all(over.wait(60) for over in overs)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=30),
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.integers(0, 99),
)
def test_lines_get_their_rank_wherever_the_chunks_end(pieces: list[bytes], sizes: list[int], rank: int) -> None:
    outlet, log = Kept(), Kept()
    lines = RankedLines(rank, outlet, threading.Lock(), log)
    text, at, turn = b"".join(pieces), 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        lines.write(memoryview(text)[at : at + size])
        assert outlet.text == b"" or outlet.text[-1:] in b"\r\n"
        at, turn = at + size, turn + 1
    lines.end()
    lines.end()
    lines.close()
    assert outlet.text == log.text == ranked(text, rank)


def test_streams_never_mix_within_a_line(place: Place) -> None:
    streams = place.streams()
    outputs = []
    for rank in range(4):
        sinks = streams.of(place.process(rank))
        for name, each in zip((b"out", b"err"), sinks, strict=True):
            text = b"".join(
                b"%s of %d says %d %s\n" % (name, rank, number, b"." * (number % 90)) for number in range(3000)
            )
            step = 70 + 13 * rank
            outputs.append(([text[at : at + step] for at in range(0, len(text), step)], each))
    pumped(outputs)
    streams.close()
    wanted = re.compile(rb"\[rank (\d)\] (out|err) of (\d) says (\d+) (\.*)")
    for written, streams_there in (("out", 4), ("err", 4), ("job.log", 8)):
        seen: dict[tuple[bytes, bytes], int] = {}
        for line in place.read(written).splitlines():
            found = wanted.fullmatch(line)
            assert found is not None, line
            assert found[1] == found[3]
            assert len(found[5]) == int(found[4]) % 90
            key = (found[1], found[2])
            assert seen.get(key, -1) + 1 == int(found[4]), "the lines of a stream are in their order, none is missing"
            seen[key] = int(found[4])
        assert (len(seen), set(seen.values())) == (streams_there, {2999})


def test_the_log_of_a_process_has_its_bytes_as_they_are(place: Place) -> None:
    streams = place.streams()
    out, err = streams.of(place.process(7))
    text = bytes(range(256)) + b"\r 50%\r100%\n\xff half a line"
    pumped([((text,), out)])
    pumped([((b"Traceback\n",), err)])
    streams.close()
    assert place.read("proc-rank-7.txt") == text + b"Traceback\n"
    assert place.read("err") == b"[rank 7] Traceback\n"
    assert place.read("job.log") == ranked(text, 7) + b"[rank 7] Traceback\n"


def test_the_log_of_a_process_rotates_and_is_told_of_a_flood(place: Place) -> None:
    rules = LogRules(segment_bytes=100_000, bytes_per_minute=1024**2)
    streams = place.streams(rules)
    out, _ = streams.of(place.process(0))
    pumped([((b"x" * 99 + b"\n",) * 40_000, out)])
    streams.close()
    assert (place.folder / "proc-rank-0.txt.1").stat().st_size == 100_000
    assert sum(path.read_bytes().count(b"were dropped here") for path in place.folder.glob("proc-rank-0.txt*")) == 1
    assert place.read("out").count(b"[rank 0] xxx") == 40_000


def test_without_the_prefix_bytes_pass_as_they_are(place: Place) -> None:
    streams = place.streams(LogRules(rank_prefix=False))
    out, err = streams.of(place.process(1))
    pumped([((b"50%\r", b"half a line"), out)])
    streams.close()
    assert place.read("out") == place.read("job.log") == place.read("proc-rank-1.txt") == b"50%\rhalf a line"
    assert (out[1:], err[1:], out[0]) == ((place.log, place.out), (place.log, place.err), err[0])


def test_a_line_that_never_ends_is_given_out_in_parts(place: Place) -> None:
    outlet, log = Kept(), Kept()
    lines = RankedLines(0, outlet, threading.Lock(), log)
    for _ in range(2 * OVER_BYTES // 1000):
        lines.write(b"y" * 1000)
    assert len(lines._held) <= OVER_BYTES
    assert outlet.text == b"[rank 0] " + b"y" * OVER_BYTES + b"\n"
    lines.end()
    assert log.text.replace(b"[rank 0] ", b"").replace(b"\n", b"") == b"y" * (2 * OVER_BYTES // 1000 * 1000)


def test_a_line_that_never_ends_is_parted_outside_a_secret() -> None:
    log = Kept()
    lines = RankedLines(0, Kept(), threading.Lock(), log, Seams((b"hunter2hunter2",)))
    lines.write(b"y" * (OVER_BYTES - 5) + b"hunter")
    first = b"[rank 0] " + b"y" * (OVER_BYTES - 5) + b"\n"
    assert log.text == first, "the rest may be one"
    lines.write(b"2hunter2\n")
    assert log.text == first + b"[rank 0] hunter2hunter2\n"


def test_a_secret_longer_than_any_line_is_waited_for() -> None:
    log = Kept()
    secret = bytes(range(65, 91)) * 3000
    lines = RankedLines(0, Kept(), threading.Lock(), log, Seams((secret,)))
    lines.write(secret[: OVER_BYTES + 5])
    assert log.text == b""
    lines.write(secret[OVER_BYTES + 5 :] + b"more")
    lines.end()
    assert log.text == b"[rank 0] " + secret + b"\n[rank 0] more\n"


def test_the_log_has_a_line_before_its_reader_does(place: Place) -> None:
    class Stuck(Kept):
        def write(self, chunk: bytes | memoryview) -> None:
            assert log.text == chunk
            super().write(chunk)

        def line(self, line: bytes) -> None:
            assert log.text.endswith(line)

    log, outlet = Kept(), Stuck()
    lines = RankedLines(0, outlet, threading.Lock(), log)
    lines.write(b"a line\nhalf")
    lines.close()
    assert log.text == b"[rank 0] a line\n[rank 0] half\n"


def test_the_log_of_a_process_knows_the_secrets(tmp_path: Path, place: Place) -> None:
    place.log.close()
    place.log = LogFile(str(tmp_path / "job.log"), secrets=(b"hunter2hunter2",))
    out, _ = place.streams().of(place.process(0))
    own = out[0]
    assert isinstance(own, LogFile)
    assert own.secrets == (b"hunter2hunter2",)
    own.close()


def test_what_a_pump_that_was_left_held_back_is_in_the_log(place: Place) -> None:
    streams = place.streams()
    out, _ = streams.of(place.process(2))
    read, write = os.pipe()
    over = threading.Event()
    pump = Pump(read, (*out, Seen(b"half a line", seen := threading.Event())), over.set)
    pump.start()
    os.write(write, b"half a line")
    assert seen.wait(60)
    pump.leave()
    streams.close()
    os.write(write, b"nobody wants this\n")
    os.close(write)
    assert over.wait(60)
    assert place.read("out") == place.read("job.log") == b"[rank 2] half a line\n"
    assert place.read("proc-rank-2.txt") == b"half a line"


class Seen:
    """The last sink of a pump: it tells when the others have had their bytes."""

    def __init__(self, wanted: bytes, seen: threading.Event) -> None:
        self._wanted = wanted
        self._seen = seen

    def write(self, chunk: bytes | memoryview) -> None:
        assert chunk == self._wanted
        self._seen.set()

    def end(self) -> None:
        raise AssertionError("it was left")


def test_an_own_log_that_cannot_be_opened_is_said_once_and_done_without(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(place.folder / "proc-rank-0.txt")
    streams = place.streams()
    with caplog.at_level(logging.WARNING, logger="launcher"):
        out, err = streams.of(place.process(0))
    no_log, _ = streams.of(place.process(1, log=None))
    pumped([((b"a\n",), out), ((b"b\n",), no_log)])
    streams.close()
    assert (len(out), len(err), len(no_log)) == (1, 1, 1)
    assert sorted(place.read("out").splitlines()) == [b"[rank 0] a", b"[rank 1] b"]
    (record,) = caplog.records
    assert "rank 0 goes on without a log of its own: Cannot write the log file" in record.getMessage()


def test_a_line_of_ours_stands_on_its_own_among_bars(place: Place) -> None:
    streams = place.streams()
    out, _ = streams.of(place.process(0))
    pumped([((b"10%\r20%\r",), out)])
    place.log.line(b"ours\n")
    streams.close()
    assert place.read("job.log") == b"[rank 0] 10%\r[rank 0] 20%\r\nours\n"
