"""One dataset of one input: what its manifest names, what of that is missing, and the manifests that are delivered.

The manifest is read from the disk line by line as often as it takes and never held. It brings no object by itself: who
does asks `objects` and tells `missing`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from launcher import disk
from launcher.core.dataset.faults import SampleError, WrongError
from launcher.core.dataset.names import SPLITS, whole_name
from launcher.core.dataset.references import Origin, place, references, rewritten
from launcher.core.dataset.rules import check_sample, wrong_split
from launcher.core.dataset.sample import read_sample
from launcher.core.dataset.tally import Tally
from launcher.core.dataset.verdicts import allowed, invalid, lacking, told
from launcher.core.errors import Cancelled, Problem
from launcher.core.keys import PART, human_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from typing import BinaryIO

    from launcher.core.dataset import Rules
    from launcher.core.dataset.sample import Sample
    from launcher.core.errors import StageError
    from launcher.core.urls import Location

ASKED = 1024
"""Lines between two questions whether to stop."""
TOLD_MOST = 8
"""Problems of a manifest that are told one by one."""
SHOWN_MOST = 3
"""Missing samples that are told one by one."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The service's limits of a manifest (dataset overview), and ours of a line."""

    samples: int = 1_000_000
    size: int = 5 * 1024**3
    line: int = 4 * 1024**2


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """One object of a dataset, and where it belongs below the channel's folder."""

    path: str
    bucket: str
    key: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was delivered: samples in the whole manifest, by usage, those left out, and the manifests' names."""

    samples: int
    missing: int
    usages: Mapping[str, int]
    manifests: tuple[str, ...]


