"""`launcher run`: opens the world, lets `job.run` have it, and turns the outcome into the exit code."""

from __future__ import annotations

import gc
import logging
import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct
from msgspec.structs import replace

from launcher import disk
from launcher.adapters.cgroup import Cgroup
from launcher.adapters.clock import SystemClock
from launcher.adapters.process import SystemProcesses
from launcher.adapters.roll import Roll
from launcher.aside import Aside
from launcher.cli import say, views
from launcher.cli.claim import Claim
from launcher.cli.interrupts import Interrupted, interruptible
from launcher.cli.leftovers import clear_leftovers, owes
from launcher.cli.machine import TERMINATION_LOG, absolute, find_program
from launcher.cli.occupied import sign
from launcher.cli.options import job_options, request
from launcher.cli.origin import origin_of
from launcher.cli.prepare import Ready, need_store, prepare
from launcher.core.errors import Exit, LauncherError
from launcher.core.interpreter import Interpreter
from launcher.core.layout import Layout
from launcher.core.outcome import Outcome, exit_code, never_began, sentence
from launcher.core.redact import mask, plan_secrets, spellings, to_json
from launcher.core.termination import termination_message
from launcher.job import Train
from launcher.job import run as run_job
from launcher.protocols import Cache
from launcher.report import write_where_asked, write_whole
from launcher.streams.lines import ServiceLog
from launcher.streams.logs import LogFile
from launcher.streams.outlet import Outlet
from launcher.streams.screen import Screen, screen
from launcher.supervise import Desk
from launcher.unbegun import as_document, refusal
from launcher.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.cli.quest import Wishes
    from launcher.core.plan import Plan
    from launcher.protocols import Record


@click.command(name="run")
@job_options
@click.option(
    "--hold", is_flag=True, help="Stop before the boot file: say how to enter, wait for SIGTERM, save outputs."
)
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors of the launcher's own.")
@click.option("-v", "--verbose", is_flag=True, help="Everything.")
def command(hold: bool, quiet: bool, verbose: bool, **options: Any) -> int:  # noqa: FBT001 - click passes options by name
    """Run a training job: download code and inputs, run the boot file, put outputs and logs in their place.

    \b
    Example:
      launcher run job.json --store ./store --root ./root --set lr=0.01
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    return start(options, quiet=quiet, verbose=verbose, hold=hold)


def start(
    options: dict[str, Any], *, quiet: bool, verbose: bool, hold: bool = False, wishes: Wishes | None = None
) -> int:
    """Run the job of a command line, or search where it says so; with `wishes` it must be a search."""
    here = partial(_start, quiet=quiet, verbose=verbose, hold=hold, wishes=wishes)
    if not options["rehearse"]:
        return here(options, dict(os.environ))
    from launcher.cli.rehearse import rehearsed

    single = "--hold" if hold else "a search" if wishes is not None else None
    return rehearsed({**options, "verbose": verbose, "quiet": quiet}, dict(os.environ), here, single=single)


def _start(
    options: dict[str, Any],
    environ: dict[str, str],
    *,
    quiet: bool,
    verbose: bool,
    hold: bool,
    wishes: Wishes | None,
) -> int:
    """Run one node's part of it."""
    err = Outlet(2, "stderr")
    terminal = None if quiet or sys.stderr is None else screen(err, 2, environ, sys.stderr.encoding)
    lines = ServiceLog(terminal or err)
    logger = logging.getLogger("launcher")
    logger.addHandler(lines)
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    claim = Claim()
    try:
        with interruptible():
            begun = _begin(dict(options), environ, claim, wishes, hold=hold)
    except Interrupted as stop:
        ended = never_began(stop.number)
        _leave_word(options, environ, claim, as_document(ended))
        return _said(ended, ())
    except Exception as error:
        _leave_word(options, environ, claim, refusal(_as_ours(error)))
        raise
    ended = _carried_out(begun, lines, (err, terminal))
    if terminal is not None:
        terminal.close()
    return _said(ended, begun.secrets)


