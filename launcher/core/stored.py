"""What a store says of one object."""

from __future__ import annotations

import msgspec


class StoredObject(msgspec.Struct, frozen=True):
    """One object as a listing shows it: its whole key, its size in bytes, and the store's mark of its content.

    A size below 0 and no mark stand for whatever is there: nobody has looked yet.
    """

    key: str
    size: int
    etag: str
