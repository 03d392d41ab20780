"""The few of git's own files that tell at which commit a working tree is, and whether it was changed since.

They come with somebody's code and may hold anything: what is not understood is None, and nothing is followed.
"""

from __future__ import annotations

import re

import msgspec

_ID = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"refs/(?!/)(?!.*\.\.)(?!.*//)[A-Za-z0-9._/+@-]{1,200}")
_ENTRY, _MODE, _BLOB, _FLAGS = 62, 24, 40, 60
"""Bytes of an entry before its path, and where its mode, its content and its flags stand."""
_HEADER, _DIGEST = 12, 20
_LINK, _COMMIT = 0o120000, 0o160000
_EXTENDED, _SKIPPED = 0x4000, 0x4000
_NOWHERE = frozenset(("", ".", ".."))
"""Segments that no path of git's has."""
MOST_ENTRIES = 20_000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A tracked file: its path, and the SHA-1 of its content as git counts it. `plain`: it is no link."""

    path: str
    blob: str
    plain: bool


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What is tracked, and the tree of it where the index remembers one: it does until something is added."""

    entries: tuple[Entry, ...]
    tree: str | None


def reference(head: str) -> str | None:
    """The reference that HEAD names."""
    name = head.removeprefix("ref:").strip()
    return name if head.startswith("ref:") and _REF.fullmatch(name) else None


def commit(text: str) -> str | None:
    """The commit that a reference, or a HEAD beside all branches, holds."""
    return text.strip() if _ID.fullmatch(text.strip()) else None


def packed(text: str, name: str) -> str | None:
    """The commit of a reference that lies with many others in one file."""
    found = re.search(rf"^([0-9a-f]{{40}}) {re.escape(name)}[ \t\r]*$", text, re.MULTILINE)
    return found[1] if found else None


def tree_of(content: bytes) -> str | None:
    """The tree of a commit, by the commit's own content as git keeps it, unpacked."""
    kind, _, body = content.partition(b"\0")
    found = re.match(rb"tree ([0-9a-f]{40})\n", body)
    return found[1].decode() if kind.startswith(b"commit ") and found else None


def index(raw: bytes) -> Index | None:
    """What is tracked; None for an index of another form, as one whose paths are shortened (version 4)."""
    if len(raw) < _HEADER or raw[:4] != b"DIRC":
        return None
    version, count = _number(raw, 4), _number(raw, 8)
    if version not in (2, 3) or count > MOST_ENTRIES:
        return None
    entries: list[Entry] = []
    at = _HEADER
    for _ in range(count):
        read = _entry(raw, at)
        if read is None:
            return None
        entry, at = read
        if entry is not None:
            entries.append(entry)
    return Index(entries=tuple(entries), tree=_tree(raw, at))


def _entry(raw: bytes, at: int) -> tuple[Entry | None, int] | None:
    """One entry and where the next one begins; no entry for what has no file of its own."""
    begin, skipped = at + _ENTRY, False
    if begin > len(raw):
        return None
    if int.from_bytes(raw[at + _FLAGS : begin], "big") & _EXTENDED:
        skipped = bool(int.from_bytes(raw[begin : begin + 2], "big") & _SKIPPED)
        begin += 2
    end = raw.find(b"\0", begin)
    if end < 0:
        return None
    kind, blob = _number(raw, at + _MODE) & 0o170000, raw[at + _BLOB : at + _FLAGS]
    path = raw[begin:end].decode(errors="surrogateescape")
    if _NOWHERE.intersection(path.split("/")):
        return None
    entry = None if skipped or kind == _COMMIT else Entry(path=path, blob=blob.hex(), plain=kind != _LINK)
    return entry, at + (end - at + 8) // 8 * 8


def _tree(raw: bytes, at: int) -> str | None:
    """The tree of the whole index, from the extension that remembers trees."""
    while at + 8 <= len(raw) - _DIGEST:
        name, size = raw[at : at + 4], _number(raw, at + 4)
        if name == b"TREE":
            found = re.match(rb"\0([0-9]+) [0-9]+\n", raw[at + 8 : at + 8 + size])
            digest = raw[at + 8 + found.end() :][:_DIGEST] if found else b""
            return digest.hex() if len(digest) == _DIGEST else None
        at += 8 + size
    return None


def _number(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "big")
