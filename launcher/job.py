"""The sentence: stage, install, supervise, sync, report. One training job, from its plan to its outcome."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from launcher.cause import why
from launcher.core import events
from launcher.core.errors import Exit, StageError, SyncError
from launcher.core.lifecycle import Phase
from launcher.core.outcome import UNEXPLAINED, sentence
from launcher.core.redact import is_secret
from launcher.install import pip_file, pip_process
from launcher.report import Report
from launcher.source import boot_file_warnings
from launcher.stage import StageResult, stage
from launcher.streams.lines import plain
from launcher.supervise import Desk
from launcher.sync import Sync, not_saved
from launcher.sync.journal import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from launcher.children import Attended, Sinks
    from launcher.core.outcome import Outcome
    from launcher.core.plan import Plan, Process
    from launcher.core.record import Cause, Moving
    from launcher.protocols import Occupancy
    from launcher.stacks import Stacks
    from launcher.streams.logs import LogFile
    from launcher.streams.screen import Screen
    from launcher.sync.journal import Journal
    from launcher.world import World

_log = logging.getLogger(__name__)


def run(plan: Plan, world: World) -> Outcome:
    """Carry out a plan. Never raises for what can happen to a job; a defect of ours passes through, recorded."""
    report = Report(plan, world.clock, world.secrets, owed=world.owed)
    desk = Desk(
        world.processes,
        world.clock,
        plan.grace,
        stop_after=plan.stop_after,
        stacks=lambda: _stacks(world),
        told=lambda words: report.event(words, "Warning"),
        outlets=(world.out, world.err),
    )
    try:
        return _carry_out(plan, world, report, desk)
    except BaseException as defect:
        report.defect(defect)
        raise


def _carry_out(plan: Plan, world: World, report: Report, desk: Desk) -> Outcome:
    """Stage, install, supervise, sync, report. A step that may not begin any more does nothing: the desk knows."""
    with _sign(plan, world, report, desk) as occupancy:
        staged = _stage(plan, world, report, desk, occupancy)
        _install(plan, world, report, desk)
        secrets = [each.encode(errors="surrogateescape") for each in world.secrets]
        baseline = staged.baseline if staged else {}
        journal = _journal(plan, world) if desk.state.going else None
        sync = Sync(plan, world.store, report, world.clock, baseline, secrets=secrets, journal=journal)
        found = _supervise(plan, world, report, desk, sync)
    _tell(world.log, report, desk, found)
    if plan.log_target is not None:
        _publish(plan, report, desk, sync, found)
    return _conclude(report, desk, found)


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


def _install(plan: Plan, world: World, report: Report, desk: Desk) -> None:
    file = pip_file(plan) if desk.state.going else None
    if file is None:
        return
    report.phase("install")
    name = file.rpartition("/")[2]
    report.event(events.packages_installing(plan.node.task, name))
    started = world.clock.monotonic()

    done = desk.attend(Phase.INSTALL, (pip_process(plan, file),), world.environ, lambda _: _as_it_is(world))
    if done and done[0].code == 0:
        report.event(events.packages_installed(plan.node.task, world.clock.monotonic() - started, name))
    elif done:
        desk.fail(
            StageError(
                f"{name} could not be installed (pip ended with {done[0].code}): {_last_line(done[0])}",
                code="pip-failed",
                action=f"Correct {name} in the code directory; pip's own words are in the log.",
                exit_code=Exit.NODE,
            )
        )


def _journal(plan: Plan, world: World) -> Journal:
    """A journal of this run's own: until it trains, that of an earlier run may still be wanted."""
    hidden = [name for name, value in world.environ.items() if is_secret(name, value)]
    return begin(plan.files.uploads, hidden, world.secrets)


