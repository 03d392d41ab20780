"""Which files of an output are checkpoints, and which is the newest: told by their names, then by time and size.

A checkpoint is one file, the shards of one, or a folder; how the usual tools name them is in docs/checkpoints.md. Names
that sort wrongly as text (ckpt-9 after ckpt-10) are in order here. It reads nothing: names and sizes are all it knows.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from launcher.core.frozen import Record
from launcher.core.patterns import fits
from launcher.core.plan import Patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_FILES = 200_000
"""Files of checkpoints that are held."""

SUFFIXES = (
    *(".pt", ".pth", ".pth.tar", ".pt.tar", ".ckpt", ".safetensors", ".distcp", ".h5", ".hdf5", ".keras", ".npz"),
    *(".pkl", ".pickle", ".joblib", ".msgpack", ".pdparams", ".pdopt", ".params", ".om", ".mindir", ".index"),
    *("_steps.zip", "/_metadata", "/_checkpoint_metadata", "/manifest.ocdbt", "/.metadata"),
)
"""How the names of files end that hold a model's state; the last ones are whole names, of folders with many files."""
_MORE = re.compile(r".*\.data-[0-9]{5}-of-[0-9]{5}|(?:.*/)?(?:pytorch_model|adapter_model|model|optimizer)[^/]*\.bin")
_UNFINISHED = re.compile(r"\.(?:tmp|temp|part|partial|incomplete|writing)$")
_MAKING = re.compile(r"(?<![a-z])(?:tmp|temp|part|partial|incomplete|unfinished|in-?progress|writing)(?![a-z])")

_OUTER = r"epochs?|ep|rounds?"
_INNER = (
    r"global_?steps?|steps?|iterations?|iters?|it|checkpoints?|ckpts?|chkpts?|chkpnts?|cp|updates?|batch(?:es)?|"
    r"snapshots?|episodes?"
)
_WORD = rf"(?:{_OUTER}|{_INNER})"
_COUNT = r"[0-9]{1,18}(?:[km](?![a-z0-9]))?"
_AFTER = re.compile(rf"(?<![a-z])({_WORD})[-_=. ]{{0,2}}({_COUNT})(?![0-9]|\.[0-9])")
_BEFORE = re.compile(rf"(?<![0-9])(?<![0-9]\.)({_COUNT})[-_ ]?({_WORD})(?![a-z])")
_IS_OUTER = re.compile(_OUTER)
_PAIR = re.compile(r"-([0-9]{1,18})_([0-9]{1,18})\.ckpt")
_MOMENT = re.compile(r"(?<![0-9])(20[0-9]{6})[-_t ]([0-9]{4,6})(?![0-9])")
_PLAIN = re.compile(r"(?<![0-9a-z])(?<![0-9]\.)([0-9]{1,18})(?![0-9a-z]|\.[0-9])")
_LASTING = r"last|latest|current|recent|resume|autosave|breakpoint"
_IS_LASTING = re.compile(rf"(?<![a-z])(?:{_LASTING}|checkpoint|ckpt|state)(?![a-z])")
_FOLDER = re.compile(
    rf"(?:(?:tmp|temp)[-_.])?(?:"
    rf"(?:(?:model|save|{_WORD})[-_=. ]{{0,2}})+{_COUNT}(?:[-_=.](?:{_WORD}[-_=. ]{{0,2}}){_COUNT})*"
    rf"|(?:(?:model|checkpoint|ckpt)[-_])?(?:{_LASTING}|best|final)(?:[-_](?:model|checkpoint|ckpt))?|[0-9]{{1,18}})"
    rf"(?:[-_.](?:{_LASTING}|best|final|ckpt|orbax-checkpoint-tmp-[0-9]+))?"
)
_SHARD = re.compile(r"[-_.]?[0-9]{5}-of-([0-9]{5})")
_RANK = re.compile(r"[-_.]?(?:(?:mp|tp|pp|dp|zero_pp)_)?rank[-_]?[0-9]+")
_DIGITS = re.compile(r"[0-9]+")
_THOUSANDS = {"k": 1000, "m": 1_000_000}


