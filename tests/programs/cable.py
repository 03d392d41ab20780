"""A long cable before a TCP server: what either side sends arrives later, in order, for all connections alike.

After so many bytes from the server it says `holds`, and carries none of them on before SIGUSR1: the middle of a
transfer, for as long as a test needs it. It runs in a container of its own: PORT HOST:PORT SECONDS BYTES.
"""

from __future__ import annotations

import asyncio
import signal
import sys

PIECE = 1 << 16
AHEAD = 64
"""Pieces under way in one direction of one connection."""


class Cable:
    """All connections to one server, each way `seconds` long; it holds once, after `left` bytes of the server's."""

    def __init__(self, host: str, port: int, seconds: float, left: int) -> None:
        self._server = host, port
        self._seconds = seconds
        self._left = left
        self._goes_on = asyncio.Event()

    def release(self) -> None:
        """Hold nothing any more."""
        self._left = sys.maxsize
        self._goes_on.set()

    async def lay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        try:
            answers, asks = await asyncio.open_connection(*self._server)
        except OSError:
            writer.transport.abort()
            return
        ways = (self._carry(reader, asks, held=False), self._carry(answers, writer, held=True))
        await asyncio.gather(*ways)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, held: bool) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AHEAD)
        delivery = asyncio.ensure_future(self._deliver(under_way, target, held=held))
        piece = b"first"
        while piece:
            try:
                piece = await source.read(PIECE)
            except OSError:
                piece = b""
            await under_way.put((asyncio.get_running_loop().time() + self._seconds, piece))
        await delivery

    async def _deliver(
        self, under_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter, *, held: bool
    ) -> None:
        gone = False
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if held:
                await self._count(len(piece))
            if not piece:
                target.close()
                return
            try:
                if not gone:
                    target.write(piece)
                    await target.drain()
            except OSError:
                gone = True  # what still comes is taken and dropped

    async def _count(self, size: int) -> None:
        if self._left > 0:
            self._left -= size
            if self._left <= 0:
                print("holds", flush=True)
        if self._left <= 0:
            await self._goes_on.wait()


async def main(port: str, server: str, seconds: str, size: str) -> None:
    """Listen until SIGTERM."""
    host, _, its_port = server.rpartition(":")
    cable, ended = Cable(host, int(its_port), float(seconds), int(size)), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, cable.release)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    listening = await asyncio.start_server(cable.lay, "0.0.0.0", int(port))
    print("listens", flush=True)
    await ended.wait()
    listening.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
