"""The first words of a training: that it runs, its outputs on their way as they come, an eye on what may end it.

It waits for nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from launcher.core import events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.core.plan import Plan
    from launcher.core.record import Cause
    from launcher.preemption import Notices
    from launcher.report import Report
    from launcher.supervise import Desk
    from launcher.sync import Sync
    from launcher.world import World

WATCHED = ("/etc/podinfo/annotations", "/user/restore/reset/config/reset.json")
"""Where a notice may come while a training runs (`core.preemption.WELL_KNOWN`), if it is there at the start."""

_log = logging.getLogger(__name__)


def begun(plan: Plan, report: Report, sync: Sync) -> None:
    """Note that the training runs, and upload its outputs as they come."""
    report.trains()
    report.event(events.job_running())
    report.event(events.training_started(plan.node.task))
    sync_meanwhile(sync)


def sync_meanwhile(sync: Sync) -> None:
    """Upload the outputs as they come, on a thread of its own; one that does so already goes on."""
    if sync.meanwhile:
        return
    sync.meanwhile = True
    try:
        threading.Thread(target=_keep_in_sync, args=(sync,), name="sync", daemon=True).start()
    except RuntimeError:
        _log.warning("the node allows no more threads: outputs are uploaded at the end only")


def _keep_in_sync(sync: Sync) -> None:
    try:
        sync.periodic(lambda: False)
    except Exception:  # noqa: BLE001 - a thread's edge: the final upload makes up for it
        _log.exception("a defect ended the uploads during training; the final upload still puts everything in place")


@contextmanager
def forewarned(plan: Plan, world: World, report: Report, desk: Desk) -> Iterator[None]:
    """Have a desk look for notices at a SIGTERM, and all the while where one can come before it."""
    rules, lookout = plan.resilience.preemption, _Lookout(plan, world, report, desk)
    desk.hurry.foretold, desk.hurry.pass_on = lookout.look, lookout.pass_on
    if rules.passed:
        with suppress(OSError):
            os.unlink(plan.files.notice)  # of an earlier run
    if rules.file is None and not any(map(os.path.exists, WATCHED)):
        yield
        return
    with lookout.notices.watching():
        yield


class _Lookout:
    """The notices, once they are asked for."""

    def __init__(self, plan: Plan, world: World, report: Report, desk: Desk) -> None:
        self._told = plan, world, report, desk

    @cached_property
    def notices(self) -> Notices:
        from launcher.preemption import Notices  # noqa: PLC0415 - most runs end by themselves

        return Notices(*self._told)

    def look(self) -> Cause | None:
        """Look once, and soon."""
        return self.notices.look_soon()

    def pass_on(self, found: Cause, pids: Sequence[int], seconds: float | None) -> None:
        """Tell boot processes."""
        self.notices.pass_on(found, pids, seconds)
