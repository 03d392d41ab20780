"""Where the files of this process's control groups lie, in both versions, and how the kernel writes a number there.

It reads and never changes anything; what a controller's files mean is for its own module.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1 << 20
"""Bytes that are read of any file; one that goes on is not what it should be."""
_ESCAPES = ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\043", "#"), (r"\134", "\\"))


class Controller(msgspec.Struct, frozen=True):
    """A controller by its name in version 1, and a file that is in each group that it rules, by version."""

    name: str
    legacy: str
    unified: str


class _Mount(msgspec.Struct, frozen=True):
    """One mounted hierarchy: `root` is the group that `point` shows, as seen from this cgroup namespace."""

    root: str
    point: str


class Group(msgspec.Struct, frozen=True):
    """The group that this process is charged to by a controller, and the highest one that can be seen above it."""

    unified: bool
    folder: str
    top: str

    def upwards(self) -> Iterator[str]:
        """The group and those above it, the mount's own last."""
        return _upwards(self.folder, self.top)


def find(groups: str, mounts: str, controller: Controller) -> Group | None:
    """Where a controller's files are: it is in one version only, and hosts that mount both are common."""
    names = dict(_memberships(groups, controller.name))
    for unified, mark in ((False, controller.legacy), (True, controller.unified)):
        name = names.get(unified)
        for mount in _mounts(mounts, None if unified else controller.name) if name else ():
            folder = _shown(name or "", mount)
            if folder is None:
                continue
            # In version 2 a group without the controller is charged to the nearest one above that has it.
            for charged in _upwards(folder, mount.point) if unified else (folder,):
                if os.path.isfile(f"{charged}/{mark}"):
                    return Group(unified, charged, mount.point)
    return None


def text(path: str) -> str:
    """A file's text; empty where it is not there, may not be read, or is too long to be what it should be."""
    try:
        with open(path, "rb") as file:
            content = file.read(LONGEST + 1)
    except (OSError, ValueError):
        return ""
    return os.fsdecode(content) if len(content) <= LONGEST else ""


def entry(lines: str, key: str) -> int | None:
    """One number out of lines of a name and a number."""
    for line in lines.split("\n"):
        name, _, value = line.partition(" ")
        if name == key:
            return number(value)
    return None


def number(field: str) -> int | None:
    """A number as the kernel writes it: at most 20 digits and nothing else (`max` is none)."""
    field = field.strip()
    return int(field) if field.isascii() and field.isdecimal() and len(field) <= 20 else None  # noqa: PLR2004 - 2**64


def _memberships(groups: str, controller: str) -> Iterator[tuple[bool, str]]:
    """This process's group in version 2 (True) and in a controller's hierarchy of version 1 (False)."""
    for line in groups.split("\n"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if hierarchy == "0" and not controllers:
            yield True, name
        elif controller in controllers.split(","):
            yield False, name


def _mounts(mounts: str, controller: str | None) -> list[_Mount]:
    """Where a controller's hierarchy is mounted, or version 2, the latest first: it hides one at the same place."""
    found = []
    for line in mounts.split("\n"):
        left, dash, right = line.partition(" - cgroup")
        before, after = left.split(" "), right.split(" ")
        if not dash or len(before) < 5 or len(after) < 3:  # noqa: PLR2004 - fields of proc(5)
            continue
        if after[0] == "2" if controller is None else not after[0] and controller in after[2].split(","):
            found.append(_Mount(_unescaped(before[3]), _unescaped(before[4])))
    return found[::-1]


def _shown(name: str, mount: _Mount) -> str | None:
    """The folder of a group below a mount; None where the mount does not show it.

    `..` stands for a group outside of this namespace, whose name is hidden: what lies there cannot be told.
    """
    root = mount.root.rstrip("/")
    if not (name == root or name.startswith(f"{root}/")) or ".." in (*name.split("/"), *root.split("/")):
        return None
    return os.path.normpath(f"{mount.point}/{name[len(root) :]}")


def _upwards(folder: str, top: str) -> Iterator[str]:
    """A group and those above it, the mount's own last."""
    yield folder
    while folder != top and len(folder) > len(top):
        folder = os.path.dirname(folder)
        yield folder


def _unescaped(field: str) -> str:
    for escape, character in _ESCAPES:
        field = field.replace(escape, character)
    return field
