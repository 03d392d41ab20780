"""Which node this is among how many, as the job, the platform and the command line say it: one answer or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from launcher.core.errors import PlanError
from launcher.core.frozen import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.spec import Job

DEFAULT_PORT = 6666
"""The training's own port on worker-0 (contract: port)."""


class Flags(Record, frozen=True, kw_only=True):
    """What the command line says: `--nodes`, `--node-index`, `--master HOST[:PORT]`."""

    nodes: int | None = None
    index: int | None = None
    master: str | None = None


class Topology(Record, frozen=True, kw_only=True):
    """The nodes of a job. `hosts` are the workers' names in their order; empty where nobody told them.

    `index` and `count` are among the nodes of `role`, `workers` counts the workers alone. `master` is worker-0's name,
    `port` the training's own there. `servers` are the names of TensorFlow's parameter servers. `per_node` is how many
    processes the platform wants on a node. `source` says who told all this, for messages.
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


ONE = {"MA_NUM_HOSTS": "1", "VC_WORKER_NUM": "1", "VC_TASK_INDEX": "0", "MA_TASK_INDEX": "0"}
"""What the platform's variables say on a job of one node."""


def topology(job: Job, environ: Mapping[str, str], host: str, flags: Flags) -> Topology:  # noqa: ARG001
    """The topology that job, environment and command line agree on. Raises PlanError (65) where they do not."""
    resource = job.spec.resource if job.spec else None
    asked = (resource.node_count if resource else None) or 1
    said = {"spec.resource.node_count": str(asked)} | {name: environ[name] for name in ONE if environ.get(name)}
    for name, value in said.items():
        if value != ONE.get(name, "1"):
            raise PlanError(
                f"{name} is {value!r}; this version of the launcher runs a job on one node",
                code="topology",
                action="Run the job with node_count 1, without the variables of a larger group.",
            )
    return Topology()
