"""The directory at the end of a zip: found, bounded, and read entry by entry, so that millions of them are not held."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from launcher.core import members
from launcher.unpack.flow import Ended, Flow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.unpack.flow import Archive, Stopped

LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MARK = b"PK\3\4"
STORED, DEFLATED = 0, 8
HELD_MOST = 1 << 20
"""Bytes of a directory that is read once; a larger one is read again by pieces, each by a request of its own."""
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_ENTRY_MARK = b"PK\1\2"
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\5\6"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_MARK = b"PK\6\6"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_MARK = b"PK\6\7"
_TAIL = _END.size + 0xFFFF + _LOCATOR.size + _END64.size
_BLOCK = 1 << 20
_MOST16, _MOST32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_UTF8 = 1 << 11
_ZIP64, _UNICODE_PATH = 1, 0x7075
_DOS, _UNIX, _NTFS = 0, 3, 10
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 20: "zstd", 93: "zstd", 95: "xz", 98: "PPMd", 99: "AES"}


class Entry(NamedTuple):
    """One member as the directory has it; `mode` is 0 where it was not made on Unix."""

    name: str
    stored_name: bytes
    offset: int
    packed: int
    size: int
    checksum: int
    method: int
    mode: int


class Directory:
    """Where the directory lies, and how many entries it says it has; `before` bytes stand before the zip proper."""

    def __init__(self, archive: Archive, stopped: Stopped, *, start: int, end: int, count: int, before: int) -> None:
        self.start = start
        self.count = count
        self._archive = archive
        self._end = end
        self._before = before
        self._stopped = stopped
        self._held = self._taken(start, end) if end - start <= HELD_MOST else None

    def entries(self) -> Iterator[Entry]:
        """Read every entry, in the directory's own order."""
        name = self._archive.name
        flow = Flow(self._blocks(), self._stopped, self.start)
        found = 0
        try:
            while flow.position < self._end:
                fields = _ENTRY.unpack(flow.take(_ENTRY.size))
                if fields[0] != _ENTRY_MARK:
                    _damaged(self._archive, f"in its directory, at byte {flow.position - _ENTRY.size:,}")
                stored_name, extra, _ = (flow.take(length) for length in fields[12:15])
                found += 1
                yield _entry(name, fields, stored_name, extra, self._before)
        except Ended:
            _damaged(self._archive, "in its directory, which is cut off")
        if found != self.count:
            _damaged(self._archive, f"in its directory, which has {found:,} members of {self.count:,}")

    def _blocks(self) -> Iterator[bytes]:
        if self._held is not None:
            yield self._held
            return
        for start in range(self.start, self._end, _BLOCK):
            yield self._taken(start, min(start + _BLOCK, self._end))

    def _taken(self, start: int, end: int) -> bytes:
        return b"".join(bytes(piece) for piece in self._archive.read(start, end)) if start < end else b""


def find_directory(archive: Archive, stopped: Stopped) -> Directory:
    """Find the directory of a zip; raises `StageError` where none ends the archive."""
    # never the whole: so a store that sends no parts says so at the first request
    first = max(archive.size - _TAIL, 1) if archive.size > _END.size else 0
    tail = b"".join(bytes(piece) for piece in archive.read(first, archive.size))
    at = tail.rfind(_END_MARK)
    while at >= 0 and (len(tail) < at + _END.size or at + _END.size + _END.unpack_from(tail, at)[7] != len(tail)):
        at = tail.rfind(_END_MARK, 0, at)
    if at < 0:
        raise members.broken(archive.name, "is no zip, or is cut off: it does not end with a directory")
    _, disk, disk_of, here, count, size, offset, _ = _END.unpack_from(tail, at)
    end = first + at
    if _MOST16 in (disk, here, count) or _MOST32 in (size, offset):
        found = _end64(archive, tail, at, first)
        if found is not None:
            end, disk, disk_of, here, count, size, offset = found
    if disk or disk_of or here != count:
        raise members.broken(archive.name, "is one part of a zip in several files; join them (zip -s 0)")
    before = end - size - offset
    if before < 0:
        _damaged(archive, "in its directory, which would begin before the archive")
    return Directory(archive, stopped, start=end - size, end=end, count=count, before=before)


