"""`launcher devices`: what this node has for a training; it changes nothing and starts nothing but vendors' tools."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from launcher.cli import result, say
from launcher.cli.hardware import hardware
from launcher.core.errors import Exit
from launcher.core.keys import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.core.devices import Device, Devices, Holder

_UNKNOWN = "a size that is not told"


@click.command(name="devices")
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON: the `devices` of run.json.")
def command(as_json: bool) -> int:  # noqa: FBT001 - click passes by name
    """Show what this node has for a training: devices, processors and memory, as a job here would get them.

    What CUDA_VISIBLE_DEVICES or ASCEND_RT_VISIBLE_DEVICES hides is not shown, and processors and memory are those
    of the container. 0, also where there is no device; what could not be found out is a warning, and a number that
    is not certain is not told.

    \b
    Example:
      launcher devices
      launcher devices --json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    found = hardware(dict(os.environ))
    for note in found.notes:
        say(f"warning: {note}")
    if as_json:
        from launcher.core.redact import to_json

        result(to_json(found).decode())
    else:
        from launcher.streams.lines import plain

        result("\n".join(plain(line) for line in _told(found)))
    return Exit.OK


def _told(found: Devices) -> Iterator[str]:
    """One line for each device and for what it is divided into and held by, then what there is of all."""
    for device in found.devices:
        yield f"{found.type} {device.index}: {', '.join(_facts(device, found.type))}"
        yield from (f"  {part.name}, {_size(part.memory_bytes)}, {part.id}" for part in device.partitions)
        yield from (f"  held by {_holder(each)}" for each in found.held if each.device == device.index)
    yield ", ".join(_summary(found))
    cpus = f"{found.cpus:g} {'processor' if found.cpus == 1 else 'processors'}"
    limit = "of the host" if found.limits_from == "host" else f"limited by {found.limits_from}"
    yield f"{cpus}, {_size(found.memory_bytes)} of memory, {limit}"


def _facts(device: Device, kind: str) -> Iterator[str]:
    yield device.name
    yield _size(device.memory_bytes)
    if device.health is not None:
        yield device.health
    if device.physical is not None and device.physical != device.index:
        yield f"{'number' if kind == 'GPU' else 'physical id'} {device.physical} of all"
    if device.id is not None:
        yield device.id


def _holder(held: Holder) -> str:
    used = "" if held.memory_bytes is None else f", {human_size(held.memory_bytes)}"
    return f"process {held.pid}" + (f" ({held.name})" if held.name else "") + used


def _summary(found: Devices) -> Iterator[str]:
    """How many devices of which kind, why not all of them, and by what they are driven."""
    if found.count is None:
        yield f"{found.type} devices that could not be counted"
    elif found.type == "CPU":
        yield "no GPU and no Ascend device"
    else:
        yield f"{found.count} {found.type} {'device' if found.count == 1 else 'devices'}"
    if found.visible is not None:
        yield found.visible if found.present is None else f"{found.visible} chose of {found.present}"
    if found.driver is not None:
        yield f"driver {found.driver}"
    if found.runtime is not None:
        yield f"{'CUDA' if found.type == 'GPU' else 'CANN'} {found.runtime}"


def _size(size: int | None) -> str:
    return _UNKNOWN if size is None else human_size(size)
