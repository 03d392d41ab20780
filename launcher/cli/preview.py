"""`launcher preview`: the Plan that `run` would execute, as a tree for people or as JSON. It touches nothing."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import job_options, request
from launcher.core.redact import redact, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.core.plan import Plan


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

    ready = prepare(request(dict(os.environ), options), dict(os.environ))
    plan = redact(ready.plan, ready.secrets)
    if as_json:
        result(to_json(plan, ready.secrets).decode())
        return
    result("\n".join(tree(plan)))
    for warning in plan.warnings:
        say(f"warning: {warning}")


def tree(plan: Plan) -> Iterator[str]:
    """The plan as lines for people."""
    yield f"job {plan.job.name} ({plan.job.id}) on {plan.node.task} of {plan.node.count}"
    yield from _code(plan)
    yield from _channels(plan)
    for process in plan.processes:
        yield f"process {process.rank}"
        yield f"  in       {process.cwd}"
        yield "  argv"
        yield from (f"    {shlex.quote(token)}" for token in process.argv)
        yield "  environment"
        yield from (f"    {name}={shlex.quote(value)}" for name, value in sorted(process.env.items()))
    yield f"log        {plan.files.log}"
    yield f"  to       {plan.log_target.url if plan.log_target else 'nowhere (spec.log_export_path is not set)'}"
    yield f"run.json   {plan.files.run_json}"
    yield f"grace      {plan.grace:g} s from SIGTERM to the end"


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
        yield f"output     {target.name} ({target.description}): {target.path}"
        yield f"  to       {target.target.url} every {target.period:g} s and at the end{before}"
