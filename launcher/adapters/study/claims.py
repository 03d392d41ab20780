"""Under the study's lock: who died is found, and what is tried next is made a running trial, once.

Whoever was killed, or lost the database, between any two steps leaves nothing that the next one does not put right.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from launcher.adapters.study.faults import Again, reading
from launcher.adapters.study.quiet import quiet
from launcher.adapters.study.rows import ENDING, LOST, about, template, trial_of
from launcher.core.search.slots import next_slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import optuna

    from launcher.adapters.study.database import Database
    from launcher.core.search import Dimension, Owner, Policy, Trial

# A trial that never gave a sign: its worker died in the moment of making it, or its clock is not ours.
SILENT_GRACES = 10


class Claim:
    """One wish for a trial. It is looked for until it is known whether it was made: its id is its own."""

    def __init__(self, policy: Policy, owner: Owner, lane: str, now: float, since: float = 0.0) -> None:
        self._policy = policy
        self._owner = owner
        self._lane = lane
        self._now = now
        self._since = since
        self._id = secrets.token_hex(4)

    def made(
        self, database: Database, study: int, first: Callable[[], None]
    ) -> tuple[FrozenTrial, list[FrozenTrial]] | None:
        """The running trial, and all that there are; None: nothing to be done. Takes the lock and does `first`."""
        with database.turn.taken() as kept:
            first()
            rows = database.trials(study)
            own = self._single(database, rows)
            if own is None:
                own = self._new(database, study, kept)
            if own is None:
                return None
            database.rows.record_heartbeat(own)
            rows = database.trials(study)
            return next(row for row in rows if row._trial_id == own), rows  # noqa: SLF001 - Optuna has no other name

    def _new(self, database: Database, study: int, kept: Callable[[], bool]) -> int | None:
        """Optuna's number of a new running trial."""
        rows = database.trials(study)
        slot = next_slot(self._policy, trials_of(rows, self._policy.space), self._since)
        if slot is None:
            return None
        self._id = _unused(self._id, rows)
        row = template(self._policy, slot, self._id, self._owner, lane=self._lane, now=self._now)
        before = database.faults
        made = database.storage.create_new_trial(study, row)
        if database.faults != before or not kept():
            # it may be there twice, or another was given the same slot by who held the lock after us
            raise Again("the database was lost in the middle of a claim")
        return made

    def _single(self, database: Database, rows: Iterable[FrozenTrial]) -> int | None:
        """What an earlier try made, the first of it; where another has the slot, or who gave it up, all of it goes."""
        mine = [row for row in rows if self._is_own(row)]
        for row in mine[1:]:
            _supersede(database, row, self._now)
        if not mine:
            return None
        first = mine[0]
        slots = [told.slot if (told := about(row)) else None for row in (first, *rows)]
        others = [row for row, slot in zip(rows, slots[1:], strict=True) if row not in mine and slot == slots[0]]
        if first.state is TrialState.RUNNING and all(row.state is TrialState.FAIL for row in others):
            return first._trial_id  # noqa: SLF001
        _supersede(database, first, self._now)
        self._id = secrets.token_hex(4)
        return None

    def _is_own(self, row: FrozenTrial) -> bool:
        told = about(row)
        return told is not None and (told.id, told.started, told.by) == (self._id, self._now, self._owner)


def give_up_the_dead(
    database: Database,
    study: optuna.Study,
    *,
    me: Owner,
    alive: Callable[[Owner], bool | None],
    now: float,
    grace_s: float,
) -> None:
    """Fail the trials whose worker is known to be dead, or has never been heard of. Under the lock."""
    number = study._study_id  # noqa: SLF001 - Optuna has no public word for it
    silent: set[int] | None = None
    for row in database.trials(number, (TrialState.RUNNING,)):
        told = about(row)
        if told is None or told.by == me:
            continue
        owner = told.by
        if alive(owner) is False:
            _lose(
                database, row, f"its worker {owner.worker} (pid {owner.pid}) is gone without having told how it ended"
            )
        elif now - told.started > grace_s * SILENT_GRACES:
            silent = database.silent(number) if silent is None else silent
            if row._trial_id in silent:  # noqa: SLF001
                _lose(database, row, f"its worker {owner.worker} has never given a sign of life")


def give_up_the_silent(study: optuna.Study) -> None:
    """Fail the trials of which nothing has been heard for too long by the database's clock. Under the lock."""
    with quiet(), reading("what it says of its running trials"):
        fail_stale_trials(study)


def trials_of(rows: Iterable[FrozenTrial], space: tuple[Dimension, ...] | None) -> tuple[Trial, ...]:
    """Those that launchers made. Raises Damaged."""
    return tuple(trial for row in rows if (trial := trial_of(row, space)) is not None)


def _lose(database: Database, row: FrozenTrial, why: str) -> None:
    _fail(database, row, LOST, why)


def _supersede(database: Database, row: FrozenTrial, now: float) -> None:
    _fail(database, row, ENDING, {"state": "FAIL", "verdict": "superseded", "at": now})


def _fail(database: Database, row: FrozenTrial, key: str, value: object) -> None:
    trial_id = row._trial_id  # noqa: SLF001
    try:
        database.storage.set_trial_user_attr(trial_id, key, value)
        database.storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return  # it ended meanwhile, by itself


def _unused(name: str, rows: Iterable[FrozenTrial]) -> str:
    taken = {told.id for row in rows if (told := about(row)) is not None}
    while name in taken:
        name = secrets.token_hex(4)
    return name
