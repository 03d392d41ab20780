"""Where number 0 listens: at the addresses that worker-0's name stands for, and at no other."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, LauncherError

if TYPE_CHECKING:
    from collections.abc import Iterable

BACKLOG = 4096
"""The kernel takes what it allows of it: a thousand nodes may call in one moment."""


class Passing(LauncherError):  # noqa: N818 - it may end by itself
    """Somebody else listens there already, or the address is not this node's yet."""


PASSING = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
"""A launcher that was just killed still has its port; an interface that has just come up checks its IPv6 address for a
second or two; a name may still stand for the pod that was here before."""


def addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]]:
    """What a name stands for, each once. Raises OSError where nobody knows it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))  # type: ignore[misc]


def listening(host: str, port: int) -> list[socket.socket]:
    """A listening socket at each address of the name that is this node's. Raises LauncherError, and as `addresses`."""
    sockets: list[socket.socket] = []
    refusals: list[OSError] = []
    for family, address in addresses(host, port):
        made = _bound(family, address)
        if isinstance(made, OSError):
            refusals.append(made)
        else:
            sockets.append(made)
    if any(error.errno == errno.EADDRINUSE for error in refusals) or not sockets:
        for each in sockets:
            each.close()
        raise _refusal(host, port, refusals)
    return sockets


def only_here(host: str, found: Iterable[str]) -> bool:
    """Whether a name that is not this machine's own for itself stands for addresses that nobody else reaches.

    Many a machine's own name does, in its own /etc/hosts.
    """
    own = host in {"localhost", "::1"} or host.startswith("127.")
    return not own and all(address == "::1" or address.startswith("127.") for address in found)


def where(connection: socket.socket) -> str:
    """Its own address, for people."""
    return shown(connection.getsockname())


def shown(address: object) -> str:
    """An address as a person writes it."""
    if isinstance(address, tuple) and len(address) >= 2:  # noqa: PLR2004 - host and port
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    return "an unknown address"


def _bound(family: int, address: tuple[str, int] | tuple[str, int, int, int]) -> socket.socket | OSError:
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        return error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        return error
    return made


def _refusal(host: str, port: int, refusals: list[OSError]) -> LauncherError:
    said = "; ".join(dict.fromkeys((error.strerror or str(error)).lower() for error in refusals))
    kind = Passing if any(error.errno in PASSING for error in refusals) else LauncherError
    if any(error.errno == errno.EADDRINUSE for error in refusals):
        action = "End what listens there, or set LAUNCHER_RENDEZVOUS_PORT to another port on all nodes."
    else:
        action = "Start node 0 on the machine of that name, or correct the name (--master, VC_WORKER_HOSTS)."
    return kind(
        f"worker-0 could not listen for the other nodes at {host}, port {port}: {said or 'the name has no address'}",
        code="rendezvous-port",
        action=action,
        exit_code=Exit.NODE,
    )
