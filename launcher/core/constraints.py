"""What an algorithm and a flavor ask of a node, held against what is there: the sentences for what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.resources import FlavorDetail
    from launcher.core.spec import Job


def flavor_detail(job: Job) -> FlavorDetail | None:
    """What the service says of the job's flavor, where the job holds it."""
    resource = job.spec.resource if job.spec else None
    return resource.flavor_detail if resource else None


def flavor_cards(job: Job) -> int | None:
    """How many accelerators the job's flavor has on a node; None where the job does not tell."""
    detail = flavor_detail(job)
    info = detail.flavor_info if detail else None
    if detail is None or info is None:
        return None
    cards = info.gpu or info.npu
    if cards is not None:
        return cards.unit_num
    return 0 if detail.flavor_type == "CPU" else None
