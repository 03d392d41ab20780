"""The node as it is: real file systems, real limits, files that nobody expected."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from launcher.adapters.surroundings import System

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = "from launcher.adapters.surroundings import System; print(dict(System().limits()))"


def test_room_is_what_the_kernel_tells(tmp_path: Path) -> None:
    room = System().room(str(tmp_path))
    told = os.statvfs(tmp_path)
    assert room is not None
    assert room.whole_bytes == told.f_blocks * told.f_frsize
    assert 0 < room.free_bytes <= room.whole_bytes
    assert System().room(str(tmp_path / "none")) is None
    (tmp_path / "file").touch()
    assert System().room(str(tmp_path / "file/below")) is None


def test_limits_are_those_that_a_child_meets() -> None:
    limited = f"ulimit -S -n 77 -l 64 -s 4096; exec {sys.executable} -c '{LIMITS}'"
    said = subprocess.run(("bash", "-c", limited), capture_output=True, text=True, check=True).stdout
    assert "'memlock': 64, 'nofile': 77, 'stack': 4096, " in said
    unlimited = f"ulimit -S -s unlimited && exec {sys.executable} -c '{LIMITS}'"
    done = subprocess.run(("bash", "-c", unlimited), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no unlimited stack here: {done.stderr.strip()}")
    assert "'stack': None" in done.stdout


def test_infiniband_is_there_where_the_kernel_has_an_adapter(tmp_path: Path) -> None:
    assert not System(infiniband=str(tmp_path / "none")).infiniband()
    assert not System(infiniband=str(tmp_path)).infiniband()
    (tmp_path / "mlx5_0").mkdir()
    assert System(infiniband=str(tmp_path)).infiniband()


def test_peers_are_the_names_in_volcano_s_files(tmp_path: Path) -> None:
    assert System(volcano=str(tmp_path / "none")).peers() == ()
    assert System(volcano=str(tmp_path)).peers() == ()
    (tmp_path / "worker.host").write_text("j-worker-0.j\nj-worker-1.j\n\nj-worker-0.j\n")
    (tmp_path / "ps.host").write_text("j-ps-0.j,j-ps-1.j")
    (tmp_path / "other").write_text("not-one.of.them")
    assert System(volcano=str(tmp_path)).peers() == ("j-ps-0.j", "j-ps-1.j", "j-worker-0.j", "j-worker-1.j")


def test_what_cannot_be_a_name_is_left_out(tmp_path: Path) -> None:
    odd = b"../../etc \x1b[2J -rf a..b \xff\xfe " + b"x" * 300 + b" good-1.j $(id) "
    (tmp_path / "odd.host").write_bytes(odd)
    os.mkfifo(tmp_path / "fifo.host")
    (tmp_path / "long.host").write_bytes(b"n\n" * (1 << 20))
    assert System(volcano=str(tmp_path)).peers() == ("n", "a..b", "good-1.j")
    many = "\n".join(f"w-{number}" for number in range(20_000))
    (tmp_path / "long.host").write_text(many)
    assert len(System(volcano=str(tmp_path)).peers()) == 10_000


def test_a_folder_that_may_not_be_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a.host").mkdir()
    with pytest.raises(OSError, match=r"a\.host|Is a directory"):
        System(volcano=str(tmp_path)).peers()


def test_names_resolve_or_it_is_said_why_not() -> None:
    assert System().resolve("localhost") is None
    assert System().resolve("127.0.0.1") is None
    for odd in ("", "a..b", "x" * 300, "no such name"):
        assert System().resolve(odd) or odd == ""
