"""The sentences of number 0's table: who is awaited, and how it is with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.core.meeting.seat import Seat

SHOWN = 8
"""So many names are told; of a thousand nodes the others are counted."""

MISSING = (
    "Look whether these nodes were started, reach worker-0 at that address and port (LAUNCHER_RENDEZVOUS_PORT), and "
    "have the same job, the same nodes and the same LAUNCHER_NONCE."
)
LATE = "Look in the logs of the nodes named for what they still do, or allow more time (LAUNCHER_READY_TIMEOUT)."


def and_more(names: Iterable[str]) -> str:
    """Names as a person would list them."""
    listed = list(names)
    shown, rest = listed[:SHOWN], len(listed) - SHOWN
    if rest > 0:
        return f"{', '.join(shown)} and {rest:,} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def unready(names: Sequence[str], seats: Sequence[Seat]) -> str:
    """Who is not ready, and how it is with them."""
    awaited = [(number, seat) for number, seat in enumerate(seats) if not seat.ready]
    groups = (
        ("never called", [number for number, seat in awaited if seat.session is None]),
        ("was lost and has not come back", [number for number, seat in awaited if seat.lost]),
        ("called once, and is not connected now", [n for n, seat in awaited if not (seat.awaited or seat.here)]),
        ("not ready yet", [number for number, seat in awaited if seat.here and not seat.lost]),
    )
    return "; ".join(f"{named(names, seats, numbers)} {how}" for how, numbers in groups if numbers)


def uncalled(names: Sequence[str], seats: Sequence[Seat], seconds: float, place: str) -> str:
    """Who did not call in time, or did not come back."""
    where = f", which listens at {place}" if place else ""
    never = [number for number, seat in enumerate(seats) if seat.session is None]
    lost = [number for number, seat in enumerate(seats) if seat.lost]
    told = []
    if never:
        told.append(f"{named(names, seats, never)} did not call worker-0 within {seconds:g} s{where}")
    if lost:
        text = f"{named(names, seats, lost)} did not come back to worker-0 within {seconds:g} s"
        told.append(f"{text}{'' if never else where}, after an attempt had failed")
    return f"{'; '.join(told)}."


def named(names: Sequence[str], seats: Sequence[Seat], numbers: Iterable[int]) -> str:
    """These nodes, each with why it was not let in."""
    return and_more([_name(names[number], seats[number]) for number in numbers])


def _name(name: str, seat: Seat) -> str:
    return f"{name} ({seat.refused[-1]})" if seat.refused else name
