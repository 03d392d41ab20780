"""The last words of a run: how it went, in the events, the log, run.json and the termination message, and sent away.

It waits for nothing and changes nothing but what is told: what could not be told or sent is part of how it went.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from launcher.core import events
from launcher.core.errors import SyncError
from launcher.core.lifecycle import Phase
from launcher.core.outcome import UNEXPLAINED, sentence
from launcher.streams.lines import plain
from launcher.sync import not_saved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from launcher.core.outcome import Outcome
    from launcher.core.plan import Plan
    from launcher.core.record import Cause
    from launcher.report import Report
    from launcher.streams.logs import LogFile
    from launcher.supervise import Desk
    from launcher.sync import Sync


def tell(log: LogFile, report: Report, desk: Desk, found: Cause | None) -> None:
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
    outcome = explained(desk.outcome(), found)
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
        conclude(report, desk, found)


def publish(plan: Plan, report: Report, desk: Desk, sync: Sync, found: Cause | None) -> None:
    """Send what is final now, run.json after all else: what could not be sent is in it, and changes how it went."""
    for paths in ((plan.files.log, plan.files.events), (plan.files.run_json,)):
        desk.during(Phase.REPORT, partial(_sent, plan, report, sync, paths))
        conclude(report, desk, found)


def conclude(report: Report, desk: Desk, found: Cause | None) -> Outcome:
    """How it went, as far as it is known; told again if that has changed."""
    outcome = explained(desk.outcome(), found)
    if outcome != report.outcome:
        report.finish(outcome)
    return outcome


def _sent(plan: Plan, report: Report, sync: Sync, paths: Sequence[str], stopped: Callable[[], bool]) -> None:
    texts = {} if report.unwritten is None else {plan.files.run_json: report.unwritten}
    failed = sync.publish(paths, stopped, texts)
    if failed:
        raise not_saved([("log", each) for each in failed])


def explained(outcome: Outcome, found: Cause | None) -> Outcome:
    """The outcome with what was found out about the boot processes; why the run was stopped is a cause of its own."""
    if found is None or outcome.cause is None:
        return outcome
    own = outcome.cause
    told = found if own.code in UNEXPLAINED else own
    # a rank of this node is not to blame for what came from another
    rank = None if own.code.startswith("peer") else found.rank
    cause = msgspec.structs.replace(told, evidence=(*own.evidence, *found.evidence), rank=rank)
    return msgspec.structs.replace(outcome, cause=cause)
