"""Trials as Optuna keeps them and as the core knows them, one made of the other.

What Optuna has no word for stands in a trial's user attributes. Nothing here reads or writes a storage.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from launcher.adapters.study.distributions import distribution, fitted
from launcher.adapters.study.quiet import quiet
from launcher.core.search import Ending, Owner, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from launcher.core.search import Policy, Scalar, Slot, Verdict

# the user attributes of a trial: what it is for and who runs it, its process, how it ended, that it was given up, that
# somebody wants it stopped
ABOUT, PID, ENDING, LOST, STOP = (f"launcher:{name}" for name in ("trial", "pid", "ending", "lost", "stop"))
MOST_TEXT = 4096  # bytes of a text that a boot file had a hand in

_STATES = {state.name: state for state in (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}


def finite(reward: float | None) -> float | None:
    """A reward that a sampler can learn from."""
    return reward if reward is not None and math.isfinite(reward) else None


def bounded(text: str) -> str:
    """No more of a text than is worth keeping in a database, its end first: there an error says what it is."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MOST_TEXT else "…" + data[3 - MOST_TEXT :].decode("utf-8", "ignore")


def direction(policy: Policy) -> StudyDirection:
    """Optuna's word for what is better."""
    return StudyDirection.MAXIMIZE if policy.reward.mode == "max" else StudyDirection.MINIMIZE


def template(policy: Policy, slot: Slot, name: str, owner: Owner, *, lane: str, now: float) -> FrozenTrial:
    """A running trial that is to be created in one step: whose it is and what it is for."""
    about = {"id": name, "slot": slot.index, "draw": slot.draw, "started": now, "lane": lane}
    about["owner"] = msgspec.to_builtins(owner)
    return _frozen(policy, TrialState.RUNNING, slot.values or {}, started=now, user_attrs={ABOUT: about})


def ending_of(ending: Ending, now: float) -> dict[str, Any]:
    """How a trial ended, as it is kept. Without a reward that is a number none is complete, whoever says so."""
    reward = finite(ending.reward)
    if ending.state == "COMPLETE" and reward is None:
        why = f"its reward, {ending.reward}, is no number that a search can learn from"
        ending = msgspec.structs.replace(ending, state="FAIL", verdict="no-reward", why=ending.why or why)
    kept = msgspec.structs.replace(
        ending,
        why=None if ending.why is None else bounded(ending.why),
        reward=reward,
        metrics={name: bounded(text) for name, text in ending.metrics.items()},
    )
    return {**cast("dict[str, Any]", msgspec.to_builtins(kept)), "at": now}


def owner_of(row: FrozenTrial) -> Owner | None:
    """Who runs a trial; None where it is not told: no launcher made it."""
    try:
        return msgspec.convert(row.user_attrs[ABOUT]["owner"], Owner)
    except (KeyError, TypeError, msgspec.ValidationError):
        return None


def trial_of(row: FrozenTrial) -> Trial | None:
    """A trial of the storage in the core's words; None for one that no launcher made."""
    about, ended = row.user_attrs.get(ABOUT), row.user_attrs.get(ENDING) or {}
    if not isinstance(about, dict):
        return None
    state = row.state.name if row.state.name in _STATES else "FAIL"
    values = row.values if row.state.is_finished() else None
    return Trial(
        number=row.number,
        id=about["id"],
        slot=about["slot"],
        draw=about["draw"],
        values=cast("Mapping[str, Scalar]", dict(row.params)),
        state=cast("Any", state),
        verdict=_verdict(row) if state == "FAIL" else None,
        why=row.user_attrs.get(LOST) or ended.get("why"),
        reward=values[0] if values else None,
        steps=tuple(value for _, value in sorted(row.intermediate_values.items())),
        metrics=ended.get("metrics", {}),
        unread=ended.get("unread", 0),
        started=about["started"],
        ended=_ended(row),
        worker=about["owner"]["worker"],
        pid=row.user_attrs.get(PID),
    )


def as_study(policy: Policy, trials: Iterable[Trial]) -> optuna.Study:
    """All trials as a study of Optuna in memory, by their numbers: what charts and importances are made of."""
    study = in_memory(policy)
    study.add_trials([_row(policy, trial) for trial in sorted(trials, key=lambda trial: trial.number)])
    return study


def in_memory(policy: Policy) -> optuna.Study:
    """A study without trials that no storage knows of."""
    with quiet():
        study = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            direction=direction(policy),
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        study.set_metric_names([policy.reward.name])
    return study


def _verdict(row: FrozenTrial) -> Verdict:
    """Why a trial failed. Given up by others, or failed without a word (so does the storage): it was lost."""
    if row.user_attrs.get(LOST):
        return "lost"
    return cast("Verdict", (row.user_attrs.get(ENDING) or {}).get("verdict") or "lost")


def _ended(row: FrozenTrial) -> float | None:
    if not row.state.is_finished():
        return None
    told = (row.user_attrs.get(ENDING) or {}).get("at")
    if told is not None and not row.user_attrs.get(LOST):
        return float(told)
    return row.datetime_complete.timestamp() if row.datetime_complete else None


def _row(policy: Policy, trial: Trial) -> FrozenTrial:
    reward = finite(trial.reward)
    state = _STATES[trial.state]
    if state is TrialState.COMPLETE and reward is None:
        state = TrialState.FAIL
    return _frozen(
        policy,
        state,
        trial.values,
        started=trial.started or 0.0,
        ended=trial.ended,
        reward=reward if trial.finished else None,
        steps=trial.steps,
        user_attrs={ABOUT: {"id": trial.id, "slot": trial.slot, "draw": trial.draw, "worker": trial.worker}},
    )


def _frozen(
    policy: Policy,
    state: TrialState,
    values: Mapping[str, Scalar],
    *,
    started: float,
    ended: float | None = None,
    reward: float | None = None,
    steps: Iterable[float] = (),
    user_attrs: dict[str, Any] | None = None,
) -> FrozenTrial:
    known = [dimension for dimension in policy.space if dimension.name in values]
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=reward,
        datetime_start=datetime.fromtimestamp(started),  # noqa: DTZ006 - Optuna's times have no zone
        datetime_complete=datetime.fromtimestamp(ended or started) if state.is_finished() else None,  # noqa: DTZ006
        params={dimension.name: fitted(dimension, values[dimension.name]) for dimension in known},
        distributions={dimension.name: distribution(dimension) for dimension in known},
        user_attrs=user_attrs or {},
        system_attrs={},
        intermediate_values=dict(enumerate(steps)),
    )
