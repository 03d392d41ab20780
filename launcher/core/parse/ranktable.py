"""The door from a rank table's JSON to its values, in both versions; all that is wrong with one is told at once.

A table that is not completed says nothing yet: whoever waits for it asks `status` first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from launcher.core.errors import PlanError
from launcher.core.frozen import Record
from launcher.core.parse.cursor import At, Json, Log, shown
from launcher.core.parse.forms import Form, listing, text, whole
from launcher.core.parse.records import Field, record
from launcher.core.ranktable import V0, V1, Card, Instance, RankTable, Server, Unranked, pod_number, ranked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REQUIRED = "required"
_MOST_PODS = 8
"""So many names of pods or servers stand in a message."""


class Own(Record, frozen=True, kw_only=True):
    """How a table names this node: by MA_CURRENT_INSTANCE_NAME in the cluster's own, by MA_CURRENT_HOST_IP in 1.0."""

    pod: str | None = None
    address: str | None = None


class _Group(Record, frozen=True, kw_only=True):
    group_name: str = ""
    device_count: int | None = None
    instance_count: int | None = None
    instances: tuple[Instance, ...] = ()


class _Cluster(Record, frozen=True, kw_only=True):
    groups: tuple[_Group, ...]
    group_count: int | None = None
    status: str = ""
    version: str = V0


class _Job(Record, frozen=True, kw_only=True):
    servers: tuple[Server, ...]
    version: str
    server_count: int | None = None
    status: str = ""


def status(document: Json) -> str:
    """How far a table is; `completed` is the one that is done."""
    told = document.get("status") if isinstance(document, dict) else None
    return told if isinstance(told, str) else "no status"


def read_rank_table(document: Json, path: str, own: Own) -> RankTable:
    """A completed table, with ranks for all cards. Raises PlanError with everything that is wrong with it."""
    at = At(document, "", Log())
    table = None
    if isinstance(document, dict) and ("group_list" in document) != ("server_list" in document):
        table = _cluster(at, path, own) if "group_list" in document else _job(at, path, own)
    else:
        at.wrong("expected an object with either group_list (0.1) or server_list (1.0)")
    if table is None or at.log.problems:
        wrongs = [f"{each.path}: {each.message}" if each.path else each.message for each in at.log.problems]
        raise PlanError(
            f"the rank table {path} is completed, but wrong: {'; '.join(wrongs)}",
            code="rank-table-wrong",
            action="Look at what writes it (the cluster's HCCL controller); start the job again with a right one.",
        )
    return table


def _cluster(at: At, path: str, own: Own) -> RankTable | None:
    read = _CLUSTER.read(at)
    if read is None or at.log.problems:
        return None
    groups = [group.instances for group in read.groups]
    servers = ranked([[each for each in instances if each.cards] for instances in groups])
    where = at.key("group_list")
    if not servers:
        where.wrong("expected at least one device, found none")
        return None
    _check_devices(where, servers)
    pods = Counter(instance.pod for instances in groups for instance in instances)
    for pod, count in pods.items():
        if count > 1:
            where.wrong(f"the pod {shown(pod)} stands {count} times")
    instances = [instance for group in groups for instance in group if instance.cards]
    index = _found([each.pod for each in instances], own.pod)
    if index is None:
        at_address = [number for number, each in enumerate(instances) if each.server == own.address]
        index = at_address[0] if len(at_address) == 1 else None
    if index is None:
        where.wrong(_not_here("MA_CURRENT_INSTANCE_NAME", own.pod, "pods", [each.pod for each in instances]))
        return None
    mine = instances[index]
    at_server = [server.id for server in servers].index(mine.server)
    alone = len(servers[at_server].pods) == 1
    ranks = () if alone else _ranks_of(mine, servers[at_server])
    return RankTable(path=path, version=V0, servers=servers, own=at_server, ranks=ranks)


def _ranks_of(mine: Instance, server: Server) -> tuple[int, ...]:
    """The ranks of one of several instances on a server, by its devices."""
    devices = {card.device for card in mine.cards}
    return tuple(card.rank for card in server.cards if card.device in devices)


def _job(at: At, path: str, own: Own) -> RankTable | None:
    read = _JOB.read(at)
    if read is None or at.log.problems:
        return None
    where = at.key("server_list")
    if not any(server.cards for server in read.servers):
        where.wrong("expected at least one device, found none")
        return None
    _check_devices(where, read.servers)
    for id_, count in Counter(server.id for server in read.servers).items():
        if count > 1:
            where.wrong(f"the server {shown(id_)} stands {count} times")
    _check_ranks(where, read.servers)
    ids = [server.id for server in read.servers]
    index = _found(ids, own.address)
    if index is None:
        where.wrong(_not_here("MA_CURRENT_HOST_IP", own.address, "servers", ids))
        return None
    return RankTable(path=path, version=read.version, servers=read.servers, own=index)


