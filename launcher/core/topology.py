"""Which node this is among how many, from the job and the platform's variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import PlanError
from launcher.core.plan import Node

if TYPE_CHECKING:
    from launcher.core.facts import Facts
    from launcher.core.spec import Job


def node(job: Job, facts: Facts) -> Node:
    """This node. Raises PlanError: this version starts one node only."""
    resource = job.spec.resource if job.spec else None
    asked = (resource.node_count if resource else None) or 1
    told = facts.environ.get("MA_NUM_HOSTS", "")
    if asked > 1 or told not in ("", "1"):
        where = f"spec.resource.node_count is {asked}" if asked > 1 else f"MA_NUM_HOSTS is {told!r}"
        raise PlanError(
            f"{where}; this version of the launcher runs a job on one node",
            code="topology",
            action="Run the job with node_count 1.",
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
