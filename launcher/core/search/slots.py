"""What a search tries next, how far it is, and when it is over: the slots of its budget, each with its trials.

A slot is done by a finished trial, busy with a running one, else free; the lowest free one is next. Whoever asks holds
the study's lock, so that nobody else is given the same slot meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from launcher.core.frozen import Record
from launcher.core.record import Cause
from launcher.core.search import Slot, Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.search import Policy

MOST_LOST = 3
"""So often the same values are tried when they are lost; they may be what kills their workers."""
WITHOUT_REWARD = 3
"""So many trials in a row that print no reward end the search: the expression or the boot file is wrong."""
_BY_ITSELF = ("boot", "no-reward")
_SHOWN = 400


class Standing(Record, frozen=True, kw_only=True):
    """How far a search is.

    `finished` are the slots that are done and `running` the trials that run. `failed` trials did so by the boot file,
    and those values that were lost MOST_LOST times are one more; `lost` are all that were lost, each tried again.
    `best` is the best of all finished trials. `over`: nothing is started any more; `failure`: because it does not work.
    """

    finished: int
    running: int
    failed: int
    lost: int
    best: Trial | None = None
    over: bool = False
    failure: Cause | None = None


def next_slot(policy: Policy, trials: Sequence[Trial], since: float = 0.0) -> Slot | None:
    """The slot to be tried next; None: every slot is done or busy, or the search has failed (`standing`)."""
    by_slot = _by_slot(trials)
    free = next((index for index in range(policy.num_samples) if _is_free(by_slot.get(index, ()))), None)
    if free is None or standing(policy, trials, since).failure is not None:
        return None
    return _again(policy, free, by_slot.get(free, ()))


def standing(policy: Policy, trials: Sequence[Trial], since: float = 0.0) -> Standing:
    """How far a search with these trials is.

    Whether it works is judged by what ended after `since`, the start of the worker who asks, in seconds since 1970: who
    has mended the boot file and starts again goes on.
    """
    by_slot = _by_slot(trials)
    done = sum(any(trial.finished for trial in by_slot.get(index, ())) for index in range(policy.num_samples))
    lost = [trial for trial in trials if _is_lost(trial)]
    times = Counter((trial.slot, trial.draw) for trial in lost)
    exhausted = {drawn for drawn, count in times.items() if count >= MOST_LOST}
    # of each such the last one stands for all
    worn = {(trial.slot, trial.draw): trial for trial in lost if (trial.slot, trial.draw) in exhausted}
    failed = [*(trial for trial in trials if trial.verdict in _BY_ITSELF), *worn.values()]
    whole = done == policy.num_samples
    failure = (
        None
        if whole
        else _failure(policy, *([each for each in some if _late(each, since)] for some in (trials, failed)))
    )
    return Standing(
        finished=done,
        running=sum(trial.state == "RUNNING" for trial in trials),
        failed=len(failed),
        lost=len(lost),
        best=_best(policy, trials),
        over=whole or failure is not None,
        failure=failure,
    )


def _by_slot(trials: Sequence[Trial]) -> Mapping[int, list[Trial]]:
    """The trials of each slot, as they were begun; those that were told twice are none of it."""
    found: dict[int, list[Trial]] = {}
    for trial in sorted(trials, key=lambda each: each.number):
        if trial.verdict != "superseded":
            found.setdefault(trial.slot, []).append(trial)
    return found


def _is_free(trials: Sequence[Trial]) -> bool:
    return all(trial.state == "FAIL" for trial in trials)


def _is_lost(trial: Trial) -> bool:
    """Whether it failed through no fault of its own; the storage itself marks a stale one and gives no verdict."""
    return trial.state == "FAIL" and trial.verdict in (None, "lost")


def _again(policy: Policy, index: int, trials: Sequence[Trial]) -> Slot:
    """A free slot's next trial: the values that were lost again, else new ones."""
    if not trials:
        return Slot(index=index, draw=0)
    last = trials[-1]
    times = sum(_is_lost(trial) and trial.draw == last.draw for trial in trials)
    if not _is_lost(last) or times >= MOST_LOST:
        return Slot(index=index, draw=last.draw + 1)
    # A worker may have been lost before it had drawn every value: the same draw gives the same values.
    whole = {dimension.name for dimension in policy.space} == set(last.values)
    return Slot(index=index, draw=last.draw, values=last.values if whole else None)


def _best(policy: Policy, trials: Sequence[Trial]) -> Trial | None:
    """The best finished trial, of several the first; NaN is no reward."""
    sign = 1 if policy.reward.mode == "max" else -1
    judged = [
        (sign * trial.reward, -trial.number, trial)
        for trial in trials
        if trial.finished and trial.reward is not None and trial.reward == trial.reward
    ]
    return max(judged, key=lambda each: each[:2])[2] if judged else None


def _ended(trials: Sequence[Trial]) -> list[Trial]:
    """Those that came to an end by themselves, in the order of their ends."""
    own = [trial for trial in trials if trial.finished or trial.verdict in _BY_ITSELF]
    return sorted(own, key=lambda trial: (trial.ended or 0.0, trial.number))


def _late(trial: Trial, since: float) -> bool:
    return (trial.ended or 0.0) >= since


def _failure(policy: Policy, trials: Sequence[Trial], failed: Sequence[Trial]) -> Cause | None:
    """Why the search does not work, or None."""
    last = _ended(trials)[-WITHOUT_REWARD:]
    if len(last) == WITHOUT_REWARD and all(trial.verdict == "no-reward" for trial in last):
        return _no_reward(policy, last)
    if len(failed) > policy.most_failed:
        return _too_many(policy, len(failed), max(failed, key=lambda each: each.number))
    return None


def _no_reward(policy: Policy, last: Sequence[Trial]) -> Cause:
    reward = policy.reward
    return Cause(
        code="search-no-reward",
        message=(f"{len(last)} trials in a row gave no reward; the last, {last[-1].id}: {_why(last[-1])}"),
        action=(
            f"Let the boot file print {reward.name} so that the expression finds it, and start again; with another"
            " reward_attrs[0].regex it is another study (--study NAME)."
        ),
        evidence=tuple(f"{trial.id}: {_why(trial)}" for trial in last),
    )


def _too_many(policy: Policy, count: int, last: Trial) -> Cause:
    return Cause(
        code="search-too-many-failed",
        message=(
            f"{count} of the trials failed, and more than {policy.most_failed} end the search; the last, {last.id}:"
            f" {_why(last)}"
        ),
        action=(
            f"Look at the log of trial {last.id}, correct the boot file and start again: the search goes on, and counts"
            " anew. --max-failed N allows more of them."
        ),
        evidence=(f"{last.id}: {_why(last)}",),
    )


def _why(trial: Trial) -> str:
    return (trial.why or "it was lost with its worker")[:_SHOWN]
