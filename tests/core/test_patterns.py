from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.patterns import LONGEST, fits, wrong_pattern
from launcher.core.plan import Patterns

if TYPE_CHECKING:
    from collections.abc import Sequence


def fitted(pattern: str, *paths: str) -> list[str]:
    assert wrong_pattern(pattern) is None
    return [path for path in paths if fits(Patterns(include=(pattern,)), path)]


PATHS = ("a", "a.pt", "x/a.pt", "x/y/a.pt", "x/y/a.pth", "logs/a", "x/logs/a", "x/logs/y/a.pt", "X/a.pt")


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("*.pt", ["a.pt", "x/a.pt", "x/y/a.pt", "x/logs/y/a.pt", "X/a.pt"]),
        ("/*.pt", ["a.pt"]),
        ("x/*.pt", ["x/a.pt"]),
        ("/x/*.pt", ["x/a.pt"]),
        ("x/**", ["x/a.pt", "x/y/a.pt", "x/y/a.pth", "x/logs/a", "x/logs/y/a.pt"]),
        ("x/**/*.pt", ["x/a.pt", "x/y/a.pt", "x/logs/y/a.pt"]),
        ("**/y/*", ["x/y/a.pt", "x/y/a.pth", "x/logs/y/a.pt"]),
        ("x/**/y/**/*.pt", ["x/y/a.pt", "x/logs/y/a.pt"]),
        ("logs/", ["logs/a", "x/logs/a", "x/logs/y/a.pt"]),
        ("/logs/", ["logs/a"]),
        ("x/logs/", ["x/logs/a", "x/logs/y/a.pt"]),
        ("x/*/", ["x/y/a.pt", "x/y/a.pth", "x/logs/a", "x/logs/y/a.pt"]),
        ("**/", [path for path in PATHS if "/" in path]),
        ("x/**/", ["x/y/a.pt", "x/y/a.pth", "x/logs/a", "x/logs/y/a.pt"]),
        ("*/", [path for path in PATHS if "/" in path]),
        ("*", list(PATHS)),
        ("**", list(PATHS)),
        ("**/**", list(PATHS)),
        ("a", ["a", "logs/a", "x/logs/a"]),
        ("?.pt?", ["x/y/a.pth"]),
        ("a.p[s-u]", ["a.pt", "x/a.pt", "x/y/a.pt", "x/logs/y/a.pt", "X/a.pt"]),
        ("[!X]/*.pt", ["x/a.pt"]),
        ("[^X]/*.pt", ["x/a.pt"]),
    ],
)
def test_a_pattern_fits_what_the_docstring_says(pattern: str, fitting: list[str]) -> None:
    assert fitted(pattern, *PATHS) == fitting


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        (r"\*", "*", "a"),
        (r"a\?", "a?", "ab"),
        (r"\[a]", "[a]", "a"),
        ("[[]", "[", "]"),
        ("[]]", "]", "["),
        ("[!]]", "a", "]"),
        ("[!]", "!", "a"),
        ("[!!]", "a", "!"),
        (r"[\]\-x]", "-", "\\"),
        (r"[\a-c]", "b", "d"),
        (r"[a-\c]", "b", "d"),
        ("[a-]", "-", "b"),
        ("[!a]", "b", "/"),
        ("[--0]", ".", "/"),
        ("a.b", "a.b", "axb"),
        ("(a|b)+$", "(a|b)+$", "a"),
        ("名*.pt", "名字.pt", "字.pt"),
        ("a*b", "a\nb", "a/b"),
        ("*a*b*", "xaxaxbx", "xbxax"),
        ("*ab*ab", "abab", "ab"),
        ("?*?", "ab", "a"),
        ("*", "a", "a/"),
        ("a/*", "a/b", "a/"),
    ],
)
def test_every_character_means_what_it_should(pattern: str, fitting: str, other: str) -> None:
    assert fitted(pattern, fitting, other) == [fitting]


