"""Git's own files, as git writes them and as nobody should."""

from __future__ import annotations

import hashlib
import struct

import pytest

from launcher.core import git

ID = "0123456789abcdef0123456789abcdef01234567"


def entry(path: str, content: bytes, mode: int = 0o100644, flags: int = 0, more: bytes = b"") -> bytes:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).digest()
    raw = struct.pack(">10I20sH", 0, 0, 0, 0, 0, 0, mode, 0, 0, len(content), blob, flags | len(path)) + more
    raw += path.encode()
    return raw + b"\0" * (8 - len(raw) % 8)


def make_index(*entries: bytes, version: int = 2, extensions: bytes = b"") -> bytes:
    raw = b"DIRC" + struct.pack(">II", version, len(entries)) + b"".join(entries) + extensions
    return raw + hashlib.sha1(raw).digest()


def extension(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">I", len(content)) + content


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("ref: refs/heads/main\n", "refs/heads/main"),
        (f"{ID}\n", None),
        ("ref: ../../etc/passwd", None),
        ("ref: refs/heads/../../x", None),
        ("ref: refs//x", None),
        ("", None),
    ],
)
def test_head_names_a_reference_inside(head: str, name: str | None) -> None:
    assert git.reference(head) == name


def test_a_commit_is_read_beside_a_branch_and_out_of_the_packed() -> None:
    assert git.commit(f"{ID}\n") == ID
    assert git.commit("ref: x") is None
    packed = f"# pack-refs with: peeled\n{ID} refs/heads/main\n^{ID}\nzz refs/heads/odd\n"
    assert git.packed(packed, "refs/heads/main") == ID
    assert git.packed(packed, "refs/heads/odd") is None


def test_the_tree_of_a_commit() -> None:
    assert git.tree_of(b"commit 99\0tree " + ID.encode() + b"\nauthor x") == ID
    assert git.tree_of(b"blob 99\0tree " + ID.encode() + b"\n") is None
    assert git.tree_of(b"commit 9\0parent x") is None


def test_an_index_is_read_with_what_it_remembers() -> None:
    tree = extension(b"XXXX", b"odd") + extension(b"TREE", b"\x001 0\n" + bytes.fromhex(ID))
    raw = make_index(
        entry("a.py", b"1\n"),
        entry("link", b"a.py", 0o120000),
        entry("sub", b"", 0o160000),
        entry("gone", b"", flags=0x4000, more=b"\x40\0"),
        entry("kept", b"", flags=0x4000, more=b"\0\0"),
        version=3,
        extensions=tree,
    )
    found = git.index(raw)
    assert found is not None
    assert [(each.path, each.plain) for each in found.entries] == [("a.py", True), ("link", False), ("kept", True)]
    assert found.entries[0].blob == hashlib.sha1(b"blob 2\x001\n").hexdigest()
    assert found.tree == ID


def test_an_index_that_remembers_no_tree_says_so() -> None:
    for extensions in (b"", extension(b"TREE", b"\0-1 0\n"), extension(b"TREE", b"\x001 0\nshort")):
        found = git.index(make_index(entry("a", b""), extensions=extensions))
        assert found is not None
        # what follows a record that is cut off is the index's own checksum, and no tree
        assert found.tree is None or len(found.tree) == 40


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"DIRC",
        b"NOPE" + b"\0" * 40,
        make_index(version=4),
        b"DIRC" + struct.pack(">II", 2, git.MOST_ENTRIES + 1),
        b"DIRC" + struct.pack(">II", 2, 1) + b"\0" * 10,
        *(make_index(entry(path, b"")) for path in ("", "/", "a//b", "a/", "./a", "a/../b", "/etc/passwd")),
        b"DIRC" + struct.pack(">II", 2, 1) + struct.pack(">10I20sH", *[0] * 10, b"", 0) + b"endless",
    ],
)
def test_another_form_is_none(raw: bytes) -> None:
    assert git.index(raw) is None
