"""From a listing to folders and files: which key stands for which path, and what is refused, all before any I/O.

It never meets the file system or the store; what it is given is all it knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from launcher.core.errors import PlanError, StageError
from launcher.core.urls import wrong_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from launcher.core.plan import CodeLimits
    from launcher.core.urls import Location

OWN = ".launcher"
"""The launcher's own folder in an output; it is neither staged nor synced."""
PART = ".launcher-part-"
"""How the name of a file begins that is still on its way."""
LASTING = f"{PART}of-"
"""The same, where what has come of it is of use to the next start."""
PATH_MOST = 4095
"""Bytes of a path on Linux: PATH_MAX without the closing NUL."""
KEY_MOST = 1024
"""Bytes of an object's key in OBS."""
LARGE_CODE = 50 * 1024**2
"""Bytes of a code directory above which it probably holds data."""
GIVE_UP = 10
"""A code listing is counted to the end, but to no more than this many times its limit."""
PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")


class Listed(Protocol):
    """What a listing must tell of an object."""

    @property
    def key(self) -> str:
        """The whole key."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...


Item = TypeVar("Item", bound=Listed)


class Arrangement(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """Where a folder's objects will lie: relative paths of files, and every folder they need, parents first.

    `listed` counts all keys seen, markers included; `own` those of the launcher itself, which are left out.
    """

    files: Mapping[str, Item]
    folders: tuple[str, ...]
    bytes: int
    listed: int
    own: int = 0

    @property
    def entries(self) -> int:
        """Files and folders, as the limits of a code directory count them."""
        return len(self.files) + len(self.folders)

    @property
    def depth(self) -> int:
        """Segments of the longest relative path, the file's own name included."""
        return max((path.count("/") + 1 for paths in (self.files, self.folders) for path in paths), default=0)


def arrange(
    listing: Iterable[Item], folder: Location, *, room: int = PATH_MOST, limits: CodeLimits | None = None
) -> Arrangement[Item]:
    """Turn the listing of `folder` into paths; `room` is the most bytes that a relative path may have.

    Raises `StageError` for a key that cannot stand for a path and for two that cannot stand side by side, `PlanError`
    for a broken limit. With limits, a listing that has no end is given up at ten times what is allowed.
    """
    files: dict[str, Item] = {}
    folders: set[str] = set()
    listed = own = size = 0
    for item in listing:
        listed += 1
        relative = relative_path(item.key, folder, room)
        if is_own(relative):
            own += 1
        elif relative.endswith("/"):
            _add_folder(folders, relative[:-1])
        elif relative:
            _add_file(files, relative, item)
            _add_folder(folders, relative.rpartition("/")[0])
            size += item.size
        if limits and max(listed, len(files) + len(folders)) > limits.entries * GIVE_UP:
            raise _too_many(folder, f"more than {limits.entries * GIVE_UP:,}", limits)
    both = min(files.keys() & folders, default=None)
    if both is not None:
        raise clash(f"{files[both].key!r} is an object and a folder at once", folder)
    done = Arrangement(files=files, folders=tuple(sorted(folders)), bytes=size, listed=listed, own=own)
    if limits:
        _check_limits(done, folder, limits)
    return done


def relative_path(key: str, folder: Location, room: int) -> str:
    """What a key is below a folder; nothing for the folder itself. Raises `StageError` for one that is no path."""
    if not key.startswith(folder.key):
        raise _refused(key, f"it does not lie below {folder.url}")
    relative = key[len(folder.key) :]
    wrong = wrong_key(relative)
    if wrong:
        raise _refused(key, wrong)
    if len(relative) * 4 > room and len(relative.encode()) > room:
        raise _refused(key, f"a path of {len(relative.encode())} bytes ({room} is the most here)")
    return relative


def clash(what: str, folder: Location) -> StageError:
    """Refuse two keys that cannot stand side by side."""
    return StageError(
        f"{what} under {folder.url}; no file system can hold both",
        code="key-clash",
        action="Rename or remove one of the two in the store.",
    )


def arrange_one(item: Item, at: Location) -> Arrangement[Item]:
    """Arrange a single object: a file named as the last component of its key."""
    wrong = wrong_key(at.name)
    if wrong:
        raise _refused(item.key, wrong)
    return Arrangement(files={at.name: item}, folders=(), bytes=item.size, listed=1)


