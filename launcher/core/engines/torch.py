"""PyTorch: the preset form, where the boot file starts its own processes, and torchrun, which starts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.enginename import engine_name
from launcher.core.engines.peers import THIS_NODE, per_node, several
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
    resolve. On several by the nodes' own numbers: torchrun's dynamic rendezvous (c10d) gives out ranks by the nodes'
    addresses as text, so that rank 0 lands anywhere, and hangs where all hosts have one name.
    """
    here = start.facts.topology
    if not several(start):
        # releases before 2.0 have no --local_addr
        own = () if _is_old(start) else (f"--local_addr={THIS_NODE}",)
        return ("--rdzv_backend=c10d", f"--rdzv_endpoint={THIS_NODE}:0", "--rdzv_conf=is_host=1", *own)
    return (
        "--rdzv_backend=static",
        f"--node_rank={here.index}",
        f"--master_addr={here.master}",
        f"--master_port={here.port}",
        f"--rdzv_conf=timeout={start.facts.settings.meeting.peers_s:.0f}",
    )


def _is_old(start: Start) -> bool:
    """Whether the engine's name says PyTorch 1."""
    engine = start.algorithm.engine
    named = engine_name(engine.engine_version or engine.engine_id) if engine else None
    return named is not None and named.framework == "pytorch" and (named.version or "").startswith("1.")
