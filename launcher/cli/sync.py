"""`launcher sync`: reads what a run left on the node, says what goes where, and puts it in place."""

from __future__ import annotations

import gc
import logging
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec

from launcher import disk
from launcher.adapters.clock import SystemClock
from launcher.adapters.process import SystemProcesses
from launcher.cli import result, say
from launcher.cli.claim import Claim
from launcher.cli.interrupts import Interrupted, interruptible
from launcher.cli.leftovers import clear_leftovers
from launcher.cli.machine import absolute
from launcher.cli.occupied import sign
from launcher.cli.options import request
from launcher.cli.prepare import prepare
from launcher.cli.stores import HOW_TO_NAME_A_STORE, open_store
from launcher.cli.withheld import log_stays
from launcher.core.errors import Exit, PlanError
from launcher.core.outcome import sentence
from launcher.core.parse import plan as plan_doc
from launcher.core.parse.run import MOST_BYTES, NAME, SHOWN, Run, parse_run
from launcher.core.parse.stored import read_json
from launcher.core.plan import Plan
from launcher.core.redact import mask, plan_secrets, secret_values, spellings, to_json
from launcher.core.settings import MOST_GRACE, read_settings
from launcher.protocols import Store
from launcher.recover import Later, Recovered, recover, written
from launcher.streams.lines import ServiceLog
from launcher.streams.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.cli.prepare import Ready
    from launcher.cli.stores import Opened


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What a run left: its plan, and its run.json as what is asked of it and as a whole."""

    plan: Plan
    earlier: Run
    document: Any


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known before anything is put in place. `plan` is without outputs that nobody wrote."""

    left: Left
    plan: Plan
    store: Store
    secrets: tuple[str, ...]
    log_stays: str | None


@click.command(name="sync")
@click.argument("run_json", metavar="RUN_JSON")
@click.option("--store", metavar="URL|DIR", help="Where obs:// lives, as for run.")
@click.option("--job", metavar="JOB", help="The job that ran, where it has secrets or belongs to another user.")
@click.option("--algorithm", metavar="FILE|DIR|URL", help="With --job: algorithm body, or a folder of them.")
@click.option("--set", "values", metavar="NAME=VALUE", multiple=True, help="With --job: as the run had it.")
@click.option("--env", "variables", metavar="NAME=VALUE", multiple=True, help="With --job: as the run had it.")
@click.option("--dataset", "datasets", metavar="ID/VERSION=URL", multiple=True, help="With --job: as the run had it.")
@click.option("--grace", type=float, help="Seconds from SIGTERM to the end [default: the run's].")
@click.option("--json", "as_json", is_flag=True, help="What was put in place as JSON, as run.json has it.")
@click.option("-v", "--verbose", is_flag=True, help="Every file that is not uploaded, and more.")
def command(run_json: str, as_json: bool, verbose: bool, **options: Any) -> int:  # noqa: FBT001 - click passes by name
    """Put in place what a run could not: after exit code 73, a grace too short, or a launcher that was killed.

    Processes that a killed launcher left running are stopped first.

    \b
    Example:
      launcher sync ./root/home/ma-user/modelarts/log/run.json --store ./store
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _check(options)
    logger = logging.getLogger("launcher")
    logger.addHandler(ServiceLog(Outlet(2, "stderr")))
    logger.setLevel(logging.INFO if verbose else logging.ERROR)
    try:
        with interruptible():
            ready = _prepared(absolute(run_json), options, dict(os.environ))
    except Interrupted as stop:
        return _broken_off(stop.number, "uploads began")
    gc.enable()
    clock = SystemClock()
    with SystemProcesses() as processes:
        later = Later(
            store=ready.store,
            processes=processes,
            clock=clock,
            grace=ready.plan.grace if options["grace"] is None else options["grace"],
            secrets=ready.secrets,
            log_stays=ready.log_stays,
            occupancy=partial(sign, ready.store, clock),
        )
        done = recover(ready.plan, ready.left.earlier, ready.left.document, later)
    _tell(done, ready.secrets)
    if as_json:
        result(to_json(done.synced, ready.secrets).decode())
    return done.exit_code


def _prepared(run_json: str, options: dict[str, Any], environ: dict[str, str]) -> Prepared:
    """What is left, once everybody who still wrote was stopped, and what will go where. Raises LauncherError."""
    left = _left(run_json, options["job"])
    Claim().take(os.path.dirname(left.plan.files.log))
    for line in clear_leftovers(left.plan.files.roll, left.plan.grace):
        say(line)
    left = _left(left.plan.files.run_json, options["job"])  # as it is now that no launcher changes it
    ready = _ready(left, {**options, "root": left.plan.root, "report": None}, environ)
    opened = ready.opened if ready else open_store(options["store"], environ, read_settings(environ))
    secrets = _secrets(ready, opened, environ)
    stays = log_stays(left.plan, ready, environ, secrets)
    plan = written(left.plan, left.earlier)
    _announce(plan, stays, secrets)
    return Prepared(left=left, plan=plan, store=_store(plan, opened), secrets=secrets, log_stays=stays)


def _broken_off(number: int, what: str) -> int:
    """Say that a signal came first; the exit code."""
    say(f"error: {signal.Signals(number).name} came before the {what}. Call launcher sync again.")
    return 128 + number


def _check(options: Mapping[str, Any]) -> None:
    if options["grace"] is not None and not 0 <= options["grace"] <= MOST_GRACE:  # a NaN is in no range
        raise click.UsageError(f"--grace {options['grace']:g}: expected seconds from 0 to {MOST_GRACE:g}.")
    for option in ("algorithm", "values", "variables", "datasets"):
        if options[option] and options["job"] is None:
            raise click.UsageError("--algorithm, --set, --env and --dataset belong to a --job.")


def _left(path: str, job: str | None) -> Left:
    """run.json and the plan beside it, or where it says; another user's only where a job vouches for them."""
    raw, owner = _read(path, MOST_BYTES)
    document = read_json(raw, NAME)
    earlier = parse_run(document)
    beside = os.path.join(os.path.dirname(path), plan_doc.NAME)
    place = beside if os.path.lexists(beside) or earlier.plan is None else earlier.plan
    raw, planner = _read(place, plan_doc.MOST_BYTES)
    plan = plan_doc.parse_plan(raw)
    if not _same(place, plan.files.plan):
        raise PlanError(
            f"{place} is the plan of a run at {plan.root}, where it does not lie",
            code="plan-elsewhere",
            action="Mount the run's folders where they were, and name the run.json that lies there.",
        )
    us = os.geteuid()
    for document_path, uid in ((path, owner), (place, planner)):
        if uid != us and job is None:
            raise PlanError(
                f"{document_path} is of uid {uid}, and we are uid {us}: what it says to upload is not believed",
                code="plan-of-another",
                action="Run as that user, or give --job JOB, which must say the same.",
                exit_code=Exit.REFUSED,
            )
    return Left(plan=plan, earlier=earlier, document=document)


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _read(path: str, most: int) -> tuple[bytes, int]:
    """A document of a run and its owner; no link is followed to it."""
    try:
        with open(disk.open_regular(os.path.dirname(path), path), "rb") as file:
            raw, owner = file.read(most + 1), os.fstat(file.fileno()).st_uid
    except OSError as error:
        raise PlanError(
            f"{path}: cannot be read: {disk.reason(error)}",
            code="document-unreadable",
            action="Give the run.json of a run whose folders are still there.",
            exit_code=Exit.REFUSED if isinstance(error, PermissionError) else Exit.MISSING,
        ) from error
    if len(raw) > most:
        raise PlanError(
            f"{path}: the document is larger than {most:,} bytes",
            code="document-too-large",
            action="Is this what a run left?",
        )
    return raw, owner


