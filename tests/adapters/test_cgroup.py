from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from groups import Tree

from launcher.adapters.cgroup import LONGEST, Cgroup
from launcher.core.record import Memory

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = "low 0\nhigh 0\nmax 7\noom 3\noom_kill {kills}\noom_group_kill 0\n"
STAT = "cache 135168\nrss 0\nhierarchical_memory_limit {limit}\nhierarchical_memsw_limit 9223372036854771712\ntotal 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
NO_LIMIT_4K, NO_LIMIT_64K = 9223372036854771712, 9223372036854710272
MIB = 1 << 20


def v2(limit: str, kills: int, peak: int) -> dict[str, str]:
    return {"memory.max": f"{limit}\n", "memory.events": EVENTS.format(kills=kills), "memory.peak": f"{peak}\n"}


def v1(limit: int, kills: int, peak: int, *, hierarchical: int | None = None) -> dict[str, str]:
    return {
        "memory.limit_in_bytes": f"{limit}\n",
        "memory.stat": STAT.format(limit=limit if hierarchical is None else hierarchical),
        "memory.oom_control": CONTROL.format(kills=kills),
        "memory.max_usage_in_bytes": f"{peak}\n",
    }


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def told(limit: int | None, kills: int | None, peak: int | None, version: int = 2) -> Memory:
    source = "cgroup v2" if version == 2 else "cgroup v1"
    return Memory(source=source, limit_bytes=limit, peak_bytes=peak, oom_kills=kills)  # type: ignore[arg-type]


def test_a_container_with_version_2(tree: Tree) -> None:
    tree.member("0::/").mount("cgroup2", "rw,nsdelegate", tags=" shared:9")
    tree.group("", v2(str(128 * MIB), 2, 100 * MIB))
    assert tree.memory() == told(128 * MIB, 2, 100 * MIB)


def test_a_container_with_version_1(tree: Tree) -> None:
    tree.member("12:cpu,cpuacct:/docker/1a2b", "4:memory:/docker/1a2b", "1:name=systemd:/docker/1a2b")
    tree.mount("cgroup", "rw,cpu,cpuacct", "cpu,cpuacct", root="/docker/1a2b")
    tree.mount("cgroup", "rw,memory", "memory", root="/docker/1a2b", tags=" master:17")
    tree.group("memory", v1(96 * MIB, 1, 96 * MIB))
    assert tree.memory() == told(96 * MIB, 1, 96 * MIB, version=1)


def test_counters_are_read_again_each_time(tree: Tree) -> None:
    tree.member("0::/job").mount("cgroup2", "rw")
    tree.group("job", v2("1000", 0, 10))
    meter = tree.meter()
    assert meter.memory() == told(1000, 0, 10)
    tree.group("job", v2("2000", 1, 20))
    assert meter.memory() == told(2000, 1, 20)


@pytest.mark.parametrize("limit", [NO_LIMIT_4K, NO_LIMIT_64K])
def test_version_1_without_a_limit(tree: Tree, limit: int) -> None:
    tree.member("4:memory:/a").mount("cgroup", "rw,memory", "memory")
    tree.group("memory/a", v1(limit, 0, 7))
    assert tree.memory() == told(None, 0, 7, version=1)


def test_version_2_without_a_limit(tree: Tree) -> None:
    tree.member("0::/a/b").mount("cgroup2", "rw")
    tree.group("a", {"memory.max": "max\n"})
    tree.group("a/b", v2("max", 0, 7))
    assert tree.memory() == told(None, 0, 7)


@pytest.mark.parametrize(("outer", "inner", "least"), [("300", "500", 300), ("500", "300", 300), ("400", "max", 400)])
def test_the_lowest_limit_above_counts_in_version_2(tree: Tree, outer: str, inner: str, least: int) -> None:
    tree.member("0::/pod/main").mount("cgroup2", "rw")
    tree.group("pod", v2(outer, 9, 900))
    tree.group("pod/main", v2(inner, 1, 100))
    assert tree.memory() == told(least, 1, 100)


def test_a_limit_above_what_a_container_sees_counts_in_version_1(tree: Tree) -> None:
    tree.member("4:memory:/pod/main").mount("cgroup", "rw,memory", "memory", root="/pod/main")
    tree.group("memory", v1(NO_LIMIT_4K, 0, 7, hierarchical=300))
    assert tree.memory() == told(300, 0, 7, version=1)


