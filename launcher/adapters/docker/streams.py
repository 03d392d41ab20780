"""The streams of a container and of what is run beside it: every byte as it comes, two streams on one connection."""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.protocols import Sink

CHUNK = 1 << 16
HEADER = 8
_STDERR = 2


class Connection:
    """A connection that an engine has given over to a program's streams. Closed, it wakes whoever reads."""

    def __init__(self, raw: Any) -> None:
        # the SDK keeps the file object alive, which would close the socket with it
        self._raw = raw
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._socket.settimeout(None)

    def read(self, most: int) -> bytes:
        """What is there, up to so many bytes; empty at the end."""
        with suppress(ConnectionError):
            return self._socket.recv(most)
        return b""

    def write(self, chunk: bytes) -> None:
        """Send all of it. Raises OSError."""
        self._socket.sendall(chunk)

    def finish(self) -> None:
        """Say that nothing more will be written."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._raw.close()


def demultiplex(connection: Connection, out: Sink, err: Sink) -> None:
    """Give each stream's bytes to its sink until the connection ends. A frame may be of any size and come in parts."""
    while header := _exactly(connection, HEADER):
        sink, left = (err if header[0] == _STDERR else out), int.from_bytes(header[4:], "big")
        while left:
            chunk = connection.read(min(left, CHUNK))
            if not chunk:
                return
            sink(chunk)
            left -= len(chunk)


def copy(connection: Connection, out: Sink) -> None:
    """Give all bytes to one sink until the connection ends."""
    while chunk := connection.read(CHUNK):
        out(chunk)


def feed(connection: Connection, source: int, stop: int) -> None:
    """Send what can be read from an fd until it ends, or the other fd can be read."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(stop, select.POLLIN)
    with suppress(OSError):
        while stop not in (ready := {fd for fd, _ in poll.poll()}):
            chunk = os.read(source, CHUNK) if source in ready else b""
            if not chunk:
                break
            connection.write(chunk)
    connection.finish()


def beside(name: str, work: Callable[[], object]) -> threading.Thread:
    """Run something on a thread that nobody has to wait for."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _exactly(connection: Connection, count: int) -> bytes:
    """So many bytes, or none where the connection ends before."""
    found = b""
    while len(found) < count:
        part = connection.read(count - len(found))
        if not part:
            return b""
        found += part
    return found