def _end64(archive: Archive, tail: bytes, at: int, first: int) -> tuple[int, ...] | None:
    """Read the end of a zip64; None where a small zip only happens to have a number that looks like its mark."""
    place = at - _LOCATOR.size
    if place < 0 or tail[place : place + 4] != _LOCATOR_MARK:
        return None
    record = place - _END64.size
    if record < 0 or tail[record : record + 4] != _END64_MARK:
        _damaged(archive, "at its end: the zip64 record is missing")
    _, _, _, _, disk, disk_of, here, count, size, offset = _END64.unpack_from(tail, record)
    return first + record, disk, disk_of, here, count, size, offset


def _entry(archive: str, fields: tuple[int, ...], stored_name: bytes, extra: bytes, before: int) -> Entry:
    system, flags, method, checksum, packed, size = fields[2], fields[5], fields[6], fields[9], fields[10], fields[11]
    attributes, offset = fields[17], fields[18]
    extras = _extras(extra)
    name = _name(archive, stored_name, extras, flags, system)
    if flags & _ENCRYPTED or method == 99:  # noqa: PLR2004 - AES, which hides the true method
        raise members.refused(archive, name, "encrypted")
    if method not in (STORED, DEFLATED):
        raise members.refused(archive, name, f"compressed by {_METHODS.get(method, f'method {method}')}")
    if _MOST32 in (packed, size, offset):
        size, packed, offset = _wide(archive, name, extras.get(_ZIP64, b""), (size, packed, offset))
    mode = attributes >> 16 if system == _UNIX else 0
    return Entry(name, stored_name, offset + before, packed, size, checksum, method, mode)


def _extras(extra: bytes) -> dict[int, bytes]:
    found = {}
    while len(extra) >= 4:  # noqa: PLR2004 - an id and a length
        key, length = struct.unpack_from("<2H", extra)
        found[key] = extra[4 : 4 + length]
        extra = extra[4 + length :]
    return found


def _wide(archive: str, name: str, field: bytes, narrow: tuple[int, ...]) -> tuple[int, ...]:
    """Put the wide numbers in the place of those that were too large for 32 bits, in the order of the format."""
    wide = []
    for number in narrow:
        if number == _MOST32:
            if len(field) < 8:  # noqa: PLR2004 - 64 bits
                raise members.broken(archive, f"is damaged in its directory: {name!r} lacks its zip64 sizes")
            wide.append(int.from_bytes(field[:8], "little"))
            field = field[8:]
        else:
            wide.append(number)
    return tuple(wide)


def _name(archive: str, stored: bytes, extras: dict[int, bytes], flags: int, system: int) -> str:
    """Read a name, which is UTF-8 where the zip says so, or by its looks; any other would be a guess."""
    unicode_path = extras.get(_UNICODE_PATH, b"")
    if unicode_path[:1] == b"\1" and unicode_path[1:5] == zlib.crc32(stored).to_bytes(4, "little"):
        stored, flags = unicode_path[5:], flags | _UTF8
    try:
        name = stored.decode()
    except UnicodeDecodeError as error:
        why = "no UTF-8, as it says" if flags & _UTF8 else "in an encoding that the zip does not tell"
        raise members.refused(archive, stored.decode("cp437"), f"a name {why}") from error
    if system in (_DOS, _NTFS) and "/" not in name:
        return name.replace("\\", "/")  # as some writers on Windows separate folders
    return name


def _damaged(archive: Archive, where: str) -> NoReturn:
    raise members.broken(archive.name, f"is damaged {where}")
