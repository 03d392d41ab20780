from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.spec import Constraint, ParameterType
from launcher.core.values import argument, number, wrong_range, wrong_type, wrong_value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Integer", "0"),
        ("Integer", "-12"),
        ("Integer", "+7"),
        ("Integer", "007"),
        ("Float", "1"),
        ("Float", ".5"),
        ("Float", "1."),
        ("Float", "-1.5E-3"),
        ("Boolean", "TRUE"),
        ("Boolean", "false"),
        ("String", ""),
        ("String", "obs://bucket/key 任何"),
    ],
)
def test_good_values(kind: ParameterType, value: str) -> None:
    assert wrong_type(kind, value) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Integer", "1.0"),
        ("Integer", "1e3"),
        ("Integer", " 1"),
        ("Integer", "٣"),
        ("Integer", "1_000"),
        ("Integer", ""),
        ("Float", "nan"),
        ("Float", "inf"),
        ("Float", "1e400"),
        ("Float", "0x1p3"),
        ("Float", "."),
        ("Float", "1" * 65),
        ("Boolean", "1"),
        ("Boolean", "yes"),
    ],
)
def test_bad_values(kind: ParameterType, value: str) -> None:
    assert wrong_type(kind, value) is not None


@pytest.mark.parametrize(
    ("low", "high", "value", "inside"),
    [
        ("0", "1", "0", True),
        ("0", "1", "1", True),
        ("0", "1", "1.0000001", False),
        ("", "1", "-1e30", True),
        ("0", "", "1e30", True),
        ("", "", "5", True),
        ("0", "1", "-0.1", False),
    ],
)
def test_a_range_is_inclusive_and_may_be_open(low: str, high: str, value: str, inside: bool) -> None:  # noqa: FBT001
    constraint = Constraint(type="Float", valid_type="Range", valid_range=(low, high))
    assert (wrong_value(constraint, value) is None) is inside


def test_a_choice_of_numbers_is_by_value_and_of_texts_by_letter() -> None:
    numbers = Constraint(type="Float", valid_type="Choice", valid_range=("0.1", "1"))
    assert wrong_value(numbers, "0.10") is None
    assert wrong_value(numbers, "2") is not None
    texts = Constraint(type="String", valid_type="Choice", valid_range=("a", "b"))
    assert wrong_value(texts, "b") is None
    assert wrong_value(texts, "B") == ("expected one of a, b, found 'B'", "ModelArts.2765")
    truths = Constraint(type="Boolean", valid_type="Choice", valid_range=("True",))
    assert wrong_value(truths, "true") is None


def test_a_wrong_type_is_told_before_a_range() -> None:
    constraint = Constraint(type="Integer", valid_type="Range", valid_range=("0", "1"))
    assert wrong_value(constraint, "x") == ("expected a whole number, found 'x'", "ModelArts.2768")


def test_a_constraint_without_a_rule_is_right() -> None:
    assert wrong_range(Constraint()) is None
    assert wrong_range(Constraint(type="Float", valid_type="Range", valid_range=("", ""))) is None
    assert wrong_range(Constraint(type="Integer", valid_type="Choice", valid_range=("1", "2"))) is None


def test_a_boolean_is_passed_as_python_writes_it_and_all_else_as_it_is() -> None:
    assert [argument("Boolean", each) for each in ("true", "FALSE", "odd")] == ["True", "False", "odd"]
    assert argument("Float", "1e-3") == "1e-3"


@given(st.integers())
def test_whole_numbers_are_exact(value: int) -> None:
    text = str(value)
    assert len(text) > 64 or number(text) == value
