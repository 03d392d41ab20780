"""What the platforms say of a job's nodes: Volcano and ModelArts, Kubernetes' Indexed Jobs, Kubeflow's trainers.

Each tells a part, by variables of its own, and a node may hear several of them at once: nothing is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from launcher.core.frozen import Record
from launcher.core.topology.reading import (
    Number,
    Place,
    contradiction,
    is_host,
    label,
    number,
    numbers,
    place,
    places,
    port,
    refused,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Names = Callable[[int], tuple[str, ...]]
"""The names of so many workers, where a platform makes them by a rule."""

_TASK = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_OWN = re.compile(r"(.+)-([0-9]{1,6})")
_BY_DEVICES = re.compile(r"auto|gpu|cpu|npu|xpu")


class Group(Record, frozen=True, kw_only=True):
    """What one platform says. `counts` are of the workers; `rough` ones may count the parameter servers as well.

    `hosts` is its list of the workers, `rule` how it names them where there is no list; `source` is told of both.
    """

    source: str
    role: Literal["worker", "ps"] = "worker"
    counts: tuple[Number, ...] = ()
    rough: tuple[Number, ...] = ()
    indices: tuple[Number, ...] = ()
    hosts: tuple[Place, ...] = ()
    rule: Names | None = None
    servers: tuple[Place, ...] = ()
    server_counts: tuple[Number, ...] = ()
    masters: tuple[Place, ...] = ()
    ports: tuple[int, ...] = ()
    per_node: int | None = None


def groups(environ: Mapping[str, str], host: str) -> tuple[Group, ...]:
    """What each platform says, the one that tells most first. Raises PlanError for a value that is none."""
    return volcano(environ), kubeflow(environ, host), first_kubeflow(environ, host), indexed(environ, host)


def volcano(environ: Mapping[str, str]) -> Group:
    """Volcano, and ModelArts on it: its `svc` plugin makes VC_<TASK>_HOSTS and VC_<TASK>_NUM for each task of a job."""
    task = text(environ, "MA_TASK_NAME") or "worker"
    job = text(environ, "MA_VJ_NAME")
    workers = "worker" if task == "ps" else task
    key = workers.replace("-", "_").upper()
    if not (text(environ, f"VC_{key}_HOSTS") or text(environ, f"VC_{key}_NUM")):
        key = "WORKER"
    listed = _listed(environ, f"VC_{key}_HOSTS")
    servers = _listed(environ, "VC_PS_HOSTS")
    _check_ports((*listed, *servers))
    server_counts = (*numbers(environ, "VC_PS_NUM"), *_length("VC_PS_HOSTS", servers))
    if not servers and server_counts and job:
        made = _of_job(job, "ps", server_counts[0].value)
        servers = tuple(Place(teller="MA_VJ_NAME", host=each) for each in made)
    return Group(
        source="VC_WORKER_HOSTS" if listed else "MA_VJ_NAME" if job else "Volcano's variables",
        role="ps" if task == "ps" else "worker",
        counts=(*numbers(environ, f"VC_{key}_NUM", least=1), *_length(f"VC_{key}_HOSTS", listed)),
        rough=numbers(environ, "MA_NUM_HOSTS", least=1),
        indices=numbers(environ, "VC_TASK_INDEX", "MA_TASK_INDEX", "VK_TASK_INDEX"),
        hosts=listed,
        rule=partial(_of_job, job, workers) if job else None,
        servers=servers,
        server_counts=server_counts,
        ports=(*_ports(environ, "MA_MASTER_PORT"), *(each.port for each in listed[:1] if each.port)),
    )


def _check_ports(places: Sequence[Place]) -> None:
    """Refuse ports that differ, for all nodes of a training have one. Raises PlanError."""
    told = [each for each in places if each.port is not None]
    for each in told[1:]:
        if each.port != told[0].port:
            raise refused(
                f"{told[0].teller} names {told[0].host} with port {told[0].port}, and {each.teller} names {each.host} "
                f"with port {each.port}",
                "All nodes of a training have one port: leave it out of the lists, or let MA_MASTER_PORT say it.",
            )


def indexed(environ: Mapping[str, str], host: str) -> Group:
    """An Indexed Job: pods are called `<job>-<index>`, and found below a headless service."""
    indices = numbers(environ, "JOB_COMPLETION_INDEX")
    own = _OWN.fullmatch(label(host))
    rule = None
    if indices and own and int(own[2]) == indices[0].value and is_host(host):
        service = text(environ, "LAUNCHER_SERVICE") or host.partition(".")[2] or own[1]
        rule = partial(_by_rule, f"{own[1]}-", f".{place('LAUNCHER_SERVICE', service).host}")
    return Group(source="JOB_COMPLETION_INDEX", indices=indices, rule=rule)


def kubeflow(environ: Mapping[str, str], host: str) -> Group:
    """Kubeflow's trainer (TrainJob), and PyTorchJobs of its training operator since 1.7."""
    masters = [place(name, value) for name in _MASTERS if (value := text(environ, name))]
    counts, indices = _fixed(text(environ, "PET_NNODES")), numbers(environ, "PET_NODE_RANK")
    if counts and masters and not indices:
        indices = _own_index(host, masters[0].host)  # an elastic PyTorchJob gives its workers no rank
    return Group(
        source="PET_NNODES",
        counts=counts,
        indices=indices,
        rule=_proven(host, masters[0].host, indices[0].value) if masters and indices else None,
        masters=tuple(masters),
        ports=(*_ports(environ, "PET_MASTER_PORT"), *(each.port for each in masters if each.port)),
        per_node=_per_node(environ),
    )


