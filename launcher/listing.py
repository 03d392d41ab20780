"""What stage will bring: every source listed, its keys arranged, compared with what lies on the node, and measured.

It changes nothing, here or in the store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Literal

import msgspec

from launcher import disk
from launcher.core import keys
from launcher.core.errors import Cancelled, Exit, LauncherError, StageError, StoreError
from launcher.core.stored import StoredObject
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from launcher.core.plan import Code, CodeLimits, Output, Plan
    from launcher.protocols import Store

PART_ROOM = 40
"""Bytes kept free in a path for the temporary name beside the target."""
SHOWN = 8
"""Names that a message shows of a folder."""
PAGE = 1000
"""One page of a listing: as far as a hint about a missing folder may look."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One folder that is to be filled, and from where; `label` names it in messages."""

    kind: Literal["code", "input", "output"]
    name: str
    label: str
    source: Location
    path: str


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A wanted folder, listed. `present` is what lies there now, `parts` what an earlier run left unfinished."""

    wanted: Wanted
    arrangement: keys.Arrangement[StoredObject]
    present: Mapping[str, disk.Stamp]
    parts: tuple[str, ...]


def wanted(plan: Plan) -> Iterator[Wanted]:
    """Name every folder that the plan wants filled: code, inputs, predownloaded outputs."""
    if plan.code is not None and plan.code.source is not None:
        source = plan.code.source.folder
        yield Wanted(kind="code", name="code", label="code_dir", source=source, path=plan.code.path)
    for one in plan.inputs:
        yield Wanted(kind="input", name=one.name, label=_label(one.field, one.name), source=one.source, path=one.path)
    for out in plan.outputs:
        if out.predownload:
            label = _label(out.field, out.name)
            yield Wanted(kind="output", name=out.name, label=label, source=out.target.folder, path=out.path)


def look(want: Wanted, store: Store, root: str, limits: CodeLimits, stopped: Callable[[], bool]) -> Channel:
    """List one source; raises with the channel's name when nothing is there or it cannot be laid down as files."""
    try:
        return _look(want, store, root, limits if want.kind == "code" else None, stopped)
    except (StageError, StoreError) as error:
        raise named(want.label, error) from error


def remarks(channel: Channel) -> Iterator[str]:
    """Say what a person should know of a channel before it is used."""
    want, found = channel.wanted, channel.arrangement
    large = keys.large_code(found.bytes) if want.kind == "code" else None
    if large:
        yield large
    if not found.files and want.kind != "output":
        yield f"{want.label}: {want.source.url} holds no files"
    foreign = sorted(path for path in channel.present.keys() - found.files.keys() if not _is_compiled(path))
    if foreign:
        meaning = "they count as output" if want.kind == "output" else "they stay, and the boot file will see them"
        yield (
            f"{want.label}: {want.path} holds {len(foreign):,} files that {want.source.url} does not have, "
            f"the first is {foreign[0]!r}; {meaning}"
        )


def output_remarks(output: Output, store: Store, root: str) -> Iterator[str]:
    """Say what an output that is not predownloaded would be mixed with, on the node and in the store."""
    label, target = _label(output.field, output.name), output.target.folder
    try:
        there = disk.is_there(root, output.path)
        count = sum(not keys.is_own(path) for path in disk.scan(output.path).files) if there else 0
        if count:
            yield f"{label}: {output.path} already holds {count:,} files; they count as output"
        if store.occupied(target):
            yield (
                f"{label}: {target.url} already holds objects; they stay, but those of equal name are replaced "
                "(Predownload would bring them here first)"
            )
    except LauncherError as error:
        if not (isinstance(error, StoreError) and error.exit_code == Exit.REFUSED):
            raise named(label, error) from error
        yield f"{label}: cannot see whether {target.url} is in use: {error}"


