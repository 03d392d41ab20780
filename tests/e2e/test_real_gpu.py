"""`launcher devices` on a machine with real GPUs of NVIDIA: what it tells is what nvidia-smi and CUDA tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
from rig import LAUNCHER

pytestmark = pytest.mark.gpu

# What CUDA itself shows to a process, with no framework between.
COUNT = """
import ctypes
cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
if cuda.cuInit(0) == 0:
    cuda.cuDeviceGetCount(ctypes.byref(count))
print(count.value)
"""


def environment(visible: str | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.endswith("_VISIBLE_DEVICES")}
    return own if visible is None else {**own, "CUDA_VISIBLE_DEVICES": visible}


def devices(visible: str | None = None) -> Any:
    done = subprocess.run(
        (*LAUNCHER, "devices", "--json"), env=environment(visible), capture_output=True, check=True, timeout=100
    )
    return json.loads(done.stdout)


def smi(*fields: str) -> list[list[str]]:
    """What nvidia-smi tells of each GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        pytest.skip("there is no nvidia-smi here")
    query = (tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=100)
    rows = [line.split(", ") for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not rows:
        pytest.skip(f"there is no GPU here: {done.stdout.strip()[:200]}")
    return rows


def cuda_count(visible: str | None) -> int:
    """How many CUDA shows to a process with this variable."""
    done = subprocess.run(
        (sys.executable, "-c", COUNT), env=environment(visible), capture_output=True, text=True, check=True, timeout=100
    )
    return int(done.stdout)


def test_number_name_memory_and_driver_are_those_of_nvidia_smi() -> None:
    rows = smi("index", "uuid", "name", "memory.total", "driver_version")
    told = devices()
    assert (told["type"], told["count"], told["driver"]) == ("GPU", len(rows), rows[0][4])
    assert [
        [str(each["index"]), each["id"], each["name"], str(each["memory_bytes"] >> 20)] for each in told["devices"]
    ] == [row[:4] for row in rows]


def test_what_the_variable_leaves_is_what_cuda_shows() -> None:
    uuid = smi("uuid")[0][0]
    for visible in (
        None,
        "",
        "-1",
        "0",
        " 0",
        "0,-1",
        "0,99",
        "99",
        "0,0",
        "1x",
        uuid,
        uuid[:12],
        f"{uuid},{uuid}",
        "x",
    ):
        assert (visible, devices(visible)["count"]) == (visible, cuda_count(visible))
