"""The wheels that a pip file names, and whether an interpreter takes them, by their names alone."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

from launcher.core.frozen import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

NAMES = ("pip-requirements.txt", "requirements.txt")
"""The pip file of a code directory; the first has a described mechanism at the vendor's, the second is named once."""

MOST = 100
"""Wheels of a pip file that are looked at."""
MOST_TAGS = 64
"""Tags that one part of a wheel's name may list; those that exist have three."""
LONGEST_LINE = 4096

_COMMENT = re.compile(r"(?:^|\s)#.*")
_SUFFIX = ".whl"
_PARTS = (5, 6)
"""Name, version, (build,) Python, ABI, platform."""


class Wheel(Record, frozen=True, kw_only=True):
    """A wheel as a pip file names it. `path` is relative to the file's folder, None for one that comes by a URL.

    `maybe`: it is wanted under a condition (`; python_version < "3.8"`), which is for pip to decide.
    """

    file: str
    path: str | None = None
    maybe: bool = False


def wheels_named(text: str) -> tuple[Wheel, ...]:
    """Every wheel that a pip file names, in its order."""
    found: dict[str, Wheel] = {}
    for line in _lines(text):
        wheel = _wheel(line)
        if wheel is not None and len(found) < MOST:
            found.setdefault(wheel.path or wheel.file, wheel)
    return tuple(found.values())


def wheel_tags(file: str) -> tuple[str, ...] | None:
    """The tags of a wheel's name, each as `cp37-cp37m-linux_x86_64`; None where it is no wheel's name."""
    parts = file.removesuffix(_SUFFIX).split("-")
    if len(parts) not in _PARTS or not all(parts):
        return None
    lists = [part.split(".") for part in parts[-3:]]
    if any(len(each) > MOST_TAGS for each in lists):
        return None
    return tuple("-".join(each).lower() for each in product(*lists))


def misfit(wheel: Wheel, tags: Collection[str]) -> str | None:
    """Why pip will not take a wheel, as a sentence's end; None: by its name it will."""
    own = wheel_tags(wheel.file)
    if own is None:
        return "is no wheel's name (name-version-python-abi-platform.whl)"
    if not tags or any(tag in tags for tag in own):
        return None
    return f"is for {own[0]}" + (f" and {len(own) - 1} more" if len(own) > 1 else "")


def _lines(text: str) -> Iterator[str]:
    """The lines of a pip file, those that go on joined, without comments and options."""
    for line in text.replace("\\\r\n", "").replace("\\\n", "").splitlines():
        bare = _COMMENT.sub("", line[:LONGEST_LINE]).strip()
        if bare and not bare.startswith("-"):
            yield bare


def _wheel(line: str) -> Wheel | None:
    wanted, condition, _ = line.partition(";")
    place = wanted.partition(" @ ")[2] or wanted
    place = (place.split() or [""])[0]
    is_url = "://" in place
    if is_url:
        place = place.partition("#")[0].partition("?")[0]
    file = place.rpartition("/")[2].replace("%2B", "+").replace("%2b", "+")
    if not file.endswith(_SUFFIX):
        return None
    return Wheel(file=file, path=None if is_url else place.removeprefix("./"), maybe=bool(condition))
