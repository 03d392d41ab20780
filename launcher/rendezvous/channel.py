"""One connection between two launchers: whole lines in, whole lines out, bounded, and nobody waits in it."""

from __future__ import annotations

import errno
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core.meeting.words import LONGEST, LONGEST_GREETING

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE = 64 * 1024
MOST_WAITING = 4 * 1024**2
"""Bytes that wait for a launcher that does not read; one that has so many is not there."""
_UNANSWERED = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}


class Broken(Exception):  # noqa: N818 - it is no error of ours
    """The connection is of no use any more; `by_itself`: the kernel on the other side still answered."""

    def __init__(self, why: str, *, by_itself: bool = True) -> None:
        super().__init__(why)
        self.by_itself = by_itself


class Channel:
    """Takes over a connected socket. `wants_out` says whether something still waits to be sent."""

    def __init__(self, connection: socket.socket, dead_s: float) -> None:
        self._socket = connection
        self._part = bytearray()
        self._out: deque[memoryview] = deque()
        self._waiting = 0
        self.longest = LONGEST_GREETING
        connection.setblocking(False)
        with suppress(OSError):  # another kind of socket, or an old kernel: then the silence of words tells later
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(dead_s * 1000))

    def fileno(self) -> int:
        """Let a selector find it."""
        return self._socket.fileno()

    @property
    def wants_out(self) -> bool:
        """Whether something still waits to be sent."""
        return bool(self._out)

    def known(self) -> None:
        """Take longer lines from now on: it is known whose they are."""
        self.longest = LONGEST

    def lines(self) -> Sequence[bytes]:
        """The lines that have come, at most one reading of the socket. Raises Broken."""
        try:
            piece = self._socket.recv(min(PIECE, self.longest))
        except (BlockingIOError, InterruptedError):
            return ()
        except OSError as error:
            raise _broken(error) from error
        if not piece:
            raise Broken("it was closed")
        *whole, rest = piece.split(b"\n")
        if whole:
            whole[0] = bytes(self._part) + whole[0]
            self._part = bytearray(rest)
        else:
            self._part += rest
        if len(self._part) >= self.longest or any(len(each) >= self.longest for each in whole):
            raise Broken("a line was too long")
        return whole

    def send(self, text: bytes) -> None:
        """Send a line now, or as soon as there is room. Raises Broken."""
        self._out.append(memoryview(text))
        self._waiting += len(text)
        self.flush()
        if self._waiting > MOST_WAITING:
            raise Broken("it takes nothing", by_itself=False)

    def flush(self) -> None:
        """Send what waits, as far as there is room. Raises Broken."""
        try:
            while self._out:
                sent = self._socket.send(self._out[0])
                self._waiting -= sent
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                    return
                self._out.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise _broken(error) from error

    def no_more(self) -> None:
        """Say that nothing more is sent; what the other side still sends is read, so that it hears all of ours."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


def _broken(error: OSError) -> Broken:
    return Broken((error.strerror or str(error)).lower(), by_itself=error.errno not in _UNANSWERED)
