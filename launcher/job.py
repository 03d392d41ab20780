"""The sentence: check, stage, install, meet, supervise, sync, report. One job, from its plan to its outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from launcher.cause import why
from launcher.closing import conclude, publish, tell
from launcher.core import events
from launcher.core.errors import LauncherError
from launcher.core.lifecycle import Phase
from launcher.core.redact import is_secret
from launcher.installing import as_it_is, install
from launcher.opening import begun
from launcher.papers import lay_down
from launcher.report import Report
from launcher.source import boot_file_warnings
from launcher.stage import StageResult, stage
from launcher.supervise import Desk
from launcher.sync import Sync, not_saved
from launcher.sync.journal import begin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from launcher.children import Sinks
    from launcher.company import Company
    from launcher.core.outcome import Outcome
    from launcher.core.plan import Plan, Process
    from launcher.core.record import Cause, Moving
    from launcher.protocols import Occupancy
    from launcher.stacks import Stacks
    from launcher.streams.screen import Screen
    from launcher.sync.journal import Journal
    from launcher.world import World

Train = Callable[["Plan", "World", Report, Desk, Sync], tuple[bool, "Cause | None"]]
"""What is done with what is staged: whether anything was trained, and why it failed."""


def run(plan: Plan, world: World, train: Train | None = None, seat: type[Desk] = Desk) -> Outcome:
    """Carry out a plan. Never raises for what can happen to a job; a defect of ours passes through, recorded.

    `train` stands for the boot processes of the plan where something else is to be done with what is staged, at a desk
    that `seat` makes.
    """
    report = Report(plan, world.clock, world.secrets, owed=world.owed)
    desk = seat(
        world.processes,
        world.clock,
        plan.grace,
        stop_after=plan.stop_after,
        serves=plan.serves,
        stacks=lambda: _stacks(world),
        told=lambda words: report.event(words, "Warning"),
        outlets=(world.out, world.err),
    )
    try:
        return _carry_out(plan, world, report, desk, train or _supervise)
    except BaseException as defect:
        report.defect(defect)
        raise


def _carry_out(plan: Plan, world: World, report: Report, desk: Desk, train: Train) -> Outcome:
    """Check, stage, install, meet, supervise, sync, report. A step that may not begin any more does nothing."""
    with _sign(plan, world, report, desk) as occupancy, _company(plan, world, report, desk) as others:
        _check(plan, world, report, desk)
        staged = _stage(plan, world, report, desk, occupancy)
        added = install(plan, world, report, desk)
        _meet(plan, report, desk, others)
        secrets = [each.encode(errors="surrogateescape") for each in report.secrets]
        baseline = staged.baseline if staged else {}
        journal = _journal(plan, world, report) if desk.state.going else None
        sync = Sync(plan, world.store, report, world.clock, baseline, secrets=secrets, journal=journal)
        began, found = train(_with(plan, added), world, report, desk, sync)
        if others is not None:
            others.explain(found)
        if began:
            _sync(world, report, desk, sync)
        if others is not None:
            others.outlast()
    tell(world.log, report, desk, found)
    if plan.log_target is not None:
        publish(plan, report, desk, sync, found)
    return report.shown(conclude(report, desk, found))


def _company(plan: Plan, world: World, report: Report, desk: Desk) -> AbstractContextManager[Company | None]:
    """The other nodes of the job, in touch from here on until the training is over; None where there are none."""
    if plan.rendezvous is None:
        return nullcontext()
    from launcher.company import company  # noqa: PLC0415 - not for one node

    return company(plan.rendezvous, plan, world, report, desk)


@contextmanager
def _sign(plan: Plan, world: World, report: Report, desk: Desk) -> Iterator[Occupancy | None]:
    """The sign that others see in the outputs is taken away in the end, whatever that is."""
    occupancy = world.occupancy(plan, report)
    try:
        yield occupancy
    except BaseException:
        if occupancy is not None:
            end = world.clock.monotonic() + plan.grace
            occupancy.end(lambda: world.clock.monotonic() > end)
        raise
    if occupancy is not None:
        desk.during(Phase.REPORT, occupancy.end)


def _check(plan: Plan, world: World, report: Report, desk: Desk) -> None:
    """Refuse a node that does not meet the job, before anything is brought to it."""
    surroundings = world.surroundings
    if surroundings is None or not (plan.precheck or plan.unmet):
        return
    from launcher.precheck import check  # noqa: PLC0415 - where it was asked for

    report.phase("check")
    desk.during(
        Phase.CHECK,
        lambda stopped: check(
            plan,
            world.store,
            surroundings=surroundings(),
            record=report,
            clock=world.clock,
            stopped=stopped,
            interpreter=world.interpreter,
        ),
    )


def _stage(plan: Plan, world: World, report: Report, desk: Desk, occupancy: Occupancy | None) -> StageResult | None:
    report.phase("stage")
    for warning in plan.warnings:
        report.event(warning, "Warning")

    def work(stopped: Callable[[], bool]) -> StageResult:
        if occupancy is not None:
            occupancy.take(stopped)
            occupancy.keep()
        return stage(
            plan, world.store, report, stopped, cache=world.cache, shown=partial(_shown, "staging", world.terminal)
        )

    staged = desk.during(Phase.STAGE, work)
    for warning in (*staged.warnings, *boot_file_warnings(plan)) if staged else ():
        report.event(warning, "Warning")
    return staged


def _meet(plan: Plan, report: Report, desk: Desk, others: Company | None) -> None:
    """Start together with all other nodes, and with what they have for this one."""
    if not desk.state.going or (others is None and not plan.documents):
        return
    try:
        if others is not None:
            report.phase("ready")
            keys = _keys(plan)
            offers = others.ready(keys.offer(plan) if keys else "")
            if keys and desk.state.going:
                keys.admit(plan, offers)
        if desk.state.going:
            lay_down(plan)
    except LauncherError as error:
        desk.fail(error)


def _keys(plan: Plan) -> ModuleType | None:
    if plan.ssh is None:
        return None
    from launcher import ssh  # noqa: PLC0415 - MPI's alone

    return ssh


def _with(plan: Plan, added: Mapping[str, str]) -> Plan:
    """The plan as the boot processes are started: with what the script before them set."""
    if not added:
        return plan
    processes = tuple(msgspec.structs.replace(each, env={**each.env, **added}) for each in plan.processes)
    return msgspec.structs.replace(plan, processes=processes)


def _journal(plan: Plan, world: World, report: Report) -> Journal:
    """A journal of this run's own: until it trains, that of an earlier run may still be wanted."""
    hidden = [name for name, value in world.environ.items() if is_secret(name, value)]
    return begin(plan.files.uploads, hidden, report.secrets)


