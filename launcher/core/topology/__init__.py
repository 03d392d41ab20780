"""Which node this is among how many, as the job, the platform and the command line say it: one answer or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from launcher.core.frozen import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.spec import Job

DEFAULT_PORT = 6666
"""The training's own port on worker-0 (contract: port)."""

MOST_NODES = 100_000
"""As many as a job may ask for."""

PENDING = "pending"
"""What a preview shows for the name of a worker-0 that nobody has told."""

TELLERS = (
    *("MA_NUM_HOSTS", "MA_TASK_INDEX", "MA_TASK_NAME", "MA_VJ_NAME", "MA_MASTER_PORT"),
    *("VC_WORKER_NUM", "VC_WORKER_HOSTS", "VC_TASK_INDEX", "VC_PS_NUM", "VC_PS_HOSTS", "VK_TASK_INDEX"),
    *("JOB_COMPLETION_INDEX", "MASTER_ADDR"),
    *("PET_NNODES", "PET_NODE_RANK", "PET_NPROC_PER_NODE", "PET_N_PROC_PER_NODE"),
    *("PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_RDZV_ENDPOINT"),
)
"""The variables that tell of nodes. Where none is set, and no more than one node is asked for, there is one node."""


class Flags(Record, frozen=True, kw_only=True):
    """What the command line says: `--nodes`, `--node-index`, `--master HOST[:PORT]`."""

    nodes: int | None = None
    index: int | None = None
    master: str | None = None


class Topology(Record, frozen=True, kw_only=True):
    """The nodes of a job. `hosts` are the workers' names in their order; empty where nobody told them.

    `index` and `count` are among the nodes of `role`, `workers` counts the workers alone. `master` is worker-0's name
    (empty on one node where nobody told it), `port` the training's own there. `servers` are the names of TensorFlow's
    parameter servers. `per_node` is how many processes the platform wants on a node, None where it leaves that to the
    devices. `source` says who told all this, for messages. `pending` are sentences about what only a cluster can tell:
    in a preview alone, whose `master` may then be PENDING. `warnings` tell what the command line stands over.
    """

    count: int = 1
    index: int = 0
    role: Literal["worker", "ps"] = "worker"
    workers: int = 1
    hosts: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    master: str = ""
    port: int = DEFAULT_PORT
    per_node: int | None = None
    source: str = "one node"
    pending: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of all nodes, parameter servers last: `worker-0`, `worker-1`, `ps-0`."""
        return (*(f"worker-{i}" for i in range(self.workers)), *(f"ps-{i}" for i in range(len(self.servers))))

    @property
    def number(self) -> int:
        """This node's number among `tasks`."""
        return self.index + (self.workers if self.role == "ps" else 0)


def topology(job: Job, environ: Mapping[str, str], host: str, flags: Flags, *, preview: bool = False) -> Topology:
    """The topology that job, environment and command line agree on. `host` is this machine's own name.

    Raises PlanError (65) where they contradict each other, and where nobody tells what a node must know; in a preview
    the latter is `pending`.
    """
    resource = job.spec.resource if job.spec else None
    asked = resource.node_count if resource else None
    own = {name: value for name, value in _own(job).items() if name == "MA_MASTER_PORT" and value}
    if asked in (None, 1) and flags == Flags() and not own and not any(environ.get(name) for name in TELLERS):
        return Topology()
    from launcher.core.topology.agreement import agreed  # noqa: PLC0415 - most runs are one node without a platform

    return agreed(asked, {**environ, **own}, host, flags, preview=preview)


def _own(job: Job) -> Mapping[str, str]:
    """The job's own environment, of which the training's port counts: the boot processes see it as the platform's."""
    return (job.algorithm.environments if job.algorithm else None) or {}