def check_room(channels: Iterable[Channel], threads: int) -> None:
    """See that every file system has the bytes and the inodes for its channels together, with 1 % to spare."""
    sizes: dict[str, int] = {}
    entries: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for channel in channels:
        mount = disk.mount_of(channel.wanted.path)
        size, count = _needs(channel, threads, os.statvfs(mount).f_frsize)
        sizes[mount] = sizes.get(mount, 0) + size
        entries[mount] = entries.get(mount, 0) + count
        users.setdefault(mount, []).append(channel.wanted.label)
    for mount, size in sizes.items():
        lacking = disk.shortage(mount, size + size // 100, entries[mount])
        if lacking:
            raise StageError(
                f"no room on the file system at {mount} for {', '.join(users[mount])}: {lacking}",
                code="no-space",
                action="Free space there, give the node a larger disk, or stage less.",
                exit_code=Exit.NODE,
            )


def check_folding(channel: Channel) -> None:
    """Refuse names that are one name on the file system that they go to."""
    clash = keys.folding_clash((*channel.arrangement.files, *channel.arrangement.folders))
    if clash:
        raise StageError(
            f"{clash[0]!r} and {clash[1]!r} are one name on the file system of {channel.wanted.path}",
            code="key-clash",
            action="Rename one in the store, or stage to a file system that tells upper from lower case.",
        )


def check_boot_file(code: Code) -> None:
    """See that the boot file is there now; where it is not, say what is."""
    if code.boot_file is None or os.path.isfile(os.path.join(code.path, code.boot_file)):
        return
    there = sorted(path for path in disk.scan(code.path).files if not (keys.is_own(path) or _is_compiled(path)))
    shown = ", ".join(there[:SHOWN]) + (f" and {len(there) - SHOWN:,} more" if len(there) > SHOWN else "")
    wanted_name = os.path.relpath(os.path.join(code.path, code.boot_file), code.path)
    near = keys.nearest(wanted_name, there)
    raise StageError(
        f"boot_file: no {wanted_name} in {code.path}, there is {shown or 'nothing'} (ModelArts.2758)",
        code="no-boot-file",
        action=f"Did you mean {near}?" if near else "Correct boot_file, or put it in the code directory.",
    )


def named(label: str, error: LauncherError) -> StageError:
    """Put a channel's name before what went wrong in it."""
    return StageError(f"{label}: {error}", code=error.code, action=error.action, exit_code=error.exit_code)


def _needs(channel: Channel, threads: int, block: int) -> tuple[int, int]:
    """Bytes and entries that a channel adds: whole blocks, less what it replaces but for the files in flight."""

    def rounded(size: int) -> int:
        return -(-size // block) * block

    files, present = channel.arrangement.files, channel.present
    replaced = [rounded(present[path].size) for path in files if path in present]
    size = sum(rounded(item.size) for item in files.values()) - sum(replaced) + sum(sorted(replaced)[-threads:])
    return max(size, 0), channel.arrangement.entries - len(replaced)


def _is_compiled(path: str) -> bool:
    """Whether Python made it beside its source, and uses it only while that source is there."""
    return path.endswith(".pyc") and "__pycache__" in path.split("/")


def _label(field: str, name: str) -> str:
    return f"{field} ({name})"


def _look(want: Wanted, store: Store, root: str, limits: CodeLimits | None, stopped: Callable[[], bool]) -> Channel:
    room = keys.PATH_MOST - PART_ROOM - len(want.path.encode("utf-8", "surrogateescape"))
    single = None if want.kind != "input" or want.source.is_folder else store.stat(want.source)
    if single is not None:
        found = keys.arrange_one(single, want.source)
    else:
        source = want.source.folder
        found = keys.arrange(_unless(stopped, store.walk(source)), source, room=room, limits=limits)
    if not found.listed and want.kind != "output" and not _has_marker(want.source.folder, store):
        raise _missing(want, store)
    here = disk.scan(want.path) if disk.is_there(root, want.path) else None
    files = here.files if here else {}
    return Channel(
        wanted=want,
        arrangement=found,
        present={path: stamp for path, stamp in files.items() if not keys.is_own(path)},
        parts=tuple(path for path in files if path.rpartition("/")[2].startswith(keys.PART)),
    )


def _unless(stopped: Callable[[], bool], listing: Iterable[StoredObject]) -> Iterator[StoredObject]:
    for item in listing:
        if stopped():
            raise Cancelled
        yield item


def _has_marker(folder: Location, store: Store) -> bool:
    """Whether an empty folder is there as an object of its own; a listing need not show it."""
    return bool(folder.key) and store.stat(folder) is not None


def _missing(want: Wanted, store: Store) -> StageError:
    number = "ModelArts.2757" if want.kind == "code" else "ModelArts.2791"
    meant = _meant(want.source, store)
    return StageError(
        f"no object under {want.source.url} ({number})",
        code="nothing-there",
        action=f"Did you mean {meant}?" if meant else "Check the bucket and the folder, and that they hold objects.",
    )


def _meant(source: Location, store: Store) -> str | None:
    """Look one level up for a folder of nearly this name; no more than a page, and no error of its own."""
    above, _, name = source.key.rstrip("/").rpartition("/")
    if not name:
        return None
    parent = Location(source.bucket, f"{above}/" if above else "")
    try:
        beside = {item.key[len(parent.key) :].partition("/")[0] for item in islice(store.walk(parent), PAGE)}
    except StoreError:
        return None
    near = keys.nearest(name, sorted(beside - {""}))
    return parent.child(near).url if near else None
