"""Hyperparameters: names, descriptions in two languages, constraints, values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.parse.forms import flag, listing, one_or_many, text, unique_names
from launcher.core.parse.records import Field, record
from launcher.core.spec import Constraint, Hyperparameter, I18nDescription
from launcher.core.values import BAD_RANGE, wrong_range, wrong_value

if TYPE_CHECKING:
    from launcher.core.parse.cursor import At

NAME = r"[A-Za-z0-9_-]{1,64}"
NAME_MEANING = "1 to 64 letters, digits, '-' and '_'"
DUPLICATE = "ModelArts.2767"
DESCRIPTION = r"[A-Za-z0-9\u3400-\u4dbf\u4e00-\u9fff \-_,.\u3000\uff0c\u3002\u3001\uff0d\uff3f\uff0e]*"
"""The union of the rules of the English and the Chinese page, the Chinese forms of comma and full stop included."""


def _check_constraint(at: At, made: Constraint) -> None:
    wrong = wrong_range(made)
    if wrong:
        at.key("valid_range").wrong(*wrong)


def _check_parameter(at: At, made: Hyperparameter) -> None:
    constraint = made.constraint
    if constraint is None or not isinstance(made.value, str) or made.value == "" or wrong_range(constraint):
        return
    wrong = wrong_value(constraint, made.value)
    if wrong:
        at.key("value").wrong(*wrong)


_I18N = record(I18nDescription, Field("language", text()), Field("description", text()))

CONSTRAINT = record(
    Constraint,
    Field("type", text(one_of=("String", "Integer", "Float", "Boolean"))),
    Field("editable", flag()),
    Field("required", flag()),
    Field("sensitive", flag()),
    Field("valid_type", text(one_of=("None", "Choice", "Range"))),
    Field("valid_range", listing(text(code=BAD_RANGE))),
    rule=_check_constraint,
)

PARAMETER = record(
    Hyperparameter,
    Field("name", text(pattern=NAME, meaning=NAME_MEANING), required="ModelArts.2788"),
    Field("value", text(), keep_null=True),
    Field(
        "description",
        text(pattern=DESCRIPTION, meaning="letters, digits, Chinese characters, spaces, '-', '_', ',' and '.'"),
    ),
    Field("constraint", CONSTRAINT),
    Field("i18n_description", one_or_many(_I18N)),
    rule=_check_parameter,
)

PARAMETERS = listing(PARAMETER, rule=unique_names(DUPLICATE, "hyperparameter"))
