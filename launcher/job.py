"""The sentence: check, stage, install, meet, supervise, sync, report. One job, from its plan to its outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from launcher.closing import conclude, publish, tell
from launcher.core.errors import LauncherError
from launcher.core.lifecycle import Phase
from launcher.core.redact import is_secret
from launcher.installing import install
from launcher.opening import forewarned
from launcher.papers import lay_down
from launcher.report import Report
from launcher.reproduce import recording
from launcher.source import boot_file_warnings
from launcher.stage import StageResult, stage
from launcher.supervise import Desk
from launcher.sync import Sync, not_saved
from launcher.sync.journal import begin
from launcher.training import stacks, supervise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from launcher.attempts import Attempts
    from launcher.company import Company
    from launcher.core.outcome import Outcome
    from launcher.core.plan import Plan
    from launcher.core.record import Cause, Moving
    from launcher.protocols import Occupancy
    from launcher.reproduce import Recording
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
        stacks=lambda: stacks(plan, world, report, desk, keeps=train is None),
        told=lambda words: report.event(words, "Warning"),
        outlets=(world.out, world.err),
    )
    try:
        with forewarned(plan, world, report, desk):
            return _carry_out(plan, world, report, desk, train)
    except BaseException as defect:
        report.defect(defect)
        raise


def _carry_out(plan: Plan, world: World, report: Report, desk: Desk, train: Train | None) -> Outcome:
    """Check, stage, install, meet, supervise, sync, report. A step that may not begin any more does nothing."""
    with _sign(plan, world, report, desk) as occupancy, _company(plan, world, report, desk) as others:
        attempts = _attempts(plan, world, report, desk, others) if train is None else None
        trip = _Trip(plan, world, report, desk, train or partial(supervise, others=others))
        sync, found = trip.attempt(occupancy, others, attempts)
        while attempts is not None and attempts.again(found):
            sync, found = trip.attempt(occupancy, others, attempts)
        if trip.trained:
            _sync(world, report, desk, sync)
        if others is not None:
            others.outlast()
    if trip.recording is not None:
        trip.recording.settle()
    tell(world.log, report, desk, found)
    if plan.log_target is not None:
        publish(plan, report, desk, sync, found)
    return report.shown(conclude(report, desk, found))


class _Trip:
    """A run on its way, and what lasts from one attempt to the next: nothing is brought or installed twice."""

    def __init__(self, plan: Plan, world: World, report: Report, desk: Desk, train: Train) -> None:
        self._job = plan, world, report, desk
        self._train = train
        self._staged: StageResult | None = None
        self._added: Mapping[str, str] | None = None
        self._sync: Sync | None = None
        self.recording: Recording | None = None

    @property
    def trained(self) -> bool:
        """Whether there may be outputs to put in their place."""
        return self._sync is not None

    def attempt(
        self, occupancy: Occupancy | None, others: Company | None, attempts: Attempts | None
    ) -> tuple[Sync, Cause | None]:
        """Check, stage, install, meet, supervise; what puts outputs in their place, and why the training failed."""
        plan, world, report, desk = self._job
        _check(plan if attempts is None else attempts.plan, world, report, desk)
        self._staged = self._staged or _stage(plan, world, report, desk, occupancy)
        if self._added is None:
            added = install(plan, world, report, desk)
            self._added = added if desk.state.going else None
        _meet(plan, report, desk, others)
        sync = self._sync or _outputs(plan, world, report, desk, self._staged)
        if attempts is not None:
            attempts.begin()
        self.recording = self.recording or recording(plan, world, report, desk, self._staged)
        began, found = self._train(_with(plan, self._added or {}), world, report, desk, sync)
        self._sync = sync if began else self._sync
        if others is not None:
            others.explain(found)
        return sync, found


def _outputs(plan: Plan, world: World, report: Report, desk: Desk, staged: StageResult | None) -> Sync:
    """What puts outputs and logs in their place."""
    secrets = [each.encode(errors="surrogateescape") for each in report.secrets]
    baseline = staged.baseline if staged else {}
    journal = _journal(plan, world, report) if desk.state.going else None
    return Sync(plan, world.store, report, world.clock, baseline, secrets=secrets, journal=journal)


def _attempts(plan: Plan, world: World, report: Report, desk: Desk, others: Company | None) -> Attempts | None:
    """The attempts at the training, where there may be more than one."""
    if not plan.resilience.retrying.any:
        return None
    from launcher.attempts import Attempts  # noqa: PLC0415 - where it was asked for

    return Attempts(plan, world, report, desk, others)


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


def _sync(world: World, report: Report, desk: Desk, sync: Sync) -> None:
    """Put in its place what is not there yet."""
    report.phase("sync")
    desk.during(Phase.SYNC, lambda stopped: _all_in_place(sync, world.terminal, stopped))
    if not sync.summed_up:
        sync.finish(lambda: True)  # there was no time to begin, or to end: what is not in its place is named


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
