"""Which devices of a node a process sees, by the variables that choose among them; it reads none of them itself.

A rule is followed to its odd ends, for a framework that counts by it must find what was counted here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from launcher.core.devices import Device

if TYPE_CHECKING:
    from collections.abc import Sequence

CUDA = "CUDA_VISIBLE_DEVICES"
NVIDIA = "NVIDIA_VISIBLE_DEVICES"
ASCEND = "ASCEND_RT_VISIBLE_DEVICES"

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
_DIGITS = 9
"""A longer number is of no device, and int() refuses very long ones."""
_DIVIDED = re.compile(r"MIG-(GPU-[^/]*)/\d+/\d+")
_ASCEND_NUMBER = re.compile(r"([0-9]+)(,?)")


class Visible(msgspec.Struct, frozen=True, kw_only=True):
    """What a process sees. `odd` says what is odd about the variable, as the end of a sentence; None: nothing is."""

    devices: tuple[Device, ...]
    odd: str | None = None


def cuda_visible(text: str | None, present: Sequence[Device]) -> Visible:
    """What `CUDA_VISIBLE_DEVICES` leaves of the GPUs that are present, in its order; None: it is not set.

    Numbers and identifiers in their order, and at the first that is none of a GPU here the list ends (CUDA C++
    Programming Guide, "CUDA Environment Variables"). Empty, or -1 in front, is none. An identifier may be cut short as
    long as one GPU alone begins with it. What the guide leaves open is as PyTorch reads it, which counts by the same
    variable without a driver (`torch/cuda/__init__.py`): a number is what strtoul makes of it, so that `1x` is 1; one
    that comes twice makes the whole list void; the first entry says whether all are numbers, GPUs or parts of one.
    """
    if text is None:
        return Visible(devices=tuple(_renumbered(present)))
    names = text.split(",")
    chosen: list[Device] = []
    taken: set[str] = set()
    odd = None
    for name in names:
        found = _chosen(name, names[0], present)
        if found is None:
            odd = None if _says_none(name) else f"{_shown(name)} is none of the {len(present)} here, so the list ends"
            break
        key, device = found
        if key in taken:
            return Visible(devices=(), odd=f"{_shown(name)} comes twice, and then CUDA shows no GPU at all")
        taken.add(key)
        chosen.append(device)
    return Visible(devices=tuple(_renumbered(chosen)), odd=odd)


def cuda_hides_all(text: str | None) -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` leaves no GPU, whatever is present."""
    return text is not None and _says_none(text.split(",")[0])


def toolkit_hides_all(text: str | None) -> bool:
    """Whether `NVIDIA_VISIBLE_DEVICES` says that a container is to have no GPU: it does by `none`.

    The container toolkit reads it, on the host and before the container begins: what it names by number or identifier
    is done then, and the numbers are the host's. `void` and nothing mean that the toolkit itself does nothing, which is
    also what it writes into every container that gets its GPUs by CDI: it says nothing about what is there.
    """
    return text is not None and text.strip().lower() == "none"


def ascend_visible(text: str | None, present: int) -> tuple[int, ...] | None:
    """The logical ids that `ASCEND_RT_VISIBLE_DEVICES` leaves of so many that are present; None: it is not set.

    Plain numbers with commas between them; it ends before the first that is no number or of no device, after the first
    that something else than a comma follows, and when there are as many as devices (`1, 2,3` is 1, for a space is no
    digit). One that comes twice, or out of order, makes it void. So says CANN's runtime (`Runtime::GetVisibleDevices`
    and its unit tests).
    """
    if text is None:
        return None
    found: list[int] = []
    at = 0
    while len(found) < present and (match := _ASCEND_NUMBER.match(text, at)):
        if len(match[1]) > _DIGITS or (number := int(match[1])) >= present:
            break
        found.append(number)
        if not match[2]:
            break
        at = match.end()
    return tuple(found) if found == sorted(set(found)) else ()


def _chosen(name: str, first: str, present: Sequence[Device]) -> tuple[str, Device] | None:
    """The GPU that one entry names, and by what it is known when it comes again."""
    if first.startswith("MIG-"):
        return _partition(name, present)
    if first.startswith("GPU-"):
        found = [each for each in present if (each.id or "").startswith(name)] if name.startswith("GPU-") else []
        return (found[0].id or "", found[0]) if len(found) == 1 else None
    match = _NUMBER.match(name)
    if match is None or match[1] == "-" or len(match[2].lstrip("0")) > _DIGITS:
        return None
    number = int(match[2].lstrip("0") or "0")
    return (str(number), present[number]) if number < len(present) else None


def _partition(name: str, present: Sequence[Device]) -> tuple[str, Device] | None:
    """The GPU with that one part of it that an entry names, in the way of old drivers or of new ones."""
    if not name.startswith("MIG-"):
        return None
    parts = [(part, device) for device in present for part in device.partitions]
    found = [(part, device) for part, device in parts if part.id.startswith(name)]
    exact = [(part, device) for part, device in found if part.id == name]
    if len(exact or found) == 1:
        part, device = (exact or found)[0]
        return part.id, replace(device, partitions=(part,))
    divided = _DIVIDED.fullmatch(name)
    # The old name of a part whose new one alone is known: which of them is meant cannot be told, only of which GPU.
    whole = [each for each in present if divided and each.id == divided[1] and each.partitions]
    return (name, whole[0]) if whole and not found else None


def _renumbered(devices: Sequence[Device]) -> list[Device]:
    """CUDA numbers those that it shows from 0."""
    return [
        replace(device, index=number, physical=device.index if device.physical is None else device.physical)
        for number, device in enumerate(devices)
    ]


def _says_none(name: str) -> bool:
    """Whether an entry is one of the two ways to say: no GPU from here on."""
    match = _NUMBER.match(name)
    return not name.strip() or (match is not None and match[1] == "-")


def _shown(name: str) -> str:
    """A part of a variable as a message shows it."""
    return repr(name if len(name) <= 60 else f"{name[:60]}...")  # noqa: PLR2004 - a UUID and more
