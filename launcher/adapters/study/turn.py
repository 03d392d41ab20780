"""The lock of a study: whoever holds it is alone in deciding what is tried next, among all processes and machines.

A file's is the kernel's, beside it; a server's is an advisory lock inside a transaction on a connection of its own, so
that it also holds through a pooler. Both are gone with the process that held them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from launcher.adapters.study.faults import Again

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

WAIT_MS = 5000
"""Who is not given the lock for so long asks anew, so that a request to stop is seen."""


class Turn(Protocol):
    """What the lock offers; inside, the function that is given says whether it is still held."""

    def taken(self) -> AbstractContextManager[Callable[[], bool]]:
        """Hold it."""
        ...


class FileTurn:
    """The lock of a file."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}.lock"
        self._never = threading.Event()

    @contextmanager
    def taken(self) -> Iterator[Callable[[], bool]]:
        """Hold it; the kernel never takes it away."""
        lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            end = time.monotonic() + WAIT_MS / 1000
            while not _locked(lock):
                if time.monotonic() > end:
                    raise Again(f"another process holds {self._path}")
                self._never.wait(random.uniform(0.01, 0.05))  # noqa: S311 - so that nobody is always late
            yield lambda: True
        finally:
            os.close(lock)


class ServerTurn:
    """The lock of a name on a server."""

    def __init__(self, engine: sqlalchemy.Engine, name: str) -> None:
        self._engine = engine
        key = hashlib.sha256(f"modelarts-launcher study {name}".encode()).digest()[:8]
        self._key = int.from_bytes(key, "big", signed=True)

    @contextmanager
    def taken(self) -> Iterator[Callable[[], bool]]:
        """Hold it; a server that goes down takes it away."""
        connection = self._engine.connect()
        try:
            connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = {WAIT_MS}"))
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._key})
            yield lambda: _answers(connection)
        finally:
            _let_go(connection)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(connection: sqlalchemy.Connection) -> bool:
    try:
        connection.execute(sqlalchemy.text("SELECT 1"))
    except DBAPIError:
        return False
    return True


def _let_go(connection: sqlalchemy.Connection) -> None:
    """What was done under the lock is done, whether its end can be told or not."""
    try:
        connection.rollback()
        connection.close()
    except DBAPIError:
        connection.invalidate()
        connection.close()
