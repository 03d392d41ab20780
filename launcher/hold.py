"""A run that stops before the boot file: everything is staged and met, and somebody else takes the boot file's place.

It lays down how to enter, waits until it is told to end, and has the outputs put in place as after a training.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from signal import SIGHUP, SIGTERM
from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.enter import HELD, enter_path, scripts
from launcher.core.errors import LauncherError
from launcher.core.layout import Layout
from launcher.core.lifecycle import Event, Phase, Signalled
from launcher.opening import sync_meanwhile
from launcher.papers import write
from launcher.supervise import Desk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.plan import Plan
    from launcher.core.record import Cause
    from launcher.report import Report
    from launcher.sync import Sync
    from launcher.world import World

_log = logging.getLogger(__name__)


class Bench(Desk):
    """A desk at which one waits without a child."""

    def take(self) -> bool:
        """Begin to hold; False where the run is to end. From here on, to be told to end is no interruption."""
        self._enter(Phase.RUN)
        if not self._may_begin(Phase.RUN):
            return False
        self._state = replace(self._state, boot_code=0)
        return True

    def sit(self) -> None:
        """Wait until somebody asks the run to end."""
        while self._state.end_by is None and self._state.peer is None:
            self._attend_until(None)

    def _decide(self, event: Event, now: float) -> None:
        """Take a terminal that is gone for a request to end: there is no boot process that SIGHUP could go to."""
        hung_up = isinstance(event, Signalled) and event.number == SIGHUP
        super()._decide(Signalled(SIGTERM) if hung_up else event, now)


def hold(
    plan: Plan, _world: World, report: Report, desk: Desk, sync: Sync, *, unset: Sequence[str] = ()
) -> tuple[bool, Cause | None]:
    """Hold (`job.Train`, at a desk that is a `Bench`): whether there was anything to put in place afterwards.

    `unset` are the variables that no boot process gets.
    """
    if not (isinstance(desk, Bench) and desk.state.going):
        return False, None
    report.phase("hold")
    laid = scripts(plan, Layout(root=plan.root).mount, unset, report.secrets)
    try:
        for each in laid:
            write(plan.root, each, 0o700)
        return _held(plan, report, desk, sync), None
    except LauncherError as error:
        desk.fail(error)
        return False, None
    finally:
        for each in laid:
            with suppress(OSError):
                os.unlink(each.path)


def _held(plan: Plan, report: Report, desk: Bench, sync: Sync) -> bool:
    if not desk.take():
        return False
    report.trains()
    sync_meanwhile(sync)
    desk.hurry.hasten = sync.hasten
    enter, host = enter_path(Layout(root=plan.root).mount), plan.node.host
    # With -q as well: a run that waits in silence would be taken for one that hangs.
    _log.warning(
        "%s: enter by `sh %s` (docker exec -it %s sh %s; kubectl exec -it POD -- sh %s), end by SIGTERM or Ctrl-C",
        *(HELD, enter, host, enter, enter),
    )
    desk.sit()
    return True
