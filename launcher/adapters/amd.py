"""The AMD GPUs of this container, as the kernel's compute driver lists them in /sys; no tool, no library is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from launcher.core.devices import Accelerators, Device
    from launcher.protocols import Ask

_LONGEST = 1 << 16


def amd(environ: Mapping[str, str], ask: Ask, top: str = "") -> Accelerators | None:  # noqa: ARG001 - as all vendors
    """What there is of AMD; None: nothing. `top` goes before the system's own paths.

    ROCm takes ROCR_VISIBLE_DEVICES first and then, of what that left, HIP_VISIBLE_DEVICES or else CUDA_VISIBLE_DEVICES:
    numbers, in the first also identifiers, as CUDA has them (ROCm documentation, "GPU isolation techniques").
    """
    if not os.path.exists(f"{top}/dev/kfd"):
        return None
    from launcher.core.devices import Accelerators
    from launcher.core.visible import Visible, cuda_visible

    nodes = f"{top}/sys/class/kfd/kfd/topology/nodes"
    if not os.path.isdir(nodes):
        return Accelerators(type="GPU", count=None, notes=(f"AMD's /dev/kfd is here, but {nodes} is not to count by",))
    present = tuple(_gpus(nodes))
    if not present:
        return None
    last = "HIP_VISIBLE_DEVICES" if "HIP_VISIBLE_DEVICES" in environ else "CUDA_VISIBLE_DEVICES"
    chose = [name for name in ("ROCR_VISIBLE_DEVICES", last) if name in environ]
    seen, notes = Visible(devices=present), []
    for name in chose:
        seen = cuda_visible(environ[name], seen.devices)
        notes += [f"{name}={environ[name][:200]}: {seen.odd}"] if seen.odd else []
    return Accelerators(
        type="GPU",
        count=len(seen.devices),
        devices=cuda_visible(None, seen.devices).devices,
        present=len(present),
        visible=", ".join(f"{name}={environ[name][:200]}" for name in chose) or None,
        notes=tuple(notes),
    )


def _gpus(nodes: str) -> Iterator[Device]:
    """The nodes with compute units. The kernel shows the properties of those alone that this container may use."""
    from launcher.core.devices import Device

    count = 0
    for node in sorted((name for name in os.listdir(nodes) if name.isdecimal()), key=int):
        facts = _facts(f"{nodes}/{node}/properties")
        if facts.get("simd_count", 0) > 0:
            mark = facts.get("unique_id", 0)
            yield Device(
                index=count,
                id=f"GPU-{mark:016x}" if mark else None,
                name=f"AMD {_text(f'{nodes}/{node}/name').strip()}".strip(),
                memory_bytes=_memory(f"{nodes}/{node}/mem_banks"),
            )
            count += 1


def _memory(banks: str) -> int | None:
    """The memory on the device itself: heap types 1 and 2 (kfd_sysfs.h, HSA_MEM_HEAP_TYPE_FB_*)."""
    try:
        found = [_facts(f"{banks}/{name}/properties") for name in os.listdir(banks)]
    except OSError:
        return None
    return sum(each.get("size_in_bytes", 0) for each in found if each.get("heap_type") in (1, 2)) or None


def _facts(path: str) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal() and len(pair[1]) <= 20}  # noqa: PLR2004 - a pair, 2**64


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(_LONGEST)
    except (OSError, ValueError):
        return ""