def _supervise(plan: Plan, world: World, report: Report, desk: Desk, sync: Sync) -> tuple[bool, Cause | None]:
    """Run the boot processes, their outputs uploaded as they come; whether there were any, and why they failed."""
    if not desk.state.going:
        return False, None
    report.phase("run")
    before = world.meter.memory()
    report.memory(before, None)

    with _streams(plan, world) as sinks:
        started = partial(begun, plan, report, sync)
        ended = desk.attend(Phase.RUN, plan.processes, world.environ, sinks, started=started)
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


def _sync(world: World, report: Report, desk: Desk, sync: Sync) -> None:
    """Put in its place what is not there yet."""
    report.phase("sync")
    desk.during(Phase.SYNC, lambda stopped: _all_in_place(sync, world.terminal, stopped))
    if not sync.summed_up:
        sync.finish(lambda: True)  # there was no time to begin, or to end: what is not in its place is named


@contextmanager
def _streams(plan: Plan, world: World) -> Iterator[Callable[[Process], Sinks]]:
    """Where the output of boot processes goes: as it is, or line by line where there are several."""
    if len(plan.processes) == 1:
        try:
            yield lambda _: as_it_is(world)
        finally:
            world.log.end()
        return
    from launcher.streams.ranks import Streams  # noqa: PLC0415 - not for one process

    streams = Streams(plan.logs, world.out, world.err, world.log)
    try:
        yield streams.of
    finally:
        streams.close()


def _stacks(world: World) -> Stacks:
    from launcher.stacks import Stacks  # noqa: PLC0415 - when somebody asks

    return Stacks(world.processes, world.spy, world.environ, world.err, world.log)


def _all_in_place(sync: Sync, terminal: Screen | None, stopped: Callable[[], bool]) -> None:
    with _shown("syncing", terminal, sync.moving):
        entries = sync.finish(stopped)
    failed = [(entry.channel, each) for entry in entries for each in entry.failed]
    if failed:
        raise not_saved(failed)


def _shown(step: str, terminal: Screen | None, moving: Callable[[], Sequence[Moving]]) -> AbstractContextManager[None]:
    """How far a step is, shown while it goes on."""
    from launcher.progress import shown  # noqa: PLC0415 - for steps that move something

    return shown(step, moving, terminal=terminal)
