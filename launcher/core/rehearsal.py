"""A rehearsal as values: the nodes that one machine plays, what each is told as a cluster would, how it all ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from launcher.core.constraints import flavor_cards, flavor_detail
from launcher.core.devices import Accelerators, Device, node_devices
from launcher.core.frozen import Record
from launcher.core.gpus import Found
from launcher.core.gpus import accelerators as gpus
from launcher.core.ranktable import V1, Card, RankTable, Server, to_v1
from launcher.core.record import Cause
from launcher.core.topology import TELLERS
from launcher.core.visible import ASCEND, CUDA, NVIDIA, ascend_visible

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from launcher.core.devices import Devices, Limits
    from launcher.core.spec import Job, Requirement

MOST_DEVICES = MOST_NODES = 64
"""Of one rehearsal: more would only show that the machine is too small."""

TABLE = "user/config/jobstart_hccl.json"
"""Where a rank table comes below the root, as a cluster mounts it."""

MADE_UP = "made up for a rehearsal (--fake-devices): there is no such hardware behind them"

USUAL = 8
"""Devices of a node where the job does not say how many: what the service's usual flavors have."""

_FAKE = re.compile(r"(gpu|ascend):([0-9]{1,3})", re.IGNORECASE)
_ONE_MACHINE = {
    **dict.fromkeys(("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"), "lo"),
    **dict.fromkeys(("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include"), "lo"),
    "OMPI_MCA_btl": "self,tcp",
}
"""How libraries find each other on one machine, whose other interfaces may come and go, and lead nowhere on a train.

Open MPI's shared memory takes all who have one host's name for one node, and crashes where they are two.
"""
_OTHERS = ("MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TF_CONFIG", "MA_CURRENT_IP", "MA_CURRENT_HOST_IP")
_TABLES = ("RANK_TABLE_FILE", "RANK_TABLE_FILE_V_1_0")
_FOLLOWS = "peer"
"""How the codes of those causes begin that name another node."""
_ASKED = "interrupted"
"""The code of the cause of who was told to end from outside: by a person, or because another node did not begin."""


class Fake(Record, frozen=True, kw_only=True):
    """Devices that every node of a rehearsal is to have."""

    type: Literal["GPU", "Ascend"]
    count: int

    def __str__(self) -> str:
        return f"{self.type}:{self.count}"


class Scenery(Record, frozen=True, kw_only=True):
    """What all nodes of a rehearsal have in common: their number, the ports on worker-0, a secret of their meeting.

    `ports` are of the training, of the launchers' meeting and of sshd; none where nothing is to be started. `table` is
    the rank table's path, None without one. `visible`: what chose among this machine's own devices still counts.
    """

    nodes: int
    ports: tuple[int, int, int] | None = None
    nonce: str = ""
    table: str | None = None
    visible: bool = True


class NodeEnd(Record, frozen=True, kw_only=True):
    """How one node ended: its launcher's exit code, and what its run.json says.

    `ended` is when its first process failed, else when its launcher ended, as RFC 3339.
    """

    index: int
    root: str
    code: int
    phase: str = "Abnormal"
    cause: Cause | None = None
    ended: str = ""


def read_fake(text: str) -> Fake | None:
    """`GPU:8` or `Ascend:8`, in any case; None for what is neither."""
    found = _FAKE.fullmatch(text.strip())
    if found is None or not 1 <= int(found[2]) <= MOST_DEVICES:
        return None
    return Fake(type="GPU" if found[1].lower() == "gpu" else "Ascend", count=int(found[2]))


def made_up(fake: Fake, limits: Limits, environ: Mapping[str, str]) -> Devices:
    """A node with made-up devices; the variables that choose among devices choose among these."""
    devices = tuple(
        Device(index=index, physical=index, id=f"{fake.type}-made-up-{index}", name=f"made-up {fake.type}")
        for index in range(fake.count)
    )
    if fake.type == "GPU":
        return node_devices([gpus(Found(devices=devices, notes=(f"the GPUs are {MADE_UP}",)), environ)], limits)
    chosen = ascend_visible(environ.get(ASCEND), fake.count)
    seen = devices if chosen is None else tuple(devices[index] for index in chosen)
    npus = Accelerators(
        type="Ascend",
        count=len(seen),
        devices=tuple(Device(index=i, physical=each.index, id=each.id, name=each.name) for i, each in enumerate(seen)),
        present=fake.count,
        visible=None if chosen is None else f"{ASCEND}={environ[ASCEND]}",
        notes=(f"the NPUs are {MADE_UP}",),
    )
    return node_devices([npus], limits)


def shared(devices: Devices, nodes: int) -> Devices:
    """This machine's own devices, as one of so many nodes on it has them."""
    if nodes == 1 or devices.type == "CPU":
        return devices
    return replace(devices, notes=(*devices.notes, f"{nodes} nodes of a rehearsal share these devices"))


def address(index: int) -> str:
    """The address of a node: each has its own on the loopback interface, all of whose 127/8 answers."""
    return f"127.0.0.{index + 1}"