class Part(Record, frozen=True, kw_only=True):
    """Of which checkpoint a file is: its `unit`, a folder's ends in `/`. `state`: it is more than a word beside it."""

    unit: str
    state: bool


class File(Record, frozen=True, kw_only=True):
    """One file of a checkpoint: its path below the output, its bytes, when it was changed (0: not known)."""

    path: str
    size: int
    mtime_ns: int = 0


class Checkpoint(Record, frozen=True, kw_only=True):
    """One checkpoint: `name` below the output, a folder's ends in `/`.

    `number` is how far it is, as its name says; None: it says nothing. `outer` is the epoch where `number` counts
    within epochs. `said`: a word such as step or epoch stands at the number. `lasting`: it is written again and again
    under one name. `making`: its name says that it is still being written. Time is the latest of its files.
    """

    name: str
    outer: int | None
    number: int | None
    said: bool
    lasting: bool
    making: bool
    mtime_ns: int
    size: int
    files: tuple[File, ...]

    @property
    def family(self) -> str:
        """What it has in common with those that were written before it and after it."""
        return _DIGITS.sub("#", self.name)

    @property
    def order(self) -> tuple[int, int, int, int, str]:
        """Its place among those of its family."""
        return (_or_less(self.outer), *self._loose)

    @property
    def _loose(self) -> tuple[int, int, int, str]:
        return (_or_less(self.number), self.mtime_ns, self.size, self.name)


class Gathering:
    """The checkpoints among files that are told one by one. `patterns` say which files are; without any, their names.

    `cut`: there were more than can be held, and what is known is not all.
    """

    def __init__(self, patterns: tuple[str, ...] = (), most: int = MOST_FILES) -> None:
        self._patterns = Patterns(include=patterns) if patterns else None
        self._most = most
        self._held: dict[str, list[File]] = {}
        self._states: set[str] = set()
        self.cut = False

    def part(self, path: str) -> Part | None:
        """Of which checkpoint a file is, if of any."""
        return part_of(path, self._patterns)

    def add(self, part: Part, file: File) -> None:
        """Take a file that is part of one."""
        if self._most <= 0:
            self.cut = True
            return
        self._most -= 1
        self._held.setdefault(part.unit, []).append(file)
        if part.state:
            self._states.add(part.unit)

    def found(self) -> tuple[Checkpoint, ...]:
        """All of them; a folder without any state is none."""
        return tuple(_checkpoint(unit, files) for unit, files in self._held.items() if unit in self._states)


def newest(found: Iterable[Checkpoint]) -> Checkpoint | None:
    """The newest: of each family the one that is furthest, of those the highest number, then the latest, the largest.

    One whose name tells no number comes after all that do.
    """
    best: dict[str, Checkpoint] = {}
    for one in found:
        before = best.get(one.family)
        if before is None or one.order > before.order:
            best[one.family] = one
    return max(best.values(), key=lambda one: (one._loose, one.family), default=None)  # noqa: SLF001 - its own module


def is_further(one: Checkpoint, than: Checkpoint) -> bool:
    """Whether a checkpoint is further in its training than another, by their numbers alone."""
    if one.family == than.family and one.outer != than.outer:
        return _or_less(one.outer) > _or_less(than.outer)
    return _or_less(one.number) > _or_less(than.number)


def part_of(path: str, patterns: Patterns | None = None) -> Part | None:
    """Of which checkpoint a file is; None: it is part of none."""
    folder, _, name = path.rpartition("/")
    lower = name.lower()
    state = fits(patterns, path) if patterns is not None else _is_state(lower)
    at = _unit_folder(folder) if folder else None
    if at is not None and not _has_its_own(lower, _last(at)):
        return Part(unit=at, state=state)
    return Part(unit=_unit_file(folder, name), state=True) if state else None


