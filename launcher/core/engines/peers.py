"""What engines of several nodes ask of a topology: how nodes are called and reached, how many processes each has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import PlanError

if TYPE_CHECKING:
    from launcher.core.engines.start import Start

THIS_NODE = "127.0.0.1"
"""Where the processes of one node meet: its own name may not resolve, least of all without a network."""


def several(start: Start) -> bool:
    """Whether more than one node trains."""
    return start.facts.topology.workers > 1


def workers(start: Start, engine: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of all workers, and what is pending about them. Raises PlanError where nobody told them."""
    here = start.facts.topology
    if here.hosts:
        return here.hosts, ()
    if here.workers == 1:
        return (here.master or start.facts.host,), ()
    return _untold(start, engine, here.workers, "workers", "VC_WORKER_HOSTS")


def servers(start: Start, engine: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of all parameter servers, and what is pending about them. Raises PlanError where nobody told them."""
    here = start.facts.topology
    if here.servers or here.role == "worker":
        return here.servers, ()
    if here.count == 1:
        return (start.facts.host,), ()
    return _untold(start, engine, here.count, "parameter servers", "VC_PS_HOSTS")


def _untold(
    start: Start, engine: str, count: int, whose: str, variable: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that stand for those which only a cluster tells, in a preview."""
    if start.facts.preview:
        return tuple(f"pending-{index}" for index in range(count)), (f"the names of all {whose}: only a cluster tells",)
    raise PlanError(
        f"{engine} needs the names of all {count} {whose}, and nobody told them ({start.facts.topology.source})",
        code="topology",
        action=f"Set {variable} to the names of the {whose}, with commas, in their order, the same on every node.",
    )


def per_node(start: Start) -> tuple[int, tuple[str, ...]]:
    """How many processes an engine of one process per device starts on a node, and what is to be said of that."""
    wanted = start.facts.settings.processes or start.facts.topology.per_node
    cards = start.cards
    if wanted:
        shared = cards is not None and 0 < cards < wanted
        told = f"{wanted} processes are started on this node, which has {cards} accelerators: some share one"
        return wanted, (told,) if shared else ()
    if cards is None and start.facts.devices.type != "CPU":
        told = (
            f"this node has devices ({start.facts.devices.type}), and nobody could say how many: one process is "
            "started; LAUNCHER_PROCESSES says another number"
        )
        return 1, (told,)
    return cards or 1, ()
