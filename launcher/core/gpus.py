"""What NVIDIA's driver or tool told, put together: how many GPUs a training can use, and what is odd about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from launcher.core.devices import Accelerators, Device, Holder
from launcher.core.visible import CUDA, NVIDIA, Visible, cuda_hides_all, cuda_visible, toolkit_hides_all

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORDER = (
    f"{CUDA} names GPUs by number and they are of several models, which CUDA sorts by speed: set"
    " CUDA_DEVICE_ORDER=PCI_BUS_ID, and the numbers are those of this list"
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs as they were told, all that this container has. `whole`: each of them is among `devices`."""

    devices: tuple[Device, ...] = ()
    whole: bool = True
    divided: frozenset[int] = frozenset()
    """The numbers of those in MIG mode, which CUDA uses by their instances alone."""
    driver: str | None = None
    runtime: str | None = None
    held: tuple[Holder, ...] = ()
    notes: tuple[str, ...] = ()


def accelerators(found: Found, environ: Mapping[str, str]) -> Accelerators:
    """What a boot process can use of them.

    `count` is what CUDA gives to one process. GPUs in MIG mode count as one together, for a process gets one instance
    whatever their number (MIG User Guide, "Device Enumeration"); they are all among the devices, with their instances,
    to choose from. Where whole GPUs and instances are mixed the guide does not say which of them CUDA takes.
    """
    hidden = toolkit_hides_all(environ.get(NVIDIA)) or cuda_hides_all(environ.get(CUDA))
    seen = Visible(devices=() if hidden else found.devices)
    if found.whole and not hidden:
        seen = cuda_visible(environ.get(CUDA), found.devices)
    count, notes = _count(seen.devices, found.divided)
    if seen.odd is not None:
        notes = (f"{CUDA}={_short(environ[CUDA])}: {seen.odd}", *notes)
    if found.whole and seen.devices and _order_is_open(found.devices, environ):
        notes = (*notes, _ORDER)
    return Accelerators(
        type="GPU",
        count=count if found.whole or hidden else None,
        devices=seen.devices,
        present=len(found.devices) if found.whole else None,
        driver=found.driver,
        runtime=found.runtime,
        visible=_variable(environ),
        held=_renumbered(found.held, seen.devices),
        notes=(*found.notes, *notes),
    )


def _count(chosen: tuple[Device, ...], divided: frozenset[int]) -> tuple[int | None, tuple[str, ...]]:
    """How many CUDA gives to one process, and what a person should know of it."""
    parts = [part for device in chosen for part in device.partitions]
    empty = [device for device in chosen if _number(device) in divided and not device.partitions]
    whole = len(chosen) - len(empty) - sum(bool(device.partitions) for device in chosen)
    notes = [
        f"GPU {_number(device)} is in MIG mode and has no instance, so that nothing can run on it: make one"
        " (nvidia-smi mig -cgi ... -C), or end the mode (nvidia-smi -mig 0)"
        for device in empty
    ]
    if not parts:
        return whole, tuple(notes)
    if len(parts) > 1:
        notes.append(f"a process gets 1 of the {len(parts)} MIG instances here: choose it by {CUDA}={parts[0].id}")
    if whole > 1:
        notes.append(
            f"GPUs in MIG mode and {whole} that are not are visible together, and which of them CUDA takes is not"
            f" known: name those that are meant by their UUIDs in {CUDA}"
        )
        return None, tuple(notes)
    return 1, tuple(notes)


def _number(device: Device) -> int:
    """The number among all that are present."""
    return device.index if device.physical is None else device.physical


def _order_is_open(present: tuple[Device, ...], environ: Mapping[str, str]) -> bool:
    """Whether CUDA may number the GPUs otherwise than the driver does, and the variable names some by number."""
    return (
        environ.get(CUDA, "").strip()[:1].isdecimal()
        and len({device.name for device in present}) > 1
        and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    )


def _variable(environ: Mapping[str, str]) -> str | None:
    """The variable that chose, as a person reads it."""
    if toolkit_hides_all(environ.get(NVIDIA)):
        return f"{NVIDIA}={_short(environ[NVIDIA])}"
    return f"{CUDA}={_short(environ[CUDA])}" if CUDA in environ else None


def _renumbered(held: tuple[Holder, ...], chosen: tuple[Device, ...]) -> tuple[Holder, ...]:
    """The processes that hold one of the chosen, by the number that it has among them."""
    numbers = {_number(device): device.index for device in chosen}
    return tuple(replace(each, device=numbers[each.device]) for each in held if each.device in numbers)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."  # noqa: PLR2004 - five UUIDs
