"""The sentence: stage, install, supervise, sync, report. One training job, from its plan to its outcome."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from launcher.core import events
from launcher.core.errors import Exit, StageError, SyncError
from launcher.core.lifecycle import Phase
from launcher.core.outcome import sentence
from launcher.install import pip_file, pip_process
from launcher.logs import LogFile, Outlet, plain
from launcher.protocols import Clock, Processes, Store
from launcher.report import Report
from launcher.source import boot_file_warning
from launcher.stage import StageResult, stage
from launcher.supervise import Attended, Desk
from launcher.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.outcome import Outcome
    from launcher.core.plan import Plan
    from launcher.core.record import FailedKey

_log = logging.getLogger(__name__)
EVIDENCE_LINES = 20


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs of the world. `environ` is handed down to children; `secrets` are masked in all that leaves."""

    store: Store
    processes: Processes
    clock: Clock
    environ: Mapping[str, str]
    log: LogFile
    out: Outlet
    err: Outlet
    secrets: tuple[str, ...] = ()


def run(plan: Plan, world: World) -> Outcome:
    """Carry out a plan. Never raises for what can happen to a job; a defect of ours passes through, recorded."""
    report = Report(plan, world.clock, world.secrets)
    desk = Desk(world.processes, world.clock, plan.grace, out=world.out, err=world.err)
    try:
        return _carry_out(plan, world, report, desk)
    except BaseException as defect:
        report.defect(defect)
        raise


def _carry_out(plan: Plan, world: World, report: Report, desk: Desk) -> Outcome:
    """Stage, install, supervise, sync, report. A step that may not begin any more does nothing: the desk knows."""
    staged = _stage(plan, world, report, desk)
    _install(plan, world, report, desk)
    secrets = [each.encode(errors="surrogateescape") for each in world.secrets]
    baseline = staged.baseline if staged else {}
    sync = Sync(plan, world.store, report, world.clock, baseline, secrets=secrets)
    ended = _supervise(plan, world, report, desk, sync)
    told = _tell(world.log, report, desk, ended)
    _publish(plan, report, desk, sync)
    outcome = _with_evidence(desk.outcome(), ended)
    if outcome != told:
        report.finish(outcome)
    return outcome


def _stage(plan: Plan, world: World, report: Report, desk: Desk) -> StageResult | None:
    report.phase("stage")
    for warning in plan.warnings:
        report.event(warning, "Warning")
    staged = desk.during(Phase.STAGE, lambda stopped: stage(plan, world.store, report, stopped))
    for warning in (*staged.warnings, *_boot_file_warnings(plan)) if staged else ():
        report.event(warning, "Warning")
    return staged


def _boot_file_warnings(plan: Plan) -> Sequence[str]:
    """What the staged boot file will refuse, unless the plan knew it already."""
    if plan.code is None or plan.code.boot_file is None:
        return ()
    warning = boot_file_warning(plan.code.boot_file, plan.processes[0].argv[2:])
    return (warning,) if warning and warning not in plan.warnings else ()


def _install(plan: Plan, world: World, report: Report, desk: Desk) -> None:
    file = pip_file(plan) if desk.state.going else None
    if file is None:
        return
    report.phase("install")
    name = file.rpartition("/")[2]
    report.event(events.packages_installing(plan.node.task, name))
    started = world.clock.monotonic()
    done = desk.attend(Phase.INSTALL, pip_process(plan, file), world.environ, world.log)
    if done is not None and done.code == 0:
        report.event(events.packages_installed(plan.node.task, world.clock.monotonic() - started, name))
    elif done is not None:
        desk.fail(
            StageError(
                f"{name} could not be installed (pip ended with {done.code}): {_last_line(done)}",
                code="pip-failed",
                action=f"Correct {name} in the code directory; pip's own words are in the log.",
                exit_code=Exit.NODE,
            )
        )


def _supervise(plan: Plan, world: World, report: Report, desk: Desk, sync: Sync) -> Attended | None:
    """Run the boot file, its outputs uploaded as they come, and put the rest in place when it has ended."""
    if not desk.state.going:
        return None
    report.phase("run")

    def started() -> None:
        report.event(events.job_running())
        report.event(events.training_started(plan.node.task))
        _sync_meanwhile(sync)

    ended = desk.attend(Phase.RUN, plan.processes[0], world.environ, world.log, started=started)
    if ended is None:
        return None  # nothing was written, and what an earlier run put in place stays whole
    report.process(ended.ended)
    report.event(events.training_finished(plan.node.task, ended.code), "Error" if ended.code else "Info")
    report.phase("sync")
    desk.during(Phase.SYNC, lambda stopped: _all_in_place(sync, stopped))
    return ended


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


def _all_in_place(sync: Sync, stopped: Callable[[], bool]) -> None:
    failed = [(entry.channel, each) for entry in sync.finish(stopped) for each in entry.failed]
    if failed:
        raise _not_saved(failed)


def _tell(log: LogFile, report: Report, desk: Desk, ended: Attended | None) -> Outcome:
    """Write down how it went so far: in the events, the log, run.json and the termination message."""
    if log.lost:
        desk.fail(
            SyncError(
                f"{log.lost} bytes of the log could not be written to {log.path}",
                code="log-incomplete",
                action="Give the file system of the log more room; the log at its target lacks them too.",
            )
        )
    outcome = _with_evidence(desk.outcome(), ended)
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
        outcome = _with_evidence(desk.outcome(), ended)
        report.finish(outcome)
    return outcome


def _publish(plan: Plan, report: Report, desk: Desk, sync: Sync) -> None:
    """Send the log and the documents that are final now; what cannot be sent changes how it went."""

    def publish(stopped: Callable[[], bool]) -> None:
        texts = {} if report.unwritten is None else {plan.files.run_json: report.unwritten}
        failed = sync.publish([plan.files.log, plan.files.run_json, plan.files.events], stopped, texts)
        if failed:
            raise _not_saved([("log", each) for each in failed])

    if plan.log_target is not None:
        desk.during(Phase.REPORT, publish)


def _not_saved(failed: Sequence[tuple[str, FailedKey]]) -> SyncError:
    channel, first = failed[0]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return SyncError(
        f"{channel}: {first.key} could not be put in its place: {first.error}{more}",
        code="output-not-saved",
        action="run.json names every such file; what was written is still on the node, unless the job removed it.",
    )


def _with_evidence(outcome: Outcome, ended: Attended | None) -> Outcome:
    """The outcome with the last lines that the boot process wrote to stderr."""
    if ended is None or ended.code == 0 or outcome.cause is None:
        return outcome
    lines = ended.stderr.decode(errors="replace").splitlines()[-EVIDENCE_LINES:]
    cause = msgspec.structs.replace(outcome.cause, evidence=(*outcome.cause.evidence, *lines))
    return msgspec.structs.replace(outcome, cause=cause)


def _last_line(done: Attended) -> str:
    """The last thing that pip said."""
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]
