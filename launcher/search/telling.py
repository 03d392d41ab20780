"""What people are told of a search as it goes: a line for each trial, a table on a terminal, a block at the end."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from launcher.core.search.shown import event_line, final_block, table
from launcher.search.laying import texts
from launcher.search.shelf import SHOWN

if TYPE_CHECKING:
    from launcher.core.search import Trial
    from launcher.core.search.slots import Standing
    from launcher.report import Report
    from launcher.search.quest import Quest
    from launcher.search.results import Results
    from launcher.search.shelf import Shelf
    from launcher.world import World

PERIOD_S = 0.5
"""Between two looks of the table."""


class Teller:
    """Tells, and has the results written. `shown` is the main thread's, all else the keeper's."""

    def __init__(
        self, quest: Quest, report: Report, results: Results, world: World, *, shelf: Shelf, root: str
    ) -> None:
        self._quest = quest
        self._report = report
        self._results = results
        self._world = world
        self._shelf = shelf
        self._root = root
        self._screen = world.terminal
        self._seen: tuple[tuple[Trial, ...], Standing] | None = None
        self._over = False

    def looked(self, trials: tuple[Trial, ...], standing: Standing) -> None:
        """Take a new look at the study."""
        self._seen = trials, standing
        self._results.write(trials, standing)

    def ended(self, trial: Trial, standing: Standing) -> None:
        """Tell how a trial of this worker ended."""
        line = event_line(self._quest.policy, trial, standing)
        self._report.event(line, "Warning" if trial.why else "Info")
        changed = self._shelf.changed()
        if changed:
            names = ", ".join(changed[:SHOWN])
            self._report.event(
                f"the code, which all trials share, was changed while trial {trial.id} ran: {names}", "Warning"
            )

    def summed_up(self, trials: tuple[Trial, ...], standing: Standing, *, stopping: bool) -> None:
        """Write everything for the last time, and say what was found."""
        self._results.write(trials, standing, last=not stopping)
        if stopping or standing.best is None:
            return
        values = texts(self._quest.policy, standing.best)
        arguments = shlex.join(f"--{name}={value}" for name, value in values.items())
        best = f"{self._quest.results}/best-job.json"
        root = () if self._root == "/" else ("--root", self._root)
        again = shlex.join(("launcher", "run", best, *self._quest.store, *root, *self._results.missing))
        block = final_block(self._quest.policy, trials, arguments, again)
        text = "".join(f"{line}\n" for line in (*block, f"results     {self._quest.results}"))
        self._over = True
        if self._screen is not None:
            self._screen.clear()
        for sink in (self._world.log, self._world.out):
            sink.write(text.encode(errors="backslashreplace"))

    def shown(self, now: float) -> float | None:
        """Draw the table; when to do so again."""
        screen, seen = self._screen, self._seen
        if screen is None or screen.gone or seen is None or self._over:
            return None
        columns, rows = screen.size()
        drawn = table(self._quest.policy, *seen, now=time.time(), size=(columns, rows), ascii_only=screen.ascii)
        screen.draw(drawn, lambda: self._over)
        return now + PERIOD_S

    def close(self) -> None:
        """Take the table away."""
        self._over = True
        if self._screen is not None:
            self._screen.clear()
