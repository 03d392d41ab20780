from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from launcher import disk
from launcher.core.errors import Exit, StageError
from launcher.stage.room import LOOK, Room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024**2


class Ticks:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB and some inodes."""
    at = tmp_path / "small"
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=64", "none", str(at)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def room_of(folder: Path, ticks: Ticks, found: int = 0) -> Room:
    room = Room(ticks)
    room.user("data", str(folder), found)
    return room


def fits(room: Room) -> bool:
    try:
        room.check_all()
    except StageError as error:
        return (error.code, error.exit_code) != ("no-space", Exit.NODE)
    return True


def put(path: Path, size: int) -> None:
    path.write_bytes(bytes(size))


def test_what_is_known_to_come_is_held_against_what_is_free(small: Path) -> None:
    room = room_of(small, Ticks())
    folder = str(small)
    room.want(folder, 5 * MIB)
    assert fits(room)
    room.want(folder, 3 * MIB)
    with pytest.raises(
        StageError, match=rf"no room on the file system at {small} for data: 8\.1 MB wanted, 8\.0 MB free"
    ):
        room.check_all()


def test_a_file_takes_whole_blocks_and_one_inode(small: Path) -> None:
    room = room_of(small, Ticks())
    for _ in range(60):
        room.want(str(small), 1)
    assert fits(room)
    for _ in range(10):
        room.want(str(small), 1)
    with pytest.raises(StageError, match=r"70 files and folders wanted, \d+ inodes free"):
        room.check_all()


def test_a_second_look_comes_after_a_while_and_not_with_each_file(small: Path) -> None:
    ticks = Ticks()
    room = room_of(small, ticks)
    room.want(str(small), 1)
    room.want(str(small), 9 * MIB)
    ticks.now += LOOK
    with pytest.raises(StageError, match="no room"):
        room.want(str(small), 1)


def test_bytes_that_are_written_are_not_counted_twice(small: Path) -> None:
    room = room_of(small, Ticks())
    room.want(str(small), 5 * MIB)
    put(small / "x", 5 * MIB)
    assert not fits(room)
    room.wrote(str(small), 5 * MIB)
    assert fits(room)
    room.arrived(str(small), 5 * MIB, written=True)
    room.want(str(small), 2 * MIB)
    assert fits(room)
    room.want(str(small), 2 * MIB)
    assert not fits(room)


def test_a_disk_that_others_fill_is_noticed_while_bytes_come(small: Path) -> None:
    ticks = Ticks()
    room = room_of(small, ticks)
    room.want(str(small), 5 * MIB)
    put(small / "others", 4 * MIB)
    ticks.now += LOOK
    with pytest.raises(StageError, match="no room"):
        room.wrote(str(small), 1024)
    room.wrote(str(small), -1024)  # undone, without a look at each step


@pytest.mark.parametrize("kept", [True, False])
def test_files_that_are_replaced_or_kept_leave_no_room_behind_that_is_not_there(small: Path, *, kept: bool) -> None:
    """What is counted for them is gone once they are there, or what comes later would not be seen to lack room."""
    room, folder = room_of(small, Ticks()), str(small)
    put(small / "x", 3 * MIB)
    for _ in range(4):
        room.want(folder, 3 * MIB, 3 * MIB)
        assert fits(room)
        if not kept:
            room.wrote(folder, 3 * MIB)
        room.arrived(folder, 3 * MIB, 3 * MIB, written=not kept)
    room.want(folder, 4 * MIB)
    assert fits(room)
    room.want(folder, 2 * MIB)
    assert not fits(room)


def test_inodes_of_files_that_are_replaced_leave_none_behind_that_is_not_there(small: Path) -> None:
    room, folder = room_of(small, Ticks()), str(small)
    for _ in range(100):
        room.want(folder, 0, 0)
        room.arrived(folder, 0, 0, written=True)
    for _ in range(70):
        room.want(folder, 0)
    assert not fits(room)


def test_files_of_unknown_size_take_room_from_no_other_count(small: Path) -> None:
    room, folder = room_of(small, Ticks()), str(small)
    room.want(folder, -1, 2 * MIB)
    room.want(folder, 7 * MIB)
    assert fits(room)
    room.want(folder, MIB)
    assert not fits(room)
    room.wrote(folder, MIB)
    room.arrived(folder, -1, 2 * MIB, written=True)
    assert fits(room)
    room.want(folder, MIB)
    assert not fits(room)


def test_what_an_earlier_start_has_left_of_a_file_needs_no_room_again(small: Path) -> None:
    put(small / ".launcher-part-of-x", 6 * MIB)
    assert not fits_with(room_of(small, Ticks()), small)
    room = room_of(small, Ticks(), disk.blocks(str(small / ".launcher-part-of-x")))
    assert fits_with(room, small)


def fits_with(room: Room, small: Path) -> bool:
    try:
        room.want(str(small), 7 * MIB)
    except StageError:
        return False
    return fits(room)


def test_folders_of_one_file_system_share_its_room(small: Path, tmp_path: Path) -> None:
    room = Room(Ticks())
    for name in ("a", "b"):
        room.user(name, str(small / name))
    room.user("elsewhere", str(tmp_path / "c"))
    for name in ("a", "b"):
        room.want(str(small / name), 5 * MIB)
    with pytest.raises(StageError, match="for a, b: "):
        room.check_all()


def test_holes_take_no_room(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 64 * MIB)
    assert disk.blocks(str(path)) < MIB
    assert disk.blocks(str(tmp_path / "gone")) == 0


def test_what_the_node_can_do_without_is_given_up_before_a_shortage_is_told(small: Path) -> None:
    put(small / "cached", 4 * MIB)
    asked: list[tuple[str, int]] = []

    def free(path: str, wanted: int) -> bool:
        asked.append((path, wanted))
        (small / "cached").unlink(missing_ok=True)
        return True

    room = Room(Ticks(), free)
    room.user("data", str(small))
    room.want(str(small), 6 * MIB)
    assert fits(room)
    ((path, wanted),) = asked
    assert path == str(small)
    assert 2 * MIB <= wanted <= 2 * MIB + MIB // 8
    room.want(str(small), 3 * MIB)
    assert not fits(room)
