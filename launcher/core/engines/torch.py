"""PyTorch: the preset form, where the boot file starts its own processes, and torchrun, which starts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.enginename import engine_name
from launcher.core.engines.peers import THIS_NODE, own_address, per_node, several
from launcher.core.engines.start import Engaged, Launch, boot, replaced
from launcher.core.interfaces import at

if TYPE_CHECKING:
    from launcher.core.engines.start import Start

RANK_PREFIX = "[rank ${rank}] "
"""As the launcher itself writes it; torchrun fills in the rank."""


def pytorch(start: Start) -> Engaged:
    """One process on each node; on more than one it is told where they meet, which it is, and how many there are."""
    here = start.facts.topology
    platform: dict[str, str] = {}
    if several(start) and start.facts.platform_args:
        platform = {
            "init_method": f"tcp://{at(here.master, here.port)}",
            "rank": str(here.index),
            "world_size": str(here.workers),
        }
    return Engaged(
        launches=(Launch(argv=(start.interpreter, *boot(start, platform)), rank=here.index),),
        per_node=max(start.cards or 1, 1),  # the boot file starts one for each device itself
        warnings=replaced(start, platform),
    )


def torchrun(start: Start) -> Engaged:
    """Start torchrun on each node. Its options are spelled with `_`: releases before 2.0 know no other form."""
    here = start.facts.topology
    processes, warnings = per_node(start)
    folder = f"{start.layout.log_dir}/torchrun"
    told = (
        f"--nnodes={here.workers}",
        f"--nproc_per_node={processes}",
        *_meeting(start),
        f"--rdzv_id={start.job.id}",
        "--max_restarts=0",  # who starts again is the platform's to decide, for all nodes at once
        f"--log_dir={folder}",
    )
    tee = processes > 1 and start.facts.settings.logs.rank_prefix
    launch = Launch(
        argv=(
            *(start.interpreter, "-m", "torch.distributed.run"),
            *(*told, *(("--tee=3",) if tee else ())),
            *boot(start),
        ),
        env={"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": RANK_PREFIX} if tee else {},
        rank=here.index,
    )
    return Engaged(launches=(launch,), per_node=processes, folders=(folder,), warnings=warnings)


def _meeting(start: Start) -> tuple[str, ...]:
    """Where torchruns meet.

    On one node at a port that is free, on the loopback address: two jobs of one host do not clash, and no name need
    resolve. On several, who hosts is said outright: left to itself, torchrun compares host names, and hangs where all
    hosts have the same one; and its own address is given, for others would be told this host's own idea of its name.
    """
    here, patience = start.facts.topology, f"{start.facts.settings.meeting.peers_s:.0f}"
    if not several(start):
        own = () if _is_old(start) else (f"--local_addr={THIS_NODE}",)
        return ("--rdzv_backend=c10d", f"--rdzv_endpoint={THIS_NODE}:0", "--rdzv_conf=is_host=1", *own)
    if _is_old(start):
        # These have no --local_addr, and would tell the others a name that only this host knows.
        return (
            "--rdzv_backend=static",
            f"--node_rank={here.index}",
            f"--master_addr={here.master}",
            f"--master_port={here.port}",
        )
    return (
        "--rdzv_backend=c10d",
        f"--rdzv_endpoint={at(here.master, here.port)}",
        # read_timeout: until worker-0, which may be the slowest to import torch, listens at all
        f"--rdzv_conf=is_host={int(here.index == 0)},join_timeout={patience},read_timeout={patience}",
        f"--local_addr={own_address(start)}",
    )


def _is_old(start: Start) -> bool:
    """Whether the engine's name says PyTorch 1."""
    engine = start.algorithm.engine
    named = engine_name(engine.engine_version or engine.engine_id) if engine else None
    return named is not None and named.framework == "pytorch" and (named.version or "").startswith("1.")
