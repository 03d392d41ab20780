"""What the source of a channel held, as its listing told of it: so many objects and bytes, and one digest over them.

Two listings with one digest name the same objects in the same versions; nothing of them is read for that.
"""

from __future__ import annotations

import msgspec

NAMED = 64
"""Objects of a channel that are remembered by themselves, if it has no more."""
MANIFEST = "manifest"
"""The path by which the manifest of a dataset is counted."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One source. `files` are the relative path, the size and the mark of each object, where there are few."""

    name: str
    kind: str
    source: str
    objects: int
    bytes: int
    digest: str
    files: tuple[tuple[str, int, str], ...] = ()
