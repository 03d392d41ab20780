"""What a cluster does about a pod that ended: the launcher's exit codes as rules (contract: exit codes).

A boot file may end with any of these numbers itself, and no rule of a cluster can tell that from ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher.core.errors import Exit
from launcher.core.parse.job import ALWAYS_RETRY, RETRIES

if TYPE_CHECKING:
    from launcher.core.spec import Job

AGAIN = (int(Exit.UNREACHABLE), int(Exit.NODE), 121, 143)
"""Another start may help: the store did not answer, the node (or another node's loss) was to blame, the training hung,
a node was asked to end. On several nodes those that a preempted node leaves behind end with 71 or 143 themselves."""

NEVER = (
    *(int(Exit.USAGE), int(Exit.INVALID), int(Exit.MISSING), int(Exit.DEFECT), int(Exit.REFUSED)),
    *(122, int(Exit.AUTO_STOP), int(Exit.CANNOT_EXECUTE), int(Exit.NOT_FOUND)),
)
"""The next start would end the same way, or the time that the job was given is over."""

MOST_RETRIES = 3
"""As many as the service allows, and what is done where a job does not say."""


def retries(job: Job) -> int:
    """How often the job is started again: its own number, else MOST_RETRIES, which only AGAIN uses up."""
    said = (job.metadata.annotations or {}).get(RETRIES, "")
    return int(said) if said else MOST_RETRIES


def whatever_it_was(job: Job) -> bool:
    """Whether a boot file that fails is started again too."""
    return (job.metadata.annotations or {}).get(ALWAYS_RETRY, "").lower() == "true"


def failure_policy(job: Job) -> dict[str, Any]:
    """A podFailurePolicy: the first rule that fits decides."""
    rules: list[dict[str, Any]] = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        _by_codes("FailJob", "In", NEVER),
        _by_codes("Count", "In", AGAIN),
    ]
    if not whatever_it_was(job):
        rules.append(_by_codes("FailJob", "NotIn", AGAIN))
    return {"rules": rules}


def _by_codes(action: str, operator: str, codes: tuple[int, ...]) -> dict[str, Any]:
    # the empty list says nothing, and the schema that Kubernetes 1.28 publishes wants one
    return {"action": action, "onExitCodes": {"operator": operator, "values": sorted(codes)}, "onPodConditions": []}


def volcano_policies(job: Job) -> list[dict[str, Any]]:
    """Volcano's policies of a job; a code that no policy names ends its pod, and the launchers end the others."""
    evicted = {"event": "PodEvicted", "action": "RestartJob"}
    if not retries(job):
        return [evicted]
    named: list[dict[str, Any]] = [{"exitCode": code, "action": "RestartJob"} for code in sorted(AGAIN)]
    if whatever_it_was(job):
        never = [{"exitCode": code, "action": "TerminateJob"} for code in sorted(NEVER)]
        return [evicted, *named, *never, {"event": "PodFailed", "action": "RestartJob"}]
    return [evicted, *named]
