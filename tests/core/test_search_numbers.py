from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.search.numbers import LONGEST, reading


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.9694", 0.9694),
        ("1e-05", 1e-05),
        ("-.5", -0.5),
        ("+5.", 5.0),
        ("  7\t", 7.0),
        ("1,234.5", 1234.5),
        ("1,234,567", 1234567.0),
        ("12%", 12.0),
        ("12.5 %", 12.5),
        ("tensor(0.0754, device='cuda:0', requires_grad=True)", 0.0754),
        ("tensor(0.5, grad_fn=<MeanBackward0>)", 0.5),
        ("tensor([0.5])", 0.5),
        ("tensor([[0.5]], dtype=torch.float64)", 0.5),
        ("np.float64(0.5)", 0.5),
        ("<tf.Tensor: shape=(), dtype=float32, numpy=0.5>", 0.5),
        ("[0.5]", 0.5),
        ("(0.5,)", 0.5),
        ("0.5,", 0.5),
        ("0.5.", 0.5),
        ("'0.5'", 0.5),
        ('"0.5",', 0.5),
        ("tensor(0.5", 0.5),
    ],
)
def test_a_number_is_read_in_the_forms_that_scripts_print(text: str, value: float) -> None:
    made = reading(text)
    assert (made.value, made.why) == (value, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nan", "nan, which cannot be compared"),
        ("-Infinity", "-infinity, which cannot be compared"),
        ("tensor(nan, device='cuda:0')", "nan, which cannot be compared"),
        ("1e999", "too large for a number"),
        ("", "empty"),
        (" \t", "empty"),
        ("abc", "no number"),
        ("tensor(abc)", "no number"),
        ("nano", "no number"),
        ("1_000", "no number"),
        ("0x10", "no number"),
        ("5s", "no number"),
        ("5 seconds", "no number"),
        ("--5", "no number"),
        ("٣", "no number"),
        ("0,5", "more than one number"),
        ("0,123", "more than one number"),
        ("1.2.3", "more than one number"),
        ("[0.5, 0.6]", "more than one number"),
        ("[0.5 0.6]", "more than one number"),
        ("[1,234]", "more than one number"),
        ("9" * (LONGEST + 1), "longer than the 256 characters of any number"),
    ],
)
def test_what_is_no_number_says_why(text: str, why: str) -> None:
    made = reading(text)
    assert (made.value, made.why) == (None, why)


@given(st.text(max_size=300) | st.from_regex(r"(tensor\(|\[)*[-+0-9.,eE_%\[\]() nainf]{0,40}"))
def test_no_text_is_too_odd(text: str) -> None:
    made = reading(text)
    assert (made.value is None) != (made.why is None)
    assert made.value is None or math.isfinite(made.value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_python_prints_is_read_as_what_it_was(number: float) -> None:
    for text in (repr(number), f"tensor({number!r}, device='cuda:0')", f"[{number!r}]", f"np.float64({number!r})"):
        assert reading(text).value == number
