"""The first words of a training: that it runs, and its outputs on their way as they come. It waits for nothing."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from launcher.core import events

if TYPE_CHECKING:
    from launcher.core.plan import Plan
    from launcher.report import Report
    from launcher.sync import Sync

_log = logging.getLogger(__name__)


def begun(plan: Plan, report: Report, sync: Sync) -> None:
    """Note that the training runs, and upload its outputs as they come."""
    report.trains()
    report.event(events.job_running())
    report.event(events.training_started(plan.node.task))
    _sync_meanwhile(sync)


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
