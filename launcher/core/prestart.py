"""What a script changed of the variables that it was started with, told from its environment before and after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

SHELLS = ("_", "SHLVL", "PWD", "OLDPWD", "BASH_EXECUTION_STRING")
"""What a shell keeps for itself: of no meaning to another process."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Variables with their new values, and the names of those that are gone, in their order."""

    values: Mapping[str, str]
    removed: tuple[str, ...] = ()


def entries(block: bytes) -> dict[str, str]:
    """The variables of an environment as the kernel shows it: `NAME=value`, each with a NUL behind it.

    What bytes are no text is kept as Python keeps it in a process's environment.
    """
    told: dict[str, str] = {}
    for each in block.split(b"\0"):
        name, mark, value = each.decode(errors="surrogateescape").partition("=")
        if mark and _NAME.fullmatch(name):  # bash exports functions under names that nobody else can read
            told.setdefault(name, value)
    return told


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """What is different, less what a shell keeps for itself."""
    return Changes(
        values={name: value for name, value in _own(after) if before.get(name) != value},
        removed=tuple(name for name, _ in _own(before) if name not in after and _NAME.fullmatch(name)),
    )


def _own(environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((name, value) for name, value in environ.items() if name not in SHELLS)
