"""What is seen of a step on its way: in the log, and on a real terminal as its user sees it."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import termios
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from talking import becomes

from launcher.core.record import Moving
from launcher.progress import Gauge, Rates, bars, fastest, shown, told, whole
from launcher.streams.lines import ServiceLog
from launcher.streams.outlet import Outlet
from launcher.streams.screen import Screen, screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB = 1024**3
MIB = 1024**2
SOME = Moving(label="data_url", objects=12_345, bytes=3 * GIB, known_objects=50_000, known_bytes=12 * GIB, listed=True)
LISTING = Moving(label="data_url", objects=12_345, bytes=GIB, known_objects=20_000, known_bytes=12 * GIB, listed=False)
DONE = Moving(label="code", objects=3, bytes=100, known_objects=3, known_bytes=100, listed=True)
EMPTY = Moving(label="empty", objects=0, bytes=0, known_objects=0, known_bytes=0, listed=True)
RATE = Rates(1000.0, 340.0 * MIB)


@pytest.mark.parametrize(
    ("one", "rate", "sentence"),
    [
        (LISTING, RATE, "data_url: 12,345 objects, 1.0 GB, 340.0 MB/s, listing goes on"),
        (SOME, RATE, "data_url: 12,345 of 50,000 objects, 3.0 of 12.0 GB, 340.0 MB/s, 38 s left"),
        (SOME, Rates(100.0, 340.0 * MIB), "data_url: 12,345 of 50,000 objects, 3.0 of 12.0 GB, 340.0 MB/s, 6 min left"),
        (SOME, Rates(1.0, MIB), "data_url: 12,345 of 50,000 objects, 3.0 of 12.0 GB, 1.0 MB/s, 10 h 28 min left"),
        (SOME, Rates(0.0, 0.0), "data_url: 12,345 of 50,000 objects, 3.0 of 12.0 GB, 0 bytes/s"),
        (SOME, Rates(0.0, 340.0 * MIB), "data_url: 12,345 of 50,000 objects, 3.0 of 12.0 GB, 340.0 MB/s, 27 s left"),
        (DONE, Rates(0.0, 0.0), "code: 3 of 3 objects, 100 of 100 bytes, 0 bytes/s"),
        (EMPTY, Rates(0.0, 0.0), "empty: 0 of 0 objects, 0 of 0 bytes, 0 bytes/s"),
    ],
)  # fmt: skip
def test_a_line_tells_how_far_it_is_how_fast_and_how_long_it_takes(one: Moving, rate: Rates, sentence: str) -> None:
    assert told(one, rate) == sentence


def test_several_channels_are_told_as_one() -> None:
    both = whole((SOME, DONE))
    assert told(both, fastest((RATE, Rates(0.0, 0.0)))) == (
        "2 channels: 12,348 of 50,003 objects, 3.0 of 12.0 GB, 340.0 MB/s, 38 s left"
    )
    assert "listing goes on" in told(whole((LISTING, DONE)), RATE)
    assert whole((SOME,)) == SOME


def at(objects: int, label: str = "a") -> Moving:
    return Moving(label=label, objects=objects, bytes=objects * 10, known_objects=1000, known_bytes=10_000, listed=True)


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    moment = 100.0
    gauge = Gauge(lambda: moment)
    seen = []
    for moment, objects in ((101.0, 10), (105.0, 50), (111.0, 110), (121.0, 110), (131.0, 110)):  # noqa: B007
        seen.append(gauge.rates((at(objects),)))
    assert seen == [(Rates(10.0, 100.0),)] * 3 + [(Rates(0.0, 0.0),)] * 2


def test_a_channel_that_begins_later_is_measured_from_there() -> None:
    moment = 0.0
    gauge = Gauge(lambda: moment)
    moment = 50.0
    gauge.rates((at(1),))
    moment = 60.0
    assert gauge.rates((at(1), at(100, "b")))[1] == Rates(10.0, 100.0)


@pytest.mark.parametrize("columns", [10, 40, 80, 200])
def test_no_bar_is_wider_than_the_terminal(columns: int) -> None:
    rows = bars((SOME, LISTING, DONE, EMPTY), (RATE,) * 4, (columns, 24), ascii_only=False)
    assert len(rows) == 4
    assert all(0 < len(row) < columns for row in rows)


def test_there_are_no_more_bars_than_rows_and_what_is_done_gives_way() -> None:
    rows = bars((DONE, SOME, LISTING), (RATE,) * 3, (80, 3), ascii_only=False)
    assert [row.split()[0] for row in rows] == ["data_url", "data_url"]


def test_bars_are_ascii_where_the_terminal_is() -> None:
    rows = bars((SOME, LISTING, DONE, EMPTY), (RATE,) * 4, (80, 24), ascii_only=True)
    assert "".join(rows).isascii()
    assert "25%|####" in rows[0]
    assert not "".join(bars((SOME,), (RATE,), (80, 24), ascii_only=False)).isascii()


def test_a_bar_of_empty_objects_counts_them() -> None:
    one = Moving(label="a", objects=5, bytes=0, known_objects=10, known_bytes=0, listed=True)
    assert " 50%|" in bars((one,), (RATE,), (80, 24), ascii_only=True)[0]


def test_a_label_steers_no_terminal_and_is_no_format() -> None:
    one = Moving(label="a\x1b[2J{bar}", objects=5, bytes=0, known_objects=10, known_bytes=0, listed=True)
    (row,) = bars((one,), (RATE,), (80, 24), ascii_only=True)
    assert row.startswith("a\\x1b[2J{bar}  50%|")


def progress_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "launcher.progress"]


def test_without_a_terminal_a_line_comes_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "launcher")
    with shown("staging", lambda: (LISTING, DONE), terminal=None, every=0.01):
        becomes(lambda: len(progress_lines(caplog)) > 2)
    lines = progress_lines(caplog)
    assert re.fullmatch(
        r"staging 2 channels: 12,348 objects, 1.0 GB, [0-9,.]+ (bytes|.B)/s, listing goes on", lines[-1]
    )
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert len(lines) == len(progress_lines(caplog))


def test_what_ends_sooner_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "launcher")
    with terminal() as (seen, made), shown("staging", lambda: (SOME,), terminal=made):
        pass
    with shown("staging", lambda: (SOME,), terminal=None):
        pass
    assert (progress_lines(caplog), seen()) == ([], "")


def test_where_all_is_done_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "launcher")
    looks: list[int] = []

    def snapshot() -> tuple[Moving, ...]:
        looks.append(1)
        return (DONE,)

    with shown("staging", snapshot, terminal=None, every=0.01):
        becomes(lambda: len(looks) > 3)
    assert progress_lines(caplog) == []


def test_an_error_inside_passes_and_ends_the_progress() -> None:
    def work(seen: Callable[[], str], made: Screen) -> None:
        with shown("staging", lambda: (SOME,), terminal=made):
            becomes(lambda: "data_url" in seen())
            raise ValueError("inside")

    with terminal() as (seen, made):
        with pytest.raises(ValueError, match="inside"):
            work(seen, made)
        assert picture(seen()) == [""]
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


@contextmanager
def terminal(encoding: str = "utf-8") -> Iterator[tuple[Callable[[], str], Screen]]:
    """A terminal 100 columns wide: all that it was sent, and the screen on it."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (10, 100)) if hasattr(termios, "tcsetwinsize") else None
    os.set_blocking(ours, False)
    got = bytearray()

    def seen() -> str:
        try:
            while chunk := os.read(ours, 65536):
                got.extend(chunk)
        except OSError:
            pass
        return got.decode(encoding)

    page = Outlet(theirs, "stderr")
    made = screen(page, theirs, {"TERM": "xterm"}, encoding)
    assert made is not None
    try:
        yield seen, made
    finally:
        for fd in (ours, theirs, made._fd, page._own):
            os.close(fd)


