"""Trials as Optuna keeps them and as the core knows them, one made of the other.

What Optuna has no word for stands in a trial's user attributes. Nothing here reads or writes a storage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from launcher.adapters.study.distributions import distribution, fitted, odd
from launcher.adapters.study.faults import Damaged, reading
from launcher.adapters.study.quiet import quiet
from launcher.core.frozen import Record
from launcher.core.search import Ending, Owner, Scalar, Trial, Verdict
from launcher.core.search.shown import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.core.search import Dimension, Policy, Slot

# the user attributes of a trial: what it is for and who runs it, its process, how it ended, that it was given up, that
# somebody wants it stopped
ABOUT, PID, ENDING, LOST, STOP = (f"launcher:{name}" for name in ("trial", "pid", "ending", "lost", "stop"))
MOST_OWNER = 255  # characters of each text of an owner
MOST_METRICS = 1000
MOST_TEXT = 4096  # bytes of a text that a boot file had a hand in

_KEYS = {"about": ABOUT, "pid": PID, "ending": ENDING, "lost": LOST, "stop": STOP}
_MOST_SAID = 200

Text = Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]
Name = Annotated[str, msgspec.Meta(max_length=MOST_OWNER)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**6)]
Pid = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Time = Annotated[float, msgspec.Meta(ge=0, le=253_000_000_000)]  # the year 9987: a later one is no date in Python
Values = dict[Text, Text | int | float]
State = Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL"]

_STATES = {state.name: state for state in (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}


class _Owner(Record, frozen=True, kw_only=True):
    worker: Name
    boot: Name
    pid: Pid
    start: int


class About(Record, frozen=True, kw_only=True):
    """What a trial is for and who runs it, as it is kept."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$", max_length=8)]
    slot: Count
    draw: Count
    started: Time
    owner: _Owner

    @property
    def by(self) -> Owner:
        """Who runs it, in the core's word."""
        return Owner(**msgspec.structs.asdict(self.owner))


class _Ended(Record, frozen=True, kw_only=True):
    verdict: Verdict | None = None
    why: Text | None = None
    metrics: Annotated[Mapping[Text, Text], msgspec.Meta(max_length=MOST_METRICS)] = {}
    unread: Annotated[int, msgspec.Meta(ge=0)] = 0
    at: Time | None = None


class _Told(Record, frozen=True, kw_only=True, rename=lambda name: _KEYS[name]):
    about: About
    pid: Pid | None = None
    ending: _Ended | None = None
    lost: Text | None = None
    stop: bool = False


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
        metrics={bounded(name): bounded(text) for name, text in islice(ending.metrics.items(), MOST_METRICS)},
    )
    return {**cast("dict[str, Any]", msgspec.to_builtins(kept)), "at": now}


def about(row: FrozenTrial) -> About | None:
    """What a trial is for and who runs it; None for one that no launcher made. Raises Damaged."""
    return None if ABOUT not in row.user_attrs else _told(row).about


def trial_of(row: FrozenTrial, space: tuple[Dimension, ...] | None) -> Trial | None:
    """A trial of the storage in the core's words; None for one that no launcher made.

    Raises Damaged: what is in a storage may be anybody's, and becomes the name of files and the argument of programs.
    `space` is the policy's, where that is known.
    """
    if ABOUT not in row.user_attrs:
        return None
    with reading(_name(row)):
        told = _told(row)
        return _trial(row, told, told.about, space)


def _trial(row: FrozenTrial, told: _Told, made: About, space: tuple[Dimension, ...] | None) -> Trial:
    state = cast("State", row.state.name if row.state.name in _STATES else "FAIL")
    ended = told.ending or _Ended()
    return Trial(
        number=_number(row),
        id=made.id,
        slot=made.slot,
        draw=made.draw,
        values=_values(row, space),
        state=state,
        # given up by others, or failed without a word (so does the storage): it was lost
        verdict=("lost" if told.lost else ended.verdict or "lost") if state == "FAIL" else None,
        why=(told.lost if state == "FAIL" else None) or ended.why,
        reward=_reward(row),
        steps=tuple(_real(row, "a step", value) for _, value in sorted(row.intermediate_values.items())),
        metrics=ended.metrics,
        unread=ended.unread,
        started=made.started,
        ended=_ended(row, told),
        worker=made.owner.worker,
        pid=told.pid,
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


def _told(row: FrozenTrial) -> _Told:
    try:
        return msgspec.convert(row.user_attrs, _Told)
    except msgspec.ValidationError as error:
        raise _odd(row, safe(str(error).replace("`$.", "`"), _MOST_SAID)) from None


def _values(row: FrozenTrial, space: tuple[Dimension, ...] | None) -> dict[str, Scalar]:
    """The values; those of a known space, and all of them where the trial was run to its end."""
    try:
        values = msgspec.convert(row.params, Values)
    except msgspec.ValidationError as error:
        raise _odd(row, f"its values are none: {safe(str(error), _MOST_SAID)}") from None
    if space is not None:
        known = {dimension.name: dimension for dimension in space}
        for name, value in values.items():
            wrong = odd(known[name], value) if name in known else "is not of the search"
            if wrong:
                raise _odd(row, f"its {safe(name)} {safe(repr(value))} {wrong}")
        missing = [name for name in known if name not in values]
        if missing and row.state in (TrialState.COMPLETE, TrialState.PRUNED):
            raise _odd(row, f"it is finished and has no {missing[0]}")
    return values


def _reward(row: FrozenTrial) -> float | None:
    values = row.values if row.state.is_finished() else None
    if not values:
        if row.state is TrialState.COMPLETE:
            raise _odd(row, "it is complete and has no reward")
        return None
    return _real(row, "its reward", values[0])


def _real(row: FrozenTrial, what: str, value: object) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise _odd(row, f"{what} is {safe(repr(value))}, no number")
    return value


def _number(row: FrozenTrial) -> int:
    if type(row.number) is not int or row.number < 0:
        raise _odd(row, "its number is none")
    return row.number


def _ended(row: FrozenTrial, told: _Told) -> float | None:
    if not row.state.is_finished():
        return None
    if told.ending is not None and told.ending.at is not None and not told.lost:
        return told.ending.at
    return row.datetime_complete.timestamp() if row.datetime_complete else None


def _odd(row: FrozenTrial, what: str) -> Damaged:
    return Damaged(f"{_name(row)}: {what}")


def _name(row: FrozenTrial) -> str:
    return f"trial {safe(str(row.number))}"


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
