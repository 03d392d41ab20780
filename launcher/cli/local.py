"""`launcher local`: reads the job here, decides on a container, and lets `launcher.local` run it."""

from __future__ import annotations

import logging
import os
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from launcher.adapters.clock import SystemClock
from launcher.adapters.process import SystemProcesses
from launcher.cli import say
from launcher.cli.interrupts import Interrupted, interruptible
from launcher.cli.load import job_source, load_job
from launcher.cli.options import declared, request
from launcher.core.errors import Exit, LauncherError, SpecError
from launcher.streams.lines import ServiceLog
from launcher.streams.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.adapters.docker import DockerEngine
    from launcher.cli.folders import Folders
    from launcher.cli.options import Request
    from launcher.core.container import Decided, End
    from launcher.core.spec import Job

_TAKEN = (
    *("job", "algorithm", "store", "root", "values", "variables", "datasets", "grace", "report", "precheck"),
    *("platform_args", "resume_from"),
)
"""Options of `run` that a run in one container here has too; it is one node, and no rehearsal."""

_log = logging.getLogger(__name__)


@click.command(name="local")
@click.option("--image", metavar="IMAGE", required=True, help="A training image with the launcher in it.")
@declared(*_TAKEN)
@click.option("--shell", is_flag=True, help="Stop before the boot file and enter, with everything staged.")
@click.option("--gpus", metavar="all|none|N|0,1", help="GPUs [default: as many as the job's flavor has].")
@click.option("--npus", metavar="all|none|N|0,1", help="NPUs of Ascend [default: as many as the job's flavor has].")
@click.option("--memory", metavar="SIZE", help="Memory, such as 8g [default: the job's flavor].")
@click.option("--cpus", type=click.FloatRange(min=0.01), metavar="N", help="Processors [default: the job's flavor].")
@click.option("--user", metavar="UID[:GID]|image|root", help="Who runs in it [default: you].")
@click.option("--network", metavar="NAME", help="The container's network: host, none, or one of the engine's.")
@click.option(
    "--pull", type=click.Choice(["missing", "always", "never"]), default="missing", help="When to fetch the image."
)
@click.option("--name", metavar="NAME", help="The container's name [default: launcher-<job>-<number>].")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors of the launcher's own.")
@click.option("-v", "--verbose", is_flag=True, help="Everything.")
def command(**options: Any) -> int:
    """Run a job in a container on this machine's Docker, with a local store mounted; its exit code is the run's.

    \b
    Example:
      launcher local job.json --image launcher:cpu --store ./store
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    environ = dict(os.environ)
    _speak(quiet=options["quiet"], verbose=options["verbose"])
    try:
        with interruptible():
            begun = _begin(options, environ)
    except Interrupted as stop:
        say(f"error: {Signals(stop.number).name} came before there was a container. Nothing was started.")
        return 128 + stop.number
    end, code = _attend(begun, shell=options["shell"])
    return end.code or code


class _Begun(NamedTuple):
    """What is decided, and what is there for it."""

    decided: Decided
    engine: DockerEngine
    folders: Folders
    report: str | None
    kept: str | None
    """Below which folder everything lies afterwards; None where the container's folders go with it."""


def _speak(*, quiet: bool, verbose: bool) -> None:
    logger = logging.getLogger("launcher")
    logger.addHandler(ServiceLog(Outlet(2, "stderr")))
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


def _begin(options: dict[str, Any], environ: dict[str, str]) -> _Begun:
    """Read, decide, and have the engine, the image and the folders at hand. Raises LauncherError."""
    from launcher.adapters.docker import DockerEngine, socket_of
    from launcher.cli.folders import Folders, sweep, temporary
    from launcher.cli.lent import host, wishes

    _check(options)
    pairs = {name: tuple(options[name]) for name in ("values", "variables", "datasets")}
    asked = request(environ, {name: options[name] for name in _TAKEN})
    given, job = _given(asked, pairs, options, environ)
    engine = DockerEngine(socket_of(environ))
    _have_image(engine, options["image"], options["pull"])
    wanted = wishes(job, asked, given, options, environ)
    from launcher.core.container import container

    here = host(job, wanted.asked, environ, engine.size())
    decided = container(job, wanted, here)
    for warning in decided.warnings:
        _log.warning("%s", warning)
    if asked.report and decided.mount is None:
        raise LauncherError(
            "--report: what another user writes stays in the container",
            code="usage",
            action="Leave out --user, or take run.json from the job's log_export_path.",
            exit_code=Exit.USAGE,
        )
    sweep(engine, temporary(environ))
    folders = Folders(decided.container, wanted.folder, here.owner, engine.identity())
    folders.make()
    return _Begun(decided, engine, folders, asked.report, wanted.root)


