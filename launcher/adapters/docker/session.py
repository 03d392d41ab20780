"""A program beside the run in a container, which has our standard input: `docker exec`."""

from __future__ import annotations

import os
import threading
from signal import SIGHUP, SIGKILL
from typing import TYPE_CHECKING, Any

from launcher.adapters.docker.faults import answered, told
from launcher.adapters.docker.streams import Connection, beside, copy, demultiplex, feed

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.protocols import Sinks

_STDIN = 0
_LOOKS, _LOOK_S = 100, 0.05
"""How often, and how far apart, it is asked for the exit code of a program whose streams have ended."""
_CUT_OFF, _KILLED = 128 + SIGHUP, 128 + SIGKILL


class DockerSession:
    """One program. Its streams are carried by two threads; the rest is for the main one."""

    def __init__(
        self,
        client: Any,
        made: str,
        size: tuple[int, int] | None,
        sinks: Sinks,
        woken: Callable[[], object],
    ) -> None:
        self._client = client
        self._id = made
        self._over = threading.Event()
        self._stop, self._stopped = os.pipe2(os.O_CLOEXEC)
        terminal = size is not None
        with told("a shell in the container"):
            self._connection = Connection(client.exec_start(self._id, tty=terminal, socket=True))
        if size is not None:
            self.resize(*size)
        beside("shell-input", lambda: feed(self._connection, _STDIN, self._stop))
        beside("shell-output", lambda: self._read(sinks, woken, terminal=terminal))

    def end(self) -> int | None:
        """Its exit code, when all that it said is in its sinks; None as long as it goes on.

        One whose terminal is gone may go on, and nobody hears of it any more: it ends with its container.
        """
        from docker.errors import NotFound

        if not self._over.is_set():
            return None
        pause = threading.Event()
        for _ in range(_LOOKS):
            with told("the end of the shell"):
                try:
                    found = answered(self._client.exec_inspect(self._id), dict, "the end of the shell")
                except NotFound:
                    return _KILLED  # its container ended, and is gone already
            if not found.get("Running") and found.get("ExitCode") is not None:
                return answered(found["ExitCode"], int, "the end of the shell")
            pause.wait(_LOOK_S)  # its streams end a moment before the engine notes its end
        return _CUT_OFF

    def resize(self, rows: int, columns: int) -> None:
        """Tell it that its terminal has another size now; one that has ended does not mind."""
        from docker.errors import APIError

        with told("the size of the terminal"):
            try:
                self._client.exec_resize(self._id, height=rows, width=columns)
            except APIError as error:
                if not error.is_client_error() and not self._over.is_set():
                    raise

    def _read(self, sinks: Sinks, woken: Callable[[], object], *, terminal: bool) -> None:
        try:
            if terminal:
                copy(self._connection, sinks[0])
            else:
                demultiplex(self._connection, *sinks)
        finally:
            self._over.set()
            os.write(self._stopped, b".")  # what is typed from here on is for whoever reads after us
            self._connection.close()
            woken()