def test_the_group_s_own_limit_where_version_1_tells_no_other(tree: Tree) -> None:
    tree.member("4:memory:/").mount("cgroup", "rw,memory", "memory")
    (tree.group("memory", v1(500, 0, 7)) / "memory.stat").write_text("cache 0\nrss 0\n")
    assert tree.memory() == told(500, 0, 7, version=1)


def test_a_host_that_mounts_both_is_asked_where_the_controller_is(tree: Tree) -> None:
    tree.member("5:devices:/", "4:memory:/user/1", "1:cpu:/", "0::/user/1")
    tree.mount("tmpfs", "rw,mode=755").mount("cgroup", "rw,memory", "memory").mount("cgroup2", "rw", "unified")
    tree.group("unified/user/1", {"cgroup.procs": "", "memory.pressure": ""})
    tree.group("memory/user/1", v1(64 * MIB, 3, MIB))
    assert tree.memory() == told(64 * MIB, 3, MIB, version=1)


def test_version_2_is_asked_where_version_1_is_not_mounted(tree: Tree) -> None:
    tree.member("4:memory:/", "0::/user").mount("cgroup", "rw,cpu", "cpu").mount("cgroup2", "rw", "unified")
    tree.group("unified/user", v2("900", 0, 5))
    assert tree.memory() == told(900, 0, 5)


def test_a_group_without_the_controller_is_charged_to_the_one_above(tree: Tree) -> None:
    tree.member("0::/job/shell/deep").mount("cgroup2", "rw")
    tree.group("job", v2("900", 4, 5))
    tree.group("job/shell/deep", {"cgroup.procs": ""})
    assert tree.memory() == told(900, 4, 5)


def test_version_1_never_tells_of_another_group(tree: Tree) -> None:
    tree.member("4:memory:/gone").mount("cgroup", "rw,memory", "memory")
    tree.group("memory", v1(900, 4, 5))
    assert tree.memory() is None


def test_the_latest_mount_that_shows_the_group_is_asked(tree: Tree) -> None:
    tree.member("4:memory:/job").mount("cgroup", "rw,memory", "first").mount("cgroup", "rw,memory", "second")
    tree.mount("cgroup", "rw,memory", "other", root="/jobless")
    tree.group("first/job", v1(100, 0, 1))
    tree.group("second/job", v1(200, 0, 1))
    tree.group("other", v1(300, 0, 1))
    assert tree.memory() == told(200, 0, 1, version=1)


@pytest.mark.parametrize(
    ("name", "root"),
    [("/", "/../.."), ("/../other", "/"), ("/..", "/"), ("/job", "/job/sub"), ("/jobs", "/job"), ("", "/")],
)
def test_a_group_that_no_mount_shows_is_unknown(tree: Tree, name: str, root: str) -> None:
    tree.member(f"0::{name}").mount("cgroup2", "rw", root=root)
    tree.group("", v2("900", 0, 5))
    tree.group("other", v2("900", 0, 5))
    assert tree.memory() is None


def test_a_group_below_the_mount_s_own(tree: Tree) -> None:
    tree.member("0::/docker/1a2b/job").mount("cgroup2", "rw", root="/docker/1a2b")
    tree.group("", {"memory.max": "800\n"})
    tree.group("job", v2("max", 0, 5))
    assert tree.memory() == told(800, 0, 5)


@pytest.mark.parametrize("name", ["a:b", "two words", "back\\slash", "tr\u00e4in", "a..b"])
def test_odd_names(tree: Tree, name: str) -> None:
    tree.member(f"0::/{name}").mount("cgroup2", "rw", f"mnt {name}")
    tree.group(f"mnt {name}/{name}", v2("900", 0, 5))
    assert tree.memory() == told(900, 0, 5)


def test_bytes_that_are_no_text(tree: Tree) -> None:
    tree.member("").groups.write_bytes(b"0::/\xff\n")
    tree.mount("cgroup2", "rw")
    folder = os.fsencode(tree.sys) + b"/\xff"
    os.makedirs(folder)
    with open(folder + b"/memory.max", "wb") as file:
        file.write(b"900\n")
    assert tree.memory() == told(900, None, None)


