"""A tar as it streams by: ustar, GNU and pax headers, each met once, each length checked before it is believed.

tarfile of the standard library is not asked: it takes a damaged header in the middle for the end of the archive, and
holds whatever size a long name or a pax header claims.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from launcher.core import members
from launcher.core.members import Member
from launcher.unpack.flow import Ended

if TYPE_CHECKING:
    from launcher.unpack.flow import Flow
    from launcher.unpack.tree import Tree

BLOCK = 512
EXTENSION_MOST = 64 * 1024
"""Bytes of a long name or a pax header: sixteen of the longest paths."""
DIGITS_MOST = 19
"""Of a size in a pax header."""
_ZEROS = bytes(BLOCK)
_FIELDS = struct.Struct("100s8s16x12s12x8sc100s8s80x155s12x")
_SIGNED = struct.Struct("148b8x356b")
_USTAR = b"ustar\x0000"
_NAMES = {b"L": "path", b"K": "linkpath"}
_PAX = (b"x", b"X", b"g")


class Header(NamedTuple):
    """One block; the field's own words."""

    name: bytes
    mode: bytes
    size: int
    code: bytes
    target: bytes


def unpack(archive: str, flow: Flow, tree: Tree) -> None:
    """Write every member of a tar below the tree; raises `StageError` for whatever is refused, damaged or cut off."""
    try:
        while (header := _next(archive, flow, "")) is not None:
            _write(archive, flow, tree, header)
    except Ended:
        raise members.broken(archive, f"ends without its end mark, after {flow.position:,} bytes of tar") from None
    for part in flow.rest():
        if part.tobytes().strip(b"\0"):
            raise members.broken(archive, "goes on after its end mark: two archives in one, or damaged")


def _write(archive: str, flow: Flow, tree: Tree, header: Header) -> None:
    told: dict[str, str] = {}
    try:
        while header.code in _NAMES or header.code in _PAX:
            _extend(archive, flow, header, told)
            after = _next(archive, flow, "right behind a long name")
            if after is None:
                _damaged(archive, flow, "ends behind a long name")
            header = after
        member = _member(archive, flow, tree, header, told)
        stored = _stored(archive, flow, header, told)
        if member is None:
            flow.skip(stored)
        else:
            tree.write(member, lambda size: flow.parts(size))  # noqa: PLW0108 - a method would be typed too narrowly
        flow.skip(-stored % BLOCK)
    except Ended:
        name = told.get("path") or _text(header.name)
        raise members.broken(archive, f"ends in the middle of {name!r}, after {flow.position:,} bytes of tar") from None


def _next(archive: str, flow: Flow, where: str) -> Header | None:
    """Read a header; None for the zeros that end an archive."""
    block = flow.take(BLOCK)
    if block == _ZEROS:
        return None
    name, mode, size, checksum, code, target, magic, prefix = _FIELDS.unpack(block)
    wanted = _number(checksum)
    if wanted != sum(block) - sum(checksum) + 8 * 32 and wanted != sum(_SIGNED.unpack(block)) + 8 * 32:
        if flow.position == BLOCK:
            raise members.broken(archive, "is no tar: its first block has a wrong checksum")
        _damaged(archive, flow, f"has a wrong checksum {where}".rstrip())
    length = _number(size)
    if length is None:
        _damaged(archive, flow, "has a size that is no number")
    name = name.partition(b"\0")[0]
    # GNU's own format keeps times where ustar has the beginning of the name
    before = prefix.partition(b"\0")[0] if magic == _USTAR else b""
    return Header(before + b"/" + name if before else name, mode, length, code, target.partition(b"\0")[0])


def _extend(archive: str, flow: Flow, header: Header, told: dict[str, str]) -> None:
    """Take a long name, or the records of a pax header, which speak of the next member."""
    if header.size > EXTENSION_MOST:
        _damaged(archive, flow, f"claims a name of {header.size:,} bytes ({EXTENSION_MOST:,} is the most)")
    content = flow.take(header.size)
    flow.skip(-header.size % BLOCK)
    if header.code in _NAMES:
        told[_NAMES[header.code]] = _text(content.partition(b"\0")[0])
        return
    records = _records(archive, flow, content)
    if header.code != b"g":
        told.update(records)
    elif records.keys() & {"path", "linkpath", "size"}:
        _damaged(archive, flow, "gives one name or size to all members")


def _records(archive: str, flow: Flow, content: bytes) -> dict[str, str]:
    """Read the lines `LENGTH KEY=VALUE` of a pax header."""
    found = {}
    while content:
        digits, space, _ = content[:8].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        key, equals, value = content[len(digits) + 1 : length].partition(b"=")
        if not equals or length > len(content) or not value.endswith(b"\n"):
            _damaged(archive, flow, "has a pax header that is none")
        found[_text(key)] = _text(value[:-1])
        content = content[length:]
    return found


def _stored(archive: str, flow: Flow, header: Header, told: dict[str, str]) -> int:
    """How many bytes of content follow: links and folders have none, whatever their size says."""
    if members.tar_kind(archive, _text(header.name), header.code) != "file" or _is_old_folder(header):
        return 0
    if "size" not in told:
        return header.size
    if not (told["size"].isascii() and told["size"].isdigit() and len(told["size"]) <= DIGITS_MOST):
        _damaged(archive, flow, "has a size that is no number")
    return int(told["size"])


def _member(archive: str, flow: Flow, tree: Tree, header: Header, told: dict[str, str]) -> Member | None:
    """Turn a header and what was told of it into a member; None for the folder itself."""
    name = told.get("path") or _text(header.name)
    if any(key.startswith("GNU.sparse.") for key in told):
        raise members.refused(archive, told.get("GNU.sparse.name", name), "a sparse file")
    kind = members.tar_kind(archive, name, header.code)
    path = members.member_path(archive, name, tree.room)
    target = told.get("linkpath") or _text(header.target)
    if kind == "folder" or _is_old_folder(header):
        return Member(path=path, kind="folder") if path else None
    if not path or name.endswith("/"):
        raise members.refused(archive, name, "named as a folder, which it is not")
    if kind == "link":
        members.check_link(archive, path, target)
        return Member(path=path, kind=kind, target=target)
    if kind == "copy":
        return Member(path=path, kind=kind, target=members.copied_path(archive, path, target, tree.room))
    size = _stored(archive, flow, header, told)
    return Member(path=path, kind=kind, size=size, mode=_number(header.mode) or 0)


def _is_old_folder(header: Header) -> bool:
    """Before POSIX, a folder was a file with a slash at its end."""
    return header.code == b"\0" and header.name.endswith(b"/")


def _number(field: bytes) -> int | None:
    """Read octal digits, or GNU's base 256 for what is too large for them; None for what is neither."""
    if field[0] == 0x80:  # noqa: PLR2004 - the mark of a positive number in base 256
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    try:
        return int(digits, 8) if digits.isdigit() else None if digits else 0
    except ValueError:
        return None


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _damaged(archive: str, flow: Flow, what: str) -> NoReturn:
    raise members.broken(archive, f"is damaged: the header at byte {flow.position - BLOCK:,} of the tar {what}")