def told(environ: Mapping[str, str], scenery: Scenery, index: int) -> dict[str, str]:
    """The environment of one node as a Volcano cluster would make it, out of this machine's own.

    What the machine was told of other nodes is left out. One node alone is told of none, and keeps the training's port.
    """
    alone = scenery.nodes == 1
    kept = {name: value for name, value in environ.items() if not _is_told_anew(name, scenery)}
    table = {"RANK_TABLE_FILE": scenery.table} if scenery.table else {}
    # nobody writes a table later
    table |= {"LAUNCHER_RANK_TABLE_TIMEOUT": environ.get("LAUNCHER_RANK_TABLE_TIMEOUT") or "1"}
    return {**kept, **table, **({} if alone else _of_several(environ, scenery, index))}


def _is_told_anew(name: str, scenery: Scenery) -> bool:
    if not scenery.visible and name in (CUDA, NVIDIA, ASCEND, "MA_NUM_GPUS"):
        return True
    if scenery.nodes == 1 and name in ("MA_MASTER_PORT", "MASTER_PORT"):
        return False
    return name in TELLERS or name in _OTHERS or name in _TABLES


def _of_several(environ: Mapping[str, str], scenery: Scenery, index: int) -> dict[str, str]:
    own = {
        "MA_TASK_NAME": "worker",
        "MA_NUM_HOSTS": str(scenery.nodes),
        "VC_WORKER_NUM": str(scenery.nodes),
        "VC_WORKER_HOSTS": ",".join(address(each) for each in range(scenery.nodes)),
        "VC_TASK_INDEX": str(index),
        "MA_CURRENT_IP": address(index),
        "MA_CURRENT_HOST_IP": address(index),
    }
    own |= {name: environ.get(name) or value for name, value in _ONE_MACHINE.items()}
    if scenery.ports is not None:
        names = ("MA_MASTER_PORT", "LAUNCHER_RENDEZVOUS_PORT", "LAUNCHER_SSH_PORT")
        own |= {name: str(port) for name, port in zip(names, scenery.ports, strict=True)}
    return own | ({"LAUNCHER_NONCE": scenery.nonce} if scenery.nonce else {})


def rank_table(path: str, nodes: int, cards: int, own: int = 0) -> RankTable:
    """The completed table of nodes with so many cards each, as a cluster has it once all of them are there."""
    servers = tuple(
        Server(
            id=address(node),
            # 198.18.0.0/15 is set aside for tests of networks: nobody's own
            cards=tuple(
                Card(device=str(card), rank=node * cards + card, ip=f"198.18.{node}.{card + 1}")
                for card in range(cards)
            ),
            host_nic_ip="reserve",
        )
        for node in range(nodes)
    )
    return RankTable(path=path, version=V1, servers=servers, own=own)


def table_text(nodes: int, cards: int) -> str:
    """The same as the text of a file."""
    return to_v1(rank_table("", nodes, cards))


def hinted(unmet: Sequence[str], requirements: Collection[Requirement], job: Job) -> tuple[str, ...]:
    """What is not fulfilled, each with the option that makes it up in a rehearsal."""
    hint = f"a rehearsal can do with made-up devices: --fake-devices {_wanted(requirements, job)}"
    return tuple(
        f"{each}; --rehearse-nodes says how many nodes are rehearsed" if _is_of_nodes(each) else f"{each}; {hint}"
        for each in unmet
    )


def _is_of_nodes(sentence: str) -> bool:
    return sentence.startswith("the algorithm asks for host_distributed_mode ")


def _wanted(requirements: Collection[Requirement], job: Job) -> Fake:
    """The devices that a job asks for: those of its flavor, else what its algorithm is made for."""
    detail = flavor_detail(job)
    info = detail.flavor_info if detail else None
    is_npu = detail is not None and (detail.flavor_type == "Ascend" or (info is not None and info.npu is not None))
    asked = {each.key: each.values or () for each in requirements}
    kinds = asked.get("flavor_type", ())
    one = set(asked.get("device_distributed_mode", ())) == {"singular"}
    is_npu = is_npu or (detail is None and "Ascend" in kinds and "GPU" not in kinds)
    return Fake(type="Ascend" if is_npu else "GPU", count=flavor_cards(job) or (1 if one else USUAL))


def deciding(ends: Sequence[NodeEnd]) -> NodeEnd | None:
    """The node whose end is the rehearsal's: of those that failed the first that followed no other; None: all is well.

    The launchers tell each other who failed, so that whoever only followed says so. Who was told to end comes between.
    """
    failed = [each for each in ends if each.code != 0]
    return min(failed, key=lambda each: (_follows(each), each.ended), default=None)


def _follows(end: NodeEnd) -> int:
    code = end.cause.code if end.cause is not None else ""
    return 2 if code.startswith(_FOLLOWS) else int(code == _ASKED)


def summary(ends: Sequence[NodeEnd]) -> tuple[str, ...]:
    """The closing table: phase, exit code, cause and place of each node, in the order of the nodes."""
    rows = [
        (f"worker-{each.index}", each.phase, f"exit code {each.code}", _in_few_words(each), each.root)
        for each in sorted(ends, key=lambda each: each.index)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
    return tuple("  ".join((*map(str.ljust, row[:4], widths), row[4])) for row in rows)


_LONGEST = 60


def _in_few_words(end: NodeEnd) -> str:
    if end.cause is None:
        return "" if end.code == 0 else "it left no word: see its last lines"
    text = f"{end.cause.code}: {end.cause.message}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
