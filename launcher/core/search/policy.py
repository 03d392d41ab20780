"""A job's auto search as a policy: what is searched, by what it is judged, how and how long; or every reason why not.

It tries nothing, and decides nothing that depends on the machine.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from launcher.core.enginename import engine_name
from launcher.core.errors import Problem, SpecError
from launcher.core.frozen import Record
from launcher.core.parse.cursor import At, Log
from launcher.core.parse.parameters import DUPLICATE
from launcher.core.parse.search import wrong_regex
from launcher.core.search import Bayes, Metric, Policy, Pruner
from launcher.core.search.algorithm import Chosen, chosen
from launcher.core.search.space import dimension, point, size, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.core.search import Dimension
    from launcher.core.searchspace import AutoSearch, RewardAttr
    from launcher.core.spec import Engine, Hyperparameter, JobAlgorithm

__all__ = ["PATH", "Decided", "engine_warning", "point", "policy", "policy_of", "values_of"]

PATH = "algorithm.policies.auto_search"
SAFE_FAILED = 3
"""Fewer failed trials than that never end a search, unless asked."""
DECADES = 1000
"""Over such a range a linear scale leaves its small values untried."""
ENGINES = (
    ("pytorch", "1.8.0"),
    ("tensorflow", "2.1.0"),
    ("pytorch", "1.4.0"),
    ("tensorflow", "1.13.1"),
)
"""The preset engines with auto search, of both pages of the service's documentation that name any."""
_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
_NO = frozenset(("", "0", "false", "no", "none", "off"))


class Decided(Record, frozen=True, kw_only=True):
    """The policy, and what is strange about it."""

    policy: Policy
    warnings: tuple[Problem, ...] = ()


def policy_of(
    algorithm: JobAlgorithm,
    *,
    take: Literal["last", "best"] = "last",
    pruner: Pruner | None = None,
    most_failed: int | None = None,
) -> Decided | None:
    """The policy of a whole job's algorithm, its engine and its channels looked at too; None: it searches nothing."""
    search = algorithm.policies.auto_search if algorithm.policies else None
    if search is None:
        return None
    channels = {each.name for each in (*algorithm.inputs, *algorithm.outputs)}
    log = Log()
    for index, param in enumerate(search.search_params):
        if param.name in channels:
            message = f"{param.name!r} is also the name of an input or an output; rename one of them"
            At(None, f"{PATH}.search_params[{index}].name", log).wrong(message, DUPLICATE)
    warning = engine_warning(algorithm.engine)
    if warning:
        At(None, "algorithm.engine", log).warn(warning)
    return _decided(search, algorithm.parameters, log, Wishes(take=take, pruner=pruner, most_failed=most_failed))


def policy(
    search: AutoSearch,
    parameters: Sequence[Hyperparameter],
    *,
    take: Literal["last", "best"] = "last",
    pruner: Pruner | None = None,
    most_failed: int | None = None,
) -> Decided:
    """The policy of a search over these hyperparameters. Raises SpecError with every problem."""
    return _decided(search, parameters, Log(), Wishes(take=take, pruner=pruner, most_failed=most_failed))


class Wishes(Record, frozen=True, kw_only=True):
    """What the command line wants of a search."""

    take: Literal["last", "best"]
    pruner: Pruner | None
    most_failed: int | None


