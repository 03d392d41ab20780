"""What a run needs of the world, as one value: handed in by the command line, and by tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from launcher.core.devices import Devices
from launcher.core.interpreter import Interpreter
from launcher.core.origin import Origin
from launcher.core.plan import Plan
from launcher.protocols import Ask, Cache, Clock, Meter, Occupancy, Processes, Record, Store, Surroundings
from launcher.senses import Senses
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from launcher.streams.screen import Screen


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs. `environ` is handed down to children; `secrets` are masked in all that leaves.

    They come in all their spellings (`redact.spellings`).
    `spy` is the py-spy of this node, which shows the stacks of programs that cannot be asked for them. `surroundings`
    and what the boot file's `interpreter` is are for the pre-check, where there is one.
    """

    store: Store
    processes: Processes
    clock: Clock
    meter: Meter
    environ: Mapping[str, str]
    log: LogFile
    out: Outlet
    err: Outlet
    terminal: Screen | None = None
    spy: str | None = None
    secrets: tuple[str, ...] = ()
    cache: Cache | None = None
    occupancy: Callable[[Plan, Record], Occupancy | None] = lambda _plan, _record: None
    owed: bool = False
    """Whether an earlier run here has trained and not put everything in its place."""
    surroundings: Callable[[], Surroundings] | None = None
    hardware: Callable[[Ask], Devices] | None = None
    """What this node's devices are like now, asked by the tools of their vendors."""
    senses: Callable[[Plan], Senses] | None = None
    """By what a training is watched for hanging."""
    interpreter: Interpreter | None = None
    origin: Callable[[], Origin] | None = None
    """What a run is made again by, as far as only the command line knows; None: it is not recorded."""