def _carried_out(begun: _Begun, lines: ServiceLog, shown: tuple[Outlet, Screen | None]) -> Outcome:
    """Open the world, and let `job.run` have it."""
    plan, environ, clock = begun.ready.plan, begun.ready.environ, SystemClock()
    # The roll is there before the first child is, and stays until the last one is gone.
    with (
        Roll(plan.files.roll, clock.now()) as roll,
        SystemProcesses(enrol=roll.enrol, left=roll.keep) as processes,  # from here on a signal is heard and answered
    ):
        lines.open(begun.log)
        if begun.ready.settings.parent is not None:
            _end_with(begun.ready.settings.parent)
        world = World(
            store=begun.ready.store,
            processes=Aside(processes),
            clock=clock,
            meter=Cgroup(),
            environ=roll.marked({name: value for name, value in environ.items() if not name.startswith("LAUNCHER_")}),
            log=begun.log,
            out=Outlet(1, "stdout"),
            err=shown[0],
            terminal=shown[1],
            spy=find_program(("py-spy",), f"{os.path.dirname(sys.executable)}:{environ.get('PATH', '')}"),
            secrets=begun.secrets,
            cache=begun.cache,
            occupancy=partial(sign, begun.ready.store, clock) if begun.signs else _unsigned,
            owed=begun.owed,
            surroundings=views.surroundings,
            hardware=None if begun.made_up else partial(views.devices, environ),
            senses=partial(views.senses, environ),
            interpreter=begun.interpreter,
            origin=partial(origin_of, begun.ready.whole, environ),
        )
        gc.freeze()  # what the start has made stays; only the job's own is looked through
        gc.enable()
        return run_job(plan, world, *begun.instead)


def _end_with(parent: int) -> None:
    from launcher.cli.lifeline import end_with

    end_with(parent)


def _unsigned(plan: Plan, record: Record) -> None:
    """Put no sign into outputs that many workers of one search write to."""


def _said(ended: Outcome, secrets: Sequence[str]) -> int:
    """Tell a person why a run did not end well; its exit code."""
    if ended.cause is not None:
        say(mask(sentence(ended.cause), secrets))
    return exit_code(ended)


class _Begun(Struct, frozen=True, kw_only=True):
    """The plan, every secret there is, the job's log, and whether an earlier run's outputs still wait.

    `interpreter` is what the boot file's says of itself, where a pre-check asks for it. `instead` is what `job.run`
    does in place of running the boot processes, for a search; `signs`: nobody else may write to the outputs meanwhile.
    `made_up`: its devices are a rehearsal's.
    """

    ready: Ready
    secrets: tuple[str, ...]
    log: LogFile
    cache: Cache | None
    owed: bool
    interpreter: Interpreter | None
    instead: tuple[Train, type[Desk]] | tuple[()] = ()
    signs: bool = True
    made_up: bool = False


def _begin(
    options: dict[str, Any], environ: dict[str, str], claim: Claim, wishes: Wishes | None, *, hold: bool
) -> _Begun:
    """Decide, and make the log's folder this launcher's alone and clean."""
    asked = request(environ, options)
    ready, signs = prepare(asked, environ), True
    instead: tuple[Train, type[Desk]] | tuple[()] = ()
    if hold:
        ready, instead = _holding(ready, environ)
    elif wishes is not None or ready.searched is not None:
        from launcher.cli.quest import searching

        ready, instead, signs = searching(ready, asked, wishes)
    need_store(ready.plan, ready.opened)
    secrets = spellings(plan_secrets(ready.plan, (*ready.secrets, *ready.opened.chain_secrets())))
    folder = os.path.dirname(ready.plan.files.log)
    disk.make_folder(ready.plan.root, folder)
    claim.take(folder)
    owed = owes(ready.plan.files.run_json)
    told = clear_leftovers(ready.plan.files.roll, ready.plan.grace)
    _reopen(ready.plan)
    if told:
        ready = replace(ready, plan=replace(ready.plan, warnings=(*ready.plan.warnings, *told)))
    hidden = [each.encode(errors="surrogateescape") for each in secrets]
    log = LogFile(ready.plan.files.log, ready.plan.logs, secrets=hidden)
    return _Begun(
        ready=ready,
        secrets=secrets,
        log=log,
        cache=_cache(ready),
        owed=owed,
        interpreter=_interpreter(ready, environ) if ready.plan.precheck else None,
        instead=instead,
        signs=signs,
        made_up=asked.fake_devices is not None,
    )


