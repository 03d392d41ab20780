"""By what a node watches a training: chosen by its devices, and nothing is opened before the first look."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from previews import CASES, made

from launcher.adapters.activity import ProcActivity
from launcher.adapters.npuuse import NpuSmiUse
from launcher.adapters.nvidia.use import NvmlUse
from launcher.cli import views
from launcher.core.devices import Device, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from launcher.core.plan import Plan

TELLS = """#!/bin/sh
echo "$@" >>{said}
case "$*" in
*-m) printf 'NPU ID Chip ID Chip Logic ID Chip Name\\n0 0 0 Ascend 910B3\\n' ;;
*) printf 'Aicore Usage Rate(%%) : 7\\n%s\\n' "$LAUNCHER_SECRET" ;;
esac
"""


def plan_with(kind: Kind, *devices: Device) -> Plan:
    plan = made(CASES[0])
    return replace(plan, devices=replace(plan.devices, type=kind, count=len(devices), devices=devices))


def test_a_node_without_devices_is_watched_by_its_processes_alone() -> None:
    found = views.senses({}, plan_with("CPU"))
    assert isinstance(found.activity, ProcActivity)
    assert found.use is None


@pytest.mark.parametrize("name", ["GPU-1", None])
def test_gpus_are_sampled_through_nvml(name: str | None) -> None:
    assert isinstance(views.senses({}, plan_with("GPU", Device(index=0, name="A", id=name))).use, NvmlUse)


def test_devices_that_could_not_be_counted_are_not_sampled() -> None:
    assert views.senses({}, plan_with("GPU")).use is None


def test_npus_are_sampled_by_their_tool_which_knows_nothing_of_ours(tmp_path: Path) -> None:
    tool = tmp_path / "npu-smi"
    tool.write_text(TELLS.format(said=tmp_path / "said"))
    tool.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LAUNCHER_SECRET": "Aicore Usage Rate(%) : 9"}
    use = views.senses(environ, plan_with("Ascend", Device(index=0, physical=0, name="910B3"))).use
    assert isinstance(use, NpuSmiUse)
    assert not (tmp_path / "said").exists(), "nobody was asked yet"
    assert list(use.sample()) == [7]


def test_npus_without_their_tool_are_not_sampled(tmp_path: Path) -> None:
    assert views.senses({"PATH": str(tmp_path)}, plan_with("Ascend", Device(index=0, name="910B3"))).use is None


def test_a_run_that_is_not_watched_imports_none_of_it() -> None:
    script = "import sys\nimport launcher.cli.run\nprint(sorted(sys.modules))"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    for name in ("launcher.monitor", "launcher.core.hang", "launcher.cli.senses", "launcher.adapters.activity"):
        assert f"'{name}'" not in done.stdout
