"""Names of preset engines as the service's pages and bodies have them, and names that say nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.enginename import FRAMEWORKS, LONGEST, EngineName, agrees, engine_name, is_older


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
            {"framework": "pytorch", "version": "1.8.0", "python": "3.7", "cuda": "10.2", "architecture": "x86_64"},
        ),
        (
            "tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64",
            {"framework": "tensorflow", "version": "2.1.0", "python": "3.7", "cuda": "10.1", "architecture": "x86_64"},
        ),
        (
            "tensorflow_1.15-cann_5.1.0-py_3.7-euler_2.8.3-aarch64",
            {"framework": "tensorflow", "version": "1.15", "python": "3.7", "cann": "5.1.0", "architecture": "aarch64"},
        ),
        (
            "mindspore_2.2.0-cann_7.0.1-py_3.9-euler_2.10.7-aarch64",
            {"framework": "mindspore", "version": "2.2.0", "python": "3.9", "cann": "7.0.1", "architecture": "aarch64"},
        ),
        (
            "horovod_0.20.0-tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64",
            {
                "framework": "horovod",
                "version": "0.20.0",
                "also": ("tensorflow", "2.1.0"),
                "python": "3.7",
                "cuda": "10.1",
                "architecture": "x86_64",
            },
        ),
        (
            "mpi_3.0.0-mindspore_1.3.0-cuda_10.1-py_3.7-ubuntu_1804-x86_64",
            {
                "framework": "mpi",
                "version": "3.0.0",
                "also": ("mindspore", "1.3.0"),
                "python": "3.7",
                "cuda": "10.1",
                "architecture": "x86_64",
            },
        ),
        ("PyTorch-1.3.0-python3.6", {"framework": "pytorch", "version": "1.3.0", "python": "3.6"}),
        ("PyTorch-1.4.0-python3.6-v2", {"framework": "pytorch", "version": "1.4.0", "python": "3.6"}),
        ("TF-1.13.1-python3.6-v2", {"framework": "tensorflow", "version": "1.13.1", "python": "3.6"}),
        ("pytorch-cp36-1.3.0", {"framework": "pytorch", "version": "1.3.0", "python": "3.6"}),
        ("tf-cp27m-1.8", {"framework": "tensorflow", "version": "1.8", "python": "2.7"}),
        ("scikit_learn_0.18.1-python3.6", {"framework": "sklearn", "version": "0.18.1", "python": "3.6"}),
        (
            "pytorch_2.1.0-cann_7.0.rc1-py_3.9-hce_2.0.2312-arm64",
            {
                "framework": "pytorch",
                "version": "2.1.0",
                "python": "3.9",
                "cann": "7.0.rc1",
                "architecture": "aarch64",
            },
        ),
        ("MindSpore-GPU", {"framework": "mindspore"}),
        ("pytorch-1.0.0-2.0.0", {"framework": "pytorch", "version": "1.0.0"}),
    ],
)
def test_an_engine_s_name_says_what_it_holds(text: str, said: dict[str, Any]) -> None:
    assert engine_name(text) == EngineName(**said)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "fastseq:1.2",
        "1.8.0",
        "my_image-py_3.9-x86_64",
        "pytorch_latest",
        "tensorflow_gpu",
        "-",
        "pytorch-" * LONGEST,
    ],
)
def test_a_name_of_another_form_says_nothing(text: str | None) -> None:
    assert engine_name(text) == EngineName()
    assert engine_name(text).frameworks == ()


def test_every_framework_that_is_named_can_be_looked_up() -> None:
    for name in FRAMEWORKS:
        named = engine_name(f"{name}_1.0-tf_2.0")
        assert len(named.frameworks) == 2
        assert {framework for framework, _ in named.frameworks} <= FRAMEWORKS.keys()


@pytest.mark.parametrize(
    ("wanted", "found", "same", "older"),
    [
        ("3.7", "3.7.10", True, False),
        ("3.7", "3.10.1", False, False),
        ("3.10", "3.7", False, True),
        ("1.8.0", "1.8.0+cu102", True, False),
        ("1.8.0", "1.8", True, False),
        ("1.8.1", "1.8", False, True),
        ("10.2", "CUDA 9.0", False, True),
        ("7.0.rc1", "7.0.1", True, False),
        ("unknown", "1.0", True, False),
        ("1.0", "unknown", True, False),
    ],
)
def test_versions_are_compared_by_number_as_far_as_the_wanted_one_tells(
    wanted: str,
    found: str,
    same: bool,  # noqa: FBT001
    older: bool,  # noqa: FBT001
) -> None:
    assert (agrees(wanted, found), is_older(found, wanted)) == (same, older)


PART = st.sampled_from(["pytorch", "tf_", "cuda_10.2", "cp36", "py_", "x86_64", "1.0", "", "_", "cann_", "mpi_9"])


@given(st.one_of(st.text(), st.lists(PART).map("-".join)))
def test_any_text_is_read_without_harm(text: str) -> None:
    named = engine_name(text)
    assert named.framework is not None or named == EngineName()


@given(st.text(), st.text())
def test_any_two_texts_can_be_compared(wanted: str, found: str) -> None:
    assert not (agrees(wanted, found) and is_older(found, wanted))
