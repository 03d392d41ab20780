"""What a run is made of, looked at: the code on the node, what lies in a store, contents summed up.

It changes nothing, and a file that was written to since the training began is told as such and not summed up.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict

from launcher import disk
from launcher.core.keys import is_own, plain_md5
from launcher.core.listed import NAMED
from launcher.core.reproduce import NAMED_CODE, Code, Source, is_code, tree_digest
from launcher.summing import new_sha256

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterable, Mapping

    from launcher.core.listed import Listed
    from launcher.core.plan import Plan

    Stopped = Callable[[], bool]

MOST_FILES = 20_000
MOST_BYTES = 5 * 1024**3
"""Of a code directory that lay on the node already; one that is staged has limits of its own."""
SMALL_BYTES = 64 * 1024**2
"""Inputs up to this size are summed up where their store's marks are no checksums."""
LITTLE = 1 << 20


class Summed(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its size, whether its owner may run it, and its SHA-256."""

    size: int
    runs: bool
    sha256: str


def summed(root: str, path: str, since_ns: int | None = None) -> Summed | None:
    """Sum up a file below `root`, no link followed; None for one that is gone, or changed after `since_ns` or now."""
    try:
        with open(disk.open_regular(root, path), "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if since_ns is not None and before.st_ctime_ns > since_ns:
                return None
            digest = _digest(before.st_size)
            while chunk := file.read(disk.CHUNK):
                digest.update(chunk)
            after = os.fstat(file.fileno())
    except OSError:
        return None
    if (before.st_size, before.st_ctime_ns) != (after.st_size, after.st_ctime_ns):
        return None
    return Summed(size=after.st_size, runs=bool(after.st_mode & stat.S_IXUSR), sha256=digest.hexdigest())


def summed_early(root: str, listed: Listed, seconds: float) -> dict[str, Summed]:
    """Little files of a listing, in their order, summed up for so long and no longer."""
    end, known = time.monotonic() + seconds, {}
    for path, size, _ in listed.files:
        if time.monotonic() > end:
            break
        found = summed(root, f"{root}/{path}") if size <= LITTLE else None
        if found is not None:
            known[path] = found
    return known


def lying(folder: str, most: int, stopped: Stopped) -> tuple[list[str], bool]:
    """What lies in a folder, the launcher's own apart, by relative path; and whether that is all of it.

    No more than `most` entries are looked at, nothing is read, and no link is followed.
    """
    found: list[str] = []
    waiting, seen = [""], 0
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(os.path.join(folder, below)) as entries:
                for entry in entries:
                    seen += 1
                    if seen > most or stopped():
                        return sorted(found), False
                    path = below + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path + "/")
                    elif not is_own(path):
                        found.append(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found.append(below or ".")  # nobody can say that it is empty
    return sorted(found), True


def code_here(
    plan: Plan, listed: Listed | None, known: Mapping[str, Summed], since_ns: int | None, stopped: Stopped
) -> Code:
    """The code directory on this node: of what was staged the files that were listed, else whatever lies there."""
    if plan.code is None:
        raise ValueError("a plan without code")
    top = plan.code.path
    source = f"file://{top}" if plan.code.source is None else plan.code.source.url
    if listed is not None:
        sizes = {path: size for path, size, _ in listed.files if is_code(path)}
    else:
        sizes = {path: stamp.size for path, stamp in disk.scan(top).files.items() if is_code(path)}
    made = Code(
        source=source, files=len(sizes), bytes=sum(sizes.values()), listed=listed.digest if listed is not None else None
    )
    if len(sizes) > MOST_FILES or made.bytes > MOST_BYTES:
        return made
    found: dict[str, Summed] = {}
    changed: list[str] = []
    for path in sizes:
        if stopped():
            return made
        one = known.get(path) or summed(top, f"{top}/{path}", since_ns)
        if one is None or one.size != sizes[path]:
            changed.append(path)
        else:
            found[path] = one
    return of_tree(made, found, changed)


def of_tree(code: Code, found: Mapping[str, Summed], changed: Iterable[str] = ()) -> Code:
    """The code with what its files came to."""
    gone = tuple(sorted(changed))
    return msgspec.structs.replace(
        code,
        tree=None if gone else tree_of(found),
        hashes={path: found[path].sha256 for path in sorted(found)} if len(found) <= NAMED_CODE else {},
        changed=gone[:NAMED_CODE],
    )


def tree_of(found: Mapping[str, Summed]) -> str:
    """The digest of all these files together."""
    return tree_digest(((path, one.runs, one.size, one.sha256) for path, one in found.items()), new_sha256())


def source_of(listed: Listed) -> Source:
    """A channel's source as the record has it."""
    return Source(**asdict(listed))


def hashes_here(listed: Listed, folder: str, since_ns: int, stopped: Stopped) -> dict[str, str]:
    """What a channel brought to a folder, summed up; nothing where the store's marks do, or it cannot be told."""
    if not is_worth_reading(listed):
        return {}
    found: dict[str, str] = {}
    for path, size, _ in listed.files:
        one = None if stopped() else summed(folder, f"{folder}/{path}", since_ns)
        if one is None or one.size != size:
            return {}
        found[path] = one.sha256
    return found


def is_worth_reading(listed: Listed | Source) -> bool:
    """Whether it is small, and its marks are no checksums of contents."""
    few = 0 < len(listed.files) == listed.objects <= NAMED and listed.bytes <= SMALL_BYTES
    return few and any(plain_md5(mark) is None for _, _, mark in listed.files)


def _digest(size: int) -> hashlib._Hash:
    if size <= LITTLE:
        return new_sha256()
    from hashlib import sha256  # noqa: PLC0415 - it is faster, and brings OpenSSL along

    return sha256()
