"""What `nvidia-smi` tells, where there is the tool and not the library; one that fails at first is not asked on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.devices import Holder
from launcher.core.gpus import Found
from launcher.core.parse import nvidiasmi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.answer import Answer
    from launcher.core.devices import Device
    from launcher.protocols import Ask


def by_tool(ask: Ask, tool: str) -> Found:
    """The GPUs as the tool at this path lists them."""

    def asked(argv: Sequence[str]) -> Answer:
        return ask((tool, *argv[1:]))

    answer = asked(nvidiasmi.LISTING)
    found = nvidiasmi.listed(answer.stdout)
    if answer.fault is not None or answer.code or found.unread is not None:
        return Found(devices=found.devices, whole=False, notes=(_note(tool, answer, found.unread),))
    if not found.devices:
        return Found()
    rows = nvidiasmi.queried(asked(nvidiasmi.QUERY).stdout)
    known = {row.id: row for row in rows}
    devices = tuple(_with(device, known.get(device.id or "")) for device in found.devices)
    modes = nvidiasmi.divided(asked(nvidiasmi.MODES).stdout)
    return Found(
        devices=devices,
        divided=frozenset(each.index for each in devices if each.partitions or each.id in modes),
        driver=next((row.driver for row in rows if row.driver), None),
        runtime=nvidiasmi.cuda_version(asked(nvidiasmi.VERSIONS).stdout),
        held=_held(devices, nvidiasmi.used(asked(nvidiasmi.PROCESSES).stdout)),
    )


def _with(device: Device, row: nvidiasmi.Queried | None) -> Device:
    return device if row is None else replace(device, memory_bytes=row.memory_bytes)


def _held(devices: Sequence[Device], rows: Sequence[nvidiasmi.Used]) -> tuple[Holder, ...]:
    numbers = {device.id: device.index for device in devices}
    return tuple(
        Holder(device=numbers[row.gpu], pid=row.pid, name=row.name, memory_bytes=row.memory_bytes)
        for row in rows
        if row.gpu in numbers
    )


def _note(tool: str, answer: Answer, unread: str | None) -> str:
    if answer.fault is not None:
        return f"{tool} -L {answer.fault}, so that GPUs are not counted: see whether it works on the host"
    said = " ".join((unread or answer.stderr or answer.stdout).split())[:200] or "nothing"
    end = f"ended with {answer.code} and " if answer.code else ""
    return f"{tool} -L {end}said {said!r}, so that GPUs are not counted: see whether it works on the host"
