"""This machine's network interfaces, and by which of them, and under which address, it reaches another host.

It sends no packet: the kernel tells the way when a datagram socket is connected.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core.facts import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANY_PORT = 9
_FAR = ("203.0.113.1", "2001:db8::1")
"""Addresses that are nobody's (for documentation): the way to them is the way to whoever is far."""


def interfaces() -> tuple[str, ...]:
    """The names of all interfaces, in the kernel's order."""
    return tuple(name for _, name in socket.if_nameindex())


def interface_of(address: str) -> str | None:
    """The interface that has this address; None where none has it."""
    return next((name for name, own in _addresses() if own == address), None)


def route(to: Sequence[str], *, here: bool = False) -> Network | None:
    """How this node reaches another at one of these addresses; None where there is no way to any of them.

    `here`: the other is this node itself, and the addresses are what its name means to it. One of loopback, as hosts
    files often have it for the own name, is of no use to the peers then: they reach this node from outside.
    """
    found = [(way, scope) for address in to if (way := _source(address)) is not None for scope in (_scope(way),)]
    if here:
        found = [each for each in found if not is_loopback(each[0][0])] or _outside() or found
    if not found:
        return None
    (address, *_), scope = found[0]
    return Network(address=address, interface=scope or interface_of(address), interfaces=interfaces())


def is_loopback(address: str) -> bool:
    """Whether an address leads back to the machine itself."""
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")


_Way = tuple[str, int]
"""An own address, and the number of its interface where only that makes it one (IPv6, link-local), else 0."""


def _source(to: str) -> _Way | None:
    """The own address from which packets go to another; None where there is no way."""
    try:
        (family, kind, _, _, at), *_ = socket.getaddrinfo(
            to, _ANY_PORT, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
        with socket.socket(family, kind) as asked:
            asked.connect(at)
            own = asked.getsockname()
    except OSError:
        return None
    return str(own[0]).partition("%")[0], int(own[3]) if family == socket.AF_INET6 else 0


def _scope(way: _Way) -> str | None:
    """The name of an interface by its number."""
    with suppress(OSError):
        return socket.if_indextoname(way[1]) if way[1] else None
    return None


def _outside() -> list[tuple[_Way, str | None]]:
    """The own addresses by which others may reach this node, the one of the way to far ones first."""
    ways = [way for far in _FAR if (way := _source(far)) is not None and not is_loopback(way[0])]
    found: list[tuple[_Way, str | None]] = [(way, _scope(way)) for way in ways]
    own = [(address, name) for name, address in _addresses() if not is_loopback(address) and "%" not in address]
    return found + [((address, 0), name) for address, name in sorted(own, key=lambda each: ":" in each[0])]


def _addresses() -> list[tuple[str, str]]:
    """Every interface with every address that it has, one of link-local IPv6 with its `%interface`."""
    import psutil  # type: ignore[import-untyped]

    families = (socket.AF_INET, socket.AF_INET6)
    return [
        (name, each.address) for name, own in psutil.net_if_addrs().items() for each in own if each.family in families
    ]
