"""What the kernel has counted of this container's memory, read from its control group; nothing is ever changed there.

Both versions are read, and each tells something else by the same word. Version 2 counts a kill in the group of the
process that died and in every group above it, so the figure covers sub-groups too (unless the host mounts with
`memory_localevents`). Version 1 counts it in that one group alone. Sub-groups are not added up there: below the root of
a host they are other people's, and what a group counted goes away with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from launcher.core.record import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1 << 20
"""Bytes that are read of any file; one that goes on is not what it should be."""
_BOUNDLESS = 1 << 62
"""From here on version 1 means no limit: it writes the highest number of whole pages, which differs by page size."""
_ESCAPES = ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\043", "#"), (r"\134", "\\"))


class _Mount(msgspec.Struct, frozen=True):
    """One mounted hierarchy: `root` is the group that `point` shows, as seen from this cgroup namespace."""

    root: str
    point: str


class _Group(msgspec.Struct, frozen=True):
    """The group that this process's memory is charged to, and the highest one that can be seen above it."""

    unified: bool
    folder: str
    top: str


class Cgroup:
    """The memory counters of the group that this process was charged to when this object was made.

    In version 2 that may be a group above its own, and then its neighbours' memory and kills are counted too.
    """

    def __init__(self, groups: str = "/proc/self/cgroup", mounts: str = "/proc/self/mountinfo") -> None:
        self._group = _find(_text(groups), _text(mounts))

    def memory(self) -> Memory | None:
        """Limit, peak and kills as they are now; None where there is no memory controller to ask.

        The peak counts the page cache as well: alone it proves nothing. Kernels before 5.19 do not tell it in v2.
        """
        if self._group is None:
            return None
        return _unified(self._group) if self._group.unified else _legacy(self._group)


def _unified(group: _Group) -> Memory:
    limits = [_number(_text(f"{folder}/memory.max")) for folder in _upwards(group.folder, group.top)]
    return Memory(
        source="cgroup v2",
        limit_bytes=min((limit for limit in limits if limit is not None), default=None),
        peak_bytes=_number(_text(f"{group.folder}/memory.peak")),
        oom_kills=_entry(_text(f"{group.folder}/memory.events"), "oom_kill"),
    )


def _legacy(group: _Group) -> Memory:
    # It heeds the groups above as well, those included that a container cannot see: a pod's, for one.
    limit = _entry(_text(f"{group.folder}/memory.stat"), "hierarchical_memory_limit")
    if limit is None:
        limit = _number(_text(f"{group.folder}/memory.limit_in_bytes"))
    return Memory(
        source="cgroup v1",
        limit_bytes=None if limit is None or limit >= _BOUNDLESS else limit,
        peak_bytes=_number(_text(f"{group.folder}/memory.max_usage_in_bytes")),
        oom_kills=_entry(_text(f"{group.folder}/memory.oom_control"), "oom_kill"),
    )


def _find(groups: str, mounts: str) -> _Group | None:
    """Where the counters are: a controller is in one version only, and hosts that mount both are common."""
    names = dict(_memberships(groups))
    for unified, mark in ((False, "memory.limit_in_bytes"), (True, "memory.max")):
        name = names.get(unified)
        for mount in _mounts(mounts, unified=unified) if name else ():
            folder = _shown(name or "", mount)
            if folder is None:
                continue
            # In version 2 a group without the controller is charged to the nearest one above that has it.
            for charged in _upwards(folder, mount.point) if unified else (folder,):
                if os.path.isfile(f"{charged}/{mark}"):
                    return _Group(unified, charged, mount.point)
    return None


def _memberships(groups: str) -> Iterator[tuple[bool, str]]:
    """This process's group in version 2 (True) and in version 1's memory hierarchy (False)."""
    for line in groups.split("\n"):
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0" and not controllers:
            yield True, name
        elif "memory" in controllers.split(","):
            yield False, name


def _mounts(mounts: str, *, unified: bool) -> list[_Mount]:
    """Where the hierarchy is mounted, the latest first: it hides an earlier one at the same place."""
    found = []
    for line in mounts.split("\n"):
        left, dash, right = line.partition(" - cgroup")
        before, after = left.split(" "), right.split(" ")
        if not dash or len(before) < 5 or len(after) < 3:  # noqa: PLR2004 - fields of proc(5)
            continue
        if after[0] == "2" if unified else not after[0] and "memory" in after[2].split(","):
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


def _text(path: str) -> str:
    """A file's text; empty where it is not there, may not be read, or is too long to be what it should be."""
    try:
        with open(path, "rb") as file:
            content = file.read(LONGEST + 1)
    except (OSError, ValueError):
        return ""
    return os.fsdecode(content) if len(content) <= LONGEST else ""


def _entry(text: str, key: str) -> int | None:
    """One number out of lines of a name and a number."""
    for line in text.split("\n"):
        name, _, value = line.partition(" ")
        if name == key:
            return _number(value)
    return None


def _number(text: str) -> int | None:
    """A number as the kernel writes it: at most 20 digits and nothing else (`max` is none)."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else None  # noqa: PLR2004 - 2**64