class Dataset:
    """A dataset whose manifest lies at `source`, below `root`, and was brought from `at`.

    `missing` may be called from any thread while `objects` is read in another; `write` comes after both.
    """

    def __init__(
        self,
        *,
        channel: str,
        at: Location,
        root: str,
        source: str,
        folder: str,
        rules: Rules,
        stopped: Callable[[], bool],
        limits: Limits | None = None,
    ) -> None:
        self._channel, self._origin = channel, Origin(at, rules.buckets)
        self._root, self._source, self._folder = root, source, folder
        self._rules, self._stopped, self._limits = rules, stopped, limits or Limits()
        self._lock = Lock()
        self._named, self._gone = Tally(), Tally()
        self._total = 0  # samples that were seen
        self._lost = 0  # samples that may lack an object, those that lack two counted twice
        self._bearable = 0  # so many of them need no recount

    def objects(self) -> Iterator[Wanted]:
        """Read the manifest and tell each object that it names, once, in the order of the samples.

        Raises `StageError` after the last line if one was wrong; no object is told after a wrong one.
        """
        problems: list[Problem] = []
        wrong = 0
        usages: Counter[str] = Counter()
        for seen, (number, line) in enumerate(self._lines(), 1):
            self._total = max(seen, self._total)
            if seen > self._limits.samples:
                raise self._invalid(
                    Problem(path=f"line {number}", message=f"more than {self._limits.samples:,} samples")
                )
            try:
                sample, places = self._sample(number, line)
            except SampleError as error:
                wrong += 1
                problems += [error.problem] if wrong <= TOLD_MOST else []
                continue
            usages[sample.used_for] += 1
            for at in () if wrong else places:
                with self._lock:
                    new = self._named.add(at.bucket, at.key)
                    self._lost += not new and self._is_gone(at)
                if new:
                    yield Wanted(place(at), at.bucket, at.key)
        self._finish(usages, problems, wrong)

    def missing(self, bucket: str, key: str) -> None:
        """Take note that an object is not there.

        Raises `StageError` as soon as more samples lack something than may.
        """
        with self._lock:
            if self._gone.add(bucket, key):
                self._lost += max(1, self._named.count(bucket, key))
                self._settle()

    def write(self) -> Summary:
        """Write the manifests with local paths: the whole one, and one per usage that has samples; none is seen half.

        Samples that lack an object are left out. Manifests of usages that an earlier start left are removed.
        """
        from contextlib import ExitStack  # noqa: PLC0415 - once per dataset

        try:
            with ExitStack() as stack:
                folder = os.open(self._folder, disk.DIRECTORY)
                stack.callback(os.close, folder)
                return self._write(folder, stack)
        except OSError as error:  # closing a part on a full disk is one more of them
            raise disk.refusal(error, f"write the manifests of {self._channel} in {self._folder}") from error

    def _write(self, folder: int, stack: ExitStack) -> Summary:
        whole = whole_name(self._origin.manifest)
        files = {whole: _open_part(folder, whole, stack)}
        usages: Counter[str] = Counter()
        lost: list[str] = []
        total = left_out = 0
        for number, line in self._lines():
            sample, places = self._known_sample(number, line)
            total += 1
            gone = next((at for at in places if self._is_gone(at)), None)
            if gone:
                left_out += 1
                lost += [told(number, gone)] if left_out <= SHOWN_MOST else []
                continue
            usages[sample.used_for] += 1
            written = rewritten(line, sample, self._origin, self._folder) + b"\n"
            files[whole].write(written)
            split = SPLITS.get(sample.used_for)
            if split and split != whole:
                if split not in files:
                    files[split] = _open_part(folder, split, stack)
                files[split].write(written)
        if left_out > allowed(self._rules.missing, total):
            raise self._lacking(left_out, total, lost)
        _put_in_place(folder, files, {*SPLITS.values()} - {whole})
        named = {usage or "none": count for usage, count in usages.items()}
        return Summary(samples=total - left_out, missing=left_out, usages=named, manifests=tuple(files))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Lines that are not blank, by number from 1; one that is too long comes as far as it was read."""
        most = self._limits.line
        with self._opened() as file:
            number = 0
            while line := file.readline(most + 1):
                number += 1
                if number % ASKED == 1 and self._stopped():
                    raise Cancelled
                whole = len(line) <= most or line.endswith(b"\n")
                if not (whole and line.isspace()):
                    yield number, line
                while not whole and (more := file.readline(most)):
                    whole = more.endswith(b"\n")

    def _opened(self) -> BinaryIO:
        try:
            descriptor = disk.open_regular(self._root, self._source)
        except OSError as error:
            raise disk.refusal(error, f"read the manifest of {self._channel} at {self._source}") from error
        size = os.fstat(descriptor).st_size
        if size <= self._limits.size:
            return open(descriptor, "rb")
        os.close(descriptor)
        most = human_size(self._limits.size)
        raise self._invalid(Problem(path="", message=f"a manifest of {human_size(size)}, {most} is the most"))

    def _sample(self, number: int, line: bytes) -> tuple[Sample, list[Location]]:
        if len(line.rstrip(b"\r\n")) > self._limits.line:
            raise SampleError(number, WrongError("", f"longer than {human_size(self._limits.line)}"))
        sample = read_sample(line, number)
        try:
            check_sample(sample, self._rules)
            return sample, references(sample, self._origin)
        except WrongError as wrong:
            raise SampleError(number, wrong) from None

    def _known_sample(self, number: int, line: bytes) -> tuple[Sample, list[Location]]:
        try:
            return self._sample(number, line)
        except SampleError as error:
            raise self._invalid(error.problem) from None

    def _is_gone(self, at: Location) -> bool:
        return len(self._gone) > 0 and self._gone.count(at.bucket, at.key) > 0

    def _finish(self, usages: Counter[str], problems: list[Problem], wrong: int) -> None:
        if wrong:
            raise self._invalid(*problems, wrong=wrong)
        said = wrong_split(self._rules, usages) if self._total else "no sample in it"
        if said:
            raise self._invalid(Problem(path="", message=said))
        with self._lock:
            self._settle()  # later lines may have named what was missing already

    def _settle(self) -> None:
        """Count exactly, but only where it could be too many: each object more costs as many samples as name it."""
        if self._lost <= max(self._bearable, allowed(self._rules.missing, self._total)):
            return
        count, self._total, lost = self._recount()
        most = allowed(self._rules.missing, self._total)
        if count > most:
            raise self._lacking(count, self._total, lost)
        self._bearable = self._lost + most - count

    def _recount(self) -> tuple[int, int, list[str]]:
        count = total = 0
        lost: list[str] = []
        for number, line in self._lines():
            total += 1
            with suppress(SampleError):  # `objects` tells it
                gone = next((at for at in self._sample(number, line)[1] if self._is_gone(at)), None)
                if gone:
                    count += 1
                    lost += [told(number, gone)] if count <= SHOWN_MOST else []
                    if not self._rules.missing:
                        break
        return count, total, lost

    def _invalid(self, *problems: Problem, wrong: int = 1) -> StageError:
        return invalid(self._channel, self._origin.manifest, problems, wrong)

    def _lacking(self, count: int, total: int, lost: list[str]) -> StageError:
        return lacking(self._channel, self._origin.manifest, self._rules.missing, (count, total), lost)


def _open_part(folder: int, name: str, stack: ExitStack) -> BinaryIO:
    """Open what will be the file `name`; whatever becomes of it, no part is left."""
    part = _part(name)
    with suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    stack.callback(_remove, folder, part)
    return stack.enter_context(open(os.open(part, _NEW, 0o666, dir_fd=folder), "wb"))


def _put_in_place(folder: int, files: Mapping[str, BinaryIO], splits: set[str]) -> None:
    for file in files.values():
        file.close()  # a full disk shows here at the latest
    for name in splits - files.keys():
        _remove(folder, name)
    for name in files:
        os.replace(_part(name), name, src_dir_fd=folder, dst_dir_fd=folder)


def _part(name: str) -> str:
    return f"{PART}{name if name in SPLITS.values() else 'whole'}"


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