def _check(options: Mapping[str, Any]) -> None:
    for name in ("image", "name", "network", "user"):
        if options[name] == "":
            raise click.UsageError(f"--{name}: the value is empty; was a shell variable not set?")


def _given(
    asked: Request, pairs: Mapping[str, tuple[str, ...]], options: Mapping[str, Any], environ: dict[str, str]
) -> tuple[Any, Job]:
    """What is handed to the run inside, and the job; everything that is wrong with it is told at once."""
    from msgspec.structs import replace

    from launcher.cli.lent import given
    from launcher.cli.stores import open_store
    from launcher.core.redact import mask, secret_values
    from launcher.core.settings import read_settings

    settings = read_settings(environ)
    opened = open_store(asked.store, environ, settings)
    document = job_source(asked, environ, opened.read)
    try:
        job = load_job(asked, environ, opened.read, document).job
        bare = replace(asked, overrides=replace(asked.overrides, variables=()))
        unchanged = load_job(bare, environ, opened.read, document).job if pairs["variables"] else job
    except SpecError as error:
        own = secret_values((*environ.items(), *asked.overrides.values), asked.secrets)
        raise SpecError([replace(each, message=mask(each.message, own)) for each in error.problems]) from error
    asked = replace(asked, algorithm=asked.algorithm or environ.get("LAUNCHER_ALGORITHMS"))
    handed = given(asked, pairs, {**options, "ca_bundle": settings.ca_bundle}, document, opened)
    fixed = frozenset((unchanged.algorithm.environments if unchanged.algorithm else None) or {})
    return replace(handed, fixed=fixed), job


def _have_image(engine: DockerEngine, image: str, pull: str) -> None:
    if pull != "always" and engine.has(image):
        return
    if pull == "never":
        raise LauncherError(
            f"the image {image} is not on this machine",
            code="image-missing",
            action="Build or load it, or let --pull missing fetch it.",
            exit_code=Exit.MISSING,
        )
    _log.info("pulling the image %s", image)
    engine.pull(image)


def _attend(begun: _Begun, *, shell: bool) -> tuple[End, int]:
    from launcher.adapters.terminal import Terminal
    from launcher.local import Attendance

    clock, streams = SystemClock(), (Outlet(1, "stdout"), Outlet(2, "stderr"))
    with SystemProcesses() as processes:  # from here on signals are heard and passed on
        attendance = Attendance(begun.engine, processes, clock, streams)
        try:
            enter = (lambda one: one.shell(Terminal())) if shell else None
            end, code = attendance.run(begun.decided.container, enter)
            _tell(begun, end, explained=attendance.explained)
        finally:
            if attendance.gone:  # one that may still run writes there, and the next launcher looks after them
                begun.folders.clear()
    return end, code


def _at_its_limit(begun: _Begun) -> str:
    from launcher.core.keys import human_size

    limit = begun.decided.container.memory_bytes
    of = f" of {human_size(limit)}" if limit else ""
    return (
        f"error: the container was at its limit of memory{of} and the kernel ended it. "
        "Give it more by --memory, or use less: a smaller batch, fewer DataLoader workers."
    )


def _ended_by_others(begun: _Begun) -> str:
    """Nothing in it could say why: whoever sends SIGKILL to PID 1 leaves no time for that."""
    kept = (
        f"; the rest lies below {begun.kept}, and `launcher sync` puts it there in a container that has it mounted "
        "where it was (docs/docker.md)"
        if begun.kept
        else ""
    )
    return (
        f"error: the container {begun.decided.container.name} was killed or removed from outside (`docker kill`, "
        "`docker rm --force`, or a machine that is short of memory), and the run could not end by itself. "
        f"Run it again: what was uploaded until then is in the store{kept}."
    )


def _tell(begun: _Begun, end: End, *, explained: bool) -> None:
    """Say what the run itself could not; `explained`: it has said why it ended."""
    if end.code == 128 + SIGKILL and not explained:
        say(_at_its_limit(begun) if end.out_of_memory else _ended_by_others(begun))
    if begun.report is not None and begun.decided.mount is not None:
        from launcher.cli.folders import copy_report

        copy_report(begun.decided.mount, begun.report)
