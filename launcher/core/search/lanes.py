"""The lanes of a search on one node: in each, one trial after the other, with the devices that are its own.

A lane is variables that are laid over the launcher's environment for its trials; it starts nothing. They name devices
such that a trial's own launcher counts those of its lane and no others (`core/visible.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from launcher.core.frozen import Record
from launcher.core.visible import ASCEND, CUDA, ascend_visible

if TYPE_CHECKING:
    from launcher.core.devices import Devices

HIP, ROCR = "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"


class Lane(Record, frozen=True, kw_only=True):
    """Where trials run one after the other: a name, the variables of its trials, and what is odd about it."""

    label: str
    env: Mapping[str, str] = {}
    note: str | None = None


class _Units(Record, frozen=True, kw_only=True):
    """What can be given to a trial: the variable that gives it, the name of each unit in it.

    `single`: a process takes one of them, whatever their number. `note`: why nothing can be given.
    """

    variable: str = ""
    names: tuple[str, ...] = ()
    single: bool = False
    note: str | None = None


def lanes(
    devices: Devices, jobs: int | None, environ: Mapping[str, str], *, own: Mapping[str, str]
) -> tuple[Lane, ...]:
    """The lanes of a node with these devices; `environ` is the launcher's, by which they were found, `own` the job's.

    As many as there are devices, else `jobs`: of fewer jobs each has several devices, as evenly as can be and side by
    side, for neighbours are joined best (NVLink, HCCS); of more jobs several share a device. Without devices there is
    one. What is given how:

    - NVIDIA, `CUDA_VISIBLE_DEVICES`: the UUIDs, which mean the same whatever the order of the numbers (CUDA C++
      Programming Guide, "CUDA Environment Variables"); without them the numbers, or the entries of the variable as it
      is, of which CUDA numbers those that it shows from 0. Of MIG instances a process takes one (MIG User Guide,
      "Device Enumeration"), so each is a lane's.
    - AMD, `HIP_VISIBLE_DEVICES`: numbers among those that `ROCR_VISIBLE_DEVICES` leaves; it goes before
      `CUDA_VISIBLE_DEVICES` (ROCm documentation, "GPU isolation techniques").
    - Ascend, `ASCEND_RT_VISIBLE_DEVICES`: logical ids, the lowest first (CANN, `Runtime::GetVisibleDevices`).

    Where the job sets such a variable itself it has the last word in every trial, so nothing is given. Several lanes
    share the processors by `OMP_NUM_THREADS` unless somebody has set it: a trial's own launcher knows of no other lane
    and would give it all of them (`core/environ.py`).
    """
    kind = {"CPU": "cpu", "GPU": "gpu", "Ascend": "npu"}[devices.type]
    units = _units(devices, environ, own)
    if not units.names:
        many = jobs or 1
        made = [Lane(label=kind if many == 1 else f"{kind}:{i + 1}", note=units.note) for i in range(many)]
    else:
        made = [
            Lane(label=f"{kind}{name}", env={units.variable: ",".join(units.names[i] for i in group)})
            for name, group in _groups(len(units.names), jobs or len(units.names), single=units.single)
        ]
    threads = _threads(devices.cpus, len(made), environ, own)
    return tuple(Lane(label=each.label, env={**each.env, **threads}, note=each.note) for each in made)


def _groups(units: int, jobs: int, *, single: bool) -> list[tuple[str, range]]:
    """The units of each lane, by their places, with the lane's name."""
    if jobs > units:
        return [(f"{job % units}:{job // units + 1}", range(job % units, job % units + 1)) for job in range(jobs)]
    groups = [range(units * job // jobs, units * (job + 1) // jobs) for job in range(jobs)]
    if single:
        groups = [range(job, job + 1) for job in range(jobs)]
    return [(f"{each[0]}" if len(each) == 1 else f"{each[0]}-{each[-1]}", each) for each in groups]


def _threads(cpus: float, many: int, environ: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    if many == 1 or environ.get(THREADS) or THREADS in own:
        return {}
    return {THREADS: str(max(1, int(cpus) // many))}


def _units(devices: Devices, environ: Mapping[str, str], own: Mapping[str, str]) -> _Units:
    if devices.type == "CPU":
        return _Units()
    if devices.count is None:
        return _Units(note="how many devices there are is not known, so that every trial sees all of them")
    found = _of_vendor(devices, environ)
    steering = [name for name in (found.variable, *((ROCR,) if found.variable == HIP else ())) if name in own]
    if steering:
        return _Units(
            note=f"the job sets {steering[0]} itself, so that every trial sees the devices which that names; leave it"
            " out and each trial has its own"
        )
    return found


def _of_vendor(devices: Devices, environ: Mapping[str, str]) -> _Units:
    count = len(devices.devices) or devices.count or 0
    if devices.type == "Ascend":
        left = ascend_visible(environ.get(ASCEND), devices.present or count)
        return _Units(variable=ASCEND, names=tuple(map(str, range(count) if left is None else left)))
    if devices.devices and all(each.name.startswith("AMD") for each in devices.devices):
        # What chose among them: the adapter of AMD says in which order.
        return _Units(variable=HIP, names=_entries(environ.get(HIP, environ.get(CUDA)), count))
    parts = tuple(part.id for each in devices.devices for part in each.partitions)
    outer = environ.get(CUDA)
    if parts:
        # One entry may be the old name of an instance, whose new one is not known: it stands for itself.
        names = _entries(outer, count) if outer and outer.startswith("MIG-") else parts
        return _Units(variable=CUDA, names=names, single=True)
    if devices.count != count:
        return _Units(
            variable=CUDA,
            note=f"only {devices.count} of the {count} GPUs can be used, and which is not known here, so that every"
            " trial sees all of them; name those that are meant in CUDA_VISIBLE_DEVICES",
        )
    identities = tuple(each.id or "" for each in devices.devices)
    known = bool(identities) and all(each.startswith("GPU-") for each in identities)
    return _Units(variable=CUDA, names=identities if known else _entries(outer, count))


def _entries(outer: str | None, count: int) -> tuple[str, ...]:
    """How the variable names each of the devices that it leaves: its own first entries, which are one for each."""
    if outer is None:
        return tuple(map(str, range(count)))
    return tuple(entry.strip() for entry in outer.split(",")[:count])