def _found(names: Sequence[str], own: str | None) -> int | None:
    """Which of these is this node: the one of its name, or the only one there is."""
    if own in names:
        return names.index(own)
    return 0 if len(names) == 1 else None


def _not_here(variable: str, own: str | None, what: str, names: Sequence[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:_MOST_PODS])
    more = f" and {len(names) - _MOST_PODS} more" if len(names) > _MOST_PODS else ""
    said = f"{variable} is {shown(own)}" if own else f"{variable} is not set"
    return f"this node is none of them: {said}, the {what} are {listed}{more}"


def _check_devices(at: At, servers: Sequence[Server]) -> None:
    for server in servers:
        for device, count in Counter(card.device for card in server.cards).items():
            if count > 1:
                at.wrong(f"the device {device} of the server {shown(server.id)} stands {count} times")


def _check_ranks(at: At, servers: Sequence[Server]) -> None:
    """Each rank from 0 on once."""
    places: dict[int, str] = {}
    for here, card in _placed(servers):
        if card.rank in places:
            at.wrong(f"the rank {card.rank} stands twice, at {places[card.rank]} and at {here}")
        places.setdefault(card.rank, here)
    count = sum(len(server.cards) for server in servers)
    missing = next((rank for rank in range(count) if rank not in places), None)
    if missing is not None and len(places) == count:
        at.wrong(f"the ranks of {count} cards are 0 to {count - 1}; {missing} is missing, {max(places)} is there")


def _placed(servers: Sequence[Server]) -> Iterator[tuple[str, Card]]:
    for number, server in enumerate(servers):
        for index, card in enumerate(server.cards):
            yield f"server_list[{number}].device[{index}]", card


def _check_count(at: At, name: str, said: int | None, found: int, what: str) -> None:
    if said is not None and said != found:
        at.key(name).wrong(f"says {said}, {found} {what} are listed")


def _check_group(at: At, group: _Group) -> None:
    devices = sum(len(instance.cards) for instance in group.instances)
    _check_count(at, "device_count", group.device_count, devices, "devices")
    _check_count(at, "instance_count", group.instance_count, len(group.instances), "instances")


def _check_cluster(at: At, read: _Cluster) -> None:
    _check_count(at, "group_count", read.group_count, len(read.groups), "groups")
    instances = read.groups[0].instances if read.groups else ()
    for index, instance in enumerate(instances):
        if len(instances) > 1 and pod_number(instance.pod) is None:
            where = at.key("group_list").item(0).key("instance_list").item(index).key("pod_name")
            where.expected("a name that ends in '-' and its number, which gives the order of ranks")


def _check_job(at: At, read: _Job) -> None:
    _check_count(at, "server_count", read.server_count, len(read.servers), "servers")


_COUNT: Form[int] = whole(least=0, most=1_000_000)
_RANK: Form[int] = whole(least=0, most=10_000_000)
_DEVICE = text(pattern=r"0|[1-9][0-9]{0,4}", meaning="a device's number")
_ADDRESS = text(pattern=r"[0-9A-Fa-f:.]{0,45}", meaning="an IP address")
_NAME = text(pattern=r"[!-~]{1,253}", meaning="a name without blanks")
_WORD = text(most=256)

_INSTANCE = record(
    Instance,
    Field("pod_name", _NAME, attr="pod", required=_REQUIRED),
    Field("server_id", _NAME, attr="server", required=_REQUIRED),
    Field(
        "devices",
        listing(
            record(
                Unranked,
                Field("device_id", _DEVICE, attr="device", required=_REQUIRED),
                Field("device_ip", _ADDRESS, attr="ip"),
            )
        ),
        attr="cards",
    ),
)
_CLUSTER = record(
    _Cluster,
    Field("status", _WORD),
    Field("version", text(one_of=(V0,))),
    Field("group_count", _COUNT),
    Field(
        "group_list",
        listing(
            record(
                _Group,
                Field("group_name", _WORD),
                Field("device_count", _COUNT),
                Field("instance_count", _COUNT),
                Field("instance_list", listing(_INSTANCE), attr="instances"),
                rule=_check_group,
            )
        ),
        attr="groups",
        required=_REQUIRED,
    ),
    rule=_check_cluster,
)
_JOB = record(
    _Job,
    Field("status", _WORD),
    Field("version", text(one_of=(V1,)), required=_REQUIRED),
    Field("server_count", _COUNT),
    Field(
        "server_list",
        listing(
            record(
                Server,
                Field("server_id", _NAME, attr="id", required=_REQUIRED),
                Field(
                    "device",
                    listing(
                        record(
                            Card,
                            Field("device_id", _DEVICE, attr="device", required=_REQUIRED),
                            Field("device_ip", _ADDRESS, attr="ip"),
                            Field("rank_id", _RANK, attr="rank", required=_REQUIRED),
                        )
                    ),
                    attr="cards",
                    required=_REQUIRED,
                ),
                Field("host_nic_ip", _WORD),
            )
        ),
        attr="servers",
        required=_REQUIRED,
    ),
    rule=_check_job,
)
