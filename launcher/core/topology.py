"""Which node this is among how many, from the job and the platform's variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import PlanError
from launcher.core.plan import Node

if TYPE_CHECKING:
    from launcher.core.facts import Facts
    from launcher.core.spec import Job


ONE = {"MA_NUM_HOSTS": "1", "VC_WORKER_NUM": "1", "VC_TASK_INDEX": "0", "MA_TASK_INDEX": "0"}
"""What the platform's variables say on a job of one node."""


def node(job: Job, facts: Facts) -> Node:
    """This node. Raises PlanError: this version starts one node only."""
    resource = job.spec.resource if job.spec else None
    asked = (resource.node_count if resource else None) or 1
    said = {"spec.resource.node_count": str(asked)} | {
        name: facts.environ[name] for name in ONE if facts.environ.get(name)
    }
    for name, value in said.items():
        if value != ONE.get(name, "1"):
            raise PlanError(
                f"{name} is {value!r}; this version of the launcher runs a job on one node",
                code="topology",
                action="Run the job with node_count 1, without the variables of a larger group.",
            )
    return Node(index=0, count=1, host=facts.host)


def accelerators(job: Job) -> int | None:
    """How many accelerators the job's flavor has on a node; None where the job does not tell."""
    resource = job.spec.resource if job.spec else None
    detail = resource.flavor_detail if resource else None
    info = detail.flavor_info if detail else None
    if detail is None or info is None:
        return None
    cards = info.gpu or info.npu
    if cards is not None:
        return cards.unit_num
    return 0 if detail.flavor_type == "CPU" else None