def _decided(search: AutoSearch, parameters: Sequence[Hyperparameter], log: Log, wishes: Wishes) -> Decided:
    space = _space(search, parameters, log)
    metrics = _metrics(search.reward_attrs, log)
    how = chosen(search.algo_configs, log)
    if log.problems or how is None:
        raise SpecError(log.problems)
    _check_fit(search, space, how, log)
    most = max(SAFE_FAILED, how.num_samples // 2) if wishes.most_failed is None else wishes.most_failed
    made = Policy(
        space=tuple(space.values()),
        reward=metrics[0],
        others=tuple(metrics[1:]),
        algorithm=how.algorithm,
        num_samples=how.num_samples,
        seed=how.seed,
        take=wishes.take,
        pruner=wishes.pruner,
        most_failed=most,
    )
    return Decided(policy=made, warnings=tuple(log.warnings))


def _space(search: AutoSearch, parameters: Sequence[Hyperparameter], log: Log) -> dict[int, Dimension]:
    """The dimensions, by the place of each among the search parameters."""
    at = At(None, f"{PATH}.search_params", log)
    if not search.search_params:
        at.wrong("is empty; name a hyperparameter to search, with lower_bound and upper_bound or its discrete_values")
        return {}
    varied = {each.name: each for each in parameters}
    skipped = _skipped(search, varied, log)
    space: dict[int, Dimension] = {}
    left = [(index, each) for index, each in enumerate(search.search_params) if each.name not in skipped]
    for index, each in left:
        made = dimension(each, varied.get(each.name), f"{PATH}.search_params[{index}]", log)
        if made is not None:
            space[index] = made
    if not left:
        At(None, f"{PATH}.skip_search_params", log).wrong("skips every search parameter, so that nothing is searched")
    return space


def _skipped(search: AutoSearch, varied: Iterable[str], log: Log) -> set[str]:
    """The names to skip; the service does not say what stands between two of them."""
    names = {name for name in re.split(r"[,;\s]+", search.skip_search_params or "") if name}
    known = {*varied, *(each.name for each in search.search_params)}
    for name in sorted(names - known):
        import difflib  # noqa: PLC0415 - only an unknown name pays for it

        near = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        At(None, f"{PATH}.skip_search_params", log).warn(f"nothing is called {name!r}{hint}")
    return names


def _metrics(attrs: Sequence[RewardAttr], log: Log) -> list[Metric]:
    """The metrics, the reward first."""
    if not attrs:
        At(None, f"{PATH}.reward_attrs", log).wrong(
            "is missing; say what a trial is judged by, for example"
            f" name accuracy, mode max, regex {_example('accuracy')}"
        )
    metrics: list[Metric] = []
    for index, each in enumerate(attrs):
        at = At(None, f"{PATH}.reward_attrs[{index}]", log)
        made = _metric(each, at)
        if made is not None and made.name in [metric.name for metric in metrics]:
            at.key("name").wrong(f"the metric {made.name!r} stands already above; rename one of them", DUPLICATE)
        metrics += [] if made is None else [made]
    return metrics


def _metric(attr: RewardAttr, at: At) -> Metric | None:
    if not attr.name:
        at.key("name").wrong("is missing; name what the boot file prints, for example accuracy")
    if not attr.mode:
        at.key("mode").wrong("is missing; write max where more of it is better, else min")
    if not attr.regex:
        example = _example(attr.name or "accuracy")
        at.key("regex").wrong(f"is missing; write how the boot file prints it, for example {example}")
    wrong = wrong_regex(attr.regex) if attr.regex else None
    if wrong:
        at.key("regex").wrong(wrong)
    if not (attr.name and attr.mode and attr.regex) or wrong:
        return None
    if re.search(attr.regex, ""):
        at.key("regex").warn("matches nothing at all too, and so any line; say what stands before the number")
    return Metric(name=attr.name, mode=attr.mode, regex=attr.regex)


def _example(name: str) -> str:
    return f"{re.escape(name)}={_NUMBER}"


def _check_fit(search: AutoSearch, space: dict[int, Dimension], how: Chosen, log: Log) -> None:
    """Say where the algorithm and the space do not go well together."""
    for index, each in space.items():
        linear = each.kind != "choice" and not each.log and each.points is None
        if isinstance(how.algorithm, Bayes) and linear and 0 < each.low * DECADES <= each.high:
            At(None, f"{PATH}.search_params[{index}]", log).warn(
                f"{search.search_params[index].lower_bound} to {search.search_params[index].upper_bound} spans several"
                " powers of ten, of which bayes_opt_search sees the largest alone; write scale: log"
            )
    total = size(tuple(space.values()))
    if total is not None and how.num_samples > total:
        At(None, f"{PATH}.search_params", log).warn(
            f"there are {total} different values in all for {how.num_samples} trials, so that some are tried again;"
            f" lower num_samples to {total}"
        )


def engine_warning(engine: Engine | None) -> str | None:
    """Why the service may refuse to search with this engine, or None; nothing here depends on it."""
    if engine is None or engine.image_url:
        return None
    tags = [each for each in engine.tags if each.key == "auto_search"]
    if tags:
        refused = (tags[0].value or "").strip().lower() in _NO
        return "its tag auto_search says that the service does not search with it; here it does" if refused else None
    written = engine.engine_version or engine.engine_name
    if not written:
        return None
    told = engine_name(engine.engine_version)
    told = told if told.framework else engine_name(engine.engine_name)
    version = told.version or engine.engine_version
    if any(told.framework == name and version in (None, number) for name, number in ENGINES):
        return None
    return f"{written} is not among the engines that the service searches with, and it may refuse the job; here it runs"
