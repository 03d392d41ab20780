"""A log in segments: not a byte lost or doubled, each segment final, and nobody else's file touched."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.plan import LogRules
from launcher.streams.cuts import ENDLESS, OVER_BYTES, TAIL_BYTES, Seams, Tail, cut, last_line_end
from launcher.streams.logs import LogFile
from launcher.streams.segments import segments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", b"defghij", b"\x00\xff"]), max_size=60)


def rules(segment: int) -> LogRules:
    return LogRules(segment_bytes=segment, bytes_per_minute=1 << 40)


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def parts(path: str) -> list[bytes]:
    """What the log is made of, oldest first."""
    return [read(one) for one in (*reversed(segments(path)), path)]


@contextmanager
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    said: list[str] = []
    with caplog.at_level(logging.WARNING, logger="launcher"):
        yield said
    said += [record.getMessage() for record in caplog.records]


@settings(deadline=None)
@given(LINES, st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1, max_size=10))
def test_the_segments_in_their_order_are_what_was_written(pieces: list[bytes], segment: int, sizes: list[int]) -> None:
    text, at, turn = b"".join(pieces), 0, 0
    with TemporaryDirectory() as folder:
        log = LogFile(f"{folder}/job.log", rules(segment))
        while at < len(text):
            size = sizes[turn % len(sizes)]
            log.write(memoryview(text)[at : at + size])
            at, turn = at + size, turn + 1
        log.close()
        *full, current = parts(log.path)
        names = sorted(os.listdir(folder))
    assert (b"".join(full) + current, log.lost, log.dropped) == (text, 0, 0)
    assert names == sorted(["job.log", *(f"job.log.{number + 1}" for number in range(len(full)))])
    assert all(one for one in full)
    assert all(len(one) <= 2 * segment for one in full), "a line that has begun is ended, within bounds"
    assert all(one[-1:] in b"\r\n" or len(one) == 2 * segment for one in full)


SECRETS = st.lists(st.text("ab\n", min_size=1, max_size=6).map(str.encode), max_size=3)


def parted(text: bytes, at: int, secrets: list[bytes]) -> list[bytes]:
    """The secrets that lie on both sides of a place."""
    return [
        secret
        for secret in secrets
        for start in range(max(at - len(secret) + 1, 0), at)
        if text[start : start + len(secret)] == secret
    ]


@settings(deadline=None, max_examples=300)
@given(
    st.text("aab\n", max_size=120).map(str.encode),
    SECRETS,
    st.integers(1, 30),
    st.lists(st.integers(1, 30), min_size=1, max_size=10),
)
def test_no_secret_lies_in_two_segments(text: bytes, secrets: list[bytes], segment: int, sizes: list[int]) -> None:
    at, turn = 0, 0
    with TemporaryDirectory() as folder:
        log = LogFile(f"{folder}/job.log", rules(segment), secrets=secrets)
        while at < len(text):
            size = sizes[turn % len(sizes)]
            log.write(text[at : at + size])
            at, turn = at + size, turn + 1
        log.close()
        *full, current = parts(log.path)
    assert (b"".join(full) + current, log.lost, log.dropped) == (text, 0, 0)
    assert all(full)
    edges = [sum(map(len, full[: number + 1])) for number in range(len(full))]
    assert [parted(text, edge, secrets) for edge in edges] == [[]] * len(edges)


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_a_line_without_an_end_is_parted_outside_a_secret(tmp_path: Path, step: int) -> None:
    secret = b"hunter2hunter2"
    for before in (0, 1, 7, 13, 14):
        text = b"y" * (1000 + 1000 - before) + secret + b"z" * 3000
        path = str(tmp_path / f"{before}.log")
        log = LogFile(path, rules(1000), secrets=[secret])
        for at in range(0, len(text), step):
            log.write(text[at : at + step])
        log.close()
        assert b"".join(parts(path)) == text
        assert len(parts(path)) >= 3
        assert sum(part.count(secret) for part in parts(path)) == 1


def test_a_secret_that_goes_on_for_ever_is_parted_in_the_end(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "job.log"), rules(1000), secrets=[b"0" * 8])
    for _ in range(1000):
        log.write(b"0" * 1000)
    log.close()
    sizes = [len(part) for part in parts(log.path)]
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 1000 - ENDLESS + OVER_BYTES


def test_what_overlaps_is_held_back_as_one() -> None:
    seams = Seams((b"aba", b"x"))
    assert [seams.held(text) for text in (b"", b"yab", b"yaba", b"yabac", b"abaaba")] == [0, 2, 3, 0, 3]


def test_a_tail_that_was_cut_off_begins_in_no_secret() -> None:
    tail = Tail(Seams((b"abab", b"zyx")))
    tail.add(memoryview(b"y" + b"ab" * TAIL_BYTES))
    assert tail.text() == b"", "all of it may belong to one"
    tail.add(memoryview(b"." * (TAIL_BYTES // 2 - 1) + b"zyx" + b"." * (TAIL_BYTES // 2 - 2)))
    assert tail.text() == b"zyx" + b"." * (TAIL_BYTES // 2 - 2)


def test_a_secret_of_an_earlier_attempt_is_whole_too(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_bytes(b"y" * 1996 + b"hunt")
    log = LogFile(str(tmp_path / "job.log"), rules(1000), secrets=[b"hunter2hunter2"])
    log.write(b"er2hunter2 and more")
    log.close()
    assert parts(log.path) == [b"y" * 1996 + b"hunter2hunter2", b" and more"]


@given(st.binary(max_size=40), st.integers(-9, 45), st.booleans())
def test_a_cut_leaves_no_line_on_both_sides_where_it_can(text: bytes, room: int, begun: bool) -> None:  # noqa: FBT001
    count = cut(memoryview(text), room, begun=begun, over=8)
    assert 0 <= count <= max(room + 8, 0)
    ended = count == 0 or text[count - 1 : count] in (b"\n", b"\r")
    assert ended or (begun and (count == len(text) or count == room + 8))
    assert not (count == 0 and begun and text and room + 8 > 0)


def test_a_line_is_whole_in_one_segment(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "job.log"), rules(1000))
    for number in range(500):
        line = b"step %d password hunter2hunter2\n" % number
        log.write(line[: number % 30])
        log.write(line[number % 30 :])
    log.close()
    for part in parts(log.path):
        assert all(line.endswith(b" password hunter2hunter2") for line in part.splitlines())
        assert len(part) <= 1000 + 64


def test_lines_of_ours_rotate_too_and_stay_whole(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "job.log"), rules(10))
    log.write(b"50%")
    log.line(b"a line of ours\n")
    log.line(b"another\n")
    log.close()
    assert parts(log.path) == [b"50%\n", b"a line of ours\n", b"another\n"]


def test_a_progress_bar_is_cut_at_its_pieces(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "job.log"), rules(30))
    log.write(b"".join(b"%3d%%\r" % number for number in range(12)))
    log.close()
    assert [len(part) for part in parts(log.path)] == [30, 30]


def test_every_segment_is_its_owner_s_only(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "job.log"), rules(10))
    for _ in range(5):
        log.write(b"12345678\n")
    log.close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 5


def test_names_go_on_after_the_highest_and_never_change(tmp_path: Path) -> None:
    (tmp_path / "job.log.9").write_bytes(b"of an earlier attempt\n")
    for odd in ("job.log.old", "job.log.007", "job.log.²", "job.log.", "other.log.77"):
        (tmp_path / odd).write_bytes(b"not ours")
    (tmp_path / "job.log").write_bytes(b"earlier\n")
    log = LogFile(str(tmp_path / "job.log"), rules(10))
    for letter in b"abc":
        log.write(bytes([letter]) * 9 + b"\n")
    log.close()
    names = [os.path.basename(one) for one in segments(log.path)]
    assert names == ["job.log.12", "job.log.11", "job.log.10", "job.log.9"]
    assert parts(log.path)[:2] == [b"of an earlier attempt\n", b"earlier\n"]


def test_segments_where_there_is_no_folder(tmp_path: Path) -> None:
    assert segments(str(tmp_path / "gone" / "job.log")) == []


@pytest.mark.parametrize("place", ["link", "fifo", "folder", "file", "nothing", "no folder"])
def test_what_stands_in_the_log_s_place_is_left_alone(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path, victim = folder / "job.log", tmp_path / "victim"
    victim.write_bytes(b"mine")
    with warnings(caplog) as said:
        log = LogFile(str(path), rules(10))
        log.write(b"a line\n")
        path.rename(tmp_path / "moved")
        {
            "link": lambda: path.symlink_to(victim),
            "fifo": lambda: os.mkfifo(path),
            "folder": path.mkdir,
            "file": lambda: path.write_bytes(b"theirs"),
            "nothing": lambda: None,
            "no folder": folder.rmdir,
        }[place]()
        before = path.lstat() if os.path.lexists(path) else None
        for _ in range(9):
            log.write(b"more of it\n")
        log.close()
    assert (tmp_path / "moved").read_bytes() == b"a line\n" + b"more of it\n" * 9
    assert victim.read_bytes() == b"mine"
    assert segments(str(path)) == []
    if before is not None:
        assert os.path.samestat(before, path.lstat())
    assert len(said) == 1
    assert said[0].startswith(f"cannot begin a new log file {path} (")
    assert log.lost == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_takes_no_new_file_is_no_reason_to_stop(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "job.log"), rules(10))
    tmp_path.chmod(0o500)
    log.write(b"12345678\n" * 5)
    tmp_path.chmod(0o700)
    log.close()
    assert (tmp_path / "job.log").read_bytes() == b"12345678\n" * 5


FULL = """
import logging, os, resource, sys
from launcher.core.plan import LogRules
from launcher.streams.logs import LogFile
logging.basicConfig(stream=sys.stdout, format="%(message)s")
log = LogFile(sys.argv[1], LogRules(segment_bytes=1000, bytes_per_minute=1 << 40))
log.write(b"a" * 899 + b"\\n")
if sys.argv[2] == "no file":  # no number is left for a new file, which is how a new segment cannot be opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (log._fd + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for _ in range(3):
    log.write(b"b" * (899 if sys.argv[2] == "no file" else 2999) + b"\\n")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
