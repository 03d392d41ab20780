from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from groups import Tree

from launcher.adapters.cgroup import Cgroup
from launcher.core.devices import Limits

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
CPUS = len(os.sched_getaffinity(0))
HALF = CPUS / 2
QUOTA, MEMORY = f"{CPUS * 50_000} 100000\n", f"{4 * GIB}\n"
NO_LIMIT = "9223372036854771712\n"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A machine with 16 GiB."""
    return Tree(tmp_path).machine(16 * GIB)


def limits(tree: Tree) -> tuple[float, int | None, str]:
    found = tree.meter().limits()
    return found.cpus, found.memory_bytes, found.limits_from


def old(tree: Tree, *, cpu: str = "/job", memory: str = "/job") -> Tree:
    """Version 1, whose controllers have a hierarchy each."""
    tree.member("5:devices:/job", f"4:memory:{memory}", f"2:cpu,cpuacct:{cpu}", "1:name=systemd:/", "0::/")
    return tree.mount("cgroup", "rw,cpu,cpuacct", "cpu,cpuacct").mount("cgroup", "rw,memory", "memory")


def share(quota: int, period: int = 100_000) -> dict[str, str]:
    return {"cpu.shares": "1024\n", "cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}


def test_without_control_groups_it_is_the_machine(tree: Tree) -> None:
    assert limits(tree.member()) == (CPUS, 16 * GIB, "host")


def test_version_2(tree: Tree) -> None:
    tree.member("0::/").mount("cgroup2", "rw").group("", {"cpu.max": QUOTA, "memory.max": MEMORY})
    assert limits(tree) == (HALF, 4 * GIB, "cgroup v2")


def test_version_1(tree: Tree) -> None:
    old(tree).group("cpu,cpuacct/job", share(CPUS * 50_000))
    tree.group("memory/job", {"memory.limit_in_bytes": MEMORY})
    assert limits(tree) == (HALF, 4 * GIB, "cgroup v1")


@pytest.mark.parametrize(
    ("outer", "inner"), [((4, 8), (2, 2)), ((2, 2), (4, 8)), ((2, 8), (4, 2)), ((2, None), (None, 2))]
)
@pytest.mark.parametrize("version", [1, 2])
def test_the_lowest_limit_of_all_that_are_nested_binds(
    tree: Tree, version: int, outer: tuple[int | None, int | None], inner: tuple[int | None, int | None]
) -> None:
    """In quarters of the processors, and in GiB."""
    for name, (quarters, gib) in (("pod", outer), ("pod/main", inner)):
        quota = None if quarters is None else CPUS * 25_000 * quarters // 2
        if version == 2:
            tree.group(
                name,
                {
                    "cpu.max": f"{'max' if quota is None else quota} 100000\n",
                    "memory.max": "max\n" if gib is None else f"{gib * GIB}\n",
                },
            )
        else:
            tree.group(f"cpu,cpuacct/{name}", share(-1 if quota is None else quota))
            tree.group(f"memory/{name}", {"memory.limit_in_bytes": NO_LIMIT if gib is None else f"{gib * GIB}\n"})
    if version == 2:
        tree.member("0::/pod/main").mount("cgroup2", "rw")
    else:
        old(tree, cpu="/pod/main", memory="/pod/main")
        (tree.sys / "memory/pod/main/memory.stat").write_text(f"cache 0\nhierarchical_memory_limit {2 * GIB}\n")
    assert limits(tree) == (CPUS / 4, 2 * GIB, f"cgroup v{version}")


def test_each_controller_is_asked_in_its_own_version(tree: Tree) -> None:
    tree.member("4:memory:/job", "0::/job").mount("cgroup", "rw,memory", "memory").mount("cgroup2", "rw", "unified")
    tree.group("memory/job", {"memory.limit_in_bytes": NO_LIMIT})
    tree.group("unified/job", {"cpu.max": QUOTA})
    assert limits(tree) == (HALF, 16 * GIB, "cgroup v2")
    tree.group("memory/job", {"memory.limit_in_bytes": MEMORY})
    assert limits(tree) == (HALF, 4 * GIB, "cgroup v1")


def test_the_processors_controller_above_a_group_without_one(tree: Tree) -> None:
    tree.member("0::/pod/main").mount("cgroup2", "rw")
    tree.group("pod", {"cpu.max": QUOTA, "memory.max": MEMORY})
    tree.group("pod/main", {"cgroup.procs": ""})
    assert limits(tree) == (HALF, 4 * GIB, "cgroup v2")


@pytest.mark.parametrize(("quota", "memory"), [("max 100000", "max"), (f"{CPUS * 200_000} 100000", f"{64 * GIB}")])
def test_limits_above_what_the_machine_has_bind_nobody(tree: Tree, quota: str, memory: str) -> None:
    tree.member("0::/").mount("cgroup2", "rw").group("", {"cpu.max": f"{quota}\n", "memory.max": f"{memory}\n"})
    assert limits(tree) == (CPUS, 16 * GIB, "host")


def test_only_the_processors_are_limited(tree: Tree) -> None:
    tree.member("0::/").mount("cgroup2", "rw").group("", {"cpu.max": QUOTA, "memory.max": "max\n"})
    assert limits(tree) == (HALF, 16 * GIB, "cgroup v2")


def test_a_machine_whose_memory_is_not_told(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "meminfo").unlink()
    assert limits(tree.member()) == (CPUS, None, "host")
    tree.member("0::/").mount("cgroup2", "rw").group("", {"memory.max": MEMORY})
    assert limits(tree) == (CPUS, 4 * GIB, "cgroup v2")


@pytest.mark.parametrize("text", ["", "MemTotal", "MemTotal: many kB", "MemTotal: -1 kB", "MemTotal: 1 MB", "\x00"])
def test_garbage_about_the_machine_is_no_number(tree: Tree, tmp_path: Path, text: str) -> None:
    (tmp_path / "meminfo").write_text(text)
    assert limits(tree.member()) == (CPUS, None, "host")


@pytest.mark.parametrize(
    "text", ["", "\n", "max", "100", "0 0", "0 100000", "100000 0", "-1 100000", "1e3 9", "9" * 400 + " 1", "\x00"]
)
def test_garbage_about_processors_is_no_limit(tree: Tree, text: str) -> None:
    tree.member("0::/").mount("cgroup2", "rw").group("", {"cpu.max": text})
    assert limits(tree) == (CPUS, 16 * GIB, "host")


@pytest.mark.parametrize(("quota", "period"), [("-1", "100000"), ("", ""), ("x", "y"), ("0", "100000"), ("50000", "0")])
def test_no_quota_in_version_1(tree: Tree, quota: str, period: str) -> None:
    files = {"cpu.shares": "1024\n", "cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}
    old(tree).group("cpu,cpuacct/job", files)
    assert limits(tree) == (CPUS, 16 * GIB, "host")


def test_a_fraction_of_a_processor(tree: Tree) -> None:
    tree.member("0::/").mount("cgroup2", "rw").group("", {"cpu.max": "25000 100000\n"})
    assert limits(tree)[0] == 0.25


def test_processors_that_we_may_not_run_on_are_not_counted(tree: Tree) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert limits(tree.member()) == (1.0, 16 * GIB, "host")
    finally:
        os.sched_setaffinity(0, before)


def test_this_machine() -> None:
    found = Cgroup().limits()
    assert isinstance(found, Limits)
    assert 0 < found.cpus <= CPUS
    assert found.memory_bytes is not None
    assert 0 < found.memory_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
