"""The .git of a code directory, read as files: git itself is never run, and nothing outside of the folder is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core import git
from launcher.core.reproduce import Git

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 16 * 1024**2
"""Of any of git's own files."""
MOST_CONTENT = 64 * 1024**2
"""Of tracked files that are summed up, all together."""


class _Odd(Exception):  # noqa: N818 - it leaves this module never
    """Whether something was changed cannot be told without git."""


def git_of(folder: str, stopped: Callable[[], bool]) -> Git | None:
    """What the folder's .git says; None where it has none."""
    place = f"{folder}/.git"
    if not os.path.lexists(place):
        return None
    if os.path.islink(place) or not os.path.isdir(place):
        return Git(note=".git leads out of the code directory, and is not followed")
    head = _text(folder, ".git/HEAD")
    name = git.reference(head)
    commit = git.commit(head if name is None else _text(folder, f".git/{name}"))
    if commit is None and name is not None:
        commit = git.packed(_text(folder, ".git/packed-refs"), name)
    if commit is None:
        return Git(note=".git names no commit")
    branch = name.removeprefix("refs/heads/") if name is not None and name.startswith("refs/heads/") else None
    try:
        return Git(commit=commit, branch=branch, dirty=_is_dirty(folder, commit, stopped))
    except _Odd as odd:
        return Git(commit=commit, branch=branch, note=f"whether files were changed since is not known: {odd}")


def _is_dirty(folder: str, commit: str, stopped: Callable[[], bool]) -> bool:
    """Whether a tracked file is not as the commit has it. Raises `_Odd`."""
    found = git.index(_read(folder, ".git/index"))
    if found is None or "sha256" in _text(folder, ".git/config"):
        raise _Odd("its index is of another form")
    left = MOST_CONTENT
    for entry in found.entries:
        if stopped():
            raise _Odd("there was no time to look")
        size = _size(folder, entry.path)
        if size is None:
            return True
        left -= size
        if left < 0 or not entry.plain:
            raise _Odd("it tracks too much" if left < 0 else "it tracks links")
        if not _is(folder, entry):
            return True
    tree = _tree(folder, commit)
    if found.tree is None or tree is None:
        raise _Odd("the commit is packed away, or something was added")
    return tree != found.tree


def _is(folder: str, entry: git.Entry) -> bool:
    """Whether a file is what is tracked. Raises `_Odd` where git may have written it in another form."""
    from hashlib import sha1  # noqa: PLC0415 - where there is a .git

    content = _read(folder, entry.path, MOST_CONTENT)
    blob = sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    blob.update(content)
    if blob.hexdigest() == entry.blob:
        return True
    above = entry.path.split("/")[:-1]
    rules = ["/".join((*above[:depth], ".gitattributes")) for depth in range(len(above) + 1)]
    told = any(os.path.lexists(f"{folder}/{each}") for each in (*rules, ".git/info/attributes"))
    if told or "autocrlf" in _text(folder, ".git/config").lower():
        raise _Odd("git changes files when it writes them here")
    return False


def _tree(folder: str, commit: str) -> str | None:
    import zlib  # noqa: PLC0415 - where there is a .git

    unpack = zlib.decompressobj()
    try:
        return git.tree_of(unpack.decompress(_read(folder, f".git/objects/{commit[:2]}/{commit[2:]}"), 4096))
    except zlib.error:
        return None


def _size(folder: str, path: str) -> int | None:
    try:
        return os.lstat(f"{folder}/{path}").st_size
    except OSError:
        return None


def _text(folder: str, path: str) -> str:
    return _read(folder, path).decode(errors="replace")


def _read(folder: str, path: str, most: int = MOST_BYTES) -> bytes:
    """A file below the folder, no link followed; nothing for one that cannot be read or is too large."""
    if ".." in path.split("/"):
        return b""
    try:
        with open(disk.open_regular(folder, f"{folder}/{path}"), "rb") as file:
            content = file.read(most + 1)
    except OSError:
        return b""
    return content if len(content) <= most else b""
