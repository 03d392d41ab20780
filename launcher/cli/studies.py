"""The study of a search as the command line names it: where it is, who joins it, how one of its trials is ended."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click

from launcher.cli.load import load_job
from launcher.cli.machine import absolute
from launcher.cli.owner import alive_here, owner
from launcher.cli.stores import open_store
from launcher.core.errors import Exit, StudyError
from launcher.core.layout import Layout
from launcher.core.occupancy import Owner as Process
from launcher.core.search import Owner
from launcher.core.settings import read_settings
from launcher.disk import REFUSED, reason
from launcher.search.results import STUDY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.cli.options import Request
    from launcher.core.search import Policy
    from launcher.protocols import Study

PLACE = f"search/{STUDY}"
"""Below the node's scratch space, where nothing else is said."""
PATIENCE_S = 10.0
"""How long `--stop` waits for a database that does not answer."""

_log = logging.getLogger(__name__)


def named(storage: str | None) -> str | None:
    """A storage as it was named, its file by an absolute path. Raises StudyError."""
    path = file_of(storage) if storage else None
    return absolute(path) if path else storage


def file_of(storage: str) -> str | None:
    """The path of a study that is a file; None: it is on a server. Raises StudyError."""
    from launcher.adapters.study.addresses import path_of

    return path_of(storage)


def passwords(storage: str) -> tuple[str, ...]:
    """What of a storage's URL must not leave, as it is written and as it is meant."""
    try:
        found = urlsplit(storage).password if "://" in storage else None
    except ValueError:
        return (storage,)
    return (found, unquote(found)) if found else ()


def join(
    policy: Policy, storage: str, name: str, stopped: Callable[[], bool], *, kept: str, times: tuple[float, float]
) -> Study:
    """The study, joined; one that is a file goes on from the copy `kept` by an earlier search. Raises StudyError.

    `times`: how long a database that is away is waited for, and since when failures count, both in seconds.
    """
    from launcher.study import join as join_study

    path = file_of(storage)
    if path is not None and not os.path.lexists(path):
        _bring_back(kept, path)
    return join_study(
        policy,
        storage,
        name,
        owner=_this_process(),
        alive=_alive,
        stopped=stopped,
        note=_log.warning,
        patience=times[0],
        since=times[1],
    )


def stop_trial(
    request: Request, storage: str | None, study: str | None, trial: str, environ: Mapping[str, str]
) -> None:
    """Have one running trial of a study end. Raises LauncherError, and click.UsageError where no study is named."""
    settings = read_settings(environ)
    if study is None:
        if request.job is None and not environ.get("LAUNCHER_JOB"):
            raise click.UsageError("--stop: give JOB, or --study NAME, so that the study is known.")
        job = load_job(request, environ, open_store(request.store, environ, settings).read).job
        study = job.metadata.id or job.metadata.name
    where = named(storage or settings.storage)
    if where is None:
        layout = Layout(root=absolute(request.root))
        places = [f"{home}/{PLACE}" for home in (layout.cache, layout.mount)]
        where = next(filter(os.path.isfile, places), places[0])
    _see(file_of(where))
    from launcher.adapters.study import open_study

    opened = open_study(where, study, _this_process(), alive=_alive, patience=PATIENCE_S)
    try:
        opened.stop(trial)
    finally:
        opened.close()


def _see(path: str | None) -> None:
    """A file that is not there has no trial that runs, and none is made. Raises StudyError."""
    if path is None:
        return
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(
            f"there is no study at {path}",
            code="study-missing",
            action="Give --root or --storage as the search has it.",
            exit_code=Exit.MISSING,
        ) from None
    except OSError:
        return  # opening it tells


def _bring_back(kept: str, path: str) -> None:
    """Put a kept copy in the study's place, if there is one, and in any case its folder. Raises StudyError."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if os.path.isfile(kept) and not os.path.islink(kept):
            import shutil

            shutil.copyfile(kept, f"{path}.part")
            os.replace(f"{path}.part", path)
            _log.info("the search goes on from the study that it has left in the output")
    except OSError as error:
        raise StudyError(
            f"the study cannot be put at {path}: {reason(error)}",
            code="study-place",
            action="Give it another place with --storage FILE, on a local disk that this user may write to.",
            exit_code=Exit.REFUSED if error.errno in REFUSED else Exit.NODE,
        ) from error


def _this_process() -> Owner:
    """This process, as the study knows who runs a trial."""
    this = owner()
    if this is None:
        return Owner(worker=os.uname().nodename, boot="", pid=os.getpid(), start=0)
    return Owner(worker=os.uname().nodename, boot=f"{this.boot}/{this.namespace}", pid=this.pid, start=this.started)


def _alive(other: Owner) -> bool | None:
    boot, mark, namespace = other.boot.rpartition("/")
    if not mark or not namespace.isdecimal():
        return None
    return alive_here(Process(boot=boot, namespace=int(namespace), pid=other.pid, started=other.start))