log.line(b"at last\\n")
log.close()
print(log.lost)
"""


def run_full(path: Path, what: str) -> list[str]:
    argv = [sys.executable, "-c", FULL, str(path), what]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


def test_a_new_file_that_cannot_be_opened_leaves_the_log_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    *said, lost = run_full(path, "no file")
    assert lost == "0"
    assert said == [f"cannot begin a new log file {path} (Too many open files); the old one goes on"]
    assert b"".join(parts(str(path))) == b"a" * 899 + b"\n" + (b"b" * 899 + b"\n") * 3 + b"at last\n"


def test_a_disk_that_is_full_loses_what_does_not_fit_and_says_it_once(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    *said, lost = run_full(path, "full")
    written = b"".join(parts(str(path)))
    assert len(said) == 1
    assert said[0].startswith(f"cannot write the log file {path} (File too large)")
    assert len(written) + int(lost) == 900 + 3 * 3000 + len(b"\nat last\n")
    assert all(len(part) <= 1500 for part in parts(str(path)))


def test_the_last_line_end() -> None:
    assert [last_line_end(text) for text in (b"", b"a", b"a\nb", b"a\nb\r", b"a\rb\nc")] == [0, 0, 2, 4, 4]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, TAIL_BYTES + 9)), max_size=9))
def test_a_tail_is_the_end_of_all_and_begins_on_a_line(sizes: list[tuple[int, int]]) -> None:
    tail, whole = Tail(), b""
    for ends, size in sizes:
        chunk = b"x" * size + b"\n" * ends
        tail.add(memoryview(chunk))
        whole += chunk
    text = tail.text()
    assert whole.endswith(text)
    assert len(text) <= TAIL_BYTES
    if len(whole) <= TAIL_BYTES:
        assert text == whole
    elif b"\n" in whole[-TAIL_BYTES:-1]:
        assert whole[: len(whole) - len(text)].endswith(b"\n")
