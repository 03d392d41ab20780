r"""Which files of a channel count: globs over the path below the channel's folder, all of a channel as one regex.

`*` and `?` stand for what a name may hold, `[a-z]` and `[!a-z]` for one character of it, `\` takes the meaning from
the character behind it. `**` stands for any folders, as a whole segment alone: `a/**/b`. A pattern fits files:

- without `/` by their name, in any folder: `*.pt`
- with one, from the channel's folder: `ckpt/*.pt`, and `/*.pt` for those at its top
- that ends in `/`, all below a folder: `ckpt/last/` from the channel's folder, `__pycache__/` in any

No name makes it slow, whatever the pattern: each `*` takes the first place that fits and never comes back to try
another, which is right because what follows it has one length (a name) or is bounded by slashes (folders).
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.core.plan import Patterns

LONGEST = 1024
"""Characters of a pattern: a key has no more."""
MOST = 100
"""Patterns of one list."""

_ANY = "**"
_PIECE = re.compile(
    r"\\(?P<literal>.)|(?P<wild>[*?])|\[(?P<set>[!^]?(?:\\.|[^\\])(?:\\.|[^\\\]])*)\]|(?P<plain>.)", re.DOTALL
)
_MEMBER = re.compile(r"(?:\\(.)|([^\\]))(?:-(?:\\(.)|([^\\])))?", re.DOTALL)


def fits(patterns: Patterns, path: str) -> bool:
    """Whether a file counts: one of `include` fits it (any, if there is none) and none of `exclude` does."""
    if not (patterns.include or patterns.exclude):
        return True
    include, exclude = _compiled(patterns.include), _compiled(patterns.exclude)
    return (include is None or include.match(path) is not None) and (exclude is None or exclude.match(path) is None)


def wrong_pattern(text: str) -> str | None:
    """Why a text is no pattern, or None."""
    if len(text) > LONGEST:
        return f"expected a pattern of at most {LONGEST:,} characters, found {len(text):,}"
    if not text.strip("/"):
        return f"{text!r} names no file; write * for all of them"
    for segment in _segments(text):
        wrong = _wrong_segment(segment)
        if wrong:
            return f"{text!r}: {wrong}"
    return None


def _wrong_segment(segment: str) -> str | None:
    if segment in ("", ".", ".."):
        return f"no path has the segment {segment!r}"
    if segment == _ANY:
        return None
    before = None
    for piece in _PIECE.finditer(segment):
        if piece["wild"] == before == "*":
            return "** stands for whole folders and alone between slashes, as in **/*.pt; within a name write *"
        before = piece["wild"]
        wrong = _wrong_piece(piece)
        if wrong:
            return wrong
    return None


def _wrong_piece(piece: re.Match[str]) -> str | None:
    if piece["plain"] == "\\":
        return "nothing follows the backslash at the end of a segment"
    if piece["plain"] == "[":
        return "a [ without its ]; write [[] for the character itself"
    if piece["set"] and any(low > high for low, high in _members(_bare(piece["set"]))):
        return f"[{piece['set']}] has a range whose end comes before its start"
    return None


def _segments(text: str) -> list[str]:
    """The segments of a pattern, without the slashes at its ends that only say how it is meant."""
    return text.removeprefix("/").removesuffix("/").split("/")


@lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    """One regex for all of them; None where there are none."""
    if not patterns:
        return None
    numbers = count()
    return re.compile("|".join(f"(?:{_regex(pattern, numbers)})" for pattern in patterns), re.DOTALL)


def _regex(pattern: str, numbers: Iterator[int]) -> str:
    segments = _segments(pattern)
    if "/" not in pattern.removesuffix("/"):
        segments = [_ANY, *segments]
    if pattern.endswith("/"):
        segments += ["*", _ANY] if segments[-1] == _ANY else [_ANY]
    head, *rest = _between(segments)
    made = "/".join(_name(segment, numbers) for segment in head)
    if not rest:
        return rf"{made}\Z"
    made += "/" if head else ""
    *middle, last = rest
    for run in filter(None, middle):
        made += _first(rf"(?:[^/]+/)*?{'/'.join(_name(segment, numbers) for segment in run)}/", numbers)
    return made + (rf"(?:[^/]+/)*{'/'.join(_name(segment, numbers) for segment in last)}\Z" if last else ".")


def _between(segments: Sequence[str]) -> list[list[str]]:
    """The runs of segments that the `**` part."""
    runs: list[list[str]] = [[]]
    for segment in segments:
        if segment == _ANY:
            runs.append([])
        else:
            runs[-1].append(segment)
    return runs


def _name(segment: str, numbers: Iterator[int]) -> str:
    """The regex of one name. What stands between two `*` is looked for once, from the left."""
    first, *rest = _fixed(segment)
    if not rest:
        return first
    *middle, last = rest
    looked_for = "".join(_first(f"[^/]*?{fixed}", numbers) for fixed in middle if fixed)
    return f"(?=[^/]){first}{looked_for}[^/]*{last}"


def _fixed(segment: str) -> list[str]:
    """The regexes of what stands between the `*` of a segment: each fits texts of one length."""
    found = [""]
    for piece in _PIECE.finditer(segment):
        if piece["wild"] == "*":
            found.append("")
        elif piece["wild"]:
            found[-1] += "[^/]"
        elif piece["set"]:
            found[-1] += _set(piece["set"])
        else:
            found[-1] += re.escape(piece["literal"] or piece["plain"])
    return found


def _set(text: str) -> str:
    bare = _bare(text)
    members = "".join(
        re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}" for low, high in _members(bare)
    )
    return f"(?!/)[{'^' if bare != text else ''}{members}]"


def _bare(text: str) -> str:
    """A set without the sign that turns it round."""
    return text[1:] if text[0] in "!^" and len(text) > 1 else text


def _members(text: str) -> list[tuple[str, str]]:
    """The ranges of a set; one character is a range of itself."""
    found = []
    for member in _MEMBER.finditer(text):
        low = member[1] or member[2]
        found.append((low, member[3] or member[4] or low))
    return found


def _first(regex: str, numbers: Iterator[int]) -> str:
    """Fit the shortest text once and for all: an atomic group, which `re` has only since Python 3.11."""
    name = f"g{next(numbers)}"
    return f"(?=(?P<{name}>{regex}))(?P={name})"
