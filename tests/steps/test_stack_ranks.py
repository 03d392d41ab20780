"""Which process of a family is which rank, by the variables that each was started with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.kin import Relative
from launcher.stacks.ranks import ENVIRON_BYTES, NAMES, ranked, starting, variables

if TYPE_CHECKING:
    from pathlib import Path

BOOT = 10


class Family:
    """Processes below a boot process, and their /proc."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self.members: list[Relative] = []

    def add(self, pid: int, parent: int, name: str = "python", **told: str) -> None:
        folder = self._proc / str(pid)
        folder.mkdir()
        (folder / "environ").write_bytes(b"".join(f"{name}={value}\0".encode() for name, value in told.items()))
        self.members.append(
            Relative(pid=pid, parent=parent, name=name, state="S", threads=1, waits_in=None, catches_quit=False)
        )

    def ranked(self, own: int | None = 0) -> dict[int, int]:
        return ranked(self.members, own, str(self._proc))

    def starting(self) -> set[int]:
        return starting(self.members, str(self._proc))


def test_a_boot_process_has_the_rank_that_the_launcher_gave_it(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1, RANK="7")
    family.add(11, BOOT, RANK="7")  # a worker of its data loader
    assert family.ranked(3) == {BOOT: 3}
    assert family.ranked(None) == {}
    assert family.starting() == set()
    assert ranked([], 0) == {}


def test_the_ranks_below_torchrun_are_those_of_its_workers(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1, "bash", RANK="1")  # as a platform numbers its nodes
    family.add(11, BOOT, RANK="1")
    family.add(12, 11, RANK="2", LOCAL_RANK="0")
    family.add(13, 11, RANK="1", LOCAL_RANK="1")
    family.add(14, 12, RANK="2", LOCAL_RANK="0")
    assert family.ranked(1) == {12: 2, 13: 1}
    assert family.starting() == {BOOT, 11}


def test_a_rank_within_a_shell_is_its_first_python(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1, "mpirun")
    family.add(11, BOOT, "bash", OMPI_COMM_WORLD_RANK="0", RANK="9")
    family.add(12, BOOT, "train", OMPI_COMM_WORLD_RANK="1")
    family.add(13, 11, OMPI_COMM_WORLD_RANK="0", RANK="9")
    family.add(14, 13, OMPI_COMM_WORLD_RANK="0", RANK="9")
    assert family.ranked() == {13: 9, 12: 1}


def test_torchrun_below_mpirun_gives_the_ranks(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1, "mpirun")
    family.add(11, BOOT, PMI_RANK="1", PMIX_RANK="1")
    family.add(12, 11, PMI_RANK="1", PMIX_RANK="1", RANK="4", LOCAL_RANK="0")
    assert family.ranked() == {12: 4}


def test_the_scheduler_of_msrun_is_no_rank(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1)
    family.add(11, BOOT, MS_ROLE="MS_SCHED", MS_NODE_ID="0", RANK_ID="0")
    family.add(12, BOOT, MS_ROLE="MS_WORKER", MS_NODE_ID="5")
    assert family.ranked() == {12: 5}


def test_what_is_no_rank_is_none_and_two_are_never_the_same(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1)
    for pid, rank in enumerate(("", "-1", "one", "²", "99999", "9" * 40, "3", "3"), 11):
        family.add(pid, BOOT, RANK=rank)
    assert family.ranked() == {17: 3}


def test_an_orphan_belongs_to_the_boot_process(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1)
    family.add(11, 1, RANK="2")
    assert family.ranked() == {11: 2}
    assert family.starting() == set()


def test_only_what_is_asked_for_is_read_and_not_without_end(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.add(BOOT, 1, SECRET="x", RANK="1", HOME="y" * ENVIRON_BYTES)
    assert variables(BOOT, NAMES, str(tmp_path)) == {"RANK": "1"}
    assert variables(99, NAMES, str(tmp_path)) == {}
    (tmp_path / str(BOOT) / "environ").write_bytes(b"RANK=\xff\0\0=\0RANK_ID")
    assert variables(BOOT, NAMES, str(tmp_path)) == {"RANK": "\udcff", "RANK_ID": ""}
