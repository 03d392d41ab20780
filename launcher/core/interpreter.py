"""What a boot file's interpreter says of itself, as a value; what it said is text of a foreign program, and bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from launcher.core.frozen import Record

if TYPE_CHECKING:
    from launcher.core.answer import Answer

MARK = "launcher-interpreter: "
"""Begins the one line of the answer that counts: what else a site's own start-up code prints is passed over."""

MOST_TAGS = 50_000
LONGEST = 64
"""Characters of a version; one that is longer is cut."""

_CUDA = re.compile(r"^cuda(?:\s*:[^=\n]{0,64})?\s*=\s*['\"]([0-9][0-9.]{0,15})['\"]", re.MULTILINE)


class Interpreter(Record, frozen=True, kw_only=True):
    """An interpreter and what it could load.

    `packages` are the versions of those that were asked for and are there, `cuda` is what its PyTorch was built for,
    `tags` are those of the wheels that its pip takes (none: it has no pip that could say). `fault` is a sentence's end
    for one that could not be asked, and nothing else is known then.
    """

    path: str
    python: str | None = None
    machine: str | None = None
    packages: Mapping[str, str] = {}
    cuda: str | None = None
    tags: frozenset[str] = frozenset()
    fault: str | None = None


class _Told(msgspec.Struct, frozen=True):
    """The line's JSON. Tags come as pairs of `cp37-cp37m` and the number of the platforms that go with it."""

    python: str
    machine: str
    packages: dict[str, str]
    torch: str
    platforms: list[list[str]]
    pairs: list[tuple[str, int]]


def told(path: str, answer: Answer) -> Interpreter:
    """The interpreter by its answer."""
    if answer.fault is not None:
        return Interpreter(path=path, fault=answer.fault)
    line = next((each for each in reversed(answer.stdout.splitlines()) if each.startswith(MARK)), None)
    if line is None:
        last = (answer.stderr.strip().splitlines() or ["and said nothing"])[-1]
        return Interpreter(path=path, fault=f"ended with {answer.code} ({last[:200]})")
    try:
        said = msgspec.json.decode(line.removeprefix(MARK).encode(errors="replace"), type=_Told)
    except (msgspec.MsgspecError, RecursionError):
        return Interpreter(path=path, fault="gave an answer that makes no sense")
    cuda = _CUDA.search(said.torch)
    return Interpreter(
        path=path,
        python=said.python[:LONGEST],
        machine=said.machine[:LONGEST],
        packages={name[:LONGEST]: version[:LONGEST] for name, version in said.packages.items()},
        cuda=cuda[1] if cuda else None,
        tags=_tags(said),
    )


def _tags(said: _Told) -> frozenset[str]:
    found: set[str] = set()
    for pair, number in said.pairs:
        if 0 <= number < len(said.platforms) and len(found) + len(said.platforms[number]) <= MOST_TAGS:
            found.update(f"{pair}-{platform}" for platform in said.platforms[number])
    return frozenset(found)
