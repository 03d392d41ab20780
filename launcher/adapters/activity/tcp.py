"""Bytes that processes sent and received by TCP: /proc/<pid>/io counts those of read(2), and nothing of recv(2).

The kernel tells them for every socket (sock_diag(7)); whose it is, is told by the numbers of open files.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILES = 65536
"""Open files of all processes together that are looked at."""
_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2
_STATES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8
"""Established, and those in which a side has closed and the other may still send."""
_INFO = 2
_HEAD = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_SOCKET = struct.Struct("=BBBB2s2s16s16sI8s4II")
_COUNTS = struct.Struct("=120xQQ")
"""tcpi_bytes_acked and tcpi_bytes_received in struct tcp_info (include/uapi/linux/tcp.h)."""
_MAPPED = bytes(10) + b"\xff\xff"
_PIECE = 1 << 18

Ends = tuple[bytes, bytes]
"""Address and port of both ends of a connection, the own one first."""


class _Socket(NamedTuple):
    inode: int
    ends: Ends
    sent: int
    received: int


class Spoken(NamedTuple):
    """Bytes that were `received` from outside a family, went both ways `inside` it, and all that went both ways."""

    received: int = 0
    inside: int = 0
    spoken: int = 0


class Connections:
    """Counts what a family says and hears since it was first looked at."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._known: dict[int, Spoken] | None = None
        self._total = Spoken()

    def look(self, pids: Sequence[int]) -> Spoken:
        """So far. Where the kernel tells nothing of sockets, all that came to this node but by the loopback."""
        now = self._now(pids)
        if self._known is not None:
            for one, counts in now.items():
                before = self._known.get(one, Spoken())
                grown = (max(0, count - old) for count, old in zip(counts, before, strict=True))
                self._total = Spoken(*(total + more for total, more in zip(self._total, grown, strict=True)))
        self._known = now
        return self._total

    def _now(self, pids: Sequence[int]) -> dict[int, Spoken]:
        inodes = set(_inodes(self._proc, pids))
        if not inodes:
            return {}
        try:
            mine = [one for one in _sockets() if one.inode in inodes]
        except OSError:
            # A sandbox that does not let us ask: who shares our network is heard as well, and no hang is told falsely.
            return {0: Spoken(received=_interfaces(self._proc))}
        ends = {one.ends for one in mine}
        return {one.inode: _spoken(one, inside=one.ends[::-1] in ends) for one in mine}


def _spoken(one: _Socket, *, inside: bool) -> Spoken:
    both = one.sent + one.received
    return Spoken(received=0 if inside else one.received, inside=both if inside else 0, spoken=both)


def _inodes(proc: str, pids: Sequence[int]) -> Iterator[int]:
    left = FILES
    for pid in pids:
        with suppress(OSError):
            folder = f"{proc}/{pid}/fd"
            for name in os.listdir(folder)[:left]:
                left -= 1
                with suppress(OSError, ValueError):
                    link = os.readlink(f"{folder}/{name}")
                    if link.startswith("socket:["):
                        yield int(link[8:-1])


def _sockets() -> Iterator[_Socket]:
    """Every connection by TCP of this network namespace. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as asked:
        asked.settimeout(1.0)
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _STATES)
            asked.send(_HEAD.pack(_HEAD.size + len(body), _BY_FAMILY, _DUMP, family, 0) + body)
            try:
                yield from _answers(asked)
            except FileNotFoundError:
                if family == socket.AF_INET:
                    raise
                return  # a kernel without IPv6


def _answers(asked: socket.socket) -> Iterator[_Socket]:
    while True:
        piece = asked.recv(_PIECE)
        at = 0
        while at + _HEAD.size <= len(piece):
            length, kind, *_ = _HEAD.unpack_from(piece, at)
            if kind == _DONE:
                return
            if kind == _ERROR or length < _HEAD.size:
                (number,) = struct.unpack_from("=i", piece.ljust(at + _HEAD.size + 4, b"\0"), at + _HEAD.size)
                raise OSError(-number, "the kernel tells nothing of sockets")
            if (found := _socket(piece[at + _HEAD.size : at + length])) is not None:
                yield found
            at += (length + 3) & ~3


def _socket(answer: bytes) -> _Socket | None:
    if len(answer) < _SOCKET.size:
        return None
    family, _, _, _, own, other, source, target, *_, inode = _SOCKET.unpack_from(answer)
    at = _SOCKET.size
    while at + 4 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == _INFO and length >= 4 + _COUNTS.size:
            sent, received = _COUNTS.unpack_from(answer, at + 4)
            return _Socket(inode, (_end(family, source, own), _end(family, target, other)), sent, received)
        if length < 4:  # noqa: PLR2004 - the head of an attribute
            break
        at += (length + 3) & ~3
    return None


def _end(family: int, address: bytes, port: bytes) -> bytes:
    """An end in one form, whatever family a socket has: a client by IPv4 may meet a server by IPv6."""
    if family == socket.AF_INET:
        return address[:4] + port
    return (address[12:] if address.startswith(_MAPPED) else address) + port


def _interfaces(proc: str) -> int:
    total = 0
    with suppress(OSError, ValueError), open(f"{proc}/self/net/dev", encoding="ascii", errors="replace") as table:
        for line in table:
            name, colon, counts = line.partition(":")
            if colon and name.strip() != "lo":
                total += int(counts.split()[0])
    return total
