"""The training of most jobs: the boot processes under the desk, their output on its way, and why they failed."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from launcher.cause import why
from launcher.core import events
from launcher.core.lifecycle import Phase
from launcher.installing import as_it_is
from launcher.opening import begun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from launcher.children import Sinks
    from launcher.company import Company
    from launcher.core.plan import Plan, Process
    from launcher.core.record import Cause
    from launcher.report import Report
    from launcher.stacks import Stacks
    from launcher.supervise import Desk
    from launcher.sync import Sync
    from launcher.watched import Counted
    from launcher.world import World


def supervise(
    plan: Plan, world: World, report: Report, desk: Desk, sync: Sync, *, others: Company | None = None
) -> tuple[bool, Cause | None]:
    """Run the boot processes (`job.Train`), their outputs uploaded as they come.

    Whether there were any, and why they failed.
    """
    if not desk.state.going:
        return False, None
    report.phase("run")
    before = world.meter.memory()
    report.memory(before, None)

    with (
        _streams(plan, world, apart=desk.state.attempt > 1) as sinks,
        _watched(plan, world, report, desk, others) as counted,
    ):
        started = partial(begun, plan, report, sync)
        desk.hurry.hasten = sync.hasten
        ended = desk.attend(Phase.RUN, plan.processes, world.environ, counted(sinks), started=started)
    if not ended:
        return False, None  # nothing was written, and what an earlier run put in place stays whole
    after = world.meter.memory()
    report.memory(before, after)
    for each in ended:
        report.process(each.ended)
    code = desk.state.boot_code or 0
    report.event(events.training_finished(plan.node.task, code), "Error" if code else "Info")
    if plan.serves and desk.state.over:
        return True, None  # however it ended when it was asked to
    return True, why(ended, desk.first_failed, (before, after), plan.language, report.secrets)


@contextmanager
def _streams(plan: Plan, world: World, *, apart: bool) -> Iterator[Callable[[Process], Sinks]]:
    """Where the output of boot processes goes: as it is, or line by line where there are several."""
    if len(plan.processes) == 1:
        try:
            yield lambda _: as_it_is(world)
        finally:
            world.log.end()
        return
    from launcher.streams.ranks import Streams  # noqa: PLC0415 - not for one process

    streams = Streams(plan.logs, world.out, world.err, world.log, apart=apart)
    try:
        yield streams.of
    finally:
        streams.close()


def _watched(
    plan: Plan, world: World, report: Report, desk: Desk, others: Company | None
) -> AbstractContextManager[Counted]:
    """The boot processes under watch for hanging, where the job or its devices ask for that."""
    if not plan.resilience.hanging.watched:
        return nullcontext(lambda sinks: sinks)
    from launcher.watched import watched  # noqa: PLC0415 - where it was asked for

    return watched(plan, world, report, desk, others)


def stacks(plan: Plan, world: World, report: Report, desk: Desk, *, keeps: bool) -> Stacks:
    """What shows where children stand; of boot processes it `keeps` them, and the desk hears of it as well."""
    if not keeps:
        from launcher.stacks import Stacks  # noqa: PLC0415 - when somebody asks

        told = world.processes, world.spy, world.environ, world.err, world.log
        return Stacks(*told, secrets=lambda: report.secrets)
    from launcher.stacks.keeping import kept_stacks  # noqa: PLC0415 - when somebody asks

    return kept_stacks(plan, world, report, lambda: report.secrets, lambda one: desk.shown(one))  # noqa: PLW0108 - as it is then
