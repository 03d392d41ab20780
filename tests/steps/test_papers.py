"""The files that boot processes need: whole, private, and never through a link."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest
from fake_store import make_plan

from launcher.core.errors import StageError
from launcher.core.plan import Document
from launcher.papers import lay_down

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.core.plan import Plan


def plan(folder: Path, *documents: tuple[str, str]) -> Plan:
    found = tuple(Document(path=f"{folder}/root/{path}", text=text) for path, text in documents)
    return msgspec.structs.replace(make_plan(f"{folder}/root"), documents=found)


def test_they_are_written_for_this_user_alone_in_folders_that_are_made(tmp_path: Path) -> None:
    lay_down(plan(tmp_path, ("mpi/hostfile", "w0 slots=8\n"), ("mpi/keys/config", "Port 2222\n")))
    written = tmp_path / "root/mpi/hostfile"
    assert (written.read_text(), stat.S_IMODE(written.stat().st_mode)) == ("w0 slots=8\n", 0o600)
    assert (tmp_path / "root/mpi/keys/config").read_text() == "Port 2222\n"
    assert sorted(os.listdir(tmp_path / "root/mpi")) == ["hostfile", "keys"]


def test_one_that_is_there_is_replaced_and_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "root/mpi").mkdir(parents=True)
    for name in ("hostfile", ".launcher-part-hostfile"):
        (tmp_path / "root/mpi" / name).symlink_to(precious)
    for _ in range(2):
        lay_down(plan(tmp_path, ("mpi/hostfile", "new")))
    assert (precious.read_text(), (tmp_path / "root/mpi/hostfile").read_text()) == ("precious", "new")
    assert not (tmp_path / "root/mpi/hostfile").is_symlink()


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/mpi").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StageError) as raised:
        lay_down(plan(tmp_path, ("mpi/hostfile", "new")))
    assert (raised.value.code, os.listdir(tmp_path / "elsewhere")) == ("folder-occupied", [])


def test_one_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "root/mpi/hostfile").mkdir(parents=True)
    with pytest.raises(StageError, match=r"could not write .*root/mpi/hostfile: is a directory"):
        lay_down(plan(tmp_path, ("mpi/hostfile", "new")))
    assert os.listdir(tmp_path / "root/mpi") == ["hostfile"]
