"""The facts of this machine, gathered once: what is on the search path, which folders are there, what time it is.

And of the other nodes what must be waited for: that is asked for last, when a job that cannot be has been refused.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from launcher.cli.hardware import hardware
from launcher.core.constraints import flavor_cards
from launcher.core.engines import engine_of
from launcher.core.environ import interpreters, search_path
from launcher.core.errors import PlanError
from launcher.core.facts import Facts, StoreFacts
from launcher.core.layout import Layout
from launcher.core.topology import topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from launcher.cli.options import Request
    from launcher.core.devices import Devices
    from launcher.core.settings import Settings
    from launcher.core.spec import Job

TERMINATION_LOG = "/dev/termination-log"


def gather(
    job: Job,
    request: Request,
    environ: Mapping[str, str],
    settings: Settings,
    store: StoreFacts | None,
    *,
    preview: bool = False,
) -> Facts:
    """Everything that a plan needs to know of this machine; nothing is changed, and nothing is waited for."""
    root = absolute(request.root)
    layout = Layout(root=root)
    facts = Facts(
        environ=environ,
        host=os.uname().nodename,
        started=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        root=root,
        store=store,
        settings=settings if request.grace is None else msgspec.structs.replace(settings, grace=request.grace),
        cache=root != "/" or os.access(layout.cache, os.W_OK),
        conda=os.path.isdir(layout.conda),
        termination=_termination(settings),
        report=absolute(request.report) if request.report else None,
        devices=devices_of(request, environ),
        topology=topology(job, environ, os.uname().nodename, request.flags, preview=preview),
        precheck=request.precheck,
        platform_args=request.platform_args,
        preview=preview,
        rehearsal=request.rehearse,
        unmounted=() if settings.staged else _unmounted(job, layout),
        resume=request.resume_from,
    )
    user = (job.algorithm.environments if job.algorithm else None) or {}
    path = search_path(facts, layout, user)
    return msgspec.structs.replace(
        facts,
        interpreter=find_program(interpreters(facts, user), path),
        shell=find_program(("bash", "sh"), path),
    )


def _unmounted(job: Job, layout: Layout) -> tuple[str, ...]:
    """The job's volumes that are not there. What is mounted is not touched: a dead server would hold us for good."""
    wanted = {layout.at(each.path): each.path for each in (job.spec.volumes if job.spec else ())}
    if not wanted:
        return ()
    mounted: set[str] = set()
    with suppress(OSError), open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as table:
        mounted = {line.split(" ")[1].replace("\\040", " ") for line in table}
    return tuple(path for place, path in wanted.items() if place not in mounted and not os.path.isdir(place))


def devices_of(request: Request, environ: Mapping[str, str]) -> Devices:
    """The devices of this node; in a rehearsal those that are made up for it, and no driver is asked."""
    if not request.rehearse:
        return hardware(environ)
    from launcher.cli.rehearse import fake_hardware
    from launcher.core.rehearsal import shared

    if request.fake_devices is None:
        return shared(hardware(environ), request.flags.nodes or 1)
    return fake_hardware(request.fake_devices, environ)


def waits(job: Job, facts: Facts) -> bool:
    """Whether something of the other nodes is still to be learnt."""
    return len(facts.topology.tasks) > 1 or _wants_ranks(job, facts)


def meet(job: Job, facts: Facts) -> Facts:
    """The facts with what others tell: their names, the way to worker-0, Ascend's rank table. Raises PlanError (71).

    A preview asks once for each, and what it does not get is pending.
    """
    import logging

    from launcher.cli.peers import find_peers

    say, settings, preview = logging.getLogger(__name__).info, facts.settings, facts.preview
    here, network = find_peers(facts.topology, settings.meeting.peers_s, say, preview=preview)
    facts = msgspec.structs.replace(facts, topology=here, network=network)
    if not _wants_ranks(job, facts):
        return facts
    if preview and facts.rehearsal:
        from launcher.cli.rehearse import future_table

        return msgspec.structs.replace(facts, rank_table=future_table(facts))
    from launcher.cli.ranktables import rank_table

    cards = flavor_cards(job) if preview and facts.devices.type == "CPU" else facts.devices.count
    needed = len(here.tasks) > 1 or cards not in (0, 1)
    table = rank_table(_said(job, facts), settings.rank_table_timeout, preview=preview, say=say, needed=needed)
    return msgspec.structs.replace(facts, rank_table=table)


def _wants_ranks(job: Job, facts: Facts) -> bool:
    return job.algorithm is not None and engine_of(job.algorithm, _said(job, facts)) == "ascend"


def _said(job: Job, facts: Facts) -> Mapping[str, str]:
    """The environment as a boot process sees it, less what the launcher promises."""
    return {**facts.environ, **((job.algorithm.environments if job.algorithm else None) or {})}


def absolute(path: str) -> str:
    """A path from the command line, from where the launcher was started. Raises PlanError where that is gone."""
    if path.startswith("/"):
        return os.path.normpath(path)
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise PlanError(
            f"{path} is relative to a working directory that does not exist any more",
            code="no-working-directory",
            action="Change to a directory that is there, or give absolute paths.",
        ) from error


def find_program(names: Iterable[str], path: str) -> str | None:
    """The first of these programs that is on a search path and may be run."""
    for name in names:
        places = [name] if "/" in name else [os.path.join(folder, name) for folder in path.split(":") if folder]
        for place in places:
            if os.path.isfile(place) and os.access(place, os.X_OK):
                return absolute(place)
    return None


def _termination(settings: Settings) -> str | None:
    if settings.termination_log:
        return absolute(settings.termination_log)
    return TERMINATION_LOG if os.path.isfile(TERMINATION_LOG) else None