def _holding(ready: Ready, environ: Mapping[str, str]) -> tuple[Ready, tuple[Train, type[Desk]]]:
    """A run that holds before its boot file; of a search, it is a trial with the job's own values."""
    from launcher.hold import Bench
    from launcher.hold import hold as wait

    if ready.searched is not None:
        told = "the job is to be searched; it is held as one run with the values that stand in the job"
        ready = replace(ready, plan=replace(ready.plan, warnings=(*ready.plan.warnings, told)))
    unset = tuple(sorted(name for name in environ if name.startswith("LAUNCHER_")))
    return ready, (partial(wait, unset=unset), Bench)


def _reopen(plan: Plan) -> None:
    """Give back the right to write to what a killed search has closed."""
    if plan.code is not None and os.path.isdir(plan.code.path):
        from launcher.search.shelf import Shelf

        Shelf(plan).reopen_if_closed()


def _interpreter(ready: Ready, environ: Mapping[str, str]) -> Interpreter | None:
    from launcher.cli.interpreter import interpreter_of

    return interpreter_of(ready.plan, environ)


def _cache(ready: Ready) -> Cache | None:
    """The node's cache, where the settings name one. Raises StageError."""
    if ready.settings.cache is None:
        return None
    from launcher.cache import Cache as NodeCache

    facts, directory = ready.opened.facts, ready.opened.directory
    where = facts.endpoint if facts else f"file://{directory}"
    return NodeCache(absolute(ready.settings.cache), ready.settings.cache_bytes, where)


def _as_ours(error: Exception) -> LauncherError:
    """Any error that ended a start, as run.json tells of it."""
    if isinstance(error, LauncherError):
        return error
    if isinstance(error, click.ClickException):
        text = error.format_message()
        return LauncherError(text, code="usage", action="See launcher run --help.", exit_code=Exit.USAGE)
    text = f"a defect of the launcher: {type(error).__name__}: {error}"
    return LauncherError(text, code="defect", action="Report it with the traceback.")


def _leave_word(options: Mapping[str, Any], environ: Mapping[str, str], claim: Claim, document: dict[str, Any]) -> None:
    """run.json and the termination message of a job that did not begin, where a place for them is known and free."""
    root, report = options["root"], options["report"]
    with suppress(OSError, LauncherError):  # what happened is told in any case
        layout = Layout(root=absolute(root))
        if root and (root != "/" or os.path.isdir(layout.log_dir)):
            disk.make_folder(layout.root, layout.log_dir)
            claim.take(layout.log_dir)  # the run.json of a job that runs is its own
            if not owes(f"{layout.log_dir}/run.json"):  # what an earlier one says is needed to put its outputs in place
                write_whole(f"{layout.log_dir}/run.json", to_json(document))
    with suppress(OSError, LauncherError):
        if report:
            write_where_asked(absolute(report), to_json(document))
    termination = environ.get("LAUNCHER_TERMINATION_LOG") or TERMINATION_LOG
    with suppress(OSError, LauncherError):
        if environ.get("LAUNCHER_TERMINATION_LOG") or os.path.isfile(termination):
            write_where_asked(absolute(termination), termination_message(document))
