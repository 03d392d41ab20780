"""`--rehearse`: a cluster's run on one machine, each of its nodes a launcher of its own; made-up devices on request."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from launcher.cli.cast import free_ports, node_root, several, unwritable
from launcher.cli.claim import Claim
from launcher.cli.load import load_job, read_file
from launcher.cli.machine import absolute, devices_of
from launcher.cli.options import request
from launcher.cli.rehearse_checks import check_first, check_store
from launcher.cli.stores import open_store
from launcher.core.engines import engine_of
from launcher.core.errors import Exit, LauncherError, PlanError
from launcher.core.ranktable import expected
from launcher.core.rehearsal import (
    MOST_DEVICES,
    MOST_NODES,
    TABLE,
    Fake,
    Scenery,
    made_up,
    rank_table,
    read_fake,
    table_text,
    told,
)
from launcher.core.searchspace import searched_algorithm
from launcher.core.settings import read_settings
from launcher.core.topology import Flags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.cli.options import Request
    from launcher.core.devices import Devices
    from launcher.core.facts import Facts
    from launcher.core.ranktable import RankTable
    from launcher.core.spec import Job

Here = Callable[[dict[str, Any], dict[str, str]], int]
"""Runs one node in this process: the options of a command line, and its environment."""


def check(options: dict[str, Any]) -> None:
    """Refuse options of a rehearsal that cannot be. Raises click.UsageError."""
    for name in ("fake_devices", "rehearse_nodes"):
        if options[name] is not None and not options["rehearse"]:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} is for a rehearsal: give --rehearse with it.")
    if options["fake_devices"] is not None:
        _fake(options["fake_devices"])
    if absolute(options["root"]) == "/":
        raise click.UsageError("--rehearse needs --root DIR: a folder below which each node gets a root of its own.")
    by_hand = options.get("nodes") or options.get("node_index") is not None or options.get("master")
    if options["rehearse_nodes"] is not None and by_hand:
        raise click.UsageError(
            "--rehearse-nodes starts all nodes here; --nodes, --node-index and --master are one of them."
        )
    if (options["rehearse_nodes"] or 1) > MOST_NODES:
        raise click.UsageError(f"--rehearse-nodes {options['rehearse_nodes']}: expected at most {MOST_NODES}.")
    named = options["store"] or os.environ.get("S3_ENDPOINT", "")
    if named.startswith(("http://", "https://")) or (named and not options["store"]):
        raise click.UsageError(
            f"--rehearse writes to its store, and {named} is a server: copy what the job reads into a folder "
            "(its first level are the buckets) and give --store DIR."
        )


def fake_hardware(text: str, environ: Mapping[str, str]) -> Devices:
    """The made-up devices of a node, with its real processors and memory. Raises click.UsageError."""
    from launcher.adapters.cgroup import Cgroup

    return made_up(_fake(text), Cgroup().limits(), environ)


def future_table(facts: Facts) -> RankTable | None:
    """The rank table that a rehearsal would write; None where this node has no NPU."""
    cards = facts.devices.count if facts.devices.type == "Ascend" else None
    here = facts.topology
    if not cards or (cards == 1 and here.workers == 1):
        return None
    return rank_table(expected(facts.environ), here.workers, cards, here.index)


def for_trials(asked: Request) -> tuple[str, ...]:
    """The options by which a trial of a search is rehearsed as the search is."""
    fake = ("--fake-devices", asked.fake_devices) if asked.fake_devices else ()
    return ("--rehearse", *fake) if asked.rehearse else ()


def rehearsed(options: dict[str, Any], environ: dict[str, str], here: Here, *, single: str | None) -> int:
    """Rehearse a job: on one node `here`, on several by a launcher for each. The exit code of the node that decides.

    `options` are those of the command line, `quiet` and `verbose` too. `single`: what wants one node.
    """
    plain = {name: value for name, value in options.items() if name not in ("quiet", "verbose")}
    asked = request(environ, dict(plain))
    if asked.flags != Flags():  # one node of a rehearsal
        return here(plain, environ)
    asked = _lasting(asked, environ)
    plain |= {"job": asked.job, "algorithm": asked.algorithm}
    try:
        job = _job(asked, environ)
    except LauncherError:
        return here(plain, environ)  # it tells, and leaves word of, the same
    nodes = _nodes(asked, job)
    _check_single(job, nodes, single)
    scenery = _scenery(asked, job, environ, nodes)
    if nodes == 1:
        check_store(asked, environ, scenery)
        _furnish(scenery, asked, environ)
        return here(_alone(plain, job), told(environ, scenery, 0))
    ports = free_ports(nodes)
    scenery = replace(scenery, ports=ports, nonce=environ.get("LAUNCHER_NONCE") or secrets.token_hex(16))
    check_first(asked, environ, scenery)
    _furnish(scenery, asked, told(environ, scenery, 0))
    return several({**options, **plain}, asked, environ, scenery)


def previewed(asked: Request, environ: dict[str, str]) -> tuple[Request, dict[str, str], tuple[str, ...]]:
    """What a preview of a rehearsal shows: its first node's request and environment, and what is pending then."""
    if asked.flags != Flags():
        return asked, environ, ()
    asked = _lasting(asked, environ)
    job = _job(asked, environ)
    nodes = _nodes(asked, job)
    _check_single(job, nodes, None)
    scenery = _scenery(asked, job, environ, nodes)
    if nodes == 1:
        flags = Flags(nodes=1, index=0) if _asks_for_more(job) else Flags()
        return replace(asked, flags=flags), told(environ, scenery, 0), ()
    pending = "the ports of worker-0: a rehearsal picks free ones when it starts"
    one = replace(asked, root=node_root(asked.root, 0), flags=Flags(nodes=nodes, index=0))
    return one, told(environ, scenery, 0), (pending,)