def picture(sent: str) -> list[str]:
    """What a terminal shows that was sent this: the few moves that bars are made of."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\d*[A-Z]|[\r\n]|[^\x1b\r\n]+", sent):
        if part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part == "\r":
            column = 0
        elif part == "\x1b[J":
            rows[row:] = [rows[row][:column]]
        elif part == "\x1b[K":
            rows[row] = rows[row][:column]
        elif part.endswith("A"):
            row -= int(part[2:-1])
            assert row >= 0
        else:
            rows[row] = rows[row][:column] + part + rows[row][column + len(part) :]
            column += len(part)
    return rows


def logger_on(made: Screen) -> logging.Logger:
    logger = logging.Logger("launcher.shown")  # noqa: LOG001 - one of this test alone
    logger.addHandler(ServiceLog(made))
    return logger


def test_lines_stand_whole_above_the_bars_and_nothing_is_left_of_these() -> None:
    count = 0
    shots = []

    def snapshot() -> tuple[Moving, ...]:
        nonlocal count
        count += 1
        return (SOME, DONE) if count % 2 else (SOME,)

    def drawn_since(before: int) -> Callable[[], bool]:
        return lambda: count > before

    with terminal() as (seen, made):
        logger = logger_on(made)
        with shown("staging", snapshot, terminal=made):
            for number in range(30):
                logger.info("line %d", number)
                becomes(drawn_since(count))
                shots.append(picture(seen()))
        end = picture(seen())
    assert [row.rpartition(" - ")[2] for row in end] == [*(f"line {number}" for number in range(30)), ""]
    shot = shots[20]
    assert [row for row in shot if "data_url" in row] == [shot[21]]
    assert "25%|" in shot[21]
    assert shot[20].endswith("line 20")


def test_lines_of_many_threads_are_not_torn_by_the_bars() -> None:
    with terminal() as (seen, made):
        logger = logger_on(made)

        def talk(name: int) -> None:
            for number in range(100):
                logger.info("line %d of %d", number, name)
                made.draw(("bar one", "bar two")[: number % 3], lambda: False)

        crew = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
        read = [threading.Thread(target=lambda: becomes(lambda: "THE END" in seen()))]
        for one in (*read, *crew):
            one.start()
        for one in crew:
            one.join()
        made.close()
        made.line(b"THE END\n")
        read[0].join()
        rows = [row.rpartition(" - ")[2] for row in picture(seen())]
    assert sorted(rows[:-2]) == sorted(f"line {number} of {name}" for number in range(100) for name in range(4))


def test_a_terminal_that_nobody_reads_holds_up_no_frame_and_goes_on_later() -> None:
    with terminal() as (seen, made):
        termios.tcflow(made._fd, termios.TCOOFF)
        for number in range(1000):
            made.draw((f"bar {number} " + "x" * 80,) * 5, lambda: False)
        assert not made.gone
        termios.tcflow(made._fd, termios.TCOON)

        def drawn() -> bool:
            made.draw(("bar again",), lambda: False)
            return "bar again" in seen()

        becomes(drawn)


def test_a_terminal_that_goes_away_ends_the_bars_and_lines_come_instead(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "launcher")
    ours, theirs = os.openpty()
    page = Outlet(theirs, "stderr")
    made = Screen(page, theirs, "utf-8")
    with shown("staging", lambda: (SOME,), terminal=made, every=0.01):
        os.read(ours, 1)
        os.close(ours)
        becomes(lambda: made.gone and bool(progress_lines(caplog)))
        logger_on(made).info("still said")
    for fd in (theirs, made._fd, page._own):
        os.close(fd)


def test_once_closed_nothing_more_is_drawn() -> None:
    with terminal() as (seen, made):
        made.draw(("bar",), lambda: False)
        made.close()
        made.draw(("late",), lambda: False)
        assert picture(seen()) == [""]
        assert "late" not in seen()


def test_what_is_over_draws_no_more() -> None:
    with terminal() as (seen, made):
        made.draw(("late",), lambda: True)
        assert seen() == ""


@pytest.mark.parametrize("environ", [{}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_a_terminal_that_cannot_or_should_not_gets_no_bars(environ: dict[str, str]) -> None:
    ours, theirs = os.openpty()
    assert screen(Outlet(theirs, "stderr"), theirs, environ, "utf-8") is None
    os.close(ours)
    os.close(theirs)


def test_a_pipe_gets_no_bars() -> None:
    ours, theirs = os.pipe()
    assert screen(Outlet(theirs, "stderr"), theirs, {"TERM": "xterm"}, "utf-8") is None
    os.close(ours)
    os.close(theirs)


def test_names_that_the_terminal_cannot_write_are_no_error() -> None:
    with terminal("iso8859-1") as (seen, made):
        assert made.ascii
        made.draw(("数据 ü",), lambda: False)
        assert "?? ü" in seen()


def test_where_no_thread_can_be_started_the_work_is_done_all_the_same() -> None:
    program = (
        "import resource, sys\n"
        "from launcher.progress import shown\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n"
        "import threading; threading.stack_size(1 << 29)\n"
        "with shown('staging', lambda: (), terminal=None, every=0.001): print('done', threading.active_count())\n"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done 1\n", "")


def test_nothing_of_a_bar_is_imported_where_none_is_shown() -> None:
    program = (
        "import sys, launcher.progress, launcher.streams.screen\n"
        "with launcher.progress.shown('staging', lambda: (), terminal=None, every=0.001): pass\n"
        "print('tqdm' in sys.modules)\n"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_bars_start_no_process_and_no_other_thread() -> None:
    program = (
        "import sys, threading\n"
        "from launcher.progress import Moving, Rates, bars\n"
        "one = Moving(label='a', objects=1, bytes=1, known_objects=2, known_bytes=2, listed=True)\n"
        "bars((one,), (Rates(1.0, 1.0),), (80, 24), ascii_only=True)\n"
        "print(threading.active_count(), 'multiprocessing' in sys.modules)\n"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert done.stdout == "1 False\n"
