"""What an algorithm and a flavor ask of a node, held against what is there: the sentences for what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.keys import human_size
from launcher.core.parse.job import RETRIES
from launcher.core.parse.resources import UNITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from launcher.core.devices import Devices
    from launcher.core.resources import FlavorDetail, FlavorSize
    from launcher.core.spec import Job, Requirement

MISMATCH = "ModelArts.2763"
"""The service's own number for a flavor that does not fit the algorithm."""

MOST_NOTES = 3
"""So many sentences of those who asked the devices are repeated."""


def flavor_detail(job: Job) -> FlavorDetail | None:
    """What the service says of the job's flavor, where the job holds it."""
    resource = job.spec.resource if job.spec else None
    return resource.flavor_detail if resource else None


def flavor_cards(job: Job) -> int | None:
    """How many accelerators the job's flavor has on a node; None where the job does not tell."""
    detail = flavor_detail(job)
    info = detail.flavor_info if detail else None
    if detail is None or info is None:
        return None
    cards = info.gpu or info.npu
    if cards is not None:
        return cards.unit_num
    return 0 if detail.flavor_type == "CPU" else None


def precheck_wanted(job: Job, flag: bool | None) -> bool:  # noqa: FBT001 - what the command line says, None: nothing
    """Whether a run begins with the pre-check: it was asked for, or the job is started again where a node fails it."""
    retries = (job.metadata.annotations or {}).get(RETRIES, "")
    return retries not in ("", "0") if flag is None else flag


def unmet(requirements: Sequence[Requirement], job: Job, devices: Devices, nodes: int) -> tuple[str, ...]:
    """Every constraint that this node, or the number of nodes, does not fulfil, both sides named; none is well."""
    found = [each for one in requirements if (each := _unmet(one, devices, nodes))]
    found += _unmet_flavor(job, devices)
    return tuple(f"{each} ({MISMATCH})" for each in dict.fromkeys(found))


def shortfalls(job: Job, devices: Devices) -> tuple[str, ...]:
    """Where the node has fewer processors or less memory than the job's flavor: worth a warning, no more."""
    detail = flavor_detail(job)
    info = detail.flavor_info if detail else None
    if info is None:
        return ()
    found = []
    cores = info.cpu.core_num if info.cpu else None
    if cores is not None and devices.cpus < cores:
        found.append(f"the job's flavor has {_processors(cores)}; this node may use {devices.cpus:g}")
    memory = info.memory
    wanted = size_bytes(memory) if memory else None
    if memory and wanted is not None and devices.memory_bytes is not None and devices.memory_bytes < wanted:
        found.append(
            f"the job's flavor has {memory.size} {memory.unit} of memory; "
            f"this node may use {human_size(devices.memory_bytes)}"
        )
    return tuple(f"{each} ({devices.limits_from})" for each in found)


def here(devices: Devices) -> str:
    """What the node has, in a few words: `GPU (8)`, `CPU (2 processors)`, and what is known of why it is no more."""
    if devices.count is None:
        text = f"{devices.type} (how many could not be told)"
    elif devices.type == "CPU":
        text = f"CPU ({_processors(devices.cpus)})"
    else:
        text = f"{devices.type} ({devices.count})"
    if devices.visible and devices.present is not None and devices.present > (devices.count or 0):
        text += f", and {devices.present} that {devices.visible} hides"
    notes = devices.notes[:MOST_NOTES]
    return text + "".join(f"; {note.rstrip('.')}" for note in notes)


def _unmet(requirement: Requirement, devices: Devices, nodes: int) -> str | None:
    allowed = requirement.values
    if not allowed:
        return None
    asked = f"the algorithm asks for {requirement.key} {' or '.join(allowed)}"
    if requirement.key == "host_distributed_mode":
        return None if _mode(nodes) in allowed else f"{asked}; the job runs on {nodes} node{'s' if nodes != 1 else ''}"
    if requirement.key == "flavor_type":
        met = _is_kind(allowed, devices)
    else:
        met = {"multiple", "singular"} <= {*allowed}
        met = met or (devices.count is not None and _mode(devices.count) in allowed)
    return None if met else f"{asked}; this node has {here(devices)}"


def _mode(count: int) -> str:
    return "multiple" if count > 1 else "singular"


def _is_kind(allowed: Collection[str], devices: Devices) -> bool:
    """Whether the node is of an allowed kind; devices that nobody could count may as well be none."""
    return devices.type in allowed and devices.count is not None


def _unmet_flavor(job: Job, devices: Devices) -> Iterator[str]:
    for kind, cards in flavor_wants(job):
        flavor = f"the job's flavor has {kind}" + (f" ({cards})" if cards else "")
        if not _is_kind((kind,), devices) or (devices.count or 0) < (cards or 1):
            yield f"{flavor}; this node has {here(devices)}"


def flavor_wants(job: Job) -> Iterator[tuple[str, int | None]]:
    """The kinds of accelerators that the flavor has, each with how many; None: it has some."""
    detail = flavor_detail(job)
    if detail is None:
        return
    info = detail.flavor_info
    for kind, cards in (("GPU", info and info.gpu), ("Ascend", info and info.npu)):
        if cards and cards.unit_num != 0:
            yield kind, cards.unit_num
        elif cards is None and detail.flavor_type == kind:
            yield kind, None


def size_bytes(size: FlavorSize) -> int | None:
    """A size of a flavor; None where it is not told, or in a unit that nobody knows (a job's own warning)."""
    unit = UNITS.get((size.unit or "").upper())
    return None if size.size is None or unit is None else size.size * unit


def _processors(count: float) -> str:
    return f"{count:g} processor{'s' if count != 1 else ''}"
