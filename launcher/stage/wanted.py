"""What stage will bring: every folder that the plan wants filled, and the objects for it, as their store lists them.

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
from launcher.core.dataset import Rules
from launcher.core.errors import Exit, LauncherError, StageError, StoreError
from launcher.core.plan import Patterns
from launcher.core.urls import Location, parse_location
from launcher.listing import objects
from launcher.retry import Retries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from launcher.core.plan import Code, CodeLimits, Output, Plan
    from launcher.core.stored import StoredObject
    from launcher.protocols import Store

PART_ROOM = 40
"""Bytes kept free in a path for the temporary name beside the target."""
SHOWN = 8
"""Names that a message shows of a folder."""
PAGE = 1000
"""One page of a listing: as far as a hint about a missing folder may look."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One folder that is to be filled, from where and how; `label` names it in messages.

    `resume` is where an output's files come from that are not its own: beside those of `source`, or it is `source`.
    """

    kind: Literal["code", "input", "output"]
    name: str
    label: str
    source: Location
    path: str
    patterns: Patterns = Patterns()
    extract: bool = False
    dataset: Rules | None = None
    resume: Location | None = None

    @property
    def room(self) -> int:
        """The most bytes that a relative path may have here."""
        return keys.PATH_MOST - PART_ROOM - len(self.path.encode("utf-8", "surrogateescape"))


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in a folder before it is filled, by relative path, and what an earlier start left unfinished."""

    files: Mapping[str, disk.Stamp]
    parts: tuple[str, ...]
    parts_bytes: int = 0
    """What those of them take on the disk that are gone on with."""


def wanted(plan: Plan) -> Iterator[Wanted]:
    """Name every folder that the plan wants filled: code, inputs, predownloaded outputs."""
    if plan.code is not None and plan.code.source is not None:
        source = plan.code.source.folder
        yield Wanted(kind="code", name="code", label="code_dir", source=source, path=plan.code.path)
    for one in plan.inputs:
        yield Wanted(
            kind="input",
            name=one.name,
            label=_label(one.field, one.name),
            source=one.source,
            path=one.path,
            patterns=one.patterns,
            extract=one.extract,
            dataset=one.dataset,
        )
    for index, out in enumerate(plan.outputs):
        resume = _resume(plan, out) if index == 0 else None
        if out.predownload or resume is not None:
            yield Wanted(
                kind="output",
                name=out.name,
                label=_label(out.field, out.name),
                source=out.target.folder if resume is None or out.predownload else resume,
                path=out.path,
                patterns=out.patterns,
                resume=resume,
            )


def _resume(plan: Plan, first: Output) -> Location | None:
    """The place that the first output is filled from beside its own."""
    place = plan.resilience.resume
    found = None if place is None else parse_location(place)
    return None if found is None or found.folder == first.target.folder else found


def present(want: Wanted, root: str) -> Present:
    """Look at what lies in a folder already. Raises `StageError` where it is none."""
    files = disk.scan(want.path).files if disk.is_there(root, want.path) else {}
    parts = tuple(path for path in files if path.rpartition("/")[2].startswith(keys.PART))
    return Present(
        files={path: stamp for path, stamp in files.items() if not keys.is_own(path)},
        parts=parts,
        parts_bytes=sum(disk.blocks(os.path.join(want.path, part)) for part in parts if keys.is_lasting(part)),
    )


def single(want: Wanted, store: Store, retries: Retries, stopped: Callable[[], bool]) -> StoredObject | None:
    """The one object that an input may be instead of a folder."""
    if want.kind != "input" or want.source.is_folder:
        return None
    return retries.call(lambda: store.stat(want.source), stopped)


def arrange_code(want: Wanted, listing: Iterator[StoredObject], limits: CodeLimits) -> keys.Arrangement[StoredObject]:
    """Take in the whole code directory, and hold it against its limits. Raises `PlanError`, `StageError`."""
    return keys.arrange(listing, want.source.folder, room=want.room, limits=limits)


def check_there(want: Wanted, store: Store, retries: Retries, stopped: Callable[[], bool]) -> None:
    """Refuse a source that holds nothing, and is no folder that is there as an object of its own."""
    folder = want.source.folder
    if want.kind == "output" or (folder.key and retries.call(lambda: store.stat(folder), stopped) is not None):
        return
    raise _missing(want, store)


def remarks(want: Wanted, known: int, foreign: Collection[str]) -> Iterator[str]:
    """Say what a person should know of a folder: that nothing came, or what of it its source does not have."""
    if not known and want.kind != "output":
        chosen = want.patterns.include or want.patterns.exclude
        yield f"{want.label}: {want.source.url} holds no files{' that its patterns select' if chosen else ''}"
    left = sorted(path for path in foreign if not is_compiled(path))
    if left:
        meaning = "they count as output" if want.kind == "output" else "they stay, and the boot file will see them"
        yield (
            f"{want.label}: {want.path} holds {len(left):,} files that {want.source.url} does not have, "
            f"the first is {left[0]!r}; {meaning}"
        )


def output_remarks(
    output: Output, store: Store, root: str, stopped: Callable[[], bool], *, filled: bool
) -> Iterator[str]:
    """Say what an output that is not predownloaded would be mixed with, on the node and in the store.

    `filled`: it is filled from elsewhere, and what lies on the node is told of there.
    """
    label, target = _label(output.field, output.name), output.target.folder
    try:
        there = disk.is_there(root, output.path)
        count = sum(not keys.is_own(path) for path in disk.scan(output.path).files) if there else 0
        if count and not filled:
            yield f"{label}: {output.path} already holds {count:,} files; they count as output"
        if any(_counts(item.key[len(target.key) :]) for item in objects(target, store, Retries(), stopped)):
            yield (
                f"{label}: {target.url} already holds objects; they stay, but those of equal name are replaced "
                "(Predownload would bring them here first)"
            )
    except LauncherError as error:
        if not (isinstance(error, StoreError) and error.exit_code == Exit.REFUSED):
            raise named(label, error) from error
        yield f"{label}: cannot see whether {target.url} is in use: {error}"


def check_boot_file(code: Code) -> None:
    """See that the boot file is there now; where it is not, say what is."""
    if code.boot_file is None or os.path.isfile(os.path.join(code.path, code.boot_file)):
        return
    there = sorted(path for path in disk.scan(code.path).files if not (keys.is_own(path) or is_compiled(path)))
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


def is_compiled(path: str) -> bool:
    """Whether Python made it beside its source, and uses it only while that source is there."""
    return path.endswith(".pyc") and "__pycache__" in path.split("/")


def _counts(path: str) -> bool:
    """Whether a key below an output is a file of it, and not the launcher's own or a marker."""
    return not path.endswith("/") and bool(path) and not keys.is_own(path)


def _label(field: str, name: str) -> str:
    return f"{field} ({name})"


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
