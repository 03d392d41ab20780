"""The check of the node, before anything is staged: what the job asks for is here, and the pre-check's items are well.

Every item is looked at and told, also where one has failed already. It changes nothing but for an object that it puts
into each output and takes away.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from launcher.core import precheck as judge
from launcher.core.errors import Exit, PlanError
from launcher.core.precheck import Item, line
from launcher.core.storefault import AWAY
from launcher.precheck.node import node_probes
from launcher.precheck.probes import Probe, examine
from launcher.precheck.storing import StoreLooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from launcher.core.devices import Devices
    from launcher.core.interpreter import Interpreter
    from launcher.core.plan import Checks, Plan
    from launcher.protocols import Clock, Record, Stopped, Store, Surroundings

__all__ = ["check", "job_items", "node_items"]

_log = logging.getLogger(__name__)


def check(
    plan: Plan,
    store: Store,
    *,
    surroundings: Surroundings,
    record: Record,
    clock: Clock,
    stopped: Stopped,
    interpreter: Interpreter | None = None,
) -> None:
    """Refuse a node that does not meet the job: PlanError 71, when everything that is wrong has been told."""
    failed = []
    for item in constraint_items(plan):
        _tell(item)
        if item.state == "failed":
            failed.append(item)
    if plan.precheck:
        items = job_items(
            plan,
            store,
            surroundings=surroundings,
            clock=clock,
            stopped=stopped,
            interpreter=interpreter,
            said=_promised(plan).get("MA_NUM_GPUS"),
        )
        failed += _precheck(plan, record, clock, items)
    if failed:
        raise refusal(failed)


def constraint_items(plan: Plan) -> list[Item]:
    """What the algorithm and the flavor ask for and this node has not; none where all is well."""
    refuses = plan.constrained == "refuse"
    action = "Run it on such a node, or correct the algorithm's constraints or the flavor; --no-precheck only warns."
    return [
        Item(
            name="constraints",
            state="failed" if refuses else "warned",
            said=sentence,
            action=action if refuses else "It is run all the same.",
        )
        for sentence in plan.unmet
    ]


def node_items(
    checks: Checks,
    devices: Devices,
    *,
    surroundings: Surroundings,
    clock: Clock,
    stopped: Stopped,
    root: str = "/",
    said: str | None = None,
) -> Iterator[Item]:
    """What can be told of a node without a job. `said` is its MA_NUM_GPUS."""
    probes = node_probes(checks, devices, surroundings, clock.monotonic, root=root, said=said)
    yield from examine(probes, stopped, clock.monotonic)


def job_items(
    plan: Plan,
    store: Store,
    *,
    surroundings: Surroundings,
    clock: Clock,
    stopped: Stopped,
    interpreter: Interpreter | None,
    said: str | None,
) -> Iterator[Item]:
    """Every item of a job on this node, in their order. `said` is MA_NUM_GPUS."""
    hosts = dict.fromkeys(plan.node.hosts if plan.node.count > 1 else ())
    if plan.rendezvous is not None:
        hosts[plan.rendezvous.host] = None
    probes = node_probes(
        plan.checks,
        plan.devices,
        surroundings,
        clock.monotonic,
        root=plan.root,
        said=said,
        hosts=tuple(hosts),
    )
    version = _promised(plan).get("MA_ENGINE_VERSION")
    probes.append(Probe("engine-check", lambda _: judge.engine_check(version, interpreter, plan.devices)))
    looks = StoreLooks(plan, store, clock)
    yield from examine((*probes, *looks.probes(interpreter)), stopped, clock.monotonic)
    yield looks.clock_item(plan.checks.clock_s)


def refusal(failed: Sequence[Item]) -> PlanError:
    """One error out of all that failed; each has been told by itself."""
    constrained = all(item.name == "constraints" for item in failed)
    said = "; ".join(item.said if constrained else f"{item.name}: {item.said}" for item in failed)
    causes = {item.cause for item in failed}
    away = causes.pop() if len(causes) == 1 and causes <= AWAY else None  # nothing but the store: it may come back
    actions = list(dict.fromkeys(item.action for item in failed if item.action))
    return PlanError(
        said if constrained else f"the pre-check of this node failed: {said}",
        code="constraints-unmet" if constrained else away or "precheck-failed",
        action=" ".join(actions) if len(actions) == 1 else "The log says for each what to do.",
        exit_code=Exit.NODE,
    )


def _promised(plan: Plan) -> Mapping[str, str]:
    return plan.processes[0].env if plan.processes else {}


def _precheck(plan: Plan, record: Record, clock: Clock, items: Iterator[Item]) -> list[Item]:
    """Tell every item as it comes, in the service's own words around them; those that failed."""
    task, began = plan.node.task, clock.monotonic()
    record.event(f"[{task}] The training environment is being pre-checked.")
    failed = []
    for item in items:
        _tell(item)
        if item.state == "failed":
            failed.append(item)
    lasted = f"[{task}] [Duration: {clock.monotonic() - began:.3f}s]"
    if failed:
        names = ", ".join(item.name for item in failed)
        record.event(f"{lasted} Pre-check failed. Error: {names}", "Error")
    else:
        record.event(f"{lasted} Pre-check completed.")
    return failed


def _tell(item: Item) -> None:
    tell: Callable[..., object] = _log.info
    if item.state == "failed":
        tell = _log.error
    elif item.state == "warned":
        tell = _log.warning
    tell("%s", line(item))
