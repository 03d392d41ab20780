"""What an auto search varies and what it is judged by, as the user wrote it; numbers are text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from launcher.core.frozen import Record

if TYPE_CHECKING:
    from launcher.core.spec import Job, JobAlgorithm


class RewardAttr(Record, frozen=True, kw_only=True):
    """A search metric: its name, whether more is better, and how to find it in the log."""

    name: str | None = None
    mode: Literal["max", "min"] | None = None
    regex: str | None = None


class SearchParam(Record, frozen=True, kw_only=True):
    """A hyperparameter that a search may change; bounds are numbers as text. `scale` is not the service's, but ours."""

    name: str
    param_type: Literal["continuous", "discrete"] | None = None
    lower_bound: str | None = None
    upper_bound: str | None = None
    discrete_points_num: str | None = None
    discrete_values: tuple[str, ...] = ()
    scale: Literal["linear", "log"] | None = None


class AlgoParam(Record, frozen=True, kw_only=True):
    """One setting of a search algorithm."""

    key: str
    value: str | None = None
    type: str | None = None


class AlgoConfig(Record, frozen=True, kw_only=True):
    """A search algorithm and its settings."""

    name: str
    params: tuple[AlgoParam, ...] = ()


class AutoSearch(Record, frozen=True, kw_only=True):
    """The auto search policy."""

    skip_search_params: str | None = None
    reward_attrs: tuple[RewardAttr, ...] = ()
    search_params: tuple[SearchParam, ...] = ()
    algo_configs: tuple[AlgoConfig, ...] = ()


def searched_algorithm(job: Job) -> JobAlgorithm | None:
    """The algorithm of a job that is searched; None where it says nothing of a search."""
    search = job.algorithm.policies.auto_search if job.algorithm and job.algorithm.policies else None
    return job.algorithm if search is not None and search != AutoSearch() else None
