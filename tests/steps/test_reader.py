"""A file on its way: never of two states, whatever is done to it while it is read."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

import pytest
from fake_store import never

from launcher.core.errors import Cancelled, StoreError
from launcher.disk import CHUNK
from launcher.sync.reader import Changed, FileReader
from launcher.sync.watch import STEP, unsure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD = b"o" * (2 * CHUNK + 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(OLD)
    return file


def reading(path: Path, stopped: Callable[[], bool] = never, *, steady: bool = True) -> FileReader:
    return FileReader(str(path.parent), str(path), stopped, summed=True, steady=steady)


def settled(path: Path) -> FileReader:
    """A reader of a file whose last change lies so far back that any other shows."""
    reader = reading(path)
    reader.rest()
    return reader


def part_way(reader: FileReader, meanwhile: Callable[[], object]) -> bytes:
    """Read it, and let something happen after its first chunk."""
    read = b""
    for chunk in reader.chunks():
        if not read:
            meanwhile()
        read += chunk
    return read


def test_a_file_that_stands_still_is_read_whole(path: Path) -> None:
    with settled(path) as reader:
        assert b"".join(reader.chunks()) == OLD
        assert (reader.whole, reader.sent, reader.sha256) == (True, len(OLD), hashlib.sha256(OLD).hexdigest())


@pytest.mark.parametrize("content", [b"", b"x", OLD])
def test_it_can_be_read_again_from_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with settled(tmp_path / "file") as reader:
        next(reader.chunks(), None)
        for _ in range(2):
            assert b"".join(reader.chunks()) == content
            assert (reader.whole, reader.sha256) == (True, hashlib.sha256(content).hexdigest())


def overwrite(path: Path, content: bytes = b"new") -> None:
    with path.open("r+b") as file:
        file.write(content)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def restore_time(path: Path) -> None:
    before = path.stat()
    overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def restore_size(path: Path) -> None:
    os.truncate(path, 0)
    os.truncate(path, len(OLD))


CHANGES = [overwrite, append, restore_time, restore_size, lambda path: os.truncate(path, 3 * CHUNK)]


@pytest.mark.parametrize("change", [*CHANGES, lambda path: os.truncate(path, CHUNK), lambda path: os.truncate(path, 0)])
def test_the_last_bytes_of_a_file_that_changed_are_kept_back(path: Path, change: Callable[[Path], object]) -> None:
    got = []
    with settled(path) as reader:
        chunks = reader.chunks()
        got.append(next(chunks))
        change(path)
        with pytest.raises(Changed):
            got.extend(chunks)
    assert sum(map(len, got)) < len(OLD)


@pytest.mark.parametrize("change", [overwrite, append])
def test_a_small_file_that_changed_before_it_was_read_is_kept_back(
    path: Path, change: Callable[[Path], object]
) -> None:
    for content in (b"", b"tiny"):
        path.write_bytes(content)
        with settled(path) as reader:
            change(path)
            with pytest.raises(Changed):
                next(reader.chunks())


def test_a_file_that_lost_its_place_to_another_is_read_as_it_was_and_is_not_in_its_place(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"n" * len(OLD))
    with settled(path) as reader:
        assert part_way(reader, lambda: other.rename(path)) == OLD
        assert reader.whole is False
    with settled(path) as reader:
        assert part_way(reader, path.unlink) == b"n" * len(OLD)
        assert reader.whole is False


def test_a_file_that_lost_its_place_and_is_written_to_is_kept_back(path: Path) -> None:
    with settled(path) as reader, path.open("r+b") as file:

        def both() -> None:
            path.unlink()
            file.write(b"new")
            file.flush()

        with pytest.raises(Changed):
            part_way(reader, both)


def test_what_merely_grew_goes_as_it_was_when_it_is_read_twice(path: Path) -> None:
    with settled(path) as reader:
        reader.read_again()
        assert part_way(reader, lambda: append(path)) == OLD
        assert (reader.whole, reader.sha256) == (False, hashlib.sha256(OLD).hexdigest())


@pytest.mark.parametrize("change", [overwrite, lambda path: os.truncate(path, 0), restore_size])
def test_what_reads_differently_the_second_time_is_kept_back(path: Path, change: Callable[[Path], object]) -> None:
    with settled(path) as reader:
        reader.read_again()
        with pytest.raises(Changed):
            part_way(reader, lambda: change(path))


def test_a_log_may_grow_while_it_is_read(path: Path) -> None:
    with reading(path, steady=False) as reader:
        assert part_way(reader, lambda: append(path)) == OLD
        assert reader.whole is False


def test_what_stopped_the_reading_is_raised_whatever_an_engine_made_of_it(path: Path) -> None:
    def wraps(chunks: Iterator[bytes]) -> None:
        try:
            b"".join(chunks)
        except Exception as error:
            raise StoreError("generic error", code="store-busy", action="x") from error

    def swallows(chunks: Iterator[bytes]) -> None:
        try:
            b"".join(chunks)
        except Cancelled:
            return

    for engine in (wraps, swallows):
        with reading(path, lambda: True) as reader, pytest.raises(Cancelled):
            reader.hand(engine)


def test_an_engines_own_failure_is_its_own_and_the_next_try_begins_anew(path: Path) -> None:
    got: list[bytes] = []

    def fails(chunks: Iterator[bytes]) -> None:
        next(chunks)
        raise StoreError("503", code="store-busy", action="x")

    with settled(path) as reader:
        with pytest.raises(StoreError, match="503"):
            reader.hand(fails)
        reader.hand(got.extend)
    assert b"".join(got) == OLD


@pytest.mark.parametrize(
    ("age", "wait"),
    [(0, STEP), (0.02, STEP - 0.02), (0.06, 0), (1e9, 0), (-0.5, STEP), (-1e6, STEP)],
)
def test_a_change_is_sure_once_the_clock_of_its_file_system_has_gone_on(age: float, wait: float) -> None:
    ctime = 1_700_000_000_123_456_789
    assert unsure(ctime, ctime + int(age * 1e9)) == pytest.approx(wait, abs=1e-6)


def test_whole_seconds_are_the_steps_of_a_coarse_clock() -> None:
    assert unsure(1_700_000_000_000_000_000, 1_700_000_000_300_000_000) == pytest.approx(0.7)
    assert unsure(1_700_000_000_000_000_000, 1_700_000_001_000_000_000) == 0


def test_a_file_that_was_just_written_is_waited_for(path: Path) -> None:
    path.write_bytes(b"just now")
    with reading(path) as reader:
        reader.rest()
    assert time.time_ns() - path.stat().st_ctime_ns >= STEP * 1e9


def test_what_is_written_while_it_is_waited_for_belongs_to_it(path: Path) -> None:
    path.write_bytes(b"one")
    appends = [append]

    def stopped() -> bool:
        if appends:
            appends.pop()(path)
        return False

    with reading(path, stopped) as reader:
        reader.rest()
        assert b"".join(reader.chunks()) == b"onemore"
        assert reader.whole


def test_a_stop_ends_the_wait(path: Path) -> None:
    path.write_bytes(b"just now")
    with reading(path, lambda: True) as reader, pytest.raises(Cancelled):
        reader.rest()
