"""Ascend's rank tables as values: which card of which server has which rank (contract: rank tables)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from launcher.core.frozen import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPLETED = "completed"
"""The status of a table that nothing more will be written to."""

FILE, FOLDER = "jobstart_hccl.json", "/user/config"
"""How a table is called, and where it comes when nothing else is said (contract: Ascend in)."""

V0, V1 = "0.1", "1.0"
"""The versions: the cluster's own, which gives no ranks, and the one that the boot processes read."""


RANK_VARIABLES = frozenset({"RANK_ID", "RANK_SIZE", "DEVICE_ID", "ASCEND_DEVICE_ID", "RANK_TABLE_FILE"})
"""What a process is among the others: the table says it, and nobody else."""


class Card(Record, frozen=True, kw_only=True):
    """One card. `device` is its id on its server as the table writes it, `ip` its address in the cards' own network."""

    device: str
    rank: int
    ip: str = ""


class Server(Record, frozen=True, kw_only=True):
    """One server with its cards, in their order. `pods` are the instances on it, where the table names them."""

    id: str
    cards: tuple[Card, ...]
    pods: tuple[str, ...] = ()
    host_nic_ip: str | None = None


class RankTable(Record, frozen=True, kw_only=True):
    """A completed table: `path` is where it was found, `own` the index of this node's server in `servers`.

    `ranks` are this node's own, where it shares its server with another instance; empty: the whole server is its own.
    """

    path: str
    version: str
    servers: tuple[Server, ...]
    own: int
    ranks: tuple[int, ...] = ()

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards of this node, in the order of their ranks."""
        server = self.servers[self.own]
        own = [card for card in server.cards if not self.ranks or card.rank in self.ranks]
        return tuple(sorted(own, key=lambda card: card.rank))

    @property
    def size(self) -> int:
        """How many cards there are in all."""
        return sum(len(server.cards) for server in self.servers)

    @property
    def nodes(self) -> int:
        """How many nodes there are: instances, where the table names them, else servers."""
        return sum(max(len(server.pods), 1) for server in self.servers)


class Unranked(Record, frozen=True, kw_only=True):
    """A card as the cluster's table writes it."""

    device: str
    ip: str = ""


class Instance(Record, frozen=True, kw_only=True):
    """One instance (pod) with its cards on its server."""

    pod: str
    server: str
    cards: tuple[Unranked, ...] = ()


def expected(environ: Mapping[str, str]) -> str:
    """Where the table is to come: RANK_TABLE_FILE_V_1_0 is a file, RANK_TABLE_FILE the folder of one, or a file."""
    whole = environ.get("RANK_TABLE_FILE_V_1_0")
    if whole:
        return whole
    place = environ.get("RANK_TABLE_FILE") or FOLDER
    return place if place.endswith(".json") else f"{place.rstrip('/')}/{FILE}"


def ranked(groups: Sequence[Sequence[Instance]]) -> tuple[Server, ...]:
    """The servers of the cluster's groups with every card's rank: card by card, the first group's pods by number.

    The numbers at the end of the first group's pods are theirs in the job, whatever the order in which they came up.
    """
    first = sorted(groups[0], key=lambda each: pod_number(each.pod) or 0) if groups else []
    cards: dict[str, list[Card]] = {}
    pods: dict[str, list[str]] = {}
    rank = 0
    for instance in (*first, *(each for group in groups[1:] for each in group)):
        pods.setdefault(instance.server, []).append(instance.pod)
        there = cards.setdefault(instance.server, [])
        for card in instance.cards:
            there.append(Card(device=card.device, ip=card.ip, rank=rank))
            rank += 1
    return tuple(Server(id=name, cards=tuple(there), pods=tuple(pods[name])) for name, there in cards.items())


def pod_number(pod: str) -> int | None:
    """The number at the end of a pod's name."""
    digits = pod.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 9 else None  # noqa: PLR2004


def to_v1(table: RankTable) -> str:
    """A table as JSON text of version 1.0; every scalar in it is text."""
    servers = [
        {
            "server_id": server.id,
            "device": [
                {"device_id": card.device, **({"device_ip": card.ip} if card.ip else {}), "rank_id": str(card.rank)}
                for card in server.cards
            ],
            **({"host_nic_ip": server.host_nic_ip} if server.host_nic_ip is not None else {}),
        }
        for server in table.servers
    ]
    document = {"status": COMPLETED, "version": V1, "server_count": str(len(servers)), "server_list": servers}
    return json.dumps(document, separators=(",", ":")) + "\n"
