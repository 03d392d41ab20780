"""One upload: little as one body that can be sent again and is held against its ETag, much as parts that fit the store.

The MD5 of parts is not held against theirs: it would take as long as the transfer itself (1 GiB: 1.6 s on one core), on
the thread that reads the file. How many parts the store counts is looked at, which costs nothing.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

from launcher.adapters.obs.listing import bare
from launcher.core.keys import plain_md5
from launcher.core.parts import SMALL_BYTES, part_bytes
from launcher.core.storefault import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.adapters.obs.client import Client
    from launcher.core.urls import Location

NOTE_BYTES = 256 * 1024


class Upload:
    """An object on its way to its place."""

    def __init__(self, client: Client, at: Location, encrypted: Callable[[str, str], bool]) -> None:
        self._client = client
        self._at = at
        self._encrypted = encrypted

    def send(self, chunks: Iterator[bytes], size: int) -> None:
        """Send all chunks; `size` is a guess by which parts are cut."""
        body = body_of(chunks)
        if isinstance(body, bytes):
            self._at_once(body)
        else:
            self._in_parts(body, part_bytes(max(size, SMALL_BYTES)))

    def _at_once(self, body: bytes) -> None:
        import obstore

        at = self._at
        etag = self._client.call(
            "write",
            at,
            lambda store: obstore.put(store, at.key, body, use_multipart=False),
            "note" if len(body) <= NOTE_BYTES else "body",
        )["e_tag"]
        told = plain_md5(bare(etag))
        if told is None or self._client.settings.encryption:
            return
        if told != _md5(body) and not self._encrypted(at.bucket, at.key):
            raise verdict("write", at.url, "broken", f"the store has an object whose MD5 is {told}")

    def _in_parts(self, body: Iterator[bytes], part: int) -> None:
        import obstore

        at, sent = self._at, 0

        def counted() -> Iterator[bytes]:
            nonlocal sent
            for chunk in body:
                sent += len(chunk)
                yield chunk

        def request(store: Any) -> Any:
            return obstore.put(store, at.key, counted(), chunk_size=part, max_concurrency=4)

        etag = self._client.call("write", at, request, "parts", replay=False)["e_tag"]
        counting = re.fullmatch(r"[0-9a-f]{32}-(\d+)", bare(etag))
        if counting and int(counting[1]) != -(-sent // part):
            found = self._client.call("look up", at, lambda store: obstore.head(store, at.key))["size"]
            if found != sent:
                raise verdict("write", at.url, "broken", f"{sent} bytes were sent, the store has {found}")


def body_of(chunks: Iterator[bytes]) -> bytes | Iterator[bytes]:
    """All of it, where that is little; else an iterator over everything, what was looked at included."""
    head: list[bytes] = []
    held = 0
    for chunk in chunks:
        head.append(chunk)
        held += len(chunk)
        if held > SMALL_BYTES:
            return chain(head, chunks)
    return b"".join(head)


def _md5(body: bytes) -> str:
    import hashlib

    return hashlib.md5(body, usedforsecurity=False).hexdigest()