def test_a_file_counts_when_it_is_included_and_not_excluded() -> None:
    paths = ("a.pt", "b.pt", "c.txt", "tmp/a.pt")

    def counting(include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
        patterns = Patterns(include=tuple(include), exclude=tuple(exclude))
        return [path for path in paths if fits(patterns, path)]

    assert counting() == list(paths)
    assert counting(["*.pt", "c.*"]) == list(paths)
    assert counting(["a.*", "b.*"]) == ["a.pt", "b.pt", "tmp/a.pt"]
    assert counting(exclude=["tmp/", "c.txt"]) == ["a.pt", "b.pt"]
    assert counting(["*.pt"], ["tmp/**"]) == ["a.pt", "b.pt"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no file"),
        ("/", "names no file"),
        ("a//b", "segment ''"),
        ("../a", "segment '..'"),
        ("a/./b", "segment '.'"),
        ("a**", "stands for whole folders"),
        ("x/***/y", "stands for whole folders"),
        ("a[b", "without its ]"),
        ("[a/b]", "without its ]"),
        ("[z-a]", "comes before its start"),
        ("[!z-a]", "comes before its start"),
        ("a\\", "backslash"),
        ("a\\/b", "backslash"),
        ("x" * (LONGEST + 1), "at most 1,024 characters"),
    ],
)
def test_what_is_no_pattern_is_told(text: str, said: str) -> None:
    wrong = wrong_pattern(text)
    assert wrong is not None
    assert said in wrong


@pytest.mark.parametrize("text", ["*[a]*", r"\**", r"*\*", "[*][*]", "[**]", "[z-z]"])
def test_stars_that_only_look_like_two_are_right(text: str) -> None:
    assert wrong_pattern(text) is None


LONG = "a" * 1000 + "c"


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 400 + "b", LONG),
        ("*a" * 400 + "b", "/".join(["a" * 255] * 4)),
        ("?*" * 400 + "b", LONG),
        ("[a-z]*" * 150 + "b", LONG),
        ("**/a/" * 200 + "b", "a/" * 510 + "c"),
        ("**/*a*a/" * 120 + "b", "aa/aaaa/" * 120 + "c"),
        ("**/*/" * 200 + "b", "a/" * 510 + "c"),
    ],
)
def test_no_name_makes_a_hostile_pattern_slow(pattern: str, path: str) -> None:
    """A matcher that comes back to try each star again would need longer than the universe has."""
    assert fitted(pattern, path) == []


TOKENS = st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]"])
NAMES = st.lists(TOKENS, min_size=1, max_size=5).map("".join).filter(lambda name: "**" not in name)
WHOLE = st.lists(st.one_of(NAMES, st.just("**")), min_size=2, max_size=5).map("/".join)


def by_hand(segments: Sequence[str], names: Sequence[str]) -> bool:
    """The meaning, tried out in every way."""
    if not segments or not names:
        return not segments and not names
    if segments[0] == "**":
        if len(segments) == 1:
            return True
        return any(by_hand(segments[1:], names[start:]) for start in range(len(names)))
    return fnmatchcase(names[0], segments[0]) and by_hand(segments[1:], names[1:])


@given(WHOLE, st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=6))
def test_it_fits_what_trying_every_way_fits(pattern: str, names: list[str]) -> None:
    assert bool(fitted(pattern, "/".join(names))) == by_hand(pattern.split("/"), names)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_refused_or_can_be_asked(pattern: str, path: str) -> None:
    if wrong_pattern(pattern) is None:
        fits(Patterns(include=(pattern,), exclude=(pattern,)), path)


@given(st.text(st.characters(exclude_characters="/"), min_size=1, max_size=20))
def test_an_escaped_name_fits_itself(name: str) -> None:
    escaped = re.sub(r"([\\*?\[\].])", r"\\\1", name)
    if wrong_pattern(escaped) is None:
        assert fitted(escaped, name, f"x/{name}", f"{name}x") == [name, f"x/{name}"]
