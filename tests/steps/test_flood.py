"""A flood: the log takes what a minute allows, says what it dropped, and keeps the end of it; a clock made by hand."""

from __future__ import annotations

import re
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.plan import LogRules
from launcher.streams import cuts, flood
from launcher.streams.cuts import OVER_BYTES, TAIL_BYTES, cut
from launcher.streams.logs import LogFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024**2
SECRET = b"hunter2hunter2"
LINE = b"x" * 1023 + b"\n"
ACCOUNT = re.compile(
    rb"\[ModelArts Service Log\][-0-9 :,]{23} - WARNING - (\d+) bytes of output were dropped here: "
    rb"more than 1 MiB came in a minute \(LAUNCHER_LOG_RATE\)\n"
)
ANY_ACCOUNT = re.compile(rb"\n?\[ModelArts[^\n]* - WARNING - (\d+) bytes of output were dropped here[^\n]*\n")


class Hand:
    """A clock that somebody moves by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def log(tmp_path: Path, hand: Hand) -> Iterator[LogFile]:
    """A log that takes 1 MiB in a minute."""
    made = LogFile(str(tmp_path / "job.log"), LogRules(bytes_per_minute=MIB), hand)
    yield made
    made.close()


def text(log: LogFile) -> bytes:
    with open(log.path, "rb") as file:
        return file.read()


def test_what_a_minute_allows_goes_in(log: LogFile, hand: Hand) -> None:
    for _ in range(5):
        log.write(LINE * 1024)
        hand.at += 60
    log.end()
    assert (text(log), log.dropped) == (LINE * 5 * 1024, 0)


def test_the_bucket_is_filled_all_the_time_and_holds_one_minute_s_worth(log: LogFile, hand: Hand) -> None:
    hand.at = 3600
    log.write(LINE * 1024)
    hand.at += 30
    log.write(LINE * 512)
    assert log._flood.on is False
    log.write(LINE)
    assert log._flood.on is True


def test_a_flood_is_dropped_and_said_once_when_it_is_over(log: LogFile, hand: Hand) -> None:
    log.write(LINE * 1000)
    for number in range(2000):
        log.write(b"%04d" % number * 255 + b"\n")
    assert len(text(log)) <= MIB
    hand.at += 60
    log.write(b"calm again\n")
    written = text(log)
    (said,) = ACCOUNT.finditer(written)
    assert (int(said[1]), log.dropped) == (int(said[1]), int(said[1]))
    assert len(written) - len(said[0]) + log.dropped == 1000 * 1024 + 2000 * 1021 + len(b"calm again\n")
    assert written[: said.start()].endswith(b"\n")
    after = written[said.end() :]
    assert after.startswith(b"19"), "the last of what was dropped is there, from a line's begin"
    assert after.endswith(b"1999" * 255 + b"\ncalm again\n")
    assert len(after) <= TAIL_BYTES + 11


def test_a_flood_that_goes_on_is_not_told_with_every_chunk(log: LogFile, hand: Hand) -> None:
    for _ in range(6000):  # a minute at a hundred times the rate
        log.write(LINE * 17)
        hand.at += 0.01
    log.end()
    assert 2 <= len(ACCOUNT.findall(text(log))) <= 8
    assert len(text(log)) <= 2 * MIB + 8 * (TAIL_BYTES + 200)


def test_the_last_words_of_a_flood_are_in_the_log_at_its_end(log: LogFile) -> None:
    for _ in range(3000):
        log.write(LINE)
    log.write(b"Traceback (most recent call last):\n  the reason")
    log.end()
    log.end()
    assert text(log).endswith(LINE + b"Traceback (most recent call last):\n  the reason")
    assert len(ACCOUNT.findall(text(log))) == 1


def test_few_bytes_after_a_flood_come_late_but_none_is_missing(log: LogFile, hand: Hand) -> None:
    log.write(LINE * 1024)
    log.write(b"after it\n")
    log.end()
    assert (text(log), log.dropped) == (LINE * 1024 + b"after it\n", 0)


def test_our_own_lines_always_go_in_after_the_account(log: LogFile) -> None:
    log.write(LINE * 1024)
    for _ in range(300):
        log.write(LINE)
    log.line(b"[ModelArts Service Log] ours\n")
    log.write(LINE)
    log.close()
    found = ACCOUNT.search(text(log))
    assert found is not None
    assert int(found[1]) == log.dropped
    assert text(log)[found.end() :] == LINE * 63 + b"[ModelArts Service Log] ours\n" + LINE


def test_a_line_that_has_begun_is_ended(log: LogFile) -> None:
    log.write(LINE * 1023 + b"y" * 1010 + b"key=hunter2")
    log.write(b"hunter2\n" + LINE * 100)
    assert text(log).endswith(b"key=hunter2hunter2\n")


def test_a_line_without_an_end_goes_over_by_so_much_only(log: LogFile) -> None:
    for _ in range(3000):
        log.write(b"y" * 1000)
    assert MIB < len(text(log)) <= MIB + OVER_BYTES


@pytest.mark.parametrize("step", [1000, 4096, 1 << 20])
@pytest.mark.parametrize("before", [0, 1, 7, 13, 14])
def test_a_flood_begins_outside_a_secret(tmp_path: Path, hand: Hand, step: int, before: int) -> None:
    log = LogFile(f"{tmp_path}/job.log", LogRules(bytes_per_minute=MIB), hand, secrets=[SECRET])
    begin = MIB + OVER_BYTES - before
    flow = b"y" * begin + SECRET + b"z" * MIB
    for at in range(0, len(flow), step):
        log.write(flow[at : at + step])
    log.close()
    count = text(log).index(b"\n[ModelArts")
    assert text(log)[:count] == flow[:count]
    assert not begin < count < begin + len(SECRET)
    assert MIB <= count <= begin + len(SECRET) + before


def test_the_begin_of_a_secret_waits_for_its_rest_while_something_else_goes_in(tmp_path: Path, hand: Hand) -> None:
    log = LogFile(f"{tmp_path}/job.log", LogRules(bytes_per_minute=MIB), hand, secrets=[SECRET])
    log.write(LINE * 1024)
    log.write(LINE * 300 + b"key=" + SECRET[:5])
    log.line(b"ours\n")
    assert text(log).endswith(b"\nkey=\nours\n")
    log.write(SECRET[5:] + b"\n" + SECRET[:5])
    log.end()
    assert text(log).endswith(b"\nours\n" + SECRET + b"\n")
    log.end()
    assert text(log).endswith(b"\nours\n" + SECRET + b"\n" + SECRET[:5]), "nothing more came"
    log.write(b"!" + SECRET[:5])
    log.end()
    log.close()
    assert text(log).endswith(SECRET[:5] + b"!" + SECRET[:5])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.one_of(st.text("ab", min_size=5, max_size=90).map(str.encode), st.just(b"\r"), st.none()), max_size=20),
    st.lists(st.text("ab", min_size=2, max_size=6).map(str.encode), max_size=3),
)
def test_no_secret_is_parted_by_a_flood(pieces: list[bytes | None], secrets: list[bytes]) -> None:
    hand = Hand()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(flood, "cut", partial(cut, over=10))
        patched.setattr(cuts, "TAIL_BYTES", 24)
        log = LogFile(f"{folder}/job.log", LogRules(bytes_per_minute=20), hand, secrets=secrets)
        for piece, before in zip(pieces, [None, *pieces], strict=False):
            if piece is not None:
                log.write(piece)
            elif before is not None:  # two ends with nothing between them are the last
                log.end()
            hand.at += 2
        log.close()
        given_out = ANY_ACCOUNT.split(text(log))
    flow, at, edges = b"".join(piece for piece in pieces if piece is not None), 0, []
    for number, one in enumerate(given_out):
        if number % 2 == 0:
            assert flow[at : at + len(one)] == one
        edges += [at, at := at + (int(one) if number % 2 else len(one))]
    assert at == len(flow)
    parted = [
        (edge, secret)
        for edge in edges
        for secret in secrets
        for start in range(max(edge - len(secret) + 1, 0), edge)
        if flow[start : start + len(secret)] == secret
    ]
    assert parted == []


def test_one_chunk_that_is_larger_than_a_minute_s_worth(log: LogFile) -> None:
    log.write(LINE * 4096)
    log.end()
    written = text(log)
    assert len(written) - len(ACCOUNT.findall(written)[0]) > MIB
    assert ACCOUNT.sub(b"", written) == LINE * (1024 + 63)
    assert log.dropped == (4096 - 1024 - 63) * 1024


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 90_000), st.floats(0, 20)), max_size=40),
    st.sampled_from([b"ab\n", b"abc", b"longer line than before\r"]),
)
def test_every_byte_is_in_the_log_or_counted(chunks: list[tuple[int, float]], line: bytes) -> None:
    hand = Hand()
    with TemporaryDirectory() as folder:
        log = LogFile(f"{folder}/job.log", LogRules(bytes_per_minute=MIB, segment_bytes=1 << 30), hand)
        for size, pause in chunks:
            log.write(line * (size // len(line)))
            hand.at += pause
        log.close()
        written = text(log)
    in_all = sum(size // len(line) * len(line) for size, _ in chunks)
    said = [int(one) for one in ACCOUNT.findall(written)]
    assert sum(said) == log.dropped
    own = ACCOUNT.sub(b"", written)
    breaks = len(re.findall(rb"(?<![\n])\n\[ModelArts", written)) if not line.endswith(b"\n") else 0
    assert len(own) - breaks + log.dropped == in_all
    assert log.lost == 0
