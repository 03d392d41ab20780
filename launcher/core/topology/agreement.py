"""All that was said of a job's nodes, held against each other: what agrees is the topology, what does not is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from launcher.core.frozen import Record
from launcher.core.plan import Meeting
from launcher.core.topology import DEFAULT_PORT, PENDING, Flags, Topology
from launcher.core.topology.reading import (
    Number,
    Place,
    contradiction,
    label,
    place,
    port,
    refused,
    same,
    text,
)
from launcher.core.topology.surroundings import Group, groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

WAYS = (
    "Give --nodes N --node-index I --master HOST[:PORT] on each node; or start it as a Volcano or ModelArts job "
    "(VC_WORKER_HOSTS, VC_TASK_INDEX); or as an Indexed Job of Kubernetes with a headless service, or Kubeflow's "
    "trainer (JOB_COMPLETION_INDEX, PET_*)."
)


class _Heard(Record, frozen=True, kw_only=True):
    """Everything that was said, by all platforms together."""

    groups: tuple[Group, ...]
    flags: Flags
    asked: Number | None
    environ: Mapping[str, str]
    host: str

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(each.host for group in self.groups for each in group.servers)

    @property
    def is_server(self) -> bool:
        return any(group.role == "ps" for group in self.groups)


def agreed(
    asked: int | None, environ: Mapping[str, str], host: str, flags: Flags, *, preview: bool = False
) -> Topology:
    """The one answer. `asked` is the job's own number of nodes. Raises PlanError."""
    wanted = Number(teller="spec.resource.node_count", value=asked) if asked else None
    heard = _Heard(groups=groups(environ, host), flags=flags, asked=wanted, environ=environ, host=host)
    warnings: list[str] = []
    workers = _workers(heard, warnings)
    servers = _servers(heard)
    count = servers if heard.is_server else workers
    index = _index(heard, count, warnings)
    several = workers.value + len(heard.servers) > 1
    hosts = _hosts(heard, workers.value, several=several)
    master = _master(heard, hosts, several=several)
    if master and hosts:
        hosts = (master, *hosts[1:])
    pending = _pending(index, master, several=several)
    if pending and not preview:
        raise refused(
            f"the job runs on {workers.value} nodes ({workers}), and nobody told {' and '.join(pending)}", WAYS
        )
    found = Topology(
        count=count.value,
        index=index.value if index else 0,
        role="ps" if heard.is_server else "worker",
        workers=workers.value,
        hosts=hosts,
        servers=heard.servers,
        master=master or (PENDING if several else ""),
        port=_port(heard, several=several),
        per_node=_first(group.per_node for group in heard.groups),
        source=_source(heard, workers),
        pending=tuple(f"{each}: only a cluster tells" for each in pending),
        warnings=tuple(warnings),
    )
    _check_own_name(found, host, index)
    return found


def _workers(heard: _Heard, warnings: list[str]) -> Number:
    """How many workers there are."""
    exact = [each for group in heard.groups for each in group.counts]
    rough = [each for group in heard.groups for each in group.rough] + ([heard.asked] if heard.asked else [])
    if heard.flags.nodes is not None:
        given = Number(teller="--nodes", value=heard.flags.nodes)
        warnings += _over(given, (*exact, *rough))
        return given
    told = (*exact, *rough) or (Number(teller="one node", value=1),)
    for each in exact[1:]:
        if each.value != exact[0].value:
            raise contradiction(exact[0], each, "both are the number of nodes")
    allowed = {told[0].value, told[0].value + len(heard.servers)}
    for each in rough:
        if each.value not in allowed:
            raise contradiction(told[0], each, "both are the number of nodes")
    return told[0]


def _servers(heard: _Heard) -> Number:
    """How many parameter servers there are; their names are known then."""
    told = [each for group in heard.groups for each in group.server_counts]
    told = told or [Number(teller="the number of names in VC_PS_HOSTS", value=0)]
    for each in told[1:]:
        if each.value != told[0].value:
            raise contradiction(told[0], each, "both are the number of parameter servers")
    if told[0].value and not heard.servers:
        raise refused(f"{told[0]}, and nobody told the parameter servers' names", "Set VC_PS_HOSTS.")
    return told[0]


