"""Looking at an output again and again: what is due, what is nobody's, and nothing of what lies elsewhere."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from fake_store import never

from launcher.core.errors import Cancelled
from launcher.disk import Stamp, stamp_of
from launcher.sync.watch import Watch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    for name in ("a", "sub/b", "sub/deep/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def stamps(top: Path) -> dict[str, Stamp]:
    return {str(file.relative_to(top)): stamp_of(file.stat()) for file in top.rglob("*") if file.is_file()}


def test_everything_is_due_until_it_is_in_its_place(top: Path) -> None:
    watch = Watch(str(top), {})
    assert dict(watch.look().due) == stamps(top)
    for path, stamp in stamps(top).items():
        assert not watch.is_placed(path, stamp)
        watch.place(path, stamp)
        assert watch.is_placed(path, stamp)
    assert not watch.look().due
    assert not Watch(str(top), stamps(top)).look().due


@pytest.mark.parametrize("what", ["content", "time", "inode"])
def test_any_change_makes_a_file_due(top: Path, what: str) -> None:
    watch = Watch(str(top), stamps(top))
    file = top / "sub/deep/c"
    before = file.stat()
    if what == "content":
        file.write_bytes(b"longer than before")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif what == "time":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        (top / "other").write_bytes(file.read_bytes())
        os.utime(top / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
        (top / "other").rename(file)
    assert list(watch.look().due) == ["sub/deep/c"]


def test_a_name_stands_for_its_own_folder_alone(top: Path) -> None:
    watch = Watch(str(top), {"a": stamp_of((top / "a").stat())})
    os.link(top / "a", top / "sub/a")
    assert "sub/a" in watch.look().due


def test_what_is_none_of_the_outputs_is_counted_at_every_look_and_never_due(top: Path) -> None:
    asked: list[str] = []

    def counts(path: str) -> bool:
        asked.append(path)
        return path != "sub/b"

    watch = Watch(str(top), {}, counts)
    assert (watch.look().left, "sub/b" in watch.look().due) == (1, False)
    (top / "sub/b").write_bytes(b"changed")
    assert (watch.look().left, "sub/b" in watch.look().due) == (1, False)
    assert asked.count("sub/b") == 1
    (top / "sub/b").unlink()
    assert watch.look().left == 0
    (top / "sub/b").mkdir()
    (top / "sub/b/inside").write_bytes(b"")
    assert "sub/b/inside" in watch.look().due, "another thing of that name is looked at for what it is"


def test_a_file_that_nobody_may_write_is_told(top: Path) -> None:
    (top / "a").chmod(0o444)
    (top / "sub/b").chmod(0o464)
    later = Watch(str(top), {}, now=lambda: time.time_ns() + 10**9).look()
    assert later.sealed == {"a"}
    assert Watch(str(top), {}, now=lambda: (top / "a").stat().st_ctime_ns).look().sealed == set()


def test_links_and_special_files_are_named_and_lead_nowhere(top: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/token").write_bytes(b"")
    (top / "folder").symlink_to(tmp_path / "secret")
    (top / "file").symlink_to(tmp_path / "secret/token")
    os.mkfifo(top / "sub/fifo")
    sight = Watch(str(top), stamps(top) | {"file": Stamp(0, 0, 0)}).look()
    assert (dict(sight.due), dict(sight.odd)) == ({}, {"folder": "a link", "file": "a link", "sub/fifo": "a FIFO"})


def test_a_folder_that_becomes_a_link_before_it_is_entered_leads_nowhere(top: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/token").write_bytes(b"")
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:  # the top has been read
            (top / "sub").rename(tmp_path / "moved")
            (top / "sub").symlink_to(tmp_path / "secret")
        return False

    assert set(Watch(str(top), {}).look(stopped).due) == {"a"}


def test_our_own_is_told_apart(top: Path) -> None:
    (top / ".launcher").mkdir()
    (top / ".launcher/manifest-worker-0.json").write_bytes(b"")
    (top / "sub/.launcher-part-1").write_bytes(b"")
    sight = Watch(str(top), stamps(top)).look()
    assert not sight.due
    fresh = Watch(str(top), {}).look()
    assert sorted(fresh.own) == [".launcher/manifest-worker-0.json", "sub/.launcher-part-1"]
    assert set(fresh.due) == {"a", "sub/b", "sub/deep/c"}


def test_a_stop_ends_a_look_between_two_folders(top: Path) -> None:
    with pytest.raises(Cancelled):
        Watch(str(top), {}).look(lambda: True)


def test_what_is_not_there_is_empty(top: Path) -> None:
    sight = Watch(str(top / "nowhere"), {}).look(never)
    assert (dict(sight.due), dict(sight.errors)) == ({}, {})


def test_a_folder_that_may_not_be_read_is_told(top: Path) -> None:
    (top / "sub").chmod(0)
    try:
        if os.access(top / "sub", os.R_OK):
            pytest.skip("this user may read everything")
        assert dict(Watch(str(top), {}).look().errors) == {"sub/": "permission denied"}
    finally:
        (top / "sub").chmod(0o700)