def _ready(left: Left, options: dict[str, Any], environ: dict[str, str]) -> Ready | None:
    """The job that ran, planned again; it must put the same in the same places. Raises LauncherError."""
    if options["job"] is None:
        return None
    ready = prepare(request(environ, options), environ, preview=True)  # nobody is waited for
    if _places(ready.plan) != _places(left.plan):
        raise PlanError(
            f"the job {options['job']} and {left.plan.files.plan} do not put the same outputs in the same places",
            code="job-differs",
            action="Give the job that ran, with its --set, --env and --dataset.",
        )
    return ready


def _places(plan: Plan) -> tuple[Any, ...]:
    return plan.log_target, tuple((output.name, output.path, output.target) for output in plan.outputs)


def _store(plan: Plan, opened: Opened) -> Store:
    places = [output.target for output in plan.outputs] + ([plan.log_target] if plan.log_target else [])
    if not places:
        from launcher.adapters.localfs import LocalStore

        return LocalStore(os.devnull)  # nothing will be asked of it
    if opened.store is None:
        raise PlanError(
            f"{places[0].url} is in an object store, and none is known",
            code="store-unknown",
            action=HOW_TO_NAME_A_STORE,
            exit_code=Exit.USAGE,
        )
    return opened.store


def _secrets(ready: Ready | None, opened: Opened, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Every secret that is known here, in all its spellings: the job's, the environment's, the store's."""
    own = (*opened.secrets(), *opened.chain_secrets())
    known = plan_secrets(ready.plan, (*ready.secrets, *own)) if ready else secret_values(environ.items(), own)
    return spellings(known)


def _announce(plan: Plan, stays: str | None, secrets: Sequence[str]) -> None:
    """Say what will go where, before anything does."""
    lines = [f"{output.name}: {output.path} -> {output.target.url}" for output in plan.outputs]
    lines = lines or ["no output: there was none, or no boot process was started that could have written one"]
    if plan.log_target is not None:
        lines.append(f"log: {os.path.dirname(plan.files.log)} -> {plan.log_target.url}")
    if stays is not None:
        lines.append(f"the log stays on the node: {stays}")
    for line in lines:
        say(mask(line, secrets))


def _tell(done: Recovered, secrets: Sequence[str]) -> None:
    """Say how it went: a line for each channel, and the first of what failed."""
    if not done.changed:
        say("everything is in its place already")
        return
    for entry in done.synced:
        numbers = f"{entry.objects:,} objects, {entry.bytes:,} bytes, {entry.seconds:.1f} s"
        say(mask(f"{entry.channel}: {numbers}, {len(entry.failed):,} failed", secrets))
    for channel, one in done.failed[:SHOWN]:
        say(mask(f"error: {channel}: {one.key} is not in its place: {one.error}", secrets))
    if len(done.failed) > SHOWN:
        say(f"error: and {len(done.failed) - SHOWN:,} more; run.json names them all")
    if done.interrupted is not None and done.exit_code:
        _broken_off(done.interrupted, "end")
    elif done.failure is not None:
        say(mask(sentence(done.failure.cause), secrets))
