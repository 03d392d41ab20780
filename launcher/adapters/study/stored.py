"""The study of a search in Optuna's storage. Fits `Study`: one thread's, and no method leaves anything half done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import msgspec
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from launcher.adapters.study.claims import Claim, give_up_the_dead, give_up_the_silent, trials_of
from launcher.adapters.study.database import Database, copied, opened
from launcher.adapters.study.distributions import distribution, kept, whole
from launcher.adapters.study.faults import reading
from launcher.adapters.study.joining import existing, joined, viewed
from launcher.adapters.study.rows import ENDING, LOST, PID, STOP, ending_of, finite
from launcher.adapters.study.samplers import draw
from launcher.core.errors import Exit, StudyError
from launcher.core.search import Slot
from launcher.core.search.shown import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from launcher.adapters.study.addresses import Address
    from launcher.adapters.study.faults import Patience
    from launcher.core.search import Ending, Owner, Policy, Scalar, Trial

T = TypeVar("T")


class Stored:
    """A study by its name. The database is opened when it is first asked for something."""

    def __init__(
        self,
        where: Address,
        name: str,
        owner: Owner,
        *,
        alive: Callable[[Owner], bool | None],
        patience: Patience,
        note: Callable[[str], None],
        beat_s: float,
        grace_s: float,
        since: float = 0.0,
    ) -> None:
        self._where = where
        self._name = name
        self._owner = owner
        self._alive = alive
        self._patience = patience
        self._note = note
        self._noted: set[str] = set()
        self._beat_s = beat_s
        self._grace_s = grace_s
        self._since = since
        self._database: Database | None = None
        self._number: int | None = None
        self._policy: Policy | None = None
        self._study: optuna.Study | None = None
        self._mine: set[int] = set()
        self._steps: dict[int, int] = {}

    def join(self, policy: Policy) -> None:
        """Take part in the study, which is begun if it is not there. Raises StudyError for one of another search."""

        def act() -> None:
            database = self._open()
            with database.turn.taken(), reading("what it says of its search"):
                self._number = joined(database.storage, policy, self._name, self._where.shown)
            with reading("what it says of its search"):
                self._study = viewed(database.storage, self._name, policy)

        self._patience.with_(act)
        self._policy = policy

    def claim(self, lane: str) -> Trial | None:
        """Take what is to be tried next, with its values; None: nothing just now."""
        policy, study = self._joined()
        wish = Claim(policy, self._owner, lane, time.time(), self._since)

        def act() -> tuple[FrozenTrial, list[FrozenTrial]] | None:
            database = self._open()
            for trial_id in self._mine:
                database.rows.record_heartbeat(trial_id)
            return wish.made(database, self._at(), lambda: self._give_up(database, study))

        made = self._patience.with_(act)
        if made is None:
            return None
        row, rows = made
        self._mine.add(row._trial_id)  # noqa: SLF001
        return self._with_values(policy, row, rows)

    def started(self, trial: Trial, pid: int) -> None:
        """Note the process of a trial."""
        self._noted_down(trial, PID, pid)

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Note a reward on the way; whether the pruner would end the trial. What is no number, or was told, is left."""
        policy, study = self._joined()
        trial_id = self._id_of(trial)
        if finite(value) is None or step <= self._steps.get(trial_id, -1):
            return False

        def act() -> bool:
            storage = self._open().storage
            with reading("what it says of its steps"):
                try:
                    storage.set_trial_intermediate_value(trial_id, step, value)
                except UpdateFinishedTrialError:
                    return False
                return policy.pruner is not None and study.pruner.prune(study, storage.get_trial(trial_id))

        pruned = self._patience.with_(act)
        self._steps[trial_id] = step
        return pruned

    def finish(self, trial: Trial, ending: Ending) -> bool:
        """Note how it ended; False where somebody had given it up meanwhile, and the ending does not count."""
        trial_id = self._id_of(trial)
        told = ending_of(ending, time.time())
        values = [told["reward"]] if told["state"] != "FAIL" and told["reward"] is not None else None

        def act() -> bool:
            database = self._open()
            with database.turn.taken(), reading(f"trial {trial.number}"):
                row = database.storage.get_trial(trial_id)
                if row.state.is_finished():
                    # by us, and only the answer was lost; or by somebody who took us for dead
                    return row.user_attrs.get(ENDING) == told and LOST not in row.user_attrs
                try:
                    database.storage.set_trial_user_attr(trial_id, ENDING, told)
                    return database.storage.set_trial_state_values(trial_id, TrialState[told["state"]], values)
                except UpdateFinishedTrialError:
                    return False

        counts = self._patience.with_(act)
        self._mine.discard(trial_id)
        self._steps.pop(trial_id, None)
        return counts

    def beat(self, trials: Sequence[Trial]) -> Sequence[str]:
        """Say that these are alive; the ids of those that are to end: a user wants it, or they were given up."""
        if not trials:
            return ()
        ids = {trial.id: self._id_of(trial) for trial in trials}

        def act() -> Sequence[str]:
            database = self._open()
            for trial_id in ids.values():
                database.rows.record_heartbeat(trial_id)
            rows = {row._trial_id: row for row in database.trials(self._at())}  # noqa: SLF001
            return tuple(name for name, trial_id in ids.items() if _is_to_end(rows.get(trial_id)))

        return self._patience.with_(act)

    def stop(self, id: str) -> Trial:  # noqa: A002 - the protocol's word
        """A user's wish that a trial ends; its worker learns of it with its next sign of life."""
        running = {trial.id: trial for trial in self.trials() if trial.state == "RUNNING"}
        if id not in running:
            there = ", ".join(f"{trial.id} ({safe(trial.worker)})" for trial in running.values()) or "none"
            raise StudyError(
                f"no trial {id!r} runs in the study {self._name!r}; running: {there}",
                code="trial-missing",
                action="Name one of the trials that run.",
                exit_code=Exit.MISSING,
            )
        self._noted_down(running[id], STOP, True)
        return running[id]

    def trials(self) -> tuple[Trial, ...]:
        """All of them, in the order in which they were begun."""
        space = self._policy.space if self._policy else None
        return self._patience.with_(lambda: trials_of(self._open().trials(self._at()), space))

    def copy(self, path: str) -> bool:
        """Write a copy of the study that another search can go on from; False where it lies on a server.

        Raises OSError.
        """
        source = self._where.path
        if source is None:
            return False
        self._patience.with_(self._open)
        copied(source, path)  # what is wrong with the copy is not wrong with the study
        return True

    def close(self) -> None:
        """Let go of it."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _give_up(self, database: Database, study: optuna.Study) -> None:
        give_up_the_dead(database, study, me=self._owner, alive=self._alive, now=time.time(), grace_s=self._grace_s)
        if self._patience.calm(self._grace_s):  # whose database was away could not give a sign of life
            give_up_the_silent(study)

    def _open(self) -> Database:
        if self._database is None:
            self._database = opened(self._where, self._name, self._beat_s, self._grace_s)
        return self._database

    def _at(self) -> int:
        """Optuna's number of the study; who only looks has not joined it."""
        if self._number is None:
            storage = self._open().storage
            with reading("what it says of its studies"):
                self._number = existing(storage, self._name, self._where.shown)
        return self._number

    def _joined(self) -> tuple[Policy, optuna.Study]:
        if self._policy is None or self._study is None:
            raise StudyError(
                f"the study {self._name!r} was not joined", code="study-unjoined", action="Call join first."
            )
        return self._policy, self._study

    def _id_of(self, trial: Trial) -> int:
        def act() -> int:
            storage, study = self._open().storage, self._at()
            with reading(f"trial {trial.number}"):
                return storage.get_trial_id_from_study_id_trial_number(study, trial.number)

        return self._patience.with_(act)

    def _noted_down(self, trial: Trial, key: str, value: object) -> None:
        trial_id = self._id_of(trial)

        def act() -> None:
            storage = self._open().storage
            try:
                with reading(f"trial {trial.number}"):
                    storage.set_trial_user_attr(trial_id, key, value)
            except UpdateFinishedTrialError:
                return  # it ended meanwhile, and this matters no more

        self._patience.with_(act)

    def _with_values(self, policy: Policy, row: FrozenTrial, rows: Sequence[FrozenTrial]) -> Trial:
        """The trial with its values: those that it was made with, else drawn now, without the lock."""
        trials = self._patience.with_(lambda: trials_of(rows, policy.space))
        trial = next(trial for trial in trials if trial.number == row.number)
        values: Mapping[str, Scalar] | None = whole(policy.space, trial.values)
        if values is None:
            slot = Slot(index=trial.slot, draw=trial.draw)
            drawn = draw(policy, slot, [other for other in trials if other.id != trial.id], self._once)
            values = whole(policy.space, drawn)  # what is kept is in the bounds, to the last bit
            self._patience.with_(lambda: self._set(policy, row, values or {}))
        return msgspec.structs.replace(trial, values=values)

    def _set(self, policy: Policy, row: FrozenTrial, values: Mapping[str, Scalar]) -> None:
        storage = self._open().storage
        row_id = row._trial_id  # noqa: SLF001
        with reading(f"trial {row.number}"):
            known = storage.get_trial(row_id).params
        places = {each: kept(each, values[each.name]) for each in policy.space if each.name not in known}
        try:
            with reading("what it says of the space"):
                for dimension, place in places.items():
                    storage.set_trial_param(row_id, dimension.name, place, distribution(dimension))
        except UpdateFinishedTrialError:
            return  # given up meanwhile: the next sign of life tells

    def _once(self, sentence: str) -> None:
        key = sentence.partition(",")[0]
        if key not in self._noted:
            self._noted.add(key)
            self._note(sentence)


def _is_to_end(row: FrozenTrial | None) -> bool:
    return row is None or row.state.is_finished() or bool(row.user_attrs.get(STOP))
