"""Engines that know of no other process: the boot file under its interpreter, and the custom image's own command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.engines.peers import several
from launcher.core.engines.start import Engaged, Launch, Start, boot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def python(start: Start) -> Engaged:
    """The boot file under its interpreter, on every node the same."""
    warning = (
        f"the job names no engine that spans nodes: each of the {start.facts.topology.workers} nodes runs the boot "
        "file by itself; MASTER_ADDR, MASTER_PORT, VC_TASK_INDEX and MA_NUM_HOSTS tell it of the others"
    )
    launch = Launch(argv=(start.interpreter, *boot(start)), rank=start.facts.topology.index)
    return Engaged(launches=(launch,), warnings=(warning,) if several(start) else ())


def command(start: Start) -> Engaged:
    """The custom image's own shell text, on every node the same: nothing is appended to it."""
    launch = Launch(argv=(start.shell, "-c", start.algorithm.command or ""), rank=start.facts.topology.index)
    return Engaged(launches=(launch,))


PLAIN: Mapping[str, Callable[[Start], Engaged]] = {"python": python, "command": command}