def is_own(relative: str) -> bool:
    """Whether a path below a channel's folder is the launcher's bookkeeping and no part of the channel."""
    first = relative.partition("/")[0]
    return first == OWN or relative.rpartition("/")[2].startswith(PART)


def part_name(number: int) -> str:
    """Name the temporary file of one transfer: unique by its number in a root that one launcher has, and short."""
    return f"{PART}{number}"


def is_lasting(path: str) -> bool:
    """Whether a file is a large object's that is still on its way."""
    return path.rpartition("/")[2].startswith(LASTING)


def lasting_part_stem(key: str, etag: str, size: int) -> str:
    """How the name of a large object's temporary file begins, at each start, so that what has come of it is found.

    What follows must be new for each such file: with a name used again, what was noted of an older one would be taken
    for true of it.
    """
    from hashlib import sha256  # noqa: PLC0415 - for large objects only

    return f"{LASTING}{sha256(f'{key} {etag} {size}'.encode()).hexdigest()[:24]}-"


def folded(path: str) -> str:
    """What a path is to a file system that folds case and Unicode forms."""
    from unicodedata import normalize  # noqa: PLC0415 - asked only where the file system folds

    return normalize("NFC", normalize("NFC", path).casefold())


def plain_md5(etag: str) -> str | None:
    """Read the MD5 that an ETag is; None for the mark of a multipart upload, which is none."""
    bare = etag.strip('"').lower()
    return bare if PLAIN_MD5.fullmatch(bare) else None


def large_code(size: int) -> str | None:
    """Warn of a code directory so large that training data probably lies in it."""
    if size <= LARGE_CODE:
        return None
    return f"code_dir: {human_size(size)} of code; over 50 MB is slow to start, so keep training data in an input"


def nearest(name: str, names: Collection[str]) -> str | None:
    """Find the name that was probably meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - asked only when something is missing

    found = get_close_matches(name, names, n=1)
    return found[0] if found else None


def readable(key: str) -> str:
    """Write a name that may be no Unicode text in a form that JSON can hold."""
    return key.encode("utf-8", "backslashreplace").decode()


def human_size(size: float) -> str:
    """Write a size for people, in units of 1,024."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024:  # noqa: PLR2004 - the unit's own step
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TB"


def _add_folder(folders: set[str], path: str) -> None:
    while path and path not in folders:
        folders.add(path)
        path = path.rpartition("/")[0]


def _add_file(files: dict[str, Item], relative: str, item: Item) -> None:
    if relative in files:
        raise StageError(
            f"the store lists {item.key!r} twice",
            code="key-clash",
            action="Start the job again; if it stays so, the store's listing is broken.",
        )
    files[relative] = item


def _refused(key: str, wrong: str) -> StageError:
    return StageError(
        f"the key {key!r} cannot be a file here: {wrong}",
        code="key-refused",
        action="Rename or remove this object in the store.",
    )


def _too_many(folder: Location, found: str, limits: CodeLimits) -> PlanError:
    return PlanError(
        f"code_dir: {found} files and folders under {folder.url}, {limits.entries:,} is the most (ModelArts.2759)",
        code="code-limits",
        action="Keep only code there, data belongs in an input; or raise LAUNCHER_CODE_MAX_FILES.",
    )


def _check_limits(found: Arrangement[Item], folder: Location, limits: CodeLimits) -> None:
    if found.entries > limits.entries:
        raise _too_many(folder, f"{found.entries:,}", limits)
    if found.bytes > limits.bytes:
        raise PlanError(
            f"code_dir: {found.bytes:,} bytes under {folder.url}, "
            f"{limits.bytes:,} ({human_size(limits.bytes)}) is the most (ModelArts.2761)",
            code="code-limits",
            action="Keep only code there, data belongs in an input; or raise LAUNCHER_CODE_MAX_BYTES.",
        )
    if found.depth > limits.depth:
        raise PlanError(
            f"code_dir: {found.depth} levels under {folder.url}, {limits.depth} is the most (ModelArts.2760)",
            code="code-limits",
            action="Flatten the folders; or raise LAUNCHER_CODE_MAX_DEPTH.",
        )
