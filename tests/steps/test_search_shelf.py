"""What all trials share: closed to writing, opened again, and looked after where root writes all the same."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from fake_store import make_plan

from launcher.core.plan import Code, Input
from launcher.core.urls import Location
from launcher.search.shelf import Shelf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for name in ("code/pkg/train.py", "input/deep/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    place = Location("b", "code/")
    source = Input(name="data", description="", field="", path=str(tmp_path / "input"), source=place)
    code = Code(source=place, path=str(tmp_path / "code"), boot_file=None)
    return Shelf(make_plan(str(tmp_path), code=code, inputs=(source,)))


def writable(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def test_code_and_folders_are_closed_and_opened_again(shelf: Shelf, tmp_path: Path) -> None:
    closed = [tmp_path / name for name in ("code", "code/pkg", "code/pkg/train.py", "input", "input/deep")]
    shelf.close()
    assert [writable(each) for each in closed] == [False] * 5
    assert writable(tmp_path / "input/deep/a.csv")
    shelf.reopen()
    assert [writable(each) for each in closed] == [True] * 5


def test_a_change_of_the_code_is_told_once(shelf: Shelf, tmp_path: Path) -> None:
    shelf.close()
    assert shelf.changed() == []
    shelf.reopen()
    (tmp_path / "code/pkg/train.py").write_text("y = 1")
    (tmp_path / "code/new.py").write_text("")
    (tmp_path / "code/pkg/__pycache__").mkdir()
    (tmp_path / "code/pkg/__pycache__/train.pyc").write_text("")
    assert shelf.changed() == [str(tmp_path / "code/new.py"), str(tmp_path / "code/pkg/train.py")]
    assert shelf.changed() == []
    os.unlink(tmp_path / "code/new.py")
    assert shelf.changed() == [str(tmp_path / "code/new.py")]


def test_code_that_was_there_before_is_left_as_it_is(shelf: Shelf, tmp_path: Path) -> None:
    own = Shelf(make_plan(str(tmp_path), code=Code(source=None, path=str(tmp_path / "code"), boot_file=None)))
    own.close()
    assert writable(tmp_path / "code/pkg/train.py")
    assert own.changed() == []


def test_links_are_not_followed_and_what_is_gone_is_no_matter(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "code/link").symlink_to(tmp_path / "elsewhere")
    shelf.close()
    assert writable(tmp_path / "elsewhere")
    shelf.reopen()
    gone = Shelf(
        make_plan(str(tmp_path), code=Code(source=Location("b", "c/"), path=str(tmp_path / "gone"), boot_file=None))
    )
    gone.close()
    assert gone.changed() == []


def test_what_was_half_opened_is_opened_the_next_time(shelf: Shelf, tmp_path: Path) -> None:
    shelf.close()
    (tmp_path / "code/pkg").chmod(0o755)  # deepest first: the top is the last
    shelf.reopen_if_closed()
    # root finds every folder open, and needs none to be
    assert writable(tmp_path / "code") is (os.geteuid() != 0)
    shelf.reopen()
    assert stat.S_IMODE((tmp_path / "code").stat().st_mode) == 0o777 & ~umask()
    assert stat.S_IMODE((tmp_path / "code/pkg/train.py").stat().st_mode) == 0o666 & ~umask()


def umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now
