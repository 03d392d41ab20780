"""What a pod asks of a node: the flavor of the job in the cluster's own names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launcher.core.constraints import flavor_detail, size_bytes

if TYPE_CHECKING:
    from launcher.core.resources import FlavorInfo
    from launcher.core.spec import Job

GPU = "nvidia.com/gpu"
NPU = "huawei.com/Ascend910"

_NPUS = (
    (re.compile(r"(?i)310p|snt3p"), "huawei.com/Ascend310P"),
    (re.compile(r"(?i)310b"), "huawei.com/Ascend310B"),
    (re.compile(r"(?i)310|snt3(?![0-9])"), "huawei.com/Ascend310"),
)
"""Products that the device plugin does not call Ascend910, as all others."""

_SHM_SHARE = 2
_SUFFIXES = ((2**20, "Ti"), (2**10, "Gi"), (1, "Mi"))
_MIB = 2**20


def container_resources(job: Job, device: str | None) -> dict[str, dict[str, str]]:
    """Requests and limits of the container, alike: a training gets what its flavor has, no more and no less.

    Nothing where the job tells no flavor. `device` is the device plugin's name for the cards, where it has another.
    """
    info = _info(job)
    if info is None:
        return {}
    asked: dict[str, str] = {}
    if info.cpu and info.cpu.core_num:
        asked["cpu"] = str(info.cpu.core_num)
    memory = memory_mib(job)
    if memory:
        asked["memory"] = quantity(memory)
    for cards, name in ((info.gpu, GPU), (info.npu, _npu(info))):
        if cards and cards.unit_num:
            asked[device or name] = str(cards.unit_num)
    return {"requests": asked, "limits": dict(asked)} if asked else {}


def memory_mib(job: Job) -> int | None:
    """The flavor's memory in MiB, rounded up: a node counts in pages, and what it gives is held against the flavor."""
    info = _info(job)
    size = size_bytes(info.memory) if info and info.memory else None
    return -(-size // _MIB) if size else None


def shared_memory(job: Job) -> str | None:
    """The most that /dev/shm may hold: half of the flavor's memory, of which it is a part; None: a node's half."""
    memory = memory_mib(job)
    return quantity(max(memory // _SHM_SHARE, 1)) if memory else None


def quantity(mib: int) -> str:
    """MiB as Kubernetes writes them, exact."""
    return next(f"{mib // unit}{suffix}" for unit, suffix in _SUFFIXES if mib % unit == 0)


def _npu(info: FlavorInfo) -> str:
    product = (info.npu.product_name if info.npu else None) or ""
    return next((name for pattern, name in _NPUS if pattern.search(product)), NPU)


def _info(job: Job) -> FlavorInfo | None:
    detail = flavor_detail(job)
    return detail.flavor_info if detail else None
