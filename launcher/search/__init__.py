"""The search in the sentence of a job: many trials of the boot file where a run has one.

Code and inputs are staged and installed once, before; the results are put in place like any output, after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import Exit, LauncherError
from launcher.core.lifecycle import Phase
from launcher.opening import begun
from launcher.pool import no_threads
from launcher.search.host import Host
from launcher.search.results import Results
from launcher.search.shelf import Shelf
from launcher.search.telling import Teller
from launcher.search.trials import Trials

if TYPE_CHECKING:
    from launcher.core.plan import Plan
    from launcher.core.record import Cause
    from launcher.report import Report
    from launcher.search.quest import Quest
    from launcher.supervise import Desk
    from launcher.sync import Sync
    from launcher.world import World


def search(
    plan: Plan, world: World, report: Report, desk: Desk, sync: Sync, *, quest: Quest
) -> tuple[bool, Cause | None]:
    """Search (`job.Train`, at a desk that is a `Host`): whether there is anything to put in place, and nothing else."""
    if not (isinstance(desk, Host) and desk.state.going):
        return False, None
    report.phase("search")
    # Whoever asks the search to end waits neither for its study now nor, later, for what is to be told to it.
    study = desk.during(Phase.READY, lambda _stopped: quest.study(lambda: not desk.state.going))
    if study is None:
        return False, None
    results = Results(quest, study, world.clock, report.secrets)
    shelf = Shelf(plan)
    teller = Teller(quest, report, results, world, shelf=shelf, root=plan.root)
    trials = Trials(quest, study, teller, world.clock, world.processes.wake)
    try:
        trials.start()
    except RuntimeError:
        study.close()
        desk.fail(no_threads("begin the search"))
        return False, None
    begun(plan, report, sync)
    desk.hurry.hasten = sync.hasten
    try:
        shelf.close()
        desk.host(trials, world.environ)
    finally:
        shelf.reopen()
    trials.close()
    teller.close()
    # who stopped it is told by the state
    desk.came_out(trials.error or (None if desk.state.stopped else _failure(trials)))
    return True, None


def _failure(trials: Trials) -> LauncherError | None:
    """Why the search is no success."""
    standing = trials.standing
    cause = standing.failure if standing else None
    if cause is not None:
        return LauncherError(cause.message, code=cause.code, action=cause.action, exit_code=1)
    if standing is not None and standing.over and standing.best is None:
        return LauncherError(
            "no trial of the search has a reward",
            code="search-no-reward",
            action="Look into the trials' logs, and at the expression of the reward.",
            exit_code=1,
        )
    if standing is None or not standing.over:
        return LauncherError(
            "the search did not come to its end",
            code="search-unfinished",
            action="Start the same command again: it goes on with what is finished.",
            exit_code=Exit.DEFECT,
        )
    return None
