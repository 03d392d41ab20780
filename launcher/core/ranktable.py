"""Ascend's rank tables as values: which card of which server has which rank (contract: rank tables)."""

from __future__ import annotations

from launcher.core.frozen import Record


class Card(Record, frozen=True, kw_only=True):
    """One card. `device` is its id on its server as the table writes it, `ip` its address in the cards' own network."""

    device: str
    ip: str
    rank: int


class Server(Record, frozen=True, kw_only=True):
    """One server with its cards, in their order. `pods` are the instances on it, where the table names them."""

    id: str
    cards: tuple[Card, ...]
    pods: tuple[str, ...] = ()
    host_nic_ip: str | None = None


class RankTable(Record, frozen=True, kw_only=True):
    """A completed table: `path` is where it was found, `own` the index of this node's server in `servers`."""

    path: str
    version: str
    servers: tuple[Server, ...]
    own: int
