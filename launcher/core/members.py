"""What an archive may hold: which member stands for which file, folder or link below one folder, and what is refused.

It never meets the archive's bytes or the file system; what it is given is all it knows.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from launcher.core.errors import StageError
from launcher.core.keys import PATH_MOST, human_size, readable
from launcher.core.urls import wrong_key

Format = Literal["tar", "gzip", "zstd", "zip"]
Kind = Literal["file", "folder", "link", "copy"]

ENDINGS: tuple[tuple[str, Format], ...] = (
    (".tar", "tar"),
    (".tar.gz", "gzip"),
    (".tgz", "gzip"),
    (".tar.zst", "zstd"),
    (".zip", "zip"),
)
GROWTH_LEAST = 64 * 1024**2
"""Bytes that an archive of any size may grow to: the ratio of a tiny one says nothing."""
PERMISSIONS = 0o777
"""The bits that are taken of a member's mode: neither setuid nor setgid nor sticky."""
OWNER = 0o600
"""The bits that every file has."""

# what a tar calls its members; all that stands in neither table is refused as unknown
_TAR_KINDS: dict[bytes, Kind] = {b"0": "file", b"\0": "file", b"7": "file", b"1": "copy", b"2": "link", b"5": "folder"}
_TAR_REFUSED = {b"3": "a device", b"4": "a device", b"6": "a FIFO", b"S": "a sparse file"}
# the kinds of `st_mode` that a zip made on Unix keeps
_ZIP_KINDS: dict[int, Kind] = {0: "file", 0o100000: "file", 0o040000: "folder", 0o120000: "link"}
_ZIP_REFUSED = {0o010000: "a FIFO", 0o020000: "a device", 0o060000: "a device", 0o140000: "a socket"}
_FORMAT_BITS = 0o170000


class UnpackRules(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one archive may become: so many times its own size, and so many members."""

    ratio: int = 100
    entries: int = 10_000_000

    def most(self, size: int) -> int:
        """Bytes that an archive of `size` bytes may grow to."""
        return max(self.ratio * size, GROWTH_LEAST)


class Unpacked(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: members as they came (one that came twice counts twice), and folders that were not there.

    `links` are symbolic ones, `left_out` the members that bear the launcher's own names.
    """

    files: int = 0
    folders: int = 0
    links: int = 0
    bytes: int = 0
    left_out: int = 0


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member that may be written: a relative path (the folder itself is empty), and what will stand there.

    `target` is the text of a symbolic link, or the relative path of the file that a copy is made of.
    """

    path: str
    kind: Kind
    size: int = 0
    mode: int = 0
    target: str = ""


def archive_format(name: str) -> Format | None:
    """Tell the format by the name's ending; None for what is no archive that can be unpacked."""
    lower = name.lower()
    return next((form for ending, form in ENDINGS if lower.endswith(ending)), None)


def tar_kind(archive: str, name: str, code: bytes) -> Kind:
    """Read the type of a tar's member; raises `StageError` for devices, FIFOs and what is unknown."""
    kind = _TAR_KINDS.get(code)
    if kind is None:
        unknown = f"of the unknown type {code.decode('latin-1')!r}"
        raise refused(archive, name, _TAR_REFUSED.get(code, unknown))
    return kind


def zip_kind(archive: str, name: str, mode: int) -> Kind:
    """Read the kind of a zip's member from its name and its `st_mode` (0: not kept); raises `StageError`."""
    if name.endswith("/"):
        return "folder"
    kind = _ZIP_KINDS.get(mode & _FORMAT_BITS)
    if kind is None:
        raise refused(archive, name, _ZIP_REFUSED.get(mode & _FORMAT_BITS, f"of the unknown mode {mode:o}"))
    return kind


def member_path(archive: str, name: str, room: int = PATH_MOST) -> str:
    """Turn a member's name into a path below the folder, of at most `room` bytes; raises `StageError`.

    `./` and doubled slashes, which tar and zip programs write, mean nothing and go; whatever could lead elsewhere
    stays, and is refused.
    """
    path = name.rstrip("/") if name.strip("/") else name
    if "//" in path or path.startswith("./") or "/./" in path or path.endswith("/.") or path == ".":
        path = "/" * path.startswith("/") + "/".join(part for part in path.split("/") if part not in ("", "."))
        if not path:
            return ""
    wrong = wrong_key(path) if path else "an empty name"
    if wrong is None and len(path) * 4 > room and len(path.encode()) > room:
        wrong = f"a path of {len(path.encode())} bytes ({room} is the most here)"
    if wrong:
        raise refused(archive, name, f"named by {wrong}")
    return path


def copied_path(archive: str, path: str, target: str, room: int = PATH_MOST) -> str:
    """Turn what a hard link names into the path of a file that came before it; raises `StageError`."""
    try:
        found = member_path(archive, target, room)
    except StageError as error:
        raise refused(archive, path, f"a hard link to {_told(target)}, which is no path in the folder") from error
    if not found:
        raise refused(archive, path, "a hard link to the folder itself")
    return found


def check_link(archive: str, path: str, target: str) -> None:
    """Refuse a symbolic link that could lead out of the folder, now or by what a later member puts in its way.

    `..` may only stand at the target's beginning. There it climbs from the link's own folder, which is a real one;
    after any other segment it might climb from wherever a second link leads. So each link, and by induction each chain
    of them, stays inside.
    """
    segments = [segment for segment in target.split("/") if segment not in ("", ".")]
    climbs = next((index for index, segment in enumerate(segments) if segment != ".."), len(segments))
    wrong = None
    if not target or target.startswith("/") or climbs > path.count("/") or ".." in segments[climbs:]:
        wrong = "does not surely stay in the folder"
    elif wrong_key("/".join(segments[climbs:])) or len(target.encode()) > PATH_MOST:
        wrong = "is no path"
    if wrong:
        raise refused(archive, path, f"a link to {_told(target)}, which {wrong}")


def refused(archive: str, name: str, what: str) -> StageError:
    """Name a member that will not be written, and why."""
    return StageError(
        f"the archive {_told(archive)} holds {_told(name)}, {what}: it is not unpacked",
        code="archive-refused",
        action="Pack it again with plain files and folders under relative names, or unpack it in the boot file.",
    )


def clash(archive: str, path: str, what: str) -> StageError:
    """Name two members that cannot stand side by side."""
    return StageError(
        f"the archive {_told(archive)} holds {_told(path)}, but {what}; no file system can hold both",
        code="archive-clash",
        action="Pack it again with one of the two, or start with an empty folder.",
    )


def broken(archive: str, what: str) -> StageError:
    """Say how an archive is not what its format wants."""
    return StageError(
        f"the archive {_told(archive)} {what}",
        code="archive-broken",
        action="Test it with the program that made it (tar -t, gzip -t, zstd -t, unzip -t), and upload it again.",
    )


def too_much(archive: str, what: str, setting: str) -> StageError:
    """Say which limit an archive breaks."""
    return StageError(
        f"the archive {_told(archive)} {what}",
        code="archive-limits",
        action=f"Look whether this is the archive that you meant; {setting}.",
    )


def grown(archive: str, size: int, rules: UnpackRules) -> StageError:
    """Say that an archive grows beyond the ratio that it may."""
    return too_much(
        archive,
        f"grows to more than {human_size(rules.most(size))}, {human_size(size)} as it is "
        f"({rules.ratio} times its size is the most)",
        "if it is, raise LAUNCHER_EXTRACT_RATIO",
    )


def _told(name: str) -> str:
    """Quote a name, shortened in its middle where it is long."""
    most = 200
    text = repr(readable(name))
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"
