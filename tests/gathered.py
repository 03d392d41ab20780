"""Checkpoints as a look at a whole output finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.checkpoints import Gathering

if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.core.checkpoints import Checkpoint, File


def gather(files: Iterable[File], patterns: tuple[str, ...] = ()) -> tuple[Checkpoint, ...]:
    """The checkpoints among files."""
    gathering = Gathering(patterns)
    for file in files:
        part = gathering.part(file.path)
        if part is not None:
            gathering.add(part, file)
    return gathering.found()
