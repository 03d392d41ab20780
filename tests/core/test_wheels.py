"""Wheels by their names: which a pip file names, and which an interpreter takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.wheels import MOST, Wheel, misfit, wheel_tags, wheels_named

TAGS = frozenset({"cp37-cp37m-linux_x86_64", "py3-none-any"})
PURE = "foo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("line", "wheel"),
    [
        (PURE, Wheel(file=PURE, path=PURE)),
        (f"./{PURE}  # mine", Wheel(file=PURE, path=PURE)),
        (f"wheels/{PURE} --hash=sha256:00", Wheel(file=PURE, path=f"wheels/{PURE}")),
        (f'{PURE} ; python_version < "3.8"', Wheel(file=PURE, path=PURE, maybe=True)),
        (f"https://host/x/{PURE}#sha256=1", Wheel(file=PURE)),
        (f"foo @ https://host/{PURE}?token=1", Wheel(file=PURE)),
        ("foo @ https://h/foo-1.0%2Bcpu-py3-none-any.whl", Wheel(file="foo-1.0+cpu-py3-none-any.whl")),
        (f"foo @ ./{PURE}", Wheel(file=PURE, path=PURE)),
        ("\\\n".join((PURE[:5], PURE[5:])), Wheel(file=PURE, path=PURE)),
    ],
)
def test_a_pip_file_names_wheels_in_several_ways(line: str, wheel: Wheel) -> None:
    assert wheels_named(f"numpy==1.0\n{line}\n") == (wheel,)


@pytest.mark.parametrize("line", ["numpy==1.20", "# foo.whl", "-r other.whl", "--find-links x.whl", "", "; x.whl"])
def test_what_is_no_wheel_is_passed_over(line: str) -> None:
    assert wheels_named(line) == ()


def test_a_wheel_counts_once_and_a_pip_file_without_end_is_cut() -> None:
    assert len(wheels_named(f"{PURE}\n{PURE}\n")) == 1
    assert len(wheels_named("".join(f"foo-{n}-py3-none-any.whl\n" for n in range(MOST + 10)))) == MOST


def test_a_name_lists_its_tags() -> None:
    assert wheel_tags(PURE) == ("py3-none-any",)
    assert wheel_tags("foo-1.0-1-cp37-cp37m-manylinux1_x86_64.manylinux2010_x86_64.whl") == (
        "cp37-cp37m-manylinux1_x86_64",
        "cp37-cp37m-manylinux2010_x86_64",
    )
    for odd in ("foo.whl", "foo-1.0-py3-none.whl", "a-b-c-d-e-f-g.whl", "foo--py3-none-any.whl"):
        assert wheel_tags(odd) is None
    assert wheel_tags(f"foo-1.0-{'.'.join(['py3'] * 100)}-none-any.whl") is None


@pytest.mark.parametrize(
    ("file", "tags", "why"),
    [
        (PURE, TAGS, None),
        ("foo-1.0-CP37-cp37m-Linux_x86_64.whl", TAGS, None),
        ("foo-1.0-cp39-cp39-linux_aarch64.whl", TAGS, "is for cp39-cp39-linux_aarch64"),
        ("foo-1.0-cp38.cp39-abi3-linux_x86_64.whl", TAGS, "is for cp38-abi3-linux_x86_64 and 1 more"),
        ("foo-1.0-cp39-cp39-linux_aarch64.whl", frozenset[str](), None),
        ("foo.whl", frozenset[str](), "is no wheel's name (name-version-python-abi-platform.whl)"),
    ],
)
def test_an_interpreter_takes_a_wheel_by_its_tags(file: str, tags: frozenset[str], why: str | None) -> None:
    assert misfit(Wheel(file=file), tags) == why


LINE = st.sampled_from([PURE, "./x.whl", "a b", " @ ", ";", "#", "\\", "https://", "-r", ".whl", "?", "\n", " "])


@given(st.one_of(st.text(), st.lists(LINE).map("".join)))
def test_any_pip_file_is_read_without_harm(text: str) -> None:
    for wheel in wheels_named(text):
        assert wheel.file.endswith(".whl")
        misfit(wheel, TAGS)
