"""A training under watch: what its monitor, the stacks of its processes and the other nodes tell each other.

A node by itself judges by itself. A job of several nodes hangs when none of them moves: number 0 asks all of them where
they stand, and says it for all.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from launcher.core.lifecycle import Hung, Suspected
from launcher.core.record import Cause
from launcher.core.retrying import HUNG
from launcher.core.standing import summary, to_text, together
from launcher.monitor import WHAT_TO_DO, Monitor, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from launcher.children import Sinks
    from launcher.company import Company
    from launcher.core.plan import Plan, Process
    from launcher.core.standing import Standing
    from launcher.report import Report
    from launcher.supervise import Desk
    from launcher.world import World

    Counted = Callable[[Callable[[Process], Sinks]], Callable[[Process], Sinks]]


@contextmanager
def watched(plan: Plan, world: World, report: Report, desk: Desk, others: Company | None) -> Iterator[Counted]:
    """Watch boot processes for hanging as long as the block goes on; it gives what counts what they print."""
    if world.senses is None:
        yield lambda sinks: sinks
        return
    rules = plan.resilience
    monitor = Monitor(
        rules.hanging,
        world.senses(plan),
        world.clock,
        lambda: desk.state.running,
        suspect=partial(_suspect, plan, report, desk),
        hung=lambda cause: desk.hear(Hung(cause)),
        quiet=(lambda _: True) if others is None else partial(_quiet, others),
        ends=rules.retrying.hang,
    )
    desk.shown = partial(_shown, monitor)
    if others is not None:
        desk.shown = partial(_stood, monitor, others)
        text = f"Nothing has moved on any node of the job for {rules.hanging.periods * rules.hanging.period_s:g} s"
        others.watch(partial(_looks, monitor, plan, report, desk), partial(_gathered, plan, others, text))
    try:
        with watching(monitor):
            yield monitor.counted
    finally:
        desk.shown = bool


def _suspect(plan: Plan, report: Report, desk: Desk, sentence: str) -> None:
    """Say what is seen, and have the stacks shown."""
    report.event(f"[{plan.node.task}] {sentence}", "Warning")
    desk.hear(Suspected())


def _shown(monitor: Monitor, standing: Standing) -> None:
    monitor.shown(summary(standing))


def _quiet(others: Company, quiet: bool) -> bool:  # noqa: FBT001 - a fact by itself
    """Tell the others; whether all are still is for number 0 to know, which asks where this node stands."""
    others.quiet(quiet)
    return False


def _looks(monitor: Monitor, plan: Plan, report: Report, desk: Desk) -> None:
    """Show where this node stands, for no node of the job moves; what moves because of that is no sign of life."""
    monitor.asked()
    _suspect(plan, report, desk, monitor.sentence or "No node of the job moves.")


def _stood(monitor: Monitor, others: Company, standing: Standing) -> None:
    monitor.shown()
    others.stood(to_text(standing))


def _gathered(plan: Plan, others: Company, text: str, texts: Mapping[int, str]) -> None:
    """Say for all nodes where they stand, as number 0, and end it where the job asks for that."""
    said = together(texts, plan.rendezvous.names if plan.rendezvous else ())
    sentence = f"{text}: {said}." if said else f"{text}."
    others.tell(sentence)
    if plan.resilience.retrying.hang:
        others.hung(Cause(code=HUNG, message=sentence, action=WHAT_TO_DO))
