"""The one record type of the documents: frozen, keyword-only (why msgspec: docs/decisions)."""

from __future__ import annotations

from msgspec import Struct

Opaque = str
"""Any JSON value, kept as JSON text: the service writes it and nothing here decides by it."""


class Record(Struct, frozen=True, kw_only=True):
    """The root of every document type."""