def _is_state(lower: str) -> bool:
    name = "/" + _UNFINISHED.sub("", lower)
    return name.endswith(SUFFIXES) or _MORE.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _unit_folder(folder: str) -> str | None:
    """The outermost folder that is named as a checkpoint and holds none that goes on counting; it ends in `/`."""
    segments = folder.split("/")
    for depth, segment in enumerate(segments):
        lower = segment.lower()
        if _FOLDER.fullmatch(lower) and not any(_has_its_own(each.lower(), lower) for each in segments[depth + 1 :]):
            return "/".join(segments[: depth + 1]) + "/"
    return None


def _has_its_own(inner: str, outer: str) -> bool:
    """Whether a name within a folder counts by itself: then the folder only groups."""
    inside = _counted(inner)
    return bool(inside) and inside != _counted(outer)


def _last(unit: str) -> str:
    return unit.rstrip("/").rpartition("/")[2].lower()


def _unit_file(folder: str, name: str) -> str:
    """The name that all shards of one checkpoint have in common."""
    lower = name.lower()
    if ".data-" in lower or lower.endswith(".index"):
        name = name[: lower.rindex(".data-" if ".data-" in lower else ".index")]
    bare = _RANK.sub("", _SHARD.sub("", name))
    return f"{folder}/{bare}" if folder else bare


def _checkpoint(unit: str, files: Sequence[File]) -> Checkpoint:
    name = _last(unit)
    outer, number, said = _numbers(name)
    if outer is None and "/" in unit.rstrip("/"):
        outer = _epoch_above(unit)
    return Checkpoint(
        name=unit,
        outer=outer,
        number=number,
        said=said,
        lasting=number is None and _IS_LASTING.search(name.rpartition(".")[0] or name) is not None,
        making=_MAKING.search(name) is not None or any(_UNFINISHED.search(file.path.lower()) for file in files),
        mtime_ns=max(file.mtime_ns for file in files),
        size=sum(file.size for file in files),
        files=tuple(files),
    )


def _epoch_above(unit: str) -> int | None:
    """The number of the nearest folder that groups checkpoints by it."""
    for segment in reversed(unit.rstrip("/").lower().split("/")[:-1]):
        if _FOLDER.fullmatch(segment):
            return _numbers(segment)[1]
    return None


def _counted(lower: str) -> set[tuple[bool, int]]:
    """The numbers of a name, and whether they are epochs."""
    return {(_IS_OUTER.fullmatch(word) is not None, count) for word, count in _told(lower)}


@lru_cache(maxsize=4096)
def _told(lower: str) -> tuple[tuple[str, int], ...]:
    """The numbers of a name that a word stands at, with that word."""
    found = [(word, _count(count)) for word, count in _AFTER.findall(lower)]
    return tuple(found or ((word, _count(count)) for count, word in _BEFORE.findall(lower)))


def _numbers(lower: str) -> tuple[int | None, int | None, bool]:
    """Epoch (where another number counts within it), number, and whether a word says so."""
    told = _told(lower)
    if told:
        outer = [count for word, count in told if _IS_OUTER.fullmatch(word)]
        inner = [count for word, count in told if not _IS_OUTER.fullmatch(word)]
        return (outer[-1] if outer and inner else None), (inner or outer)[-1], True
    pair = _PAIR.search(lower)
    if pair:  # MindSpore: <prefix>-<epoch>_<step of it>.ckpt
        return int(pair[1]), int(pair[2]), True
    moments = _MOMENT.findall(lower)
    if moments:
        day, time = moments[-1]
        return None, int(day + time.ljust(6, "0")), False
    plain = _PLAIN.findall(_SHARD.sub("", lower))
    return None, (int(plain[-1]) if plain else None), False


def _count(text: str) -> int:
    return int(text[:-1]) * _THOUSANDS[text[-1]] if text[-1] in _THOUSANDS else int(text)


def _or_less(number: int | None) -> int:
    return -1 if number is None else number
