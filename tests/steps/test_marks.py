from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING

import pytest

from launcher.stage.marks import BYTES, HELD, MOST, Marks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARK = bytes(range(BYTES))


def begun(tmp_path: Path) -> Marks:
    return Marks(str(tmp_path / "staged"))


def test_a_mark_is_of_one_file_in_one_state_and_one_version(tmp_path: Path) -> None:
    marks = begun(tmp_path)
    path = tmp_path / "x"
    path.write_text("one")
    before = path.stat()
    mark = marks.of("/x", "b/k etag 3", before)
    assert mark == begun(tmp_path).of("/x", "b/k etag 3", path.stat())
    assert mark != marks.of("/y", "b/k etag 3", before)
    assert mark != marks.of("/x", "b/k gate 3", before)
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # what a program can put back, it may
    assert mark != marks.of("/x", "b/k etag 3", path.stat())


def test_marks_of_ranges_and_of_archives_are_told_apart(tmp_path: Path) -> None:
    marks = begun(tmp_path)
    ranges = {marks.of_range(*one) for one in product(("/p1", "/p2"), ("v", "w"), (0, 16), (1, 2))}
    sealed = {marks.of_sealed(*one) for one in product(("/a", "/b"), ("v", "w"), (b"1", b"2"))}
    assert len(ranges | sealed) == 16 + 8


def test_the_next_start_knows_what_a_killed_one_has_marked(tmp_path: Path) -> None:
    begun(tmp_path).add(MARK)
    second = begun(tmp_path)
    assert second.has(MARK)
    second.add(MARK[::-1])
    third = begun(tmp_path)
    assert third.has(MARK)
    assert third.has(MARK[::-1])
    assert not third.has(bytes(BYTES))


def test_marks_that_may_wait_are_written_together(tmp_path: Path) -> None:
    marks = begun(tmp_path)
    some = [number.to_bytes(BYTES, "big") for number in range(HELD + 1)]
    for mark in some[:-2]:
        marks.add(mark, soon=True)
    assert not any(begun(tmp_path).has(mark) for mark in some)
    marks.add(some[-2], soon=True)
    assert all(begun(tmp_path).has(mark) for mark in some[:-1])
    marks.add(some[-1], soon=True)
    marks.flush()
    assert begun(tmp_path).has(some[-1])


def test_a_mark_that_may_not_wait_brings_those_that_wait_along(tmp_path: Path) -> None:
    marks = begun(tmp_path)
    marks.add(MARK, soon=True)
    marks.add(MARK[::-1])
    assert begun(tmp_path).has(MARK)
    assert begun(tmp_path).has(MARK[::-1])


def test_a_whole_staging_has_all_its_marks(tmp_path: Path) -> None:
    marks = begun(tmp_path)
    marks.add(MARK, soon=True)
    marks.settle()
    assert begun(tmp_path).has(MARK)


def test_a_whole_staging_leaves_only_its_own_marks(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.add(MARK)
    first.settle()
    second = begun(tmp_path)
    assert second.has(MARK)
    second.add(MARK[::-1])
    second.settle()
    third = begun(tmp_path)
    assert not third.has(MARK)
    assert third.has(MARK[::-1])
    assert sorted(os.listdir(tmp_path)) == ["staged", "staged.new"]


def test_a_killed_start_after_a_whole_one_loses_nothing(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.add(MARK)
    first.settle()
    begun(tmp_path).add(MARK[::-1])
    third = begun(tmp_path)
    assert third.has(MARK)
    assert third.has(MARK[::-1])


def test_marks_of_another_kernel_are_none(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    status = (tmp_path / "x").stat()
    here = begun(tmp_path).of("/x", "v", status)
    other, none = tmp_path / "boot_id", str(tmp_path / "none")
    other.write_text("6b1ecd4e-0000-4000-8000-000000000000\n")
    staged = str(tmp_path / "staged")
    there = Marks(staged, str(other)).of("/x", "v", status)
    assert here != there
    assert there == Marks(staged, str(other)).of("/x", "v", status)
    assert Marks(staged, none).of("/x", "v", status) != Marks(staged, none).of("/x", "v", status)


def test_a_torn_mark_is_none_and_those_after_it_are_whole(tmp_path: Path) -> None:
    (tmp_path / "staged.new").write_bytes(MARK + MARK[:7])
    marks = begun(tmp_path)
    assert marks.has(MARK)
    marks.add(MARK[::-1])
    again = begun(tmp_path)
    assert again.has(MARK)
    assert again.has(MARK[::-1])


def test_of_a_huge_file_no_more_is_read_than_may_be(tmp_path: Path) -> None:
    for name in ("staged", "staged.new"):
        path = tmp_path / name
        path.touch()
        os.truncate(path, 50 * MOST)
    marks = begun(tmp_path)
    assert not marks.has(MARK)
    assert (tmp_path / "staged.new").stat().st_size == MOST


def folder(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    victim = path.parent / "victim"
    victim.write_bytes(b"v" * 7)
    path.symlink_to(victim)


def second_name(path: Path) -> None:
    victim = path.parent / "victim"
    victim.write_bytes(b"v" * 7)
    path.hardlink_to(victim)


@pytest.mark.parametrize("name", ["staged", "staged.new"])
@pytest.mark.parametrize("make", [folder, fifo, link, second_name])
def test_whatever_lies_in_their_place_stops_nothing_and_is_not_written_to(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)
    marks = begun(tmp_path)
    marks.add(MARK)
    assert not marks.has(MARK)
    marks.settle()
    victim = tmp_path / "victim"
    assert not victim.exists() or victim.read_bytes() == b"v" * 7


def test_without_a_folder_for_them_there_are_none(tmp_path: Path) -> None:
    marks = Marks(str(tmp_path / "nowhere/staged"))
    marks.add(MARK)
    marks.settle()
    assert not Marks(str(tmp_path / "nowhere/staged")).has(MARK)


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marks = begun(tmp_path)
    marks._descriptor = os.open("/dev/full", os.O_WRONLY)
    marks.add(MARK)
    marks.add(MARK)
    assert [record.getMessage() for record in caplog.records] == [
        (
            f"{tmp_path}/staged cannot be written ([Errno 28] No space left on device); "
            "after a kill more is downloaded again"
        )
    ]
