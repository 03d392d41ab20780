"""What this node has for a training: all vendors are asked, and the limits of its container are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.adapters.amd import amd
from launcher.adapters.cgroup import Cgroup
from launcher.adapters.nvidia import nvidia
from launcher.cli.asked import asked
from launcher.core.devices import Accelerators, node_devices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.devices import Devices
    from launcher.protocols import Ask

    Vendor = Callable[[Mapping[str, str], Ask], Accelerators | None]


def hardware(environ: Mapping[str, str]) -> Devices:
    """The devices of this node, its processors and its memory, before a run has processes of its own."""
    with asked(environ) as ask:
        return hardware_by(environ, ask)


def hardware_by(environ: Mapping[str, str], ask: Ask) -> Devices:
    """The same by somebody who asks the tools. One vendor's fault never hides another's devices."""
    from launcher.adapters.ascend import ascend

    vendors: tuple[tuple[str, Vendor], ...] = (("NVIDIA", nvidia), ("Ascend", ascend), ("AMD", amd))
    told = [_told(name, vendor, environ, ask) for name, vendor in vendors]
    return node_devices([each for each in told if each is not None], Cgroup().limits())


def _told(name: str, vendor: Vendor, environ: Mapping[str, str], ask: Ask) -> Accelerators | None:
    try:
        return vendor(environ, ask)
    except Exception as error:  # noqa: BLE001 - what a driver can bring about here is not known; a note says what it was
        note = f"{name} devices could not be looked for ({type(error).__name__}: {error}): report this as a defect"
        return Accelerators(type="Ascend" if name == "Ascend" else "GPU", count=None, notes=(note[:400],))
