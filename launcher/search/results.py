"""What a search leaves for people and programs: its trials, the best of them, the report; each file always whole.

The outputs' sync puts the folder in place. What cannot be written is said once, and stops nothing.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from launcher import disk
from launcher.core.keys import PART
from launcher.core.parse.job import job_document
from launcher.core.redact import mask, to_json
from launcher.core.search.documents import (
    best_document,
    parameter_analysis,
    trial_document,
    trials_csv,
    trials_document,
)
from launcher.core.search.trialjob import best_job, without
from launcher.report import write_whole
from launcher.search.laying import texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.search import Trial
    from launcher.core.search.slots import Standing
    from launcher.protocols import Clock, Study
    from launcher.search.quest import Quest

SHARE = 0.05
"""The most of the time that the costly documents may take, while trials run."""
STUDY = "study.db"

_log = logging.getLogger(__name__)


class Results:
    """The documents of a search. `secrets` are masked in all of them."""

    def __init__(self, quest: Quest, study: Study, clock: Clock, secrets: Sequence[str]) -> None:
        self._quest = quest
        self._study = study
        self._clock = clock
        self._secrets = secrets
        self._told: set[str] = set()
        self._failed: set[str] = set()
        self._seen: object = None
        self._costly_after = 0.0
        self.missing: tuple[str, ...] = ()
        """What best-job.json may not say, as options for who runs it."""

    def write(self, trials: tuple[Trial, ...], standing: Standing, *, last: bool = False) -> None:
        """Write what has changed; the costly documents less often, and in any case at the `last` time."""
        seen = [(each.number, each.state, len(each.steps)) for each in trials]
        if seen == self._seen and not last:
            return
        self._seen = seen
        policy, moment = self._quest.policy, time.time()
        self._put("trials.json", self._json(trials_document(policy, trials, moment)))
        self._put("trials.csv", self._text(trials_csv(policy, trials, moment)))
        new = [each for each in trials if each.state != "RUNNING" and each.id not in self._told]
        if new or last:
            self._ended(new, standing, moment)
        now = self._clock.monotonic()
        if last or now >= self._costly_after:
            self._costly(trials)
            self._costly_after = self._clock.monotonic() + (self._clock.monotonic() - now) / SHARE

    def _ended(self, new: Sequence[Trial], standing: Standing, moment: float) -> None:
        """Write what the end of a trial changes, and nothing else does."""
        policy = self._quest.policy
        for each in new:
            self._told.add(each.id)
            if each.verdict != "superseded":
                self._put(f"{each.id}.json", self._json(trial_document(policy, each, moment)))
        if standing.best is not None:
            values = texts(policy, standing.best)
            self._put("best.json", self._json(best_document(policy, standing.best, values)))
            job, self.missing = without(best_job(self._quest.whole, values), self._hidden)
            self._put("best-job.json", self._json(job_document(job)))
        self._copy()

    def _costly(self, trials: tuple[Trial, ...]) -> None:
        if self._quest.draw is None or not any(each.finished for each in trials):
            return
        try:
            drawn = self._quest.draw(self._quest.policy, trials, self._quest.name)
        except Exception as error:  # noqa: BLE001 - other people's charts are not worth a search
            if "report.html" not in self._failed:
                self._failed.add("report.html")
                _log.warning("report.html cannot be drawn: %s: %s", type(error).__name__, error)
            return
        self._put("report.html", self._text(drawn.report.decode()))
        self._put("parameter-analysis.json", self._json(parameter_analysis(drawn.importances)))

    def _copy(self) -> None:
        """Keep what another search can go on from, on a node that has nothing of this one."""
        part = f"{self._quest.results}/{PART}{STUDY}"  # by its name the sync leaves it alone
        try:
            if self._study.copy(part):
                os.replace(part, f"{self._quest.results}/{STUDY}")
        except OSError as error:
            self._cannot(STUDY, error)

    def _json(self, document: dict[str, Any]) -> bytes:
        return to_json(document, self._secrets)

    def _hidden(self, value: str) -> bool:
        return mask(value, self._secrets) != value

    def _text(self, text: str) -> bytes:
        return mask(text, self._secrets).encode(errors="backslashreplace")

    def _put(self, name: str, content: bytes) -> None:
        try:
            write_whole(f"{self._quest.results}/{name}", content)
        except OSError as error:
            self._cannot(name, error)

    def _cannot(self, name: str, error: OSError) -> None:
        if name not in self._failed:
            self._failed.add(name)
            _log.warning("%s/%s cannot be written: %s", self._quest.results, name, disk.reason(error))
