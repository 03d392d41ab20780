"""`launcher run`: opens the world, lets `job.run` have it, and turns the outcome into the exit code."""

from __future__ import annotations

import gc
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from launcher.adapters.clock import SystemClock
from launcher.adapters.process import SystemProcesses
from launcher.cli import say
from launcher.cli.machine import TERMINATION_LOG
from launcher.cli.options import Request, job_options, request
from launcher.cli.prepare import Ready, need_store, prepare
from launcher.core.errors import Exit, LauncherError, PlanError
from launcher.core.layout import Layout
from launcher.core.outcome import sentence
from launcher.core.redact import mask, to_json
from launcher.job import World
from launcher.job import run as run_job
from launcher.logs import LogFile, Outlet, ServiceLog
from launcher.report import refusal, termination_message, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command(name="run")
@job_options
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors of the launcher's own.")
@click.option("-v", "--verbose", is_flag=True, help="Everything.")
def command(quiet: bool, verbose: bool, **options: Any) -> int:  # noqa: FBT001 - click passes options by name
    """Run a training job: download code and inputs, run the boot file, put outputs and logs in their place.

    \b
    Example:
      launcher run job.json --store ./store --root ./root --set lr=0.01
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    environ = dict(os.environ)
    wanted = request(environ, options)
    err = Outlet(2, "stderr")
    lines = ServiceLog(err)
    logger = logging.getLogger("launcher")
    logger.addHandler(lines)
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    with SystemProcesses() as processes:  # from here on a signal is heard, not suffered
        try:
            ready = prepare(wanted, environ)
            need_store(ready)
            log = _open_log(ready)
        except LauncherError as error:
            _leave_word(wanted, environ, error)
            raise
        lines.open(log)
        world = World(
            store=ready.store,
            processes=processes,
            clock=SystemClock(),
            environ={name: value for name, value in environ.items() if not name.startswith("LAUNCHER_")},
            log=log,
            out=Outlet(1, "stdout"),
            err=err,
            secrets=ready.secrets,
        )
        gc.freeze()  # what the start has made stays; only the job's own is looked through
        gc.enable()
        outcome = run_job(ready.plan, world)
    if outcome.cause is not None:
        say(mask(sentence(outcome.cause), ready.secrets))
    return outcome.exit_code


def _open_log(ready: Ready) -> LogFile:
    """The job's log, its folder made. Raises LauncherError: without a place for its log no training starts."""
    path = ready.plan.files.log
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise PlanError(
            f"the log folder {os.path.dirname(path)} cannot be made: {error.strerror}",
            code="log-folder",
            action="Run as a user who may write there, or give --root DIR.",
            exit_code=Exit.REFUSED if isinstance(error, PermissionError) else Exit.NODE,
        ) from error
    return LogFile(path)


def _leave_word(wanted: Request, environ: Mapping[str, str], error: LauncherError) -> None:
    """run.json and the termination message of a job that was refused, where a place for them is known."""
    outcome = refusal(error)
    folder = Layout(root=os.path.abspath(wanted.root)).log_dir
    places = [wanted.report] if wanted.report else []
    if wanted.root != "/" or os.path.isdir(folder):
        places.append(f"{folder}/run.json")
    for place in places:
        with suppress(OSError):  # the error itself is told in any case
            os.makedirs(os.path.dirname(os.path.abspath(place)), exist_ok=True)
            write_whole(os.path.abspath(place), to_json(outcome))
    termination = environ.get("LAUNCHER_TERMINATION_LOG") or TERMINATION_LOG
    with suppress(OSError):
        if environ.get("LAUNCHER_TERMINATION_LOG") or os.path.isfile(termination):
            with open(termination, "wb") as file:
                file.write(termination_message(outcome))
