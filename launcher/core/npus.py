"""What Ascend's driver and tool told, put together: how many NPUs a training can use, and what is odd about them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from launcher.core.devices import Accelerators, Device, Holder
from launcher.core.parse.cursor import shown
from launcher.core.parse.npusmi import Held, Npu
from launcher.core.visible import ASCEND, ascend_visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RUNTIME = "ASCEND_VISIBLE_DEVICES"
"""Read by the container runtime alone, before there is a container: physical ids."""

_SPAN = re.compile(r"(?:Ascend[0-9A-Za-z]{0,20}-)?([0-9]{1,4})(?:-([0-9]{1,4}))?")
_UNNAMED = "Ascend"
_LONGEST = 80
_NAMED = 8
"""So many files are named in a message."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What there is. `nodes` are the numbers of the files /dev/davinci<n>, `npus` the rows of the tool.

    `counted`: the tool could be read as a whole.
    """

    nodes: tuple[int, ...] = ()
    npus: tuple[Npu, ...] = ()
    counted: bool = False
    held: tuple[Held, ...] = ()
    driver: str | None = None
    runtime: str | None = None
    notes: tuple[str, ...] = ()


def accelerators(found: Found, environ: Mapping[str, str]) -> Accelerators:
    """What a boot process can use of them: devices whose files are here, less those that the job's variable hides.

    The tool may tell of the host's: it says what the devices are, never how many. Logical ids count the files that are
    here, the lowest first.
    """
    if not found.nodes:
        return _none_to_open(found)
    places = _places(found)
    chosen = ascend_visible(environ.get(ASCEND), len(found.nodes))
    nodes = found.nodes if chosen is None else tuple(found.nodes[index] for index in chosen)
    shared = Counter(npu.bus for npu in places.values())
    return Accelerators(
        type="Ascend",
        count=len(nodes),
        devices=tuple(_device(index, node, places.get(node), shared) for index, node in enumerate(nodes)),
        present=len(found.nodes),
        driver=found.driver,
        runtime=found.runtime,
        visible=None if chosen is None else f"{ASCEND}={_short(environ[ASCEND])}",
        held=tuple(_holders(found.held, [places.get(node) for node in nodes])),
        notes=(*found.notes, *_about_tool(found, places), *_about_variables(environ, chosen, found.nodes)),
    )


def _none_to_open(found: Found) -> Accelerators:
    """No file, no device: but where the tool lists some, nobody can say what a process will find."""
    notes = found.notes
    if found.npus:
        lists = f"npu-smi lists {len(found.npus)} NPUs, and /dev has the file of none (davinci0, ...)"
        notes = (*notes, f"{lists}: this container was given no NPU, unless they have other names here")
    return Accelerators(
        type="Ascend",
        count=None if found.npus else 0,
        present=None if found.npus else 0,
        driver=found.driver,
        runtime=found.runtime,
        notes=notes,
    )


def _places(found: Found) -> dict[int, Npu]:
    """Which row is of which file: by the physical id; else row for row, where there are as many; else by logical id.

    On a host the logical ids are the files' numbers; a container has its own, from 0, for the files that it was given.
    """
    by_physical = {npu.physical: npu for npu in found.npus if npu.physical is not None}
    if all(node in by_physical for node in found.nodes):
        return {node: by_physical[node] for node in found.nodes}
    by_logical = {npu.logical: npu for npu in found.npus if npu.logical is not None}
    if found.counted and len(found.npus) == len(found.nodes):
        whole = len(by_logical) == len(found.npus)
        rows = [by_logical[index] for index in sorted(by_logical)] if whole else found.npus
        return dict(zip(found.nodes, rows, strict=True))
    if all(node in by_logical for node in found.nodes):
        return {node: by_logical[node] for node in found.nodes}
    return {}


def _device(index: int, node: int, npu: Npu | None, shared: Mapping[str | None, int]) -> Device:
    device = Device(index=index, physical=node, name=_UNNAMED)
    if npu is None:
        return device
    own = npu.bus if shared[npu.bus] == 1 else None
    return replace(device, id=own, name=npu.name, memory_bytes=npu.memory_bytes, health=npu.health)


def _holders(held: Sequence[Held], places: Sequence[Npu | None]) -> Iterator[Holder]:
    """Who holds which of the devices that are visible."""
    numbers = {(npu.npu, npu.chip): index for index, npu in enumerate(places) if npu is not None}
    for each in held:
        index = numbers.get((each.npu, each.chip))
        if index is not None:
            yield Holder(device=index, pid=each.pid, name=each.name, memory_bytes=each.memory_bytes)


def _about_tool(found: Found, places: Mapping[int, Npu]) -> Iterator[str]:
    if found.counted and len(found.npus) != len(found.nodes):
        here = f"{len(found.nodes)} can be opened here ({_files(found.nodes)})"
        yield f"npu-smi lists {len(found.npus)} NPUs, and {here}: the tool may tell of the whole host"
    if found.npus and not places:
        yield "which of the rows of npu-smi is which device here cannot be told, so that names and memory are unknown"


def _about_variables(
    environ: Mapping[str, str], chosen: tuple[int, ...] | None, nodes: tuple[int, ...]
) -> Iterator[str]:
    if chosen is not None and ",".join(map(str, chosen)) != environ[ASCEND]:
        taken = ",".join(map(str, chosen)) or "nothing"
        yield f"{ASCEND} is {shown(environ[ASCEND])}, of which CANN takes {taken} of the {len(nodes)} devices here"
    wanted = _spans(environ.get(RUNTIME, ""))
    if wanted and wanted != set(nodes):
        yield (
            f"{RUNTIME} is {shown(environ[RUNTIME])} for the container runtime, and here are {_files(nodes)}: what is "
            "here counts"
        )


def _spans(text: str) -> set[int]:
    """The ids that a list of ids and spans of them names; none where it has another form."""
    found: set[int] = set()
    for part in text.split(",")[:_LONGEST]:
        match = _SPAN.fullmatch(part.strip())
        if match is None:
            return set()
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def _files(nodes: Sequence[int]) -> str:
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return ", ".join(f"davinci{node}" for node in nodes[:_NAMED]) + more


def _short(text: str) -> str:
    return text if text.isprintable() and len(text) <= _LONGEST else shown(text)
