from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.core.prestart import changes, entries

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def test_what_is_new_or_other_is_told_and_what_is_gone_is_named() -> None:
    before = {"A": "1", "B": "2", "C": "3", "PWD": "/", "BASH_FUNC_f%%": "() {}"}
    told = changes(before, {"A": "1", "B": "x", "D": "", "SHLVL": "1", "_": "/bin/x", "PWD": "/code", "OLDPWD": "/"})
    assert (told.values, told.removed) == ({"B": "x", "D": ""}, ("C",))


def test_what_is_no_variable_is_left_out() -> None:
    block = b"A=1\0BASH_FUNC_f%%=() { :; }\0novalue\0=x\0\0B=a=b\nc\0A=2\0E=\xff\0"
    assert entries(block) == {"A": "1", "B": "a=b\nc", "E": "\udcff"}


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_what_was_told_and_laid_over_gives_the_environment_again(before: dict[str, str], after: dict[str, str]) -> None:
    block = b"".join(f"{name}={value}\0".encode() for name, value in after.items())
    told = changes(before, entries(block))
    shell = {"_", "SHLVL", "PWD", "OLDPWD", "BASH_EXECUTION_STRING"}
    made = {name: value for name, value in {**before, **told.values}.items() if name not in told.removed}
    assert {k: v for k, v in made.items() if k not in shell} == {k: v for k, v in after.items() if k not in shell}