def _fake(text: str) -> Fake:
    found = read_fake(text)
    if found is None:
        raise click.UsageError(f"--fake-devices {text!r}: expected GPU:N or Ascend:N, N from 1 to {MOST_DEVICES}.")
    return found


def _lasting(asked: Request, environ: Mapping[str, str]) -> Request:
    """The same with documents that can be read again and again, by the nodes too, in place of streams, which cannot."""
    job = _kept(asked.job or environ.get("LAUNCHER_JOB", ""))
    algorithm = _kept(asked.algorithm or environ.get("LAUNCHER_ALGORITHMS", ""))
    return replace(asked, job=job or asked.job, algorithm=algorithm or asked.algorithm)


def _kept(place: str) -> str | None:
    """Where a stream (`-`, `<(...)`, /dev/stdin) is kept: in this process's memory, so that nothing is left behind."""
    if not _is_stream(place):
        return None
    data = read_file(place)
    held = os.memfd_create("document")
    with os.fdopen(held, "wb", closefd=False) as file:
        file.write(data)
    return f"/proc/{os.getpid()}/fd/{held}"


def _is_stream(place: str) -> bool:
    """Whether a document is another one, or none, when it is read again, or by another process."""
    if place == "-":
        return True
    try:
        mode = os.stat(place).st_mode
    except OSError:
        return False  # a URL, the job itself, or nothing: whoever reads it says so
    by_number = place.startswith(("/dev/fd/", "/dev/stdin", "/proc/"))
    return not stat.S_ISDIR(mode) and (by_number or not stat.S_ISREG(mode))


def _job(asked: Request, environ: Mapping[str, str]) -> Job:
    return load_job(asked, environ, open_store(asked.store, environ, read_settings(environ)).read).job


def _nodes(asked: Request, job: Job) -> int:
    count = asked.rehearse_nodes or _asks_for(job) or 1
    if count > MOST_NODES:
        raise PlanError(
            f"the job asks for {count} nodes, and one machine rehearses at most {MOST_NODES}",
            code="rehearsal-nodes",
            action="Give --rehearse-nodes 2: what works on two nodes is most of what can be tried.",
            exit_code=Exit.USAGE,
        )
    return count


def _asks_for(job: Job) -> int | None:
    return job.spec.resource.node_count if job.spec and job.spec.resource else None


def _asks_for_more(job: Job) -> bool:
    return (_asks_for(job) or 1) > 1 and searched_algorithm(job) is None


def _check_single(job: Job, nodes: int, single: str | None) -> None:
    """Refuse several nodes where each of them would be by itself. Raises PlanError."""
    what = single or ("a search" if searched_algorithm(job) is not None else None)
    if nodes > 1 and what is not None:
        raise PlanError(
            f"{what} is rehearsed on one node, and {nodes} are wanted",
            code="rehearsal-nodes",
            action="Give --rehearse-nodes 1.",
            exit_code=Exit.USAGE,
        )


def _alone(options: dict[str, Any], job: Job) -> dict[str, Any]:
    """The options of a rehearsal on one node, also of a job that asks for more."""
    more = {"nodes": 1, "node_index": 0} if _asks_for_more(job) else {}
    return {**options, "rehearse_nodes": None, **more}


def _scenery(asked: Request, job: Job, environ: Mapping[str, str], nodes: int) -> Scenery:
    """What the nodes have in common. Raises PlanError (71) where the job's engine is Ascend's, and no NPU is here."""
    trial = bool(environ.get("LAUNCHER_STAGED"))  # the lane that it has among the devices is its own
    scenery = Scenery(nodes=nodes, visible=trial or asked.fake_devices is None)
    user = (job.algorithm.environments if job.algorithm else None) or {}
    engine = engine_of(job.algorithm, {**environ, **user}) if job.algorithm else ""
    if engine == "msrun" and nodes > 1:
        raise PlanError(
            f"msrun takes each of {nodes} nodes on one machine for the first: they cannot be rehearsed together",
            code="rehearsal-nodes",
            action="Give --rehearse-nodes 1.",
            exit_code=Exit.USAGE,
        )
    if engine != "ascend":
        return scenery
    devices = devices_of(asked, told(environ, scenery, 0))
    cards = devices.count if devices.type == "Ascend" else 0
    if not cards and nodes > 1:
        raise PlanError(
            f"the job's engine is Ascend's, which on {nodes} nodes needs NPUs, and this machine has none",
            code="rehearsal-devices",
            action="Give --fake-devices Ascend:8.",
            exit_code=Exit.NODE,
        )
    if (cards or 0) * nodes > 1:
        scenery = replace(scenery, table=f"{absolute(asked.root)}/{TABLE}")
    return scenery


def _furnish(scenery: Scenery, asked: Request, environ: Mapping[str, str]) -> None:
    """Make the root this rehearsal's alone, and lay its rank table there as a cluster's controller would.

    Raises PlanError.
    """
    if scenery.nodes == 1 and scenery.table is None:
        return
    from launcher import disk
    from launcher.report import write_whole

    root = absolute(asked.root)
    try:
        os.makedirs(root, exist_ok=True)
        Claim().take(root)  # before anything of another rehearsal there is written over
        if scenery.table is not None:
            os.makedirs(os.path.dirname(scenery.table), exist_ok=True)
            cards = devices_of(asked, environ).count or 0
            write_whole(scenery.table, table_text(scenery.nodes, cards).encode())
    except OSError as error:
        raise unwritable(root, disk.reason(error)) from error
