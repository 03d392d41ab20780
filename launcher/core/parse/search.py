"""The auto search policy: what is searched, by what it is judged, with which algorithm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launcher.core.parse.forms import Form, listing, text, unique_names
from launcher.core.parse.parameters import DUPLICATE, NAME, NAME_MEANING
from launcher.core.parse.records import Field, record
from launcher.core.searchspace import AlgoConfig, AlgoParam, AutoSearch, RewardAttr, SearchParam
from launcher.core.values import BAD_RANGE, number, wrong_type

if TYPE_CHECKING:
    from launcher.core.parse.cursor import At

ALGORITHMS = ("bayes_opt_search", "tpe_search", "anneal_search")


def _number_text() -> Form[str]:
    def rule(value: str) -> str | None:
        wrong = wrong_type("Float", value) if value else None
        return wrong[0] if wrong else None

    return text(rule=rule, code=BAD_RANGE)


def _values() -> Form[tuple[str, ...]]:
    """A list of texts, or one text with commas, as one page of the service has it."""
    many = listing(text(code=BAD_RANGE))

    def read(at: At) -> tuple[str, ...] | None:
        if isinstance(at.value, str):
            return tuple(part.strip() for part in at.value.split(",") if part.strip())
        return many.read(at)

    return Form(read, many.dump, {"anyOf": [many.schema, {"type": "string"}]})


def wrong_regex(value: str) -> str | None:
    """Why a text is no regular expression, or None."""
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        return f"expected a regular expression, found {value!r}: {error}"
    return None


def _points(value: str) -> str | None:
    return None if re.fullmatch(r"([1-9][0-9]{0,8})?", value) else f"expected a whole number, found {value!r}"


def _check_param(at: At, made: SearchParam) -> None:
    low, high = made.lower_bound, made.upper_bound
    if low and high and number(low) > number(high):
        at.key("lower_bound").wrong(f"{low} is above the upper bound {high}", BAD_RANGE)
    if made.param_type == "discrete" and not made.discrete_values:
        at.key("discrete_values").wrong("a discrete parameter needs at least one value", BAD_RANGE)


_REWARD = record(
    RewardAttr,
    Field("name", text()),
    Field("mode", text(one_of=("max", "min"))),
    Field("regex", text(rule=wrong_regex)),
)
_PARAM = record(
    SearchParam,
    Field("name", text(pattern=NAME, meaning=NAME_MEANING), required="ModelArts.2788"),
    Field("param_type", text(one_of=("continuous", "discrete"))),
    Field("lower_bound", _number_text()),
    Field("upper_bound", _number_text()),
    Field("discrete_points_num", text(rule=_points)),
    Field("discrete_values", _values()),
    Field("scale", text(one_of=("linear", "log"))),
    rule=_check_param,
)
_CONFIG = record(
    AlgoConfig,
    Field("name", text(one_of=ALGORITHMS), required="ModelArts.2788"),
    Field(
        "params",
        listing(
            record(
                AlgoParam,
                Field("key", text(), required="ModelArts.2788"),
                Field("value", text()),
                Field("type", text(one_of=("String", "Integer", "Float", "Boolean"))),
            )
        ),
    ),
)

AUTO_SEARCH = record(
    AutoSearch,
    Field("skip_search_params", text()),
    Field("reward_attrs", listing(_REWARD)),
    Field("search_params", listing(_PARAM, rule=unique_names(DUPLICATE, "search parameter"))),
    Field("algo_configs", listing(_CONFIG)),
)