def first_kubeflow(environ: Mapping[str, str], host: str) -> Group:
    """PyTorchJobs of older training operators, whose WORLD_SIZE counts pods.

    Anybody may have set these three for another purpose: they tell of nodes only where the host is called as a
    PyTorchJob calls its pods.
    """
    source, silent = "WORLD_SIZE", Group(source="WORLD_SIZE")
    master, rank, size = (text(environ, name) for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE"))
    if text(environ, "PET_NNODES") or not master.endswith("-master-0") or not rank.isdecimal() or not size:
        return silent
    index = Number(teller="RANK", value=number("RANK", rank))
    at = place("MASTER_ADDR", master)
    rule = _proven(host, at.host, index.value)
    if rule is None:
        return silent
    count = Number(teller="WORLD_SIZE", value=number("WORLD_SIZE", size, least=1))
    ports = _ports(environ, "MASTER_PORT")
    return Group(source=source, counts=(count,), indices=(index,), rule=rule, masters=(at,), ports=ports)


_MASTERS = ("PET_MASTER_ADDR", "PET_RDZV_ENDPOINT")


def _listed(environ: Mapping[str, str], name: str) -> tuple[Place, ...]:
    value = text(environ, name)
    return places(name, value) if value else ()


def _length(name: str, listed: tuple[Place, ...]) -> tuple[Number, ...]:
    return (Number(teller=f"the number of names in {name}", value=len(listed)),) if listed else ()


def _ports(environ: Mapping[str, str], name: str) -> tuple[int, ...]:
    value = text(environ, name)
    return (port(name, value),) if value else ()


def _by_rule(before: str, after: str, count: int) -> tuple[str, ...]:
    return tuple(f"{before}{index}{after}" for index in range(count))


def _of_job(job: str, task: str, count: int) -> tuple[str, ...]:
    """The names that Volcano gives the pods of a job's task. Raises PlanError where job and task are no names."""
    for name, value in (("MA_TASK_NAME", task), ("MA_VJ_NAME", job)):
        if not _TASK.fullmatch(value):
            raise refused(f"{name}: expected letters, digits and `-`, found {value[:80]!r}")
    return _by_rule(f"{job}-{task}-", f".{job}", count)


def _of_master(master: str, count: int) -> tuple[str, ...]:
    """The pods of a PyTorchJob with a master: worker 0 has rank 1."""
    workers = f"{master.removesuffix('-master-0')}-worker-"
    return (master, *_by_rule(workers, "", count - 1))


def _proven(host: str, master: str, index: int) -> Names | None:
    """The rule by which this host and worker-0 are both called; None where their names prove none."""
    own, first = label(host), label(master)
    if master.lower() == first and first.endswith("-master-0"):
        expected = first if index == 0 else f"{first.removesuffix('-master-0')}-worker-{index - 1}"
        return partial(_of_master, master) if own == expected else None
    stem = first.removesuffix("-0")
    if stem == first or own != f"{stem}-{index}":
        return None
    return partial(_by_rule, f"{stem}-", master[len(first) :])


def _own_index(host: str, master: str) -> tuple[Number, ...]:
    """The index that this host's own name ends in, where it begins as worker-0's."""
    own, first = _OWN.fullmatch(label(host)), _OWN.fullmatch(label(master))
    if own and first and own[1] == first[1] and first[2] == "0":
        return (Number(teller=f"the index in the host's name {host}", value=int(own[2])),)
    return ()


def _fixed(value: str) -> tuple[Number, ...]:
    """PET_NNODES: `4`, or `4:4`. Raises PlanError for a range, which would make the nodes come and go."""
    if not value:
        return ()
    low, mark, high = value.partition(":")
    one = Number(teller="PET_NNODES", value=number("PET_NNODES", low, least=1))
    if mark and number("PET_NNODES", high, least=1) != one.value:
        raise refused(
            f"PET_NNODES is {value}: a number of nodes that may change; the launcher runs a job on a fixed number",
            "Give the job's minimum and maximum the same number of nodes.",
        )
    return (one,)


def _per_node(environ: Mapping[str, str]) -> int | None:
    """Processes on a node; None where they are as many as the devices."""
    found: list[Number] = []
    for name in ("PET_NPROC_PER_NODE", "PET_N_PROC_PER_NODE"):
        value = text(environ, name)
        if value and not _BY_DEVICES.fullmatch(value):
            found.append(Number(teller=name, value=number(name, value, least=1)))
    if len({each.value for each in found}) > 1:
        raise contradiction(found[0], found[1], "both are the processes of a node")
    return found[0].value if found else None
