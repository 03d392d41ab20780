"""One regular file on its way to the store: what it was when it was opened, whatever becomes of it meanwhile."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Cancelled, LauncherError
from launcher.retry import pause
from launcher.streams.cuts import last_line_end
from launcher.sync.watch import unsure

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

LINE_BYTES = 256 * 1024
"""How far back the end of the last whole line is looked for."""
RESTS = 3
"""So many times a file is waited for that changes at every look."""


class Changed(LauncherError):  # noqa: N818 - the reader's word to who sends, no failure of its own
    """A file is not what it was when it was opened, so that what was read of it may be of two states."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} changed while it was read",
            code="file-changed",
            action="Write under another name and rename when it is whole; or end what still writes it.",
        )


class FileReader:
    """One regular file on its way to the store: bounded to the size it has when opened, `summed` as it is read.

    Opening raises as `open_regular` does. With `steady` the last bytes are kept back until it is sure that all of them
    are of one state; else `Changed` is raised in their place, so that an engine that puts whole or not at all puts not.
    """

    def __init__(
        self, root: str, path: str, stopped: Callable[[], bool], *, summed: bool = False, steady: bool = False
    ) -> None:
        self._path = path
        self._stopped = stopped
        self._summed = summed
        self._steady = steady
        self._digest: hashlib._Hash | None = None
        self._again = False
        self._error: OSError | LauncherError | None = None
        self._descriptor = disk.open_regular(root, path)
        self._status = os.fstat(self._descriptor)
        self.stamp = disk.stamp_of(self._status)
        self.size = self.stamp.size
        self.sent = 0
        self.whole = False
        """Whether it stood still until it was read to its end, in its own place."""

    def end_at_line(self) -> None:
        """Read to the end of the last whole line only; where none is near, leave out all that may belong to it."""
        near = max(self.size - LINE_BYTES, 0)
        self.size = near + last_line_end(os.pread(self._descriptor, self.size - near, near))

    def rest(self) -> None:
        """Let time pass until every later change must show, if that is not long ago; raises `Cancelled`."""
        for _ in range(RESTS):
            wait = unsure(self._status.st_ctime_ns, time.time_ns())
            if not wait:
                return
            pause(wait, self._stopped)
            before = self._status
            self._status = os.fstat(self._descriptor)
            self.stamp = disk.stamp_of(self._status)
            self.size = self.stamp.size
            if _same(before, self._status):
                return

    def read_again(self) -> None:
        """Where it has changed at the end, read it once more: what reads the same stood so between the two readings.

        So what merely grows can go as it was at one moment.
        """
        self._again = True

    def hand(self, take: Callable[[Iterator[bytes]], None]) -> None:
        """Let an engine take the chunks, from the start; what stopped them is raised, whatever it made of that."""
        self._error = None
        try:
            take(self.chunks())
        except Exception:
            if self._error is None:
                raise
        if self._error is not None:
            raise self._error

    def chunks(self) -> Iterator[bytes]:
        """Read the file from the start, each time anew."""
        self.sent, self.whole = 0, False
        self._digest = _new_sha256() if self._summed else None
        try:
            while True:
                chunk = self._next(self.sent)
                if self._digest is not None:
                    self._digest.update(chunk)
                self.sent += len(chunk)
                over = self.sent >= self.size or not chunk
                if over:
                    self._check()
                if chunk:
                    yield chunk
                if over:
                    return
        except (OSError, LauncherError) as error:
            self._error = error
            raise

    @property
    def sha256(self) -> str:
        """Of what was read so far, where it is summed."""
        return "" if self._digest is None else self._digest.hexdigest()

    def _next(self, start: int) -> bytes:
        if start < self.size and self._stopped():
            raise Cancelled
        return os.pread(self._descriptor, min(disk.CHUNK, self.size - start), start)

    def _check(self) -> None:
        """Look whether all that was read is of one state."""
        now = os.fstat(self._descriptor)
        # a name that came or went sets the time of a change too, and is none of the content
        named = now.st_nlink != self._status.st_nlink
        still = self.sent == self.size and _same(self._status, now, named=named)
        self.whole = still and not named
        if self._steady and not still and not (self._again and self._reads_the_same()):
            raise Changed(self._path)

    def _reads_the_same(self) -> bool:
        digest, start = _new_sha256(), 0
        while chunk := self._next(start):
            digest.update(chunk)
            start += len(chunk)
        return start == self.sent == self.size and digest.hexdigest() == self.sha256

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _same(before: os.stat_result, now: os.stat_result, *, named: bool = False) -> bool:
    """Whether a file is what it was; the time of its change too, which nobody can set back."""
    if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
        return False
    return named or before.st_ctime_ns == now.st_ctime_ns


def _new_sha256() -> hashlib._Hash:
    import hashlib  # noqa: PLC0415 - 2 ms that a run without outputs does not pay

    return hashlib.sha256()