@pytest.mark.parametrize("lines", [("0::/",), ("4:memory:/", "0::/"), ("7:pids:/",), ()])
def test_no_controller(tree: Tree, lines: tuple[str, ...]) -> None:
    tree.member(*lines).mount("cgroup2", "rw", "unified").mount("cgroup", "rw,pids", "pids")
    tree.group("unified", {"cgroup.procs": "", "memory.pressure": ""})
    tree.group("pids", {"pids.max": "max\n"})
    assert tree.memory() is None


def test_no_proc_at_all(tmp_path: Path) -> None:
    assert Cgroup(str(tmp_path / "cgroup"), str(tmp_path / "mountinfo")).memory() is None


@pytest.mark.parametrize(
    "text", ["", "\n\n", ":::\n", "0\n", "no colons", "0::\x00/\n", " - cgroup\n", "1 2 3 - cgroup2\n", "\x00" * 100]
)
def test_garbage_about_groups_and_mounts(tree: Tree, text: str) -> None:
    tree.member("0::/").mount("cgroup2", "rw")
    tree.group("", v2("900", 0, 5))
    good = tree.groups.read_text(), tree.mounts.read_text()
    tree.groups.write_text(text)
    assert tree.memory() is None
    tree.groups.write_text(good[0])
    tree.mounts.write_text(text)
    assert tree.memory() is None
    tree.mounts.write_text(text + "\n" + good[1])
    assert tree.memory() == told(900, 0, 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "max",
        "-1",
        "1.5",
        "0x10",
        "1e3",
        "\u0661\u0662",
        "9" * 5000,
        "1 2",
        "oom_kill",
        "oom_kill many",
        "\x00",
    ],
)
def test_garbage_in_the_counters_is_no_number(tree: Tree, text: str) -> None:
    tree.member("4:memory:/", "0::/").mount("cgroup", "rw,memory", "memory").mount("cgroup2", "rw", "unified")
    tree.group("memory", dict.fromkeys(v1(1, 1, 1), text))
    assert tree.memory() == told(None, None, None, version=1)
    tree.member("0::/")
    tree.group("unified", dict.fromkeys(v2("1", 1, 1), text))
    assert tree.memory() == told(None, None, None)


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ("memory.peak", told(900, 2, None)),
        ("memory.events", told(900, None, 5)),
        ("memory.max", told(None, 2, 5)),
    ],
)
def test_what_a_kernel_does_not_tell_is_none(tree: Tree, missing: str, left: Memory) -> None:
    tree.member("0::/").mount("cgroup2", "rw")
    folder = tree.group("", v2("900", 2, 5))
    meter = tree.meter()
    (folder / missing).unlink()
    assert meter.memory() == left
    (folder / missing).mkdir()
    assert meter.memory() == left


def test_a_kernel_before_4_13_counts_no_kills(tree: Tree) -> None:
    tree.member("4:memory:/").mount("cgroup", "rw,memory", "memory")
    (tree.group("memory", v1(900, 0, 5)) / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    assert tree.memory() == told(900, None, 5, version=1)


def test_a_file_without_an_end_is_not_read_to_it(tree: Tree) -> None:
    tree.member("0::/").mount("cgroup2", "rw")
    folder = tree.group("", v2("900", 2, 5))
    (folder / "memory.peak").write_text("1" + " " * LONGEST)
    (folder / "memory.events").unlink()
    (folder / "memory.events").symlink_to("/dev/zero")
    assert tree.memory() == told(900, None, None)


def test_a_meter_outlives_its_group(tree: Tree) -> None:
    tree.member("0::/job").mount("cgroup2", "rw")
    folder = tree.group("job", v2("900", 2, 5))
    meter = tree.meter()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert meter.memory() == told(None, None, None)


def test_this_machine_can_be_asked_from_any_thread() -> None:
    meter = Cgroup()
    found: list[Memory | None] = []
    threads = [threading.Thread(target=lambda: found.append(meter.memory())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = {memory and memory.source for memory in found}
    assert len(found) == 4
    assert len(known) == 1
    assert all(memory is None or (memory.oom_kills or 0) >= 0 for memory in found)
