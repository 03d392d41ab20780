"""What a node has for a training, as values: accelerators as their vendor tells of them, and the container's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["CPU", "GPU", "Ascend"]
LimitSource = Literal["cgroup v2", "cgroup v1", "host"]


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a device that is a device of its own to a process (NVIDIA: a MIG instance). Memory in bytes."""

    id: str
    name: str
    memory_bytes: int | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator that a boot process may use.

    `index` is the number by which a boot process addresses it, from 0; `physical` the number that it has on the host.
    `id` is what tells it from all others (a UUID, a PCI address); `health` is the vendor's word. Memory in bytes.
    """

    index: int
    physical: int | None = None
    id: str | None = None
    name: str
    memory_bytes: int | None = None
    health: str | None = None
    partitions: tuple[Partition, ...] = ()


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds memory of a device. `pid` is as the vendor tells it, which may be the host's number."""

    device: int
    pid: int
    name: str | None = None
    memory_bytes: int | None = None


class Accelerators(msgspec.Struct, frozen=True, kw_only=True):
    """What one vendor's driver and tool tell.

    `count` is None where there are devices and nobody could say how many: a count is right or it is none. `visible` is
    the variable that chose among those `present`, as `NAME=value`. `notes` are sentences about what could not be read.
    """

    type: Literal["GPU", "Ascend"]
    count: int | None
    devices: tuple[Device, ...] = ()
    present: int | None = None
    driver: str | None = None
    runtime: str | None = None
    visible: str | None = None
    held: tuple[Holder, ...] = ()
    notes: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the container may use: processors (a quota may give a fraction) and bytes of memory."""

    cpus: float
    memory_bytes: int | None
    limits_from: LimitSource


class Devices(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has for a training, as run.json tells it. The fields are those of Accelerators and of Limits."""

    type: Kind
    count: int | None
    devices: tuple[Device, ...] = ()
    cpus: float
    memory_bytes: int | None
    limits_from: LimitSource
    present: int | None = None
    driver: str | None = None
    runtime: str | None = None
    visible: str | None = None
    held: tuple[Holder, ...] = ()
    notes: tuple[str, ...] = ()


ONE_CPU = Devices(type="CPU", count=0, cpus=1.0, memory_bytes=None, limits_from="host")
"""A node of which nothing else is known."""


def node_devices(found: Sequence[Accelerators], limits: Limits) -> Devices:
    """One node out of what each vendor tells: a kind with devices, else one that may have some, else the processor."""
    ranked = sorted(found, key=lambda each: 0 if each.count else 1 if each.count is None else 2)
    best = ranked[0] if ranked else None
    notes = tuple(note for each in ranked for note in each.notes)
    if best is None or best.count == 0:
        return Devices(
            type="CPU",
            count=0,
            cpus=limits.cpus,
            memory_bytes=limits.memory_bytes,
            limits_from=limits.limits_from,
            present=best.present if best else None,
            visible=best.visible if best else None,
            notes=notes,
        )
    return Devices(
        type=best.type,
        count=best.count,
        devices=best.devices,
        cpus=limits.cpus,
        memory_bytes=limits.memory_bytes,
        limits_from=limits.limits_from,
        present=best.present,
        driver=best.driver,
        runtime=best.runtime,
        visible=best.visible,
        held=best.held,
        notes=notes,
    )
