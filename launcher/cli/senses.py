"""By what this node watches a training for hanging: /proc, and the driver or the tool of its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.adapters.activity import ProcActivity
from launcher.senses import Senses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.plan import Plan
    from launcher.senses import Use


def senses(plan: Plan, environ: Mapping[str, str]) -> Senses:
    """What looks at the processes, outputs and devices of a plan. Nothing is opened before the first look."""
    return Senses(activity=ProcActivity([each.path for each in plan.outputs]), use=_use(plan, environ))


def _use(plan: Plan, environ: Mapping[str, str]) -> Use | None:
    devices = plan.devices.devices
    if plan.devices.type == "GPU" and devices:
        from launcher.adapters.nvidia.use import NvmlUse

        ids = [each.id for each in devices if each.id is not None]
        return NvmlUse(ids if len(ids) == len(devices) else ())
    if plan.devices.type == "Ascend" and devices:
        from launcher.adapters.ascend import FOLDERS, TOOL
        from launcher.adapters.npuuse import NpuSmiUse
        from launcher.adapters.process.tool import Tool
        from launcher.cli.machine import find_program

        tool = find_program((TOOL,), ":".join((environ.get("PATH", ""), *FOLDERS)))
        theirs = {name: value for name, value in environ.items() if not name.startswith("LAUNCHER_")}
        physical = [each.index if each.physical is None else each.physical for each in devices]
        return None if tool is None else NpuSmiUse(Tool(theirs), tool, physical)
    return None
