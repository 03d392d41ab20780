"""Where the ranks of a job stand, told so that a person sees at once which of them is not where the others are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from launcher.core.spots import CONTROL, Spot, clean, reworded
from launcher.core.stacktexts import LONGEST_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

LONGEST = 16 * 1024
"""Bytes of a standing as a text: what one node may tell another."""
MOST_RANKS = 65_536
LONGEST_NUMBER = 5
"""Digits of a rank."""
GROUPS, RANGES = 8, 16
"""How many places a sentence tells, and how many ranges of ranks of each."""
SHOWN = 120
"""Characters of a name in a sentence."""


class Place(Struct, frozen=True, kw_only=True):
    """Where one rank stands."""

    rank: int
    spot: Spot


class Standing(Struct, frozen=True, kw_only=True):
    """Where ranks stand; `unknown` are those that could not be looked into, `text` is the file with all stacks."""

    places: tuple[Place, ...] = ()
    unknown: tuple[int, ...] = ()
    text: str = ""


def to_text(standing: Standing) -> str:
    """A standing as one line of JSON, at most 16 KiB: the places of most ranks first, what has no room is unknown."""
    told = _Told(text=CONTROL.sub("?", standing.text)[-LONGEST_FILE:])
    left, groups = list(standing.unknown), list[_Group]()
    size = len(msgspec.json.encode(told)) + 64
    for each, ranks in _grouped(standing.places):
        group = _Group(spot=each, ranks=_ranges(ranks, len(ranks)))
        size += len(msgspec.json.encode(group)) + 1
        if size <= LONGEST // 2:
            groups.append(group)
        else:
            left += ranks
            size = LONGEST
    unknown = _ranges(left, len(left))
    told = replace(told, groups=tuple(groups), unknown=unknown if len(unknown) < LONGEST // 2 - 64 else "")
    return msgspec.json.encode(told).decode()


def from_text(text: str) -> Standing | None:
    """What `to_text` made; None for anything else. Whoever sent it may send anything."""
    if len(text) > LONGEST:
        return None
    places: list[Place] = []
    try:
        told = msgspec.json.decode(text, type=_Told)
        for group in told.groups:
            places += [Place(rank=rank, spot=clean(group.spot)) for rank in _numbers(group.ranks)]
            if len(places) > MOST_RANKS:
                return None
        unknown = tuple(_numbers(told.unknown))
    except (msgspec.MsgspecError, ValueError):
        return None
    return merged([Standing(places=tuple(places), unknown=unknown, text=CONTROL.sub("?", told.text)[-LONGEST_FILE:])])


def merged(standings: Iterable[Standing]) -> Standing:
    """One for all of them: what is told first of a rank counts, and who is known anywhere is not unknown."""
    found: dict[int, Place] = {}
    unknown: set[int] = set()
    text = ""
    for each in standings:
        for place in each.places:
            found.setdefault(place.rank, place)
        unknown.update(each.unknown)
        text = text or each.text
    return Standing(
        places=tuple(found[rank] for rank in sorted(found)), unknown=tuple(sorted(unknown - found.keys())), text=text
    )


def together(texts: Mapping[int, str], names: Sequence[str]) -> str:
    """Where all ranks of all nodes stand, by what each node has shown (`to_text`), by its number among the names."""
    shown = {number: found for number, text in texts.items() if (found := from_text(text)) is not None}
    said = summary(merged(shown[number] for number in sorted(shown)))
    silent = [name for number, name in enumerate(names) if number not in shown]
    more = f" and {len(silent) - RANGES} more" if silent[RANGES:] else ""
    lost = f"nothing came from {', '.join(silent[:RANGES])}{more}" if silent else ""
    return "; ".join(part for part in (said, lost) if part)


def veiled(standing: Standing, mask: Callable[[str], str]) -> Standing:
    """The same with all its words masked."""
    return replace(
        standing,
        places=tuple(replace(place, spot=reworded(place.spot, mask)) for place in standing.places),
        text=mask(standing.text),
    )


def summary(standing: Standing) -> str:
    """Where all stand, in one sentence: the largest group first, then the odd ones; empty where nothing is known."""
    if not standing.places:
        return ""
    total = len({*(place.rank for place in standing.places), *standing.unknown})
    grouped = _grouped(standing.places)
    said = [_said(each, members, total, first=not at) for at, (each, members) in enumerate(grouped[:GROUPS])]
    rest = [rank for _, members in grouped[GROUPS:] for rank in members]
    said += [f"{_named(rest)} {'is' if len(rest) == 1 else 'are'} elsewhere"] if rest else []
    said += [f"nothing is known of {_named(standing.unknown)}"] if standing.unknown else []
    return "; ".join(said)


class _Group(Struct, frozen=True, kw_only=True):
    spot: Spot
    ranks: str


class _Told(Struct, frozen=True, kw_only=True):
    groups: tuple[_Group, ...] = ()
    unknown: str = ""
    text: str = ""


def _grouped(places: Iterable[Place]) -> list[tuple[Spot, list[int]]]:
    """The ranks by their places, the largest group first. Who waits for others does so in whichever line of it."""
    found: dict[Spot, list[int]] = {}
    for place in places:
        found.setdefault(replace(place.spot, line=0) if place.spot.waits else place.spot, []).append(place.rank)
    return sorted(((each, sorted(ranks)) for each, ranks in found.items()), key=lambda one: (-len(one[1]), one[1]))


def _said(one: Spot, ranks: list[int], total: int, *, first: bool) -> str:
    several = len(ranks) > 1
    who = f"{len(ranks)} of {total} ranks" if first and several else _named(ranks)
    if first and several and len(ranks) == total:
        who = f"all {total} ranks"
    verb = ("wait in" if several else "waits in") if one.waits else ("are in" if several else "is in")
    called = _at(one.caller_file, one.caller_line)
    if one.waits and called:
        return f"{who} {verb} {one.function[:SHOWN]} ({called})"
    within = f" ({one.caller[:SHOWN]})" if one.caller and one.caller != "<module>" else ""
    by = f", called at {called}{within}" if called else ""
    return f"{who} {verb} {one.function[:SHOWN]} ({_at(one.file, one.line)}){by}"


def _at(file: str, line: int) -> str:
    return f"{file[-SHOWN:]}:{line}" if file and line else file[-SHOWN:]


def _named(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {_ranges(ranks, RANGES, ', ')}"


def _ranges(ranks: Iterable[int], most: int, between: str = ",") -> str:
    """`0-6,8`: at most so many ranges, and how many ranks there are more."""
    found: list[tuple[int, int]] = []
    for rank in sorted(set(ranks)):
        if found and found[-1][1] == rank - 1:
            found[-1] = found[-1][0], rank
        else:
            found.append((rank, rank))
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in found[:most]]
    left = sum(high - low + 1 for low, high in found[most:])
    return between.join(shown) + (f" and {left} more" if left else "")


def _numbers(text: str) -> Sequence[int]:
    """The ranks of `0-6,8`, each once and in their order. Raises ValueError for anything else."""
    found = [-1]
    for each in text.split(",") if text else ():
        low, dash, high = each.partition("-")
        if not all(
            part.isascii() and part.isdecimal() and len(part) <= LONGEST_NUMBER
            for part in ((low, high) if dash else (low,))
        ):
            raise ValueError(each)
        first, last = int(low), int(high or low)
        if not found[-1] < first <= last < MOST_RANKS:
            raise ValueError(each)
        found += range(first, last + 1)
    return found[1:]
