"""Ascend's own way: the boot file once for each card, all of which find each other by a rank table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.engines.start import Engaged, Launch, boot
from launcher.core.errors import Exit, PlanError
from launcher.core.frozen import Record
from launcher.core.plan import Document
from launcher.core.ranktable import FILE, RANK_VARIABLES, expected, to_v1

if TYPE_CHECKING:
    from launcher.core.engines.start import Start
    from launcher.core.ranktable import RankTable

OLD_DRIVER = "20.1.0"
"""Takes the physical id for DEVICE_ID and knows no ASCEND_DEVICE_ID (contract: Ascend out)."""

MOST_CARDS = 64
"""More than any server has: so many are shown at most."""

PROCESS_LOG = "ASCEND_PROCESS_LOG_PATH"


class _Seat(Record, frozen=True, kw_only=True):
    """Where one process has its place: `device` is the card's logical id on this node, `physical` the table's."""

    rank: int
    device: int
    physical: str


def ascend(start: Start) -> Engaged:
    """One process for each card of this node, in the order of their ranks. Raises PlanError."""
    table = start.facts.rank_table
    if table is not None:
        return _by_table(start, table)
    return _alone(start) if _is_alone(start) else _awaited(start)


def _is_alone(start: Start) -> bool:
    """Whether there is nobody to find: one card at most, on one node.

    A preview leaves it open where a table is named, which a run would wait for; and where no NPU is found, for it is
    often made on another machine.
    """
    named = start.said.get("RANK_TABLE_FILE_V_1_0") or start.said.get("RANK_TABLE_FILE")
    open_still = start.facts.preview and (named or not start.cards)
    return start.cards in (0, 1) and start.facts.topology.workers == 1 and not open_still


def _by_table(start: Start, table: RankTable) -> Engaged:
    _check(start, table)
    seats = _seats(table)
    path = f"{start.layout.home}/rank_table/{FILE}"
    wanted = start.facts.settings.processes or start.facts.topology.per_node
    warning = (
        f"{wanted} processes are wanted on this node, and one for each of the {len(seats)} cards of its rank table "
        "is started"
    )
    return _engaged(
        tuple(_launch(start, seat, table.size, path) for seat in seats),
        documents=(Document(path=path, text=to_v1(table)),),
        folders=(f"{start.layout.home}/rank_table",),
        warnings=(warning,) if wanted not in (None, len(seats)) else (),
    )


def _alone(start: Start) -> Engaged:
    """The one process that needs no table; without a card there is nothing to tell it."""
    if start.cards == 0:
        warning = "the job's engine is Ascend's, and this node has no NPU: the boot file is started once, without any"
        return Engaged(launches=(Launch(argv=(start.interpreter, *boot(start))),), warnings=(warning,))
    return _engaged((_launch(start, _Seat(rank=0, device=0, physical="0"), 1, None),))


def _awaited(start: Start) -> Engaged:
    """What will be started once there is a table; only a preview may know no more. Raises PlanError."""
    here, place = start.facts.topology, expected(start.said)
    if not start.facts.preview:
        raise PlanError(
            f"the processes of {here.workers} nodes with {start.cards or 'an unknown number of'} cards need a rank "
            f"table, and there is none at {place}",
            code="rank-table-missing",
            action="Let RANK_TABLE_FILE name the folder or the file in which the cluster writes it.",
            exit_code=Exit.NODE,
        )
    count = min(start.cards or 1, MOST_CARDS)
    seats = [_Seat(rank=here.index * count + index, device=index, physical=str(index)) for index in range(count)]
    path = f"{start.layout.home}/rank_table/{FILE}"
    pending = [f"the rank table {place}, which says who has which rank: shown as if all nodes were as this one"]
    if not start.cards:
        pending.append("how many cards a node has: only the node tells")
    return _engaged(
        tuple(_launch(start, seat, here.workers * count, path) for seat in seats),
        folders=(f"{start.layout.home}/rank_table",),
        pending=tuple(pending),
    )


def _engaged(
    launches: tuple[Launch, ...],
    *,
    documents: tuple[Document, ...] = (),
    folders: tuple[str, ...] = (),
    pending: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Engaged:
    own = [folder for each in launches for folder in (each.cwd, each.env.get(PROCESS_LOG)) if folder is not None]
    return Engaged(
        launches=launches,
        per_node=len(launches),
        documents=documents,
        folders=(*folders, *own),
        pending=pending,
        warnings=warnings,
    )


def _launch(start: Start, seat: _Seat, size: int, path: str | None) -> Launch:
    log_dir, name = start.layout.log_dir, f"modelarts-job-{start.job.id}"
    env = {"RANK_ID": str(seat.rank), "RANK_SIZE": str(size), "JOB_ID": start.job.id}
    if start.facts.devices.driver == OLD_DRIVER:
        env["DEVICE_ID"] = seat.physical
    else:
        env |= {"DEVICE_ID": str(seat.device), "ASCEND_DEVICE_ID": str(seat.device)}
    if path is not None:
        env["RANK_TABLE_FILE"] = path
    fixed = RANK_VARIABLES & env.keys()
    if not start.said.get("HCCL_CONNECT_TIMEOUT"):
        env["HCCL_CONNECT_TIMEOUT"] = "1800"
    if not start.said.get(PROCESS_LOG):
        env[PROCESS_LOG] = f"{log_dir}/{name}/ascend/process_log/rank_{seat.rank}"
    return Launch(
        argv=(start.interpreter, *boot(start)),
        env=env,
        fixed=fixed,
        rank=seat.rank,
        local_rank=seat.device,
        # MindSpore and CANN write beside themselves, each of a card the same names; a folder that the job asks for wins
        cwd=None if start.algorithm.working_dir else f"{start.layout.mount}/workspace/device{seat.device}",
        log=f"{name}-proc-rank-{seat.rank}-device-{seat.device}.txt",
    )


def _seats(table: RankTable) -> tuple[_Seat, ...]:
    """The processes of this node, in the order of their ranks; logical ids count its cards by their physical ones."""
    logical = {device: index for index, device in enumerate(sorted((card.device for card in table.cards), key=int))}
    return tuple(_Seat(rank=card.rank, device=logical[card.device], physical=card.device) for card in table.cards)


def _check(start: Start, table: RankTable) -> None:
    cards, workers = len(table.cards), start.facts.topology.workers
    found = start.facts.devices.count if start.facts.devices.type == "Ascend" else None
    if found and found != cards:
        raise PlanError(
            f"the rank table {table.path} has {cards} cards for this node, and {found} devices are here",
            code="rank-table-devices",
            action="Look at ASCEND_RT_VISIBLE_DEVICES and at what of /dev the container was given (launcher devices).",
            exit_code=Exit.NODE,
        )
    if table.nodes != workers:
        raise PlanError(
            f"the rank table {table.path} has {table.nodes} nodes, and the job {workers} "
            f"({start.facts.topology.source})",
            code="rank-table-nodes",
            action="Start the job anew, so that its table is written anew; or correct the number of its nodes.",
        )
