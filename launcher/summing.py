"""SHA-256 of what is little, and a tally of listings by it: without hashlib, which every start would pay for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.listed import NAMED, Listed

try:
    from _sha2 import sha256  # type: ignore[import-not-found]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:  # some systems build Python without hashes of its own
        from hashlib import sha256

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable

    from launcher.core.stored import StoredObject

HELD = 256
"""Objects whose lines are taken into the digest together."""

new_sha256: Callable[[], hashlib._Hash] = sha256
"""What is large is summed up faster by hashlib, which brings OpenSSL along: 3 ms of every start."""


class Tally:
    """Takes objects in the order of their keys. It remembers each of them up to `most`, and beyond that none."""

    def __init__(self, most: int = NAMED) -> None:
        self._most = most
        self._digest = new_sha256()
        self._held: list[tuple[str, int, str]] = []
        self._files: list[tuple[str, int, str]] = []
        self._objects = self._bytes = 0

    def add(self, path: str, item: StoredObject) -> None:
        """Take one more: SHA-256 goes over `path NUL size NUL mark LF` of each, the mark without its quotes."""
        self._held.append((path, item.size, item.etag))
        if len(self._held) >= HELD:
            self._flush()

    def listed(self, *, name: str, kind: str, source: str) -> Listed:
        """Sum up what was taken so far."""
        self._flush()
        return Listed(
            name=name,
            kind=kind,
            source=source,
            objects=self._objects,
            bytes=self._bytes,
            digest=self._digest.hexdigest(),
            files=tuple(self._files) if self._objects <= self._most else (),
        )

    def _flush(self) -> None:
        """Take over what is held, all at once: an object costs a listing less than a microsecond then."""
        held = [(path, size, mark.strip('"')) for path, size, mark in self._held]
        self._held.clear()
        text = "".join([f"{path}\0{size}\0{mark}\n" for path, size, mark in held])
        self._digest.update(text.encode(errors="surrogatepass"))
        self._objects += len(held)
        self._bytes += sum([size for _, size, _ in held])
        if self._objects <= self._most:
            self._files += held
