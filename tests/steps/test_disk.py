from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest
from fake_store import never

from launcher import disk
from launcher.core.errors import Cancelled, Exit, StageError
from launcher.stage.file import file_md5
from launcher.sync.reader import FileReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = "x" * 300


def test_a_scan_follows_no_link_and_tells_kinds_apart(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"12")
    (tmp_path / "link").symlink_to(tmp_path / "d")
    os.mkfifo(tmp_path / "d/fifo")
    found = disk.scan(str(tmp_path))
    status = (tmp_path / "d/file").stat()
    assert found.files == {"d/file": disk.Stamp(2, status.st_mtime_ns, status.st_ino)}
    assert found.odd == {"link": "a link", "d/fifo": "a FIFO"}
    assert found.errors == {}


def test_a_scan_of_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert disk.scan(str(tmp_path / "no")) == disk.Found(files={}, odd={}, errors={})


def test_a_scan_names_what_it_could_not_read(tmp_path: Path) -> None:
    assert disk.scan(str(tmp_path / LONG)).errors == {".": "file name too long"}


def test_a_scan_goes_as_deep_as_the_tree(tmp_path: Path) -> None:
    deep = "/".join("d" * 400)
    os.makedirs(tmp_path / deep)
    (tmp_path / deep / "x").write_text("")
    assert list(disk.scan(str(tmp_path)).files) == [f"{deep}/x"]


@pytest.mark.parametrize("where", ["a/b/x", "a/x", "x"])
def test_a_regular_file_is_opened_below_the_root(tmp_path: Path, where: str) -> None:
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).write_bytes(b"1")
    with FileReader(str(tmp_path), str(tmp_path / where), never, summed=True) as reader:
        assert b"".join(reader.chunks()) == b"1"
        assert reader.whole


def test_a_file_outside_the_root_is_opened_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    os.close(disk.open_regular("/elsewhere", str(tmp_path / "x")))


@pytest.mark.parametrize("link", ["a", "a/b", "a/b/x"])
def test_a_link_anywhere_below_the_root_is_not_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "x").write_text("secret")
    (outside / "b/x").write_text("secret")
    at = tmp_path / "root" / link
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to({"a": outside, "a/b": outside, "a/b/x": outside / "x"}[link])
    with pytest.raises(OSError, match="link") as caught:
        disk.open_regular(str(tmp_path / "root"), str(tmp_path / "root/a/b/x"))
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFDIR])
def test_only_regular_files_are_opened(tmp_path: Path, kind: int) -> None:
    if kind == stat.S_IFDIR:
        (tmp_path / "x").mkdir()
    else:
        os.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match="no regular file") as caught:
        disk.open_regular(str(tmp_path), str(tmp_path / "x"))
    assert caught.value.errno == errno.ELOOP


def test_opening_leaks_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/x").write_text("1")
    (tmp_path / "a/link").symlink_to("b")
    before = len(os.listdir("/proc/self/fd"))
    os.close(disk.open_regular(str(tmp_path), str(tmp_path / "a/b/x")))
    for name in ("a/b/no", "a/link/x", "a/b"):
        with pytest.raises(OSError, match=r"No such file|link|no regular file"):
            disk.open_regular(str(tmp_path), str(tmp_path / name))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reader_takes_no_more_than_the_size_it_saw(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"123")
    with FileReader(str(tmp_path), str(file), never, summed=True) as reader:
        with file.open("ab") as more:
            more.write(b"456")
        assert b"".join(reader.chunks()) == b"123"
        assert not reader.whole


def test_what_stops_the_reading_is_told_whatever_an_engine_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123")

    def engine(chunks: Iterator[bytes]) -> None:
        try:
            list(chunks)
        except Cancelled as error:
            raise RuntimeError("generic") from error

    with FileReader(str(tmp_path), str(tmp_path / "x"), lambda: True) as reader, pytest.raises(Cancelled):
        reader.hand(engine)


def test_a_checksum_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123")
    assert file_md5(str(tmp_path), str(tmp_path / "x"), never) == "202cb962ac59075b964b07152d234b70"
    with pytest.raises(Cancelled):
        file_md5(str(tmp_path), str(tmp_path / "x"), lambda: True)


def test_folders_are_made_once_and_again(tmp_path: Path) -> None:
    root = str(tmp_path / "new/root")
    assert not disk.is_there(root, f"{root}/a/b")
    disk.make_folder(root, f"{root}/a/b")
    disk.make_folder(root, f"{root}/a/b")
    assert disk.is_there(root, f"{root}/a/b")


def test_a_file_where_a_folder_goes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(StageError, match="a is a file, a folder of the job's own was wanted"):
        disk.make_folder(str(tmp_path), str(tmp_path / "a/b"))


@pytest.mark.parametrize("act", [disk.make_folder, disk.is_there])
def test_what_the_file_system_refuses_is_told(tmp_path: Path, act: object) -> None:
    assert callable(act)
    with pytest.raises(StageError, match="file name too long") as caught:
        act(str(tmp_path), str(tmp_path / LONG))
    assert caught.value.exit_code == Exit.NODE


def test_a_file_system_is_asked_whether_it_folds_case(tmp_path: Path) -> None:
    assert disk.folds_case(str(tmp_path)) == (tmp_path / "x").with_name("X").exists()
    assert not list(tmp_path.iterdir())
    with pytest.raises(StageError, match="could not write in"):
        disk.folds_case(str(tmp_path / "no"))


def test_the_file_system_of_a_path_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    mount = disk.mount_of(str(tmp_path / "no/such/path"))
    assert os.stat(mount).st_dev == tmp_path.stat().st_dev
    assert disk.mount_of("/proc/self/no") == "/proc"


def test_what_is_lacking_is_told_in_numbers(tmp_path: Path) -> None:
    assert disk.shortage(str(tmp_path), 1, 1) is None
    assert (disk.shortage(str(tmp_path), 1 << 60, 1) or "").startswith("1,048,576.0 TB wanted, ")


def test_more_files_than_inodes_are_refused(tmp_path: Path) -> None:
    if not os.statvfs(tmp_path).f_files:
        pytest.skip("this file system counts no inodes")
    assert "inodes free" in (disk.shortage(str(tmp_path), 0, 1 << 60) or "")
