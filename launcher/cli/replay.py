"""`launcher replay`: lays a recorded run beside what is here now, says what differs, and runs it once more."""

from __future__ import annotations

import json
import os
import signal
import stat
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from launcher.cli import result, say
from launcher.cli.interrupts import Interrupted, interruptible
from launcher.cli.options import declared, request
from launcher.core.errors import Exit, LauncherError
from launcher.core.parse.reproduce import parse_reproduce
from launcher.core.parse.run import MOST_BYTES, NAME
from launcher.core.parse.stored import read_json
from launcher.core.redact import mask, to_json
from launcher.core.replayed import Row, differences, table
from launcher.core.replayjob import missing, with_outputs
from launcher.core.urls import parse_location
from launcher.streams.lines import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.reproduce import Reproduce

DIFFERS = 1
"""The exit code of `--check` where the same result cannot be expected."""
_NOT_OURS = {"algorithm": None, "datasets": (), "rehearse": False, "fake_devices": None, "rehearse_nodes": None}
"""Options of `run` that a recorded job has no use for: it is whole, and its rehearsal was another run."""


@click.command(name="replay")
@click.argument("run_json", metavar="RUN_JSON")
@declared("store", "root", "values", "variables", "grace", "report", "nodes", "node_index", "master", "precheck")
@declared("platform_args", "resume_from")
@click.option("--outputs", metavar="URL", help="A folder for outputs and log [default: where the run had them].")
@click.option("--check", is_flag=True, help="Say what differs, and run nothing: 1 if the result may be another one.")
@click.option("--strict", is_flag=True, help="Run nothing if the result may be another one.")
@click.option("--json", "as_json", is_flag=True, help="With --check: what differs as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors of the launcher's own.")
@click.option("-v", "--verbose", is_flag=True, help="Everything.")
def command(run_json: str, check: bool, strict: bool, as_json: bool, outputs: str | None, **options: Any) -> int:  # noqa: FBT001 - click passes by name
    """Run again what a run.json has recorded, after a look at what has changed since: code, inputs, packages, node.

    Secrets are not recorded: give them again by --set NAME=@env:VARIABLE and --env NAME=VALUE.

    \b
    Example:
      launcher replay run.json --store ./store --root ./other --outputs obs://bucket/replayed/
      launcher replay run.json --store ./store --root ./other --check
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    quiet, verbose = options.pop("quiet"), options.pop("verbose")
    options = {**options, **_NOT_OURS, "job": None}
    if as_json and not check:
        raise click.UsageError("--json goes with --check: a run's own output is not mixed with it.")
    mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with interruptible():
            rows = _laid_beside(run_json, options, outputs)
    except Interrupted as stop:
        say(f"error: {signal.Signals(stop.number).name} came before the run was looked at. Call launcher replay again.")
        return 128 + stop.number
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask_before)
    decides = any(row.decides for row in rows)
    _tell(rows, on_stdout=check, as_json=as_json)
    if check:
        return DIFFERS if decides else Exit.OK
    if strict and decides:
        raise LauncherError(
            "the run is not the same any more: the table above says what differs",
            code="replay-differs",
            action="Bring back what the run had, or call it without --strict.",
            exit_code=Exit.INVALID,
        )
    from launcher.cli.run import start

    return start(options, quiet=quiet, verbose=verbose)


def _laid_beside(run_json: str, options: dict[str, Any], outputs: str | None) -> tuple[Row, ...]:
    """What differs; after this the environment names the job that is to be run. Raises LauncherError."""
    from launcher.cli.origin import origin_of
    from launcher.cli.prepare import need_store, prepare
    from launcher.cli.recorded import as_of_now

    then = _record(run_json, options["store"])
    document = then.job or {}
    asked = missing(then.hidden, _names(options["values"]), _names(options["variables"]))
    if asked:
        raise click.UsageError(f"the run had secrets, which are not recorded; give {', '.join(asked)}.")
    if outputs is not None:
        try:
            document = with_outputs(document, parse_location(outputs).url)
        except ValueError as error:
            raise click.UsageError(f"--outputs: {error}.") from error
    os.environ.pop("LAUNCHER_ALGORITHMS", None)  # the job is whole
    os.environ["LAUNCHER_JOB"] = json.dumps(document)
    environ = dict(os.environ)
    wanted = request(environ, dict(options))
    ready = prepare(wanted, environ, preview=True)
    if ready.searched is not None:
        from launcher.cli.quest import Wishes, quest_of

        ready, _ = quest_of(ready, wanted, Wishes())  # a search has an output of its own
    need_store(ready.plan, ready.opened)
    now = as_of_now(ready, origin_of(ready.whole, environ), then, environ)
    rows = differences(then, now.record, now.installed, now.folders)
    return tuple(replace(row, then=mask(row.then, ready.secrets), now=mask(row.now, ready.secrets)) for row in rows)


def _names(pairs: Sequence[str]) -> list[str]:
    return [each.partition("=")[0] for each in pairs]


def _tell(rows: Sequence[Row], *, on_stdout: bool, as_json: bool) -> None:
    """The table; beside a run it goes to stderr, for stdout is the boot file's."""
    if as_json:
        same = not any(row.decides for row in rows)
        result(to_json({"same": same, "differences": msgspec.to_builtins(rows)}).decode())
        return
    lines = table(tuple(rows)) if rows else ["everything that was recorded is the same now"]
    for line in lines:
        shown = plain(line).encode(errors="backslashreplace").decode()
        (result if on_stdout else say)(shown)


def _record(place: str, store: str | None) -> Reproduce:
    """The record in a run.json: a file, or an object of the store. Raises LauncherError."""
    if place.startswith(("obs://", "s3://")):
        from launcher.cli.stores import open_store
        from launcher.core.settings import read_settings

        raw = open_store(store, os.environ, read_settings(os.environ)).read(place)
    else:
        raw = _file(place)
    return parse_reproduce(read_json(raw, NAME))


def _file(path: str) -> bytes:
    try:
        # O_NONBLOCK means nothing to a file, but a FIFO would block for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES:
                return file.read(MOST_BYTES)
            why, code = "it is no regular file, or too large", Exit.MISSING
    except OSError as error:
        why, code = error.strerror or str(error), Exit.REFUSED if isinstance(error, PermissionError) else Exit.MISSING
    raise LauncherError(
        f"{path}: cannot be read: {why}",
        code="document-unreadable",
        action="Give the run.json of a run.",
        exit_code=code,
    )
