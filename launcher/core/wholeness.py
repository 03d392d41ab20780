"""Whether the newest checkpoint that a store has is whole, as far as its name, its siblings and manifests can tell.

A put is atomic for one object, but a checkpoint may be many, and a run may have been cut off between two of them. What
is doubtful is brought all the same: here is only what is said about it. Nothing here reads a store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from launcher.core.checkpoints import newest
from launcher.core.frozen import Record
from launcher.core.keys import readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.core.checkpoints import Checkpoint
    from launcher.core.manifest import Manifest

SIBLINGS = 8
"""So many checkpoints of the same kind are held against one."""
POINTER_BYTES = 4096
"""Bytes of a file that names the newest checkpoint."""
_POINTERS = frozenset(
    (
        *("latest", "latest.txt", "latest_checkpoint", "latest_checkpoint.txt", "latest_checkpointed_iteration.txt"),
        *("last", "last.txt", "last_checkpoint", "last_checkpoint.txt", "checkpoint"),
    )
)
_TENSORFLOW = re.compile(r'model_checkpoint_path: *"([^"\n]{1,1024})"')
_WORD = re.compile(r"[^\x00-\x1f\x7f\s]{1,255}")
_SHARD = re.compile(r"(.*[^0-9])?([0-9]{5})-of-([0-9]{5})(.*)", re.DOTALL)
_DIGITS = re.compile(r"[0-9]+")


class Evidence(Record, frozen=True, kw_only=True):
    """What a store says of what was put there.

    `sizes` by key, as the manifests of all workers name them; None where there is no manifest. `cut_off` is a sign that
    a run ended before everything was in its place, as a sentence.
    """

    sizes: Mapping[str, int] | None = None
    cut_off: str | None = None


class Judged(Record, frozen=True, kw_only=True):
    """What is to be said of the newest checkpoint: a warning, or a note where nothing is known of it."""

    warning: str | None = None
    note: str | None = None


def judge(found: Sequence[Checkpoint], evidence: Evidence) -> Judged:
    """Look at the newest checkpoint; nothing is said of one that its manifest names as it is."""
    first = newest(found)
    if first is None:
        return Judged()
    why = _broken(first, found) or _unproven(first, evidence)
    if why:
        whole = newest(one for one in found if not (_broken(one, found) or _unproven(one, evidence)))
        best = whole or newest(one for one in found if one is not first and not _broken(one, found))
        proven = whole is not None and evidence.sizes is not None
        return Judged(warning=f"{_named(first)} {why}; it was brought all the same, {_instead(best, proven=proven)}")
    if evidence.sizes is None:
        return Judged(note=f"no manifest tells whether {_named(first)}, the newest checkpoint, is whole")
    return Judged()


def evidence_of(manifests: Mapping[int, Manifest], signs: Sequence[str]) -> Evidence:
    """What the manifests of an output say together; `signs` are other signs of runs that were cut off."""
    workers = max((manifest.workers for manifest in manifests.values()), default=0)
    lacking = workers - len(manifests)
    if lacking > 0:
        signs = (*signs, f"{lacking:,} of {workers:,} workers have left no manifest")
    sizes = {entry.key: entry.size for manifest in manifests.values() for entry in manifest.objects}
    return Evidence(sizes=sizes if manifests else None, cut_off=signs[0] if signs else None)


def is_named(one: Checkpoint, evidence: Evidence) -> bool:
    """Whether manifests name all of a checkpoint as it is."""
    sizes = evidence.sizes or {}
    return all(sizes.get(file.path) == file.size for file in one.files)


def is_pointer(path: str) -> bool:
    """Whether a file is one that names the newest checkpoint, by its own name."""
    return path.rpartition("/")[2].lower() in _POINTERS


def pointed_at(path: str, content: bytes) -> str | None:
    """What such a file names, relative to its folder; None where it is something else after all."""
    text = content.decode("utf-8", "replace").strip()
    told = _TENSORFLOW.search(text)
    if path.rpartition("/")[2] == "checkpoint":
        return told[1] if told else None
    return text if _WORD.fullmatch(text) else None


def has(found: Sequence[Checkpoint], path: str, target: str) -> bool:
    """Whether the checkpoint is there that a file at `path` names: by its name, or Megatron's by its number alone."""
    folder = path[: path.rfind("/") + 1]
    name = target.rstrip("/").rpartition("/")[2]
    number = int(target) if target.isascii() and target.isdecimal() else None
    return any(
        f"/{name}/" in f"/{one.name}/" or (number is not None and one.number == number and one.name.startswith(folder))
        for one in found
    )


def _broken(one: Checkpoint, found: Sequence[Checkpoint]) -> str | None:
    """Why a checkpoint is not whole, by what it is made of."""
    if one.making:
        return "is named as one that is still being written"
    return _lacks_shards(one) or _lacks_files(one, found)


def _lacks_shards(one: Checkpoint) -> str | None:
    shards: dict[tuple[str, str, int], set[int]] = {}
    for file in one.files:
        told = _SHARD.fullmatch(file.path)
        if told:
            shards.setdefault((told[1] or "", told[4], int(told[3])), set()).add(int(told[2]))
    for (_, _, count), there in shards.items():
        if len(there) < count:
            return f"has {len(there):,} of its {count:,} parts"
    return None


def _lacks_files(one: Checkpoint, found: Sequence[Checkpoint]) -> str | None:
    """What all its siblings have and it has not: the same tool writes the same files each time."""
    siblings = [each for each in found if each.family == one.family and each is not one and not each.making]
    siblings = sorted(siblings, key=lambda each: each.order, reverse=True)[:SIBLINGS]
    if not siblings or len(one.files) > 1000 * SIBLINGS:
        return None
    wanted = frozenset.intersection(*map(_kinds, siblings))
    lacking = sorted(wanted - _kinds(one))
    if not lacking:
        return None
    name = next(name for name in _inner(siblings[0]) if _DIGITS.sub("#", name) == lacking[0])
    more = f" and {len(lacking) - 1:,} more files" if len(lacking) > 1 else ""
    return f"lacks {readable(name) or 'a file'}{more}, which {_named(siblings[0])} has"


def _kinds(one: Checkpoint) -> frozenset[str]:
    return frozenset(_DIGITS.sub("#", name) for name in _inner(one))


def _inner(one: Checkpoint) -> Iterator[str]:
    """The names of its files, without what is its own name."""
    stem = one.name if one.name.endswith("/") else one.name[: one.name.rfind("/") + 1]
    return (file.path[len(stem) :] for file in one.files)


def _unproven(one: Checkpoint, evidence: Evidence) -> str | None:
    """Why a checkpoint may be half-written, by what was put on record."""
    sizes = evidence.sizes
    if sizes is None:
        return None if evidence.cut_off is None else f"may be half-written: {evidence.cut_off}"
    for file in one.files:
        size = sizes.get(file.path)
        if size is None:
            part = "" if file.path == one.name else f" {readable(file.path)} of it"
            why = evidence.cut_off or "a run that was cut off may have left it"
            return f"may be half-written: no manifest of a whole upload names{part or ' it'}, and {why}"
        if size != file.size:
            part = "" if file.path == one.name else f", {readable(file.path)},"
            return f"may be half-written: it{part} has {file.size:,} bytes, and {size:,} in the manifest"
    return None


def _named(one: Checkpoint) -> str:
    return readable(one.name)


def _instead(best: Checkpoint | None, *, proven: bool) -> str:
    if best is None:
        return "and there is no other"
    return f"and {_named(best)} is the newest that {'is' if proven else 'seems'} whole"