def _index(heard: _Heard, count: Number, warnings: list[str]) -> Number | None:
    """Which of so many this node is; None where nobody told it and there are others."""
    told = [each for group in heard.groups for each in group.indices]
    if heard.flags.index is not None:
        given = Number(teller="--node-index", value=heard.flags.index)
        warnings += _over(given, told)
        told = [given]
    for each in told[1:]:
        if each.value != told[0].value:
            raise contradiction(told[0], each, "both are the index of this node")
    if told and told[0].value >= count.value:
        why = "an index counts from 0 to one less than the nodes"
        if count.teller == "one node":
            raise refused(
                f"{told[0]}, and nobody told how many nodes there are: {why}",
                "Set spec.resource.node_count, or --nodes.",
            )
        raise contradiction(told[0], count, why)
    return told[0] if told else Number(teller="one node", value=0) if count.value == 1 else None


def _hosts(heard: _Heard, workers: int, *, several: bool) -> tuple[str, ...]:
    """The workers' names: of a list, or by a rule. One that is alone has a name only where a list says so."""
    listed = _first(group.hosts or None for group in heard.groups)
    if listed is not None:
        fits = len(listed) >= workers if several else len(listed) == 1
        return tuple(each.host for each in listed[:workers]) if fits else ()
    rule = _first(group.rule for group in heard.groups)
    return rule(workers) if rule is not None and several else ()


def _master(heard: _Heard, hosts: Sequence[str], *, several: bool) -> str:
    """Worker-0's name: as the command line spells it, else as the others do."""
    told = [Place(teller=f"worker-0 of {_names_from(heard)}", host=hosts[0])] if hosts else []
    if several or heard.flags.nodes is None:  # a node that is told to be alone is in none of their groups
        told += [each for group in heard.groups for each in (*group.hosts[:1], *group.masters)]
    if heard.flags.master is not None:
        told.insert(0, place("--master", heard.flags.master))
    for each in told[1:]:
        if not same(told[0].host, each.host):
            raise contradiction(told[0], each, "both are worker-0")
    return told[0].host if told else ""


def _pending(index: Number | None, master: str, *, several: bool) -> list[str]:
    """What nobody told, as ends of sentences."""
    missing = [] if index is not None else ["which of them this node is"]
    return [*missing, "the name of worker-0"] if several and not master else missing


def _port(heard: _Heard, *, several: bool) -> int:
    """The training's own port. Raises PlanError where the launchers would meet at the same one."""
    given = place("--master", heard.flags.master).port if heard.flags.master is not None else None
    found = given or _first(each for group in heard.groups for each in group.ports) or DEFAULT_PORT
    own = text(heard.environ, "LAUNCHER_RENDEZVOUS_PORT")
    meeting = port("LAUNCHER_RENDEZVOUS_PORT", own) if own else Meeting().port
    if several and found == meeting:
        raise refused(
            f"the training's port on worker-0 (--master, MA_MASTER_PORT, PET_MASTER_PORT) is {found}, and so is "
            "LAUNCHER_RENDEZVOUS_PORT, at which the launchers meet there",
            "Give one of them another port, the same on every node.",
        )
    return found


def _check_own_name(found: Topology, host: str, index: Number | None) -> None:
    """Refuse an index where this host is called as another node is: two nodes would take themselves for one."""
    names = [label(each) for each in (found.servers if found.role == "ps" else found.hosts)]
    own = label(host)
    if index is not None and found.index < len(names) and names[found.index] != own and names.count(own) == 1:
        meant = f"node {names.index(own)} among the names told"
        raise contradiction(index, f"this host is {host}, {meant}", "both are the index of this node")


def _over(given: Number, others: Sequence[Number]) -> list[str]:
    """The warning that the command line stands over what others say."""
    overruled = [str(each) for each in others if each.value != given.value]
    return [f"{given} on the command line, and stands over what else was said: {', '.join(overruled)}"] * bool(
        overruled
    )


def _names_from(heard: _Heard) -> str:
    return _first(group.source for group in heard.groups if group.hosts or group.rule) or "the names told"


def _source(heard: _Heard, workers: Number) -> str:
    """Who told of the nodes."""
    if heard.flags != Flags():
        return "the command line"
    return _first(group.source for group in heard.groups if group.hosts or group.masters or group.rule) or (
        workers.teller
    )


def _first(each: Iterable[T | None]) -> T | None:
    return next((one for one in each if one is not None), None)
