"""What `npu-smi info -m` says of the NPUs' ids and `npu-smi info -l` of the cards in their slots.

It reads texts alone and runs nothing. A row that does not have its form is never guessed at: then the count is None.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from launcher.core.parse.cursor import shown
from launcher.core.parse.npusmi import NAME, NUMBER, Npu, lines, twice, unread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.parse.npusmi import Table

_COLUMN = re.compile(r"NPU ID|Slot ID|Chip Logic ID|Chip Phy-ID|Chip ID|Chip Name")
_CARD = re.compile(r"([A-Z][A-Za-z -]{0,40}?)\s*:\s?(.*)")
_NO_CHIP = "-"


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """What `npu-smi info -m` says: chips with their ids. `count` as in Table."""

    count: int | None
    npus: tuple[Npu, ...] = ()
    notes: tuple[str, ...] = ()


class Cards(msgspec.Struct, frozen=True, kw_only=True):
    """What `npu-smi info -l` says. `count` is of the chips of all cards, None as in Table; `names` of the products."""

    count: int | None
    npus: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def parse_mapping(text: str) -> Mapping:
    """Read what `npu-smi info -m` prints. A row without any id is the card's controller (Mcu), which is no device."""
    columns: Sequence[str] = ()
    npus: list[Npu] = []
    strange: str | None = None
    for number, line in lines(text):
        found = _COLUMN.findall(line)
        if "NPU ID" in found and not _COLUMN.sub("", line).strip():
            columns = found
            continue
        fields = dict(zip(columns, line.split(None, max(len(columns) - 1, 0)), strict=False))
        npu = _mapped({name: value.strip() for name, value in fields.items()})
        if npu is None:
            strange = strange or unread("info -m", number, line)
        elif npu.logical is not None or npu.physical is not None:
            npus.append(npu)
    if strange is None and twice(npus):
        strange = "npu-smi info -m names one NPU twice"
    return Mapping(
        count=len(npus) if npus and strange is None else None,
        npus=tuple(npus),
        notes=(strange,) if strange else (),
    )


def parse_cards(text: str) -> Cards:
    """Read what `npu-smi info -l` prints: how many cards, then each with its chips."""
    total: str | None = None
    cards: list[dict[str, str]] = []
    strange: str | None = None
    for number, line in lines(text):
        match = _CARD.fullmatch(line)
        if match is None:
            strange = strange or unread("info -l", number, line)
        elif match[1] in ("Card Count", "Total Count"):
            total = match[2].strip()
        elif match[1] == "NPU ID":
            cards.append({"NPU ID": match[2].strip()})
        elif cards:
            cards[-1].setdefault(match[1], match[2].strip())
    ids = [told for card in cards if (told := _number(card["NPU ID"])) is not None]
    chips = [told for card in cards if (told := _number(card.get("Chip Count", ""))) is not None]
    if strange is None and cards and not (_number(total or "") == len(cards) == len(set(ids)) == len(chips)):
        strange = f"npu-smi info -l says {shown(total)} cards and lists {len(cards)}"
    names = [name for card in cards if re.fullmatch(NAME, name := card.get("Product Name", "NA")) and name != "NA"]
    return Cards(
        count=sum(chips) if cards and strange is None else None,
        npus=tuple(ids),
        names=tuple(names),
        notes=(strange,) if strange else (),
    )


def joined(table: Table, mapping: Mapping) -> tuple[Npu, ...]:
    """The chips of a table, with the ids and the full names of a mapping where that could be read."""
    known = {(each.npu, each.chip): each for each in mapping.npus if mapping.count is not None}
    return tuple(_with_ids(each, known.get((each.npu, each.chip))) for each in table.npus)


def _mapped(fields: dict[str, str]) -> Npu | None:
    """A row of the mapping; None where it is none."""
    npu, chip = _number(fields.get("NPU ID", "")), _number(fields.get("Chip ID", ""))
    name = fields.get("Chip Name", "")
    logical, physical = fields.get("Chip Logic ID", _NO_CHIP), fields.get("Chip Phy-ID", _NO_CHIP)
    odd = any(_number(each) is None and each != _NO_CHIP for each in (logical, physical))
    if npu is None or chip is None or odd or not re.fullmatch(NAME, name):
        return None
    return Npu(npu=npu, chip=chip, name=name, logical=_number(logical), physical=_number(physical))


def _with_ids(told: Npu, mapped: Npu | None) -> Npu:
    if mapped is None:
        return told
    return msgspec.structs.replace(
        told,
        name=mapped.name,
        logical=told.logical if mapped.logical is None else mapped.logical,
        physical=told.physical if mapped.physical is None else mapped.physical,
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(NUMBER, text) else None
