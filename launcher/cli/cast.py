"""The nodes of a rehearsal as launchers of their own: started by one command line, and told of when all have ended."""

from __future__ import annotations

import logging
import os
import secrets
from typing import TYPE_CHECKING, Any

from launcher.adapters.clock import SystemClock
from launcher.adapters.process import SystemProcesses
from launcher.cli import say
from launcher.cli.again import again
from launcher.cli.claim import Claim
from launcher.cli.leftovers import clear_leftovers
from launcher.cli.machine import absolute
from launcher.core.errors import Exit, PlanError
from launcher.core.layout import Layout
from launcher.core.outcome import sentence
from launcher.core.plan import Process
from launcher.core.rehearsal import deciding, summary, told
from launcher.core.settings import read_settings
from launcher.rehearse import Cast, House, rehearse
from launcher.streams.lines import ServiceLog
from launcher.streams.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from launcher.cli.options import Request
    from launcher.core.rehearsal import NodeEnd, Scenery

OWN = frozenset({"LAUNCHER_PARENT", "LAUNCHER_TERMINATION_LOG"})
"""Settings that are this launcher's alone."""
PORTS = range(12_000, 32_000)
"""Below what the kernel gives to those who call: no call takes one before it is listened at."""
_TRIES = 200
_PASSED_ON = (
    *("algorithm", "store", "root", "values", "variables", "datasets", "grace"),
    *("precheck", "platform_args", "quiet", "verbose", "fake_devices", "resume_from"),
)
_SPELLED = {"values": "set", "variables": "env", "datasets": "dataset"}


def several(options: dict[str, Any], asked: Request, environ: dict[str, str], scenery: Scenery) -> int:
    """Start the launchers, wait for them, and tell how each of them ended."""
    err = Outlet(2, "stderr")
    # as logging would write by itself, a stderr that nobody reads would hold us up for ever
    logging.getLogger("launcher").addHandler(ServiceLog(err))
    settings = read_settings(environ)
    grace = settings.grace if asked.grace is None else asked.grace
    cast = tuple(_cast(options, asked, environ, scenery, index) for index in range(scenery.nodes))
    if not options["quiet"]:
        say(f"rehearsal of {scenery.nodes} nodes on this machine, each below {absolute(asked.root)}")
    with SystemProcesses() as processes:
        if settings.parent is not None:
            from launcher.cli.lifeline import end_with

            end_with(settings.parent)
        house = House(
            processes=processes,
            clock=SystemClock(),
            environ={},
            out=Outlet(1, "stdout"),
            err=err,
            grace=grace,
            clear=_clear,
            say=say,
        )
        ends = rehearse(cast, house)
    return _told(ends, quiet=options["quiet"])


def _cast(options: dict[str, Any], asked: Request, environ: Mapping[str, str], scenery: Scenery, index: int) -> Cast:
    """One node as a process: the same command line, but for what is this node's own."""
    root = node_root(asked.root, index)
    try:
        os.makedirs(root, exist_ok=True)
    except OSError as error:
        raise unwritable(root, error.strerror or str(error)) from error
    own = {name: value for name, value in told(environ, scenery, index).items() if name not in OWN}
    own |= {"LAUNCHER_PARENT": str(os.getpid()), "LAUNCHER_TERMINATION_LOG": f"{root}/termination.json"}
    argv = again("run", *_arguments({**options, "root": root}, scenery.nodes, index))
    return Cast(process=Process(rank=index, local_rank=0, argv=argv, env=own, cwd=_folder(root)), root=root)


def _folder(root: str) -> str:
    """Where the command line was given, for its relative paths; where that is gone there is none of them."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return root


def _arguments(options: Mapping[str, Any], nodes: int, index: int) -> Iterator[str]:
    """The command line of one node: this one's own, and which node it is. What is given as `@env:` stays so."""
    for name in _PASSED_ON:
        yield from _spelled(_SPELLED.get(name, name).replace("_", "-"), options[name])
    if options["report"]:
        stem, ending = os.path.splitext(options["report"])
        yield f"--report={stem}-worker-{index}{ending}"
    yield from ("--rehearse", f"--nodes={nodes}", f"--node-index={index}")
    yield from ("--", options["job"]) if options["job"] is not None else ()


def _spelled(option: str, value: Any) -> Iterator[str]:
    """An option as it is written; one that says nothing is left out."""
    if isinstance(value, tuple):
        yield from (f"--{option}={each}" for each in value)
    elif value is False and option in ("precheck", "platform-args"):
        yield f"--no-{option}"
    elif isinstance(value, bool):
        yield from (f"--{option}",) if value else ()
    elif value is not None:
        yield f"--{option}={value}"


def free_ports(nodes: int) -> tuple[int, int, int]:
    """Ports at which nobody listens on any address: the training's, with one more for each node, then two others."""
    chance, why = secrets.SystemRandom(), None
    for _ in range(_TRIES):
        first = chance.choice(PORTS)
        why = _taken(range(first, first + nodes + 2))
        if why is None:
            return first, first + nodes, first + nodes + 1
    raise PlanError(
        f"no free ports were found between {PORTS.start} and {PORTS.stop}: {why}",
        code="rehearsal-ports",
        action="End who listens at so many of them, or mend what else this names.",
        exit_code=Exit.NODE,
    )


def _taken(ports: Sequence[int]) -> str | None:
    """Why not all of them can be listened at; None where all can."""
    import socket

    try:
        for port in ports:
            with socket.socket() as one:
                one.bind(("", port))
    except OSError as error:
        return error.strerror
    return None


def node_root(root: str, index: int) -> str:
    """Where a node has its root."""
    return f"{absolute(root)}/worker-{index}"


def unwritable(path: str, why: str) -> PlanError:
    """A root in which nothing can be laid down."""
    return PlanError(
        f"the rehearsal cannot write {path}: {why}",
        code="rehearsal-root",
        action="Give --root a folder of your own with room in it.",
        exit_code=Exit.NODE,
    )


def _clear(root: str) -> Sequence[str]:
    """End what the killed launcher of a node left running; another launcher may have that root, and keeps its own."""
    layout = Layout(root=root)
    if not os.path.isdir(layout.log_dir):
        return ()
    try:
        Claim().take(layout.log_dir)
    except PlanError:
        return ()
    return clear_leftovers(layout.roll, 0.0)


def _told(ends: Sequence[NodeEnd], *, quiet: bool) -> int:
    """Tell how the nodes ended; the exit code of the one that decides."""
    first = deciding(ends)
    if first is None and quiet:
        return Exit.OK
    for line in summary(ends):
        say(line)
    if first is None:
        return Exit.OK
    if first.cause is not None:
        say(f"error: worker-{first.index}: {sentence(first.cause).removeprefix('error: ')}")
    return first.code