def _supervise(plan: Plan, world: World, report: Report, desk: Desk, sync: Sync) -> Cause | None:
    """Run the boot processes, their outputs uploaded as they come, and put the rest in place; why they failed."""
    if not desk.state.going:
        return None
    report.phase("run")
    before = world.meter.memory()
    report.memory(before, None)

    def started() -> None:
        report.trains()
        report.event(events.job_running())
        report.event(events.training_started(plan.node.task))
        _sync_meanwhile(sync)

    with _streams(plan, world) as sinks:
        ended = desk.attend(Phase.RUN, plan.processes, world.environ, sinks, started=started)
    if not ended:
        return None  # nothing was written, and what an earlier run put in place stays whole
    after = world.meter.memory()
    report.memory(before, after)
    for each in ended:
        report.process(each.ended)
    code = desk.state.boot_code or 0
    report.event(events.training_finished(plan.node.task, code), "Error" if code else "Info")
    report.phase("sync")
    desk.during(Phase.SYNC, lambda stopped: _all_in_place(sync, world.terminal, stopped))
    if not sync.summed_up:
        sync.finish(lambda: True)  # there was no time to begin, or to end: what is not in its place is named
    return why(ended, desk.first_failed, (before, after), plan.language, world.secrets)


def _as_it_is(world: World) -> Sinks:
    """Both streams of a process, each to its own and to the log."""
    return (world.log, world.out), (world.log, world.err)


@contextmanager
def _streams(plan: Plan, world: World) -> Iterator[Callable[[Process], Sinks]]:
    """Where the output of boot processes goes: as it is, or line by line where there are several."""
    if len(plan.processes) == 1:
        try:
            yield lambda _: _as_it_is(world)
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


def _sync_meanwhile(sync: Sync) -> None:
    try:
        threading.Thread(target=_keep_in_sync, args=(sync,), name="sync", daemon=True).start()
    except RuntimeError:
        _log.warning("the node allows no more threads: outputs are uploaded at the end only")


def _keep_in_sync(sync: Sync) -> None:
    try:
        sync.periodic(lambda: False)
    except Exception:  # noqa: BLE001 - a thread's edge: the final upload makes up for it
        _log.exception("a defect ended the uploads during training; the final upload still puts everything in place")


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


def _tell(log: LogFile, report: Report, desk: Desk, found: Cause | None) -> None:
    """Write down how it went so far: in the events, the log, run.json and the termination message."""
    report.log(log.lost, log.dropped)
    if log.lost:
        desk.fail(
            SyncError(
                f"{log.lost} bytes of the log could not be written to {log.path}",
                code="log-incomplete",
                action="Give the file system of the log more room; the log at its target lacks them too.",
            )
        )
    outcome = _explained(desk.outcome(), found)
    report.event(events.job_ended(outcome.phase), "Info" if outcome.exit_code == 0 else "Error")
    if outcome.cause is not None:  # to the log alone: a terminal gets this sentence from the command
        log.line(f"{plain(sentence(outcome.cause))}\n".encode(errors="backslashreplace"))
    report.finish(outcome)
    if report.unwritten is not None:
        desk.fail(
            SyncError(
                "run.json could not be written on the node",
                code="run-json-unwritable",
                action="Give its file system room, and leave its folder in place; at the target it is whole.",
            )
        )
        _conclude(report, desk, found)


def _publish(plan: Plan, report: Report, desk: Desk, sync: Sync, found: Cause | None) -> None:
    """Send what is final now, run.json after all else: what could not be sent is in it, and changes how it went."""
    for paths in ((plan.files.log, plan.files.events), (plan.files.run_json,)):
        desk.during(Phase.REPORT, partial(_sent, plan, report, sync, paths))
        _conclude(report, desk, found)


def _sent(plan: Plan, report: Report, sync: Sync, paths: Sequence[str], stopped: Callable[[], bool]) -> None:
    texts = {} if report.unwritten is None else {plan.files.run_json: report.unwritten}
    failed = sync.publish(paths, stopped, texts)
    if failed:
        raise not_saved([("log", each) for each in failed])


def _conclude(report: Report, desk: Desk, found: Cause | None) -> Outcome:
    """How it went, as far as it is known; told again if that has changed."""
    outcome = _explained(desk.outcome(), found)
    if outcome != report.outcome:
        report.finish(outcome)
    return outcome


def _explained(outcome: Outcome, found: Cause | None) -> Outcome:
    """The outcome with what was found out about the boot processes; why the run was stopped is a cause of its own."""
    if found is None or outcome.cause is None:
        return outcome
    own = outcome.cause
    told = found if own.code in UNEXPLAINED else own
    cause = msgspec.structs.replace(told, evidence=(*own.evidence, *found.evidence), rank=found.rank)
    return msgspec.structs.replace(outcome, cause=cause)


def _last_line(done: Attended) -> str:
    """The last thing that pip said."""
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]
