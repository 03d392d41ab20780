"""One archive, unpacked while it streams: `.tar`, `.tar.gz`, `.tgz`, `.tar.zst` and `.zip`, within limits.

It holds a few MiB of the archive and one entry at a time, asks no store itself, and follows no link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core import members
from launcher.core.errors import StageError
from launcher.core.members import Unpacked, UnpackRules
from launcher.unpack.flow import Archive, Flow
from launcher.unpack.seal import seal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from launcher.unpack.flow import Stopped

__all__ = ["Archive", "UnpackRules", "Unpacked", "seal", "unpack"]


def unpack(archive: Archive, root: str, folder: str, rules: UnpackRules, stopped: Stopped) -> Unpacked:
    """Unpack an archive into a folder below `root`, which holds nothing, or what an earlier try of the same one left.

    Every file is whole under its name or not there. Raises `StageError` for an archive that is refused, damaged, or too
    large for its limits or the disk; what `archive.read` raises; and `Cancelled`. Then what was written stays.
    """
    form = members.archive_format(archive.name)
    if form is None:
        endings = ", ".join(ending for ending, _ in members.ENDINGS)
        raise StageError(
            f"{archive.name!r} is no archive that can be unpacked: its name ends in none of {endings}",
            code="archive-unknown",
            action="Rename or pack it again, or do not ask for it to be extracted.",
        )
    if not archive.size:
        raise members.broken(archive.name, "is empty")
    from launcher.unpack import tar  # noqa: PLC0415 - most runs unpack nothing
    from launcher.unpack import zip as zipped  # noqa: PLC0415
    from launcher.unpack.tree import Tree  # noqa: PLC0415

    with Tree(archive, root, folder, rules, stopped) as tree:
        if form == "zip":
            zipped.unpack(archive, tree, stopped)
        else:
            pieces = archive.read(0, archive.size)
            if form != "tar":
                from launcher.unpack.inflate import inflate  # noqa: PLC0415

                pieces = _bounded(archive, rules, inflate(archive.name, form, pieces))
            tar.unpack(archive.name, Flow(pieces, stopped), tree)
        return tree.done()


def _bounded(archive: Archive, rules: UnpackRules, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
    """End a stream that grows beyond its limit, whatever its members say of their sizes."""
    left = rules.most(archive.size)
    for piece in pieces:
        left -= len(memoryview(piece))
        if left < 0:
            raise members.grown(archive.name, archive.size, rules)
        yield piece
