"""A second hand for a pump that has much to move: it writes one chunk while the pump is at the next."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Beside:
    """Does the same with chunk after chunk, each in its turn, on a thread of its own. Its methods are for the pump."""

    def __init__(self, write: Callable[[memoryview], None]) -> None:
        self._write = write
        self._chunk: memoryview | None = None
        self._given = threading.Semaphore(0)
        self._free = threading.Semaphore(1)
        self._error: BaseException | None = None

    def start(self) -> bool:
        """Begin; False where the node allows no more threads."""
        try:
            threading.Thread(target=self._run, name="beside", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def give(self, chunk: memoryview | None) -> None:
        """Hand over a chunk once the one before it is done with; None ends it. Raises what went wrong: a defect."""
        self._free.acquire()
        if self._error is not None:
            raise self._error
        self._chunk = chunk
        self._given.release()

    def end(self) -> None:
        """Wait for the last chunk."""
        self.give(None)
        self.give(None)

    def _run(self) -> None:
        while True:
            self._given.acquire()
            if self._chunk is None:
                self._free.release()
                return
            try:
                self._write(self._chunk)
            except BaseException as error:  # noqa: BLE001 - carried to the pump, which raises it
                self._error = error
            self._free.release()
