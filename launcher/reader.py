"""One regular file on its way to the store: what it was when it was opened, whatever becomes of it meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import Cancelled
from launcher.streams.cuts import last_line_end

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

LINE_BYTES = 256 * 1024
"""How far back the end of the last whole line is looked for."""


class FileReader:
    """One regular file on its way to the store: bounded to the size it has when opened, `summed` as it is read.

    Opening raises as `open_regular` does. What stops the reading is raised at the end of the `with`, whatever an engine
    that took the chunks made of it.
    """

    def __init__(self, root: str, path: str, stopped: Callable[[], bool], *, summed: bool = False) -> None:
        self._stopped = stopped
        self._digest = _new_sha256() if summed else None
        self._descriptor = disk.open_regular(root, path)
        self.stamp = disk.stamp_of(os.fstat(self._descriptor))
        self.size = self.stamp.size
        self.sent = 0
        self.error: OSError | Cancelled | None = None

    def end_at_line(self) -> None:
        """Read to the end of the last whole line only; where none is near, leave out all that may belong to it."""
        near = max(self.size - LINE_BYTES, 0)
        self.size = near + last_line_end(os.pread(self._descriptor, self.size - near, near))

    def chunks(self) -> Iterator[bytes]:
        """Read the file, once."""
        try:
            while self.sent < self.size:
                if self._stopped():
                    raise Cancelled  # noqa: TRY301 - kept below like any other end
                chunk = os.read(self._descriptor, min(disk.CHUNK, self.size - self.sent))
                if not chunk:
                    return
                if self._digest is not None:
                    self._digest.update(chunk)
                self.sent += len(chunk)
                yield chunk
        except (OSError, Cancelled) as error:
            self.error = error
            raise

    @property
    def sha256(self) -> str:
        """Of what was read so far, where it is summed."""
        return "" if self._digest is None else self._digest.hexdigest()

    def unchanged(self) -> bool:
        """Whether the file is still what it was when it was opened, and was read whole."""
        return self.sent == self.stamp.size and disk.stamp_of(os.fstat(self._descriptor)) == self.stamp

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, raised: BaseException | None, _trace: object) -> None:
        os.close(self._descriptor)
        if raised is not None and self.error is not None and raised is not self.error:
            raise self.error


def _new_sha256() -> hashlib._Hash:
    import hashlib  # noqa: PLC0415 - 2 ms that a run without outputs does not pay

    return hashlib.sha256()
