"""To begin a study or to join one: it is there once, whoever comes first, and belongs to one search.

Trials are not read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import optuna
from optuna.exceptions import DuplicatedStudyError

from launcher.adapters.study.faults import Damaged
from launcher.adapters.study.pruners import pruner
from launcher.adapters.study.quiet import quiet
from launcher.adapters.study.rows import direction
from launcher.adapters.study.sameness import difference, mark
from launcher.core.errors import Exit, StudyError
from launcher.core.search import Policy
from launcher.core.search.shown import safe

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

POLICY = "launcher:policy"
_MOST_SAID = 200


def joined(storage: BaseStorage, policy: Policy, name: str, shown: str) -> int:
    """Optuna's number of the study. The caller holds the lock."""
    try:
        study = storage.create_new_study([direction(policy)], name)
    except DuplicatedStudyError:
        study = storage.get_study_id_from_name(name)
    here, there = mark(policy), storage.get_study_user_attrs(study).get(POLICY)
    if there is None and not storage.get_all_trials(study, deepcopy=False):
        # just begun, here or by one that was killed before it could say what for
        storage.set_study_user_attr(study, POLICY, here)
        there = here
    if there is None:
        raise _other(name, shown, "no launcher made it")
    _check(policy, storage, study, there)
    found = difference(here, there)
    if found:
        raise _other(name, shown, found)
    return study


def _check(policy: Policy, storage: BaseStorage, study: int, there: object) -> None:
    """What it says of its search must be a policy. Raises Damaged."""
    try:
        told = msgspec.convert(there, Policy)
    except msgspec.ValidationError as error:
        raise Damaged(f"its policy is none ({safe(str(error), _MOST_SAID)})") from None
    if told.reward.mode == policy.reward.mode and storage.get_study_directions(study) != [direction(policy)]:
        raise Damaged("its direction is not that of its policy")


def existing(storage: BaseStorage, name: str, shown: str) -> int:
    """Optuna's number of a study that somebody began."""
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        names = sorted(safe(study.study_name) for study in storage.get_all_studies())[:8]
        raise StudyError(
            f"there is no study {name!r} in {shown}; "
            + (f"there are {', '.join(names)}" if names else "there is none"),
            code="study-missing",
            action="Name the study of the search with --study, and its storage with --storage.",
            exit_code=Exit.MISSING,
        ) from None


def viewed(storage: BaseStorage, name: str, policy: Policy) -> optuna.Study:
    """The study as Optuna's own functions want it."""
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner(policy.pruner))
    if study.metric_names is None:
        with quiet():
            study.set_metric_names([policy.reward.name])
    return study


def _other(name: str, shown: str, what: str) -> StudyError:
    return StudyError(
        f"the study {name!r} in {shown} is another search's: {what}",
        code="study-differs",
        action="Give this search a study of its own (--study NAME), or start it with the policy that the study has.",
        exit_code=Exit.INVALID,
    )
