"""What `npu-smi info` says of the NPUs: its table of chips, and of the processes that hold memory of them.

It reads texts alone and runs nothing. A row that does not have its form is never guessed at: then the count is None.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from launcher.core.parse.cursor import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NUMBER = r"[0-9]{1,9}"
NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}(?: [A-Za-z0-9._+-]{1,40}){0,3}"
_FIRST = re.compile(rf"\|\s*({NUMBER})\s+(?=[^|]*[A-Za-z])({NAME})\s*\|\s*([A-Za-z][A-Za-z_ -]{{0,30}}|-)\s*\|[^|]*\|")
_SECOND = re.compile(
    rf"\|\s*({NUMBER})(?:\s+({NUMBER}))?\s*"
    r"\|\s*([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]|NA|-)\s*\|([^|]*)\|"
)
_USED = re.compile(rf"({NUMBER})\s*/\s*({NUMBER})")
_PROCESS = re.compile(rf"\|\s*({NUMBER})\s+({NUMBER})\s*\|\s*({NUMBER})\s*\|(.*)\|\s*({NUMBER}|NA|-)\s*\|")
_VERSION = re.compile(r"\|\s*npu-smi\s+\S+\s+Version:\s*([A-Za-z0-9._+-]{1,40})\s*\|")
_HEAD = re.compile(r"\|\s*Chip(?:\s+(Device|Phy-ID))?\s*\|\s*Bus-Id\s*\|.*\|")
_PROCESSES = re.compile(r"\|\s*NPU\s+Chip\s*\|\s*Process id\s*\|.*\|")
_TELLS_NOTHING = re.compile(
    r"[+=|-]+|\|\s*NPU\s+Name\s*\|\s*Health\s*\|.*\||\|\s*No running processes found in NPU\s*[0-9]{0,9}\s*\|"
)
_MIB = 1024 * 1024
_LONGEST_LINE = 500
_LONGEST_NAME = 64


class Npu(msgspec.Struct, frozen=True, kw_only=True):
    """One chip. `npu` is the card's id and `chip` its place on the card; `logical` and `physical` number all chips.

    A boot process addresses it by the logical id; the physical one is that of its file, /dev/davinci<id>.
    """

    npu: int
    chip: int
    name: str
    logical: int | None = None
    physical: int | None = None
    bus: str | None = None
    health: str | None = None
    memory_bytes: int | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds memory of a chip."""

    npu: int
    chip: int
    pid: int
    name: str | None
    memory_bytes: int | None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What `npu-smi info` says. `count` is None where not all of it could be read, which `notes` then say."""

    count: int | None
    npus: tuple[Npu, ...] = ()
    held: tuple[Held, ...] = ()
    version: str | None = None
    notes: tuple[str, ...] = ()


def parse_table(text: str) -> Table:
    """Read the table of `npu-smi info`."""
    reader = _TableReader()
    for number, line in lines(text):
        reader.read(number, line)
    return reader.told()


class _TableReader:
    """Line after line of the table: a chip has two of them, its card's first; then come the processes."""

    def __init__(self) -> None:
        self._npus: list[Npu] = []
        self._held: list[Held] = []
        self._version: str | None = None
        self._second = ""
        self._card: tuple[int, str, str] | None = None
        self._at_processes = False
        self._strange: str | None = None
        self._strange_process: str | None = None

    def read(self, number: int, line: str) -> None:
        if self._card is not None:
            self._chip(number, line, *self._card)
        elif self._at_processes:
            self._process(number, line)
        elif match := _FIRST.fullmatch(line):
            self._card = int(match[1]), match[2], match[3].strip()
        elif match := _HEAD.fullmatch(line):
            self._second = match[1] or ""
        elif match := _VERSION.fullmatch(line):
            self._version = match[1]
        elif _PROCESSES.fullmatch(line):
            self._at_processes = True
        elif not _TELLS_NOTHING.fullmatch(line):
            self._unread(number, line)

    def told(self) -> Table:
        if self._card is not None:
            self._strange = self._strange or "npu-smi info ends in the middle of an NPU"
        if self._strange is None and twice(self._npus):
            self._strange = "npu-smi info lists one NPU twice"
        notes = [note for note in (self._strange, self._strange_process) if note]
        whole = self._npus and self._strange is None
        return Table(
            count=len(self._npus) if whole else None,
            npus=tuple(self._npus),
            held=tuple(self._held),
            version=self._version,
            notes=tuple(notes),
        )

    def _chip(self, number: int, line: str, npu: int, name: str, health: str) -> None:
        self._card = None
        match = _SECOND.fullmatch(line)
        if match is None:
            self._unread(number, line)
            return
        second = None if match[2] is None else int(match[2])
        self._npus.append(
            Npu(
                npu=npu,
                chip=int(match[1]),
                name=name,
                logical=second if self._second == "Device" else None,
                physical=second if self._second == "Phy-ID" else None,
                bus=match[3] if ":" in match[3] else None,
                health=None if health == "-" else health,
                memory_bytes=_memory(match[4]),
            )
        )

    def _process(self, number: int, line: str) -> None:
        match = _PROCESS.fullmatch(line)
        if match is None:
            if not (_TELLS_NOTHING.fullmatch(line) or _PROCESSES.fullmatch(line)):
                self._strange_process = self._strange_process or unread("info", number, line)
            return
        name = match[4].strip()[:_LONGEST_NAME]
        self._held.append(
            Held(
                npu=int(match[1]),
                chip=int(match[2]),
                pid=int(match[3]),
                name=name if name.isprintable() and name else None,
                memory_bytes=int(match[5]) * _MIB if match[5].isdecimal() else None,
            )
        )

    def _unread(self, number: int, line: str) -> None:
        self._strange = self._strange or unread("info", number, line)


def _memory(usage: str) -> int | None:
    """The memory of a chip: its HBM where it has some, which is told last, else its own."""
    totals = [int(total) for _, total in _USED.findall(usage)]
    told = [total for total in totals if total]
    return told[-1] * _MIB if told and len(totals) <= 2 else None  # noqa: PLR2004 - memory and HBM, never more


def lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers; what is far too long for one has no form that is known."""
    for number, line in enumerate(text.splitlines(), start=1):
        told = line.strip()
        if told:
            yield number, told if len(told) <= _LONGEST_LINE else f"{told[:_LONGEST_LINE]}..."


def twice(npus: Iterable[Npu]) -> bool:
    """Whether two rows are of one chip, or have one number; chips of one card may well have one bus id."""
    rows = tuple(npus)
    for numbers in (
        [(each.npu, each.chip) for each in rows],
        [each.logical for each in rows if each.logical is not None],
        [each.physical for each in rows if each.physical is not None],
    ):
        if len(set(numbers)) < len(numbers):
            return True
    return False


def unread(command: str, number: int, line: str) -> str:
    """The sentence about a line that has no form that is known."""
    return f"npu-smi {command}: line {number} cannot be read: {shown(line)}"
