from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from ends import Ends, await_line, children_of, compiled, memory_kib, pid_1_or_skip, state, until
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from pathlib import Path

ORPHANS, BY_EACH_PARENT = 100_000, 50
GROWTH_KIB = 4096


@pytest.mark.parametrize("as_pid_1", [False, True], ids=["outside pid 1", "pid 1"])
def test_a_hundred_thousand_orphans_are_reaped_in_the_same_memory(as_pid_1: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    directory = tmp_path / "store"
    directory.mkdir()
    store = AnyStore("localfs", LOCALFS, ("--store", str(directory)), directory=directory)
    ends = Ends(store, tmp_path, pid_1_or_skip() if as_pid_1 else ())
    go = tmp_path / "go"
    os.mkfifo(go)
    ends.command(f"exec {compiled(tmp_path, 'orphans', '-static')} {ORPHANS} {BY_EACH_PARENT} {go}")
    with ends.running() as process:
        await_line(process, "ready")
        launcher = ends.launcher_of(process)
        before, peak_before = memory_kib(launcher, "VmRSS"), memory_kib(launcher, "VmHWM")
        go.write_text("g")
        await_line(process, f"made {ORPHANS}")
        until(lambda: [state(pid) for pid in children_of(launcher)] == ["S"])
        after, peak_after = memory_kib(launcher, "VmRSS"), memory_kib(launcher, "VmHWM")
        go.write_text("g")
        result = ends.finish(process)
    print(f"RSS {before} KiB, then {after}; peak {peak_before} KiB, then {peak_after}")
    assert (result.code, result.run_json["phase"]) == (0, "Completed")
    assert (after - before < GROWTH_KIB, peak_after - peak_before < GROWTH_KIB) == (True, True)
