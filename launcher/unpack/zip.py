"""A zip by ranges: its directory first, then its members in the order in which they lie, so that they stream by.

Nothing is written before the whole directory was looked at: members that overlap, are encrypted, or bear no sure name.
Sizes and checksums are what the directory says, or the archive is broken.
"""

from __future__ import annotations

import os
import zlib
from operator import attrgetter
from typing import TYPE_CHECKING

from launcher.core import members
from launcher.core.errors import Cancelled, StoreError
from launcher.core.keys import PATH_MOST
from launcher.core.members import Member
from launcher.unpack.directory import DEFLATED, LOCAL, LOCAL_MARK, Directory, find_directory
from launcher.unpack.flow import Archive, Ended, Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    from launcher.unpack.directory import Entry
    from launcher.unpack.flow import Stopped
    from launcher.unpack.tree import Tree

OUT = 1 << 20
IN = 64 * 1024
SORTED_MOST = 1_000_000
"""Members of a zip that are held to be sorted, where its directory is not in the order in which they lie."""


def unpack(archive: Archive, tree: Tree, stopped: Stopped) -> None:
    """Write every member of a zip below the tree; raises `StageError` for whatever is refused, damaged or cut off."""
    try:
        directory = find_directory(archive, stopped)
    except StoreError as error:
        if error.code != "store-unranged":
            raise
        _unpack_kept(archive, tree, stopped)
    else:
        _unpack(archive, directory, tree, stopped)


def _unpack_kept(archive: Archive, tree: Tree, stopped: Stopped) -> None:
    """Keep the whole zip first, because its directory comes last and this store sends no part of it."""
    kept = tree.spool(archive.read(0, archive.size))
    try:
        size = os.fstat(kept).st_size
        if size != archive.size:
            raise members.broken(archive.name, f"came as {size:,} bytes of {archive.size:,}")
        local = Archive(name=archive.name, size=size, read=_reader(kept, stopped))
        _unpack(local, find_directory(local, stopped), tree, stopped)
    finally:
        os.close(kept)


def _reader(kept: int, stopped: Stopped) -> Callable[[int, int], Iterator[Buffer]]:
    def read(start: int, end: int) -> Iterator[Buffer]:
        while start < end:
            if stopped():
                raise Cancelled
            piece = os.pread(kept, min(end - start, OUT), start)
            if not piece:
                return
            start += len(piece)
            yield piece

    return read


def _unpack(archive: Archive, directory: Directory, tree: Tree, stopped: Stopped) -> None:
    entries = _in_order(archive, directory)
    end = size = 0
    for count, entry in enumerate(entries(), start=1):
        if entry.offset < end:
            raise members.broken(archive.name, f"holds {entry.name!r} inside another member")
        end = entry.offset + LOCAL.size + len(entry.stored_name) + entry.packed
        if end > directory.start:
            raise members.broken(archive.name, f"holds {entry.name!r} beyond its end")
        size += entry.size
        tree.check(size, count)
        _member(archive, entry, tree)
    first = next(iter(entries()), None)
    if first is None:
        return
    flow = Flow(archive.read(first.offset, directory.start), stopped, first.offset)
    for entry in entries():
        _write(archive, entry, flow, tree)


def _in_order(archive: Archive, directory: Directory) -> Callable[[], Iterable[Entry]]:
    """Find the members in the order in which they lie; nearly every directory has it already, and none is held."""
    before = -1
    for entry in directory.entries():
        if entry.offset < before:
            break
        before = entry.offset
    else:
        return directory.entries
    if directory.count > SORTED_MOST:
        raise members.too_much(
            archive.name,
            f"lists {directory.count:,} members out of the order in which they lie ({SORTED_MOST:,} is the most)",
            "pack it again, or as a .tar",
        )
    held = sorted(directory.entries(), key=attrgetter("offset"))
    return lambda: held


def _write(archive: Archive, entry: Entry, flow: Flow, tree: Tree) -> None:
    try:
        _copy(archive, entry, flow, tree)
    except Ended:
        raise members.broken(archive.name, f"ends in the middle of {entry.name!r}") from None


def _copy(archive: Archive, entry: Entry, flow: Flow, tree: Tree) -> None:
    member = _member(archive, entry, tree)
    if entry.offset < flow.position:
        raise members.broken(archive.name, f"holds {entry.name!r} inside another member")
    flow.skip(entry.offset - flow.position)
    mark, _, _, method, *_, name_length, extra_length = LOCAL.unpack(flow.take(LOCAL.size))
    if mark != LOCAL_MARK or method != entry.method or flow.take(name_length) != entry.stored_name:
        raise members.broken(archive.name, f"is damaged: where {entry.name!r} should begin stands something else")
    flow.skip(extra_length)
    content = _checked(archive, entry, flow)
    if member is None:
        for _ in content:
            pass
    elif member.kind == "link":
        target = b"".join(bytes(piece) for piece in content).decode("utf-8", "surrogateescape")
        members.check_link(archive.name, member.path, target)
        tree.write(Member(path=member.path, kind="link", target=target), lambda _: ())
    else:
        tree.write(member, lambda _: content)


def _member(archive: Archive, entry: Entry, tree: Tree) -> Member | None:
    """Turn an entry into a member; None for the folder itself. A link's target is its content, and still to come."""
    kind = members.zip_kind(archive.name, entry.name, entry.mode)
    path = members.member_path(archive.name, entry.name, tree.room)
    if kind == "folder":
        return Member(path=path, kind=kind) if path else None
    if not path:
        raise members.refused(archive.name, entry.name, "named as the folder itself")
    if kind == "link" and entry.size > PATH_MOST:
        raise members.refused(archive.name, entry.name, f"a link to a path of {entry.size:,} bytes")
    return Member(path=path, kind=kind, size=entry.size, mode=entry.mode or 0o666)


def _checked(archive: Archive, entry: Entry, flow: Flow) -> Iterator[Buffer]:
    """Yield the content of an entry; what is larger, smaller or other than the directory says is never whole."""
    size = checksum = 0
    packed = flow.parts(entry.packed)
    for piece in _inflated(archive, entry, packed) if entry.method == DEFLATED else packed:
        size += len(memoryview(piece))
        if size > entry.size:
            break
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if size != entry.size:
        raise members.broken(archive.name, f"holds {entry.name!r} with another size than the {entry.size:,} it says")
    if checksum != entry.checksum:
        raise members.broken(archive.name, f"is damaged: {entry.name!r} has a wrong checksum")


def _inflated(archive: Archive, entry: Entry, packed: Iterator[memoryview]) -> Iterator[Buffer]:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for part in packed:
            for start in range(0, len(part), IN):
                data: Buffer = part[start : start + IN]
                while True:
                    piece = stream.decompress(data, OUT)
                    if piece:
                        yield piece
                    data = stream.unconsumed_tail
                    if not data and len(piece) < OUT:
                        break
    except zlib.error as error:
        raise members.broken(archive.name, f"is damaged in {entry.name!r}: {error}") from error
    if not stream.eof or stream.unused_data:
        raise members.broken(archive.name, f"is damaged: {entry.name!r} does not end where it should")
