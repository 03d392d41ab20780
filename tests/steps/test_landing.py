from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from launcher.core.errors import Exit, StageError
from launcher.stage.landing import Folder, Landing

if TYPE_CHECKING:
    from pathlib import Path


def landing(tmp_path: Path, name: str = "x", part: str = ".launcher-part-1") -> Landing:
    return Landing(Folder(str(tmp_path), str(tmp_path / "in")), name, part)


def names(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "in"))


def test_a_file_is_whole_under_its_name_or_not_there(tmp_path: Path) -> None:
    one = landing(tmp_path)
    one.open()
    assert one.write(b"cd", 2) == 4
    assert one.write(memoryview(b"ab"), 0) == 2
    assert names(tmp_path) == [".launcher-part-1"]
    assert one.status() is None
    status = one.place(executable=False)
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "in/x").read_bytes() == b"abcd"
    assert (status.st_size, status.st_ino) == (4, (tmp_path / "in/x").stat().st_ino)
    assert not status.st_mode & 0o111
    assert one.path == str(tmp_path / "in/x")
    assert one.part_path == str(tmp_path / "in/.launcher-part-1")


def test_who_may_read_a_program_may_run_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        one = landing(tmp_path)
        one.open()
        assert one.place(executable=True).st_mode & 0o777 == 0o750
    finally:
        os.umask(before)


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    one = landing(tmp_path)
    one.open()
    one.give_up()
    one.give_up()
    assert names(tmp_path) == []


def test_what_an_earlier_one_has_left_in_its_place_is_gone(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    one = landing(tmp_path)
    (tmp_path / "in/.launcher-part-1").symlink_to(victim)
    one.open()
    one.write(b"new", 0)
    one.place(executable=False)
    assert victim.read_text() == "mine"
    assert not (tmp_path / "in/x").is_symlink()


def test_a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    one = landing(tmp_path)
    one.open()
    (tmp_path / "in").rename(tmp_path / "moved")
    (tmp_path / "in").symlink_to(outside)
    one.write(b"1", 0)
    one.place(executable=False)
    assert not list(outside.iterdir())
    assert (tmp_path / "moved/x").read_bytes() == b"1"


def test_a_folder_is_closed_when_the_last_file_has_left(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), str(tmp_path / "a/b"))
    folder.enter()
    folder.leave()
    assert os.fstat(folder.descriptor)
    folder.leave()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(folder.descriptor)


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    one = landing(tmp_path)
    (tmp_path / "in/x").mkdir()
    one.open()
    with pytest.raises(StageError, match="x is a folder, the file of that name has no place") as caught:
        one.place(executable=False)
    assert caught.value.code == "folder-occupied"
    one.give_up()
    assert names(tmp_path) == ["x"]


def test_what_was_left_of_a_file_is_gone_on_with(tmp_path: Path) -> None:
    first = landing(tmp_path)
    assert not first.resume(4)
    first.stretch(4)
    first.write(b"ab", 0)
    inode = first.inode
    first.close()
    second = landing(tmp_path)
    assert second.resume(4)
    assert second.inode == inode
    second.write(b"cd", 2)
    second.place(executable=False)
    assert (tmp_path / "in/x").read_bytes() == b"abcd"


def shorter(path: Path) -> None:
    path.write_bytes(b"abc")


def linked(path: Path) -> None:
    victim = path.parent.parent / "victim"
    victim.write_bytes(b"mine")
    path.symlink_to(victim)


def second_name(path: Path) -> None:
    victim = path.parent.parent / "victim"
    victim.write_bytes(b"mine")
    path.hardlink_to(victim)


def fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("left", [shorter, linked, second_name, fifo])
def test_what_is_no_file_of_ours_or_of_another_size_is_begun_anew(tmp_path: Path, left: object) -> None:
    one = landing(tmp_path)
    left(tmp_path / "in/.launcher-part-1")  # type: ignore[operator]
    assert not one.resume(4)
    assert os.fstat(one.descriptor).st_size == 0
    one.write(b"new!", 0)
    one.place(executable=False)
    assert (tmp_path / "in/x").read_bytes() == b"new!"
    victim = tmp_path / "victim"
    assert not victim.exists() or victim.read_bytes() == b"mine"


def test_a_full_disk_is_told_with_the_files_name(tmp_path: Path) -> None:
    at = tmp_path / "small"
    at.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(at)], capture_output=True, check=False
    ).returncode:
        pytest.skip("only root can mount a small file system")
    one = Landing(Folder(str(at), str(at / "in")), "x", ".launcher-part-1")
    try:
        one.open()
        with pytest.raises(StageError, match=rf"could not write {at}/in/x: no space left on device") as caught:
            one.write(bytes(128 * 1024), 0)
        assert (caught.value.code, caught.value.exit_code) == ("file-no-space", Exit.NODE)
        one.give_up()
        one.folder.leave()
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)
