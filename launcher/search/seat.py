"""A trial on its lane, and how its launcher is started there: with its own root, port and devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from launcher.core.plan import Process
from launcher.core.search import Trial
from launcher.core.search.endings import Asked
from launcher.core.search.lanes import Lane
from launcher.search.host import Start
from launcher.search.laying import JOB_FILE
from launcher.search.scan import Scanner

if TYPE_CHECKING:
    from launcher.search.quest import Quest


class Seat(Struct, eq=False):
    """A trial on its lane, from its claim to its end."""

    trial: Trial
    lane: Lane
    root: str
    scanner: Scanner
    pid: int | None = None
    asked: Asked | None = None


def start_of(quest: Quest, seat: Seat) -> Start:
    """The launcher of a trial, and who reads what it says."""
    process = Process(
        rank=0,
        local_rank=0,
        argv=(*quest.command, f"{seat.root}/{JOB_FILE}", "--root", seat.root, *quest.store, *quest.options),
        env={
            **quest.environ,
            **seat.lane.env,
            "LAUNCHER_TERMINATION_LOG": f"{seat.root}/termination.json",
            **dict.fromkeys(("MASTER_PORT", "MA_MASTER_PORT"), str(quest.port())),
        },
        cwd=seat.root,
    )
    return Start(process, ((seat.scanner.stdout,), (seat.scanner.stderr,)))
