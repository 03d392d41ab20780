"""`launcher precheck`: whether this node is fit for a job, or for any; one line for each item, all of them told."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import result, say
from launcher.cli.options import job_options, request
from launcher.core.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from launcher.cli.options import Request
    from launcher.core.precheck import Item


@click.command(name="precheck")
@job_options
@click.option("--json", "as_json", is_flag=True, help="All items as a JSON list: name, state, said, action, cause.")
def command(as_json: bool, **options: Any) -> int:  # noqa: FBT001 - click passes by name
    """Check this node before a job: names, disks, limits, devices; with JOB its engine, wheels, store and clock too.

    What the node does not have is skipped, and said. An object is put into each output and deleted again.
    0: no item failed. 71: one did, and its line says what to do.

    \b
    Example:
      launcher precheck
      launcher precheck job.json --store ./store --root ./root
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    from launcher.core.precheck import line
    from launcher.core.redact import mask, to_json
    from launcher.streams.lines import plain

    gc.enable()
    environ = dict(os.environ)
    wanted = request(environ, options)
    secrets: tuple[str, ...] = ()
    if wanted.job or environ.get("LAUNCHER_JOB"):
        items, secrets = _of_job(wanted, environ)
    else:
        items = _of_node(wanted, environ)
    told = []
    for item in items:
        told.append(item)
        if not as_json:
            result(mask(plain(line(item)), secrets))
    if as_json:
        result(to_json(told, secrets).decode())
    return Exit.NODE if any(item.state == "failed" for item in told) else Exit.OK


def _of_job(wanted: Request, environ: Mapping[str, str]) -> tuple[Iterator[Item], tuple[str, ...]]:
    """The items of a job, its constraints first; and what must be masked in them."""
    from launcher.adapters.clock import SystemClock
    from launcher.adapters.surroundings import System
    from launcher.cli.interpreter import interpreter_of
    from launcher.cli.prepare import need_store, prepare
    from launcher.precheck import constraint_items, job_items

    ready = prepare(wanted, environ, preview=True)  # nobody is waited for
    need_store(ready.plan, ready.opened)
    for warning in ready.plan.warnings:
        say(f"warning: {warning}")
    interpreter = interpreter_of(ready.plan, environ)

    def items() -> Iterator[Item]:
        yield from constraint_items(ready.plan)
        yield from job_items(
            ready.plan,
            ready.store,
            surroundings=System(),
            clock=SystemClock(),
            stopped=lambda: False,
            interpreter=interpreter,
            said=environ.get("MA_NUM_GPUS"),
        )

    return items(), (*ready.secrets, *ready.opened.chain_secrets())


def _of_node(wanted: Request, environ: Mapping[str, str]) -> Iterator[Item]:
    from launcher.adapters.clock import SystemClock
    from launcher.adapters.surroundings import System
    from launcher.cli.machine import absolute, devices_of
    from launcher.core.settings import read_settings
    from launcher.precheck import node_items

    return node_items(
        read_settings(environ).checks,
        devices_of(wanted, environ),
        surroundings=System(),
        clock=SystemClock(),
        stopped=lambda: False,
        root=absolute(wanted.root),
        said=environ.get("MA_NUM_GPUS"),
    )
