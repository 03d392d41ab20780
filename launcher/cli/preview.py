"""`launcher preview`: the Plan that `run` would execute, as a tree for people or as JSON. It touches nothing."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from launcher.cli.options import job_options, request
from launcher.core.redact import redact, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.cli.prepare import Ready
    from launcher.core.devices import Devices
    from launcher.core.plan import Plan, Process
    from launcher.core.topology import Topology

SHOWN_HOSTS = 16


@click.command(name="preview")
@job_options
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON, secrets masked.")
def command(as_json: bool, **options: Any) -> None:  # noqa: FBT001 - click passes options by name
    """Show where everything will lie, the exact arguments and the environment; touch nothing.

    \b
    Example:
      launcher preview job.json --store ./store --root ./root
      launcher preview job.json --json | python -m json.tool
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    from launcher.cli import result, say
    from launcher.cli.prepare import prepare

    environ, pending = dict(os.environ), tuple[str, ...]()
    asked = request(environ, options)
    if asked.rehearse:
        from launcher.cli.rehearse import previewed

        asked, environ, pending = previewed(asked, environ)
    ready = prepare(asked, environ, preview=True)
    plan = _with_search(ready)
    plan = redact(replace(plan, pending=(*plan.pending, *pending)), ready.secrets)
    if as_json:
        result(to_json(plan, ready.secrets).decode())
        return
    from launcher.streams.lines import plain

    result("\n".join(map(plain, tree(plan, ready.topology))))
    for warning in plan.warnings:
        say(f"warning: {warning}")


def _with_search(ready: Ready) -> Plan:
    """The plan; that of one trial, with a word on the search around it, where the job is searched."""
    if ready.searched is None:
        return ready.plan
    from launcher.core.search.policy import policy_of
    from launcher.core.search.shown import sought

    decided = policy_of(ready.searched)
    words = () if decided is None else (*map(str, decided.warnings), *sought(decided.policy), *_where(ready.plan))
    return replace(ready.plan, warnings=(*ready.plan.warnings, *words))


def _where(plan: Plan) -> tuple[str, ...]:
    from launcher.core.search.trialjob import FOLDER, RESULTS, below

    if not plan.outputs:
        return ("the job has no output: what the search finds stays on the node",)
    url = plan.outputs[0].target.url
    return (f"each trial writes to {below(url, FOLDER)}<its id>/, the search to {below(url, RESULTS)}",)


def tree(plan: Plan, topology: Topology) -> Iterator[str]:
    """The plan as lines for people."""
    yield f"job {plan.job.name} ({plan.job.id}) on {plan.node.task} of {plan.node.count}"
    yield from _nodes(plan, topology)
    yield f"engine     {plan.engine}"
    yield from _devices(plan.devices)
    yield from (f"unmet      {each} ({_UNMET[plan.constrained]})" for each in plan.unmet)
    yield from ("pre-check  of this node, before anything is staged",) if plan.precheck else ()
    yield from _code(plan)
    yield from _channels(plan)
    yield from _processes(plan)
    yield from (f"writes     {each.path} ({len(each.text.encode())} bytes)" for each in plan.documents)
    yield f"log        {plan.files.log}"
    yield f"  to       {plan.log_target.url if plan.log_target else 'nowhere (spec.log_export_path is not set)'}"
    yield f"run.json   {plan.files.run_json}"
    yield f"grace      {plan.grace:g} s from SIGTERM to the end"
    yield from (f"pending    {each}" for each in plan.pending)


_UNMET = {"refuse": "the run will be refused", "warn": "a warning"}


def _nodes(plan: Plan, topology: Topology) -> Iterator[str]:
    """Where a job runs on several nodes: which this is, who says so, and how they find each other."""
    if len(topology.tasks) == 1:
        return
    servers = f" and {len(topology.servers)} parameter servers" if topology.servers else ""
    yield f"nodes      {topology.workers} workers{servers}, as {topology.source} says; this is {plan.node.task}"
    yield f"  worker-0 {topology.master}, port {topology.port} for the training"
    if plan.rendezvous is not None:
        yield f"  meet at  port {plan.rendezvous.meeting.port} there, once each is ready"
    groups = {"workers": topology.hosts, "servers": topology.servers}
    yield from (f"  {name:8} {_hosts(hosts)}" for name, hosts in groups.items() if hosts)


def _hosts(names: tuple[str, ...]) -> str:
    more = len(names) - SHOWN_HOSTS
    return ", ".join(names[:SHOWN_HOSTS]) + (f" and {more} more" if more > 0 else "")


def _devices(devices: Devices) -> Iterator[str]:
    gib = 1024**3
    memory = "" if devices.memory_bytes is None else f", {devices.memory_bytes / gib:.1f} GiB of memory"
    count = "how many is not known" if devices.count is None else str(devices.count)
    cards = f"{devices.type}: {count}; " if devices.type != "CPU" else "CPU; "
    yield f"devices    {cards}{devices.cpus:g} processors{memory} (limits of {devices.limits_from})"
    for each in devices.devices:
        size = "" if each.memory_bytes is None else f", {each.memory_bytes / gib:.1f} GiB"
        yield f"  {each.index:<8} {each.name}{size}"
    yield from (f"  note     {note}" for note in devices.notes)


def _processes(plan: Plan) -> Iterator[str]:
    """The first process in full, of the others what is not the same there."""
    for process in plan.processes:
        yield f"process    {process.rank}" + (f" (local rank {process.local_rank})" if len(plan.processes) > 1 else "")
        first = plan.processes[0]
        yield from _whole(process) if process is first else _difference(process, first)


def _whole(process: Process) -> Iterator[str]:
    yield f"  in       {process.cwd}"
    if process.log:
        yield f"  log      {process.log}"
    yield "  argv"
    yield from (f"    {shlex.quote(token)}" for token in process.argv)
    yield "  environment"
    yield from (f"    {name}={shlex.quote(value)}" for name, value in sorted(process.env.items()))


def _difference(process: Process, first: Process) -> Iterator[str]:
    if process.cwd != first.cwd:
        yield f"  in       {process.cwd}"
    if process.log != first.log:
        yield f"  log      {process.log}"
    if process.argv != first.argv:
        yield "  argv"
        yield from (f"    {shlex.quote(token)}" for token in process.argv if token not in first.argv)
    changed = {name: value for name, value in process.env.items() if first.env.get(name) != value}
    if changed:
        yield "  environment, where it differs"
        yield from (f"    {name}={shlex.quote(value)}" for name, value in sorted(changed.items()))


def _code(plan: Plan) -> Iterator[str]:
    if plan.code is None:
        return
    yield f"code       {plan.code.path}"
    yield f"  from     {plan.code.source.url if plan.code.source else 'here (file://)'}"
    if plan.code.boot_file:
        yield f"  boot     {plan.code.boot_file}"


def _channels(plan: Plan) -> Iterator[str]:
    for source in plan.inputs:
        yield f"input      {source.name} ({source.description}): {source.path}"
        yield f"  from     {source.source.url}"
    for target in plan.outputs:
        before = ", downloaded before the start" if target.predownload else ""
        resumed = plan.resilience.resume if target is plan.outputs[0] else None
        yield f"output     {target.name} ({target.description}): {target.path}"
        yield f"  to       {target.target.url} every {target.period:g} s and at the end{before}"
        if resumed and resumed.rstrip("/") != target.target.url.rstrip("/"):
            yield f"  resumes  from {resumed}"
