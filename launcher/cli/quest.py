"""From a prepared run to a search: its policy, study and lanes, and a plan that stages once for all trials."""

from __future__ import annotations

import logging
import os
import sys
import time
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from launcher.cli.leftovers import clear_leftovers
from launcher.cli.load import load_job
from launcher.cli.machine import absolute
from launcher.cli.owner import alive_here, owner
from launcher.cli.stores import open_store
from launcher.core.errors import Exit, LauncherError, PlanError, Problem, SpecError
from launcher.core.layout import Layout
from launcher.core.lifecycle.deadlines import reserve
from launcher.core.occupancy import Owner as Process
from launcher.core.plan import Output
from launcher.core.search import Anneal, Bayes, Owner, Pruner
from launcher.core.search.lanes import lanes
from launcher.core.search.policy import PATH, policy_of
from launcher.core.search.trialjob import FOLDER, RESULTS, below
from launcher.core.settings import read_settings
from launcher.core.urls import parse_location
from launcher.search.expressions import wrong_expression
from launcher.search.quest import Drawn, Quest
from launcher.search.results import STUDY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.cli.options import Request
    from launcher.cli.prepare import Ready
    from launcher.core.plan import Plan
    from launcher.core.search import Policy, Trial
    from launcher.protocols import Study

_log = logging.getLogger(__name__)

PERIOD_S = 5.0
"""Between two uploads of the results."""
PATIENCE_S = 10.0
"""How long `--stop` waits for a database that does not answer."""
MARGIN_S = 1.0
"""A trial's launcher is done so long before this one would kill it."""
_OWN = "LAUNCHER_"
NOT_FOR_TRIALS = frozenset(
    _OWN + name
    for name in ("JOB", "ALGORITHMS", "AUTO_STOP", "GRACE", "TERMINATION_LOG", "STORAGE", "STAGED", "PARENT")
)
"""Settings that are this launcher's alone."""
NEEDED = {Anneal: "hyperopt", Bayes: "bayes_opt"}
"""What an algorithm needs beside Optuna."""


class Wishes(Struct, frozen=True, kw_only=True):
    """What the command line wants of a search."""

    jobs: int | None = None
    storage: str | None = None
    study: str | None = None
    pruner: Pruner | None = None
    reward: Literal["last", "best"] = "last"
    max_failed: int | None = None


def quest_of(ready: Ready, request: Request, wishes: Wishes) -> tuple[Ready, Quest]:
    """The search of a job, and what is prepared for it: a plan that stages once. Raises LauncherError."""
    decided = (
        policy_of(ready.searched, take=wishes.reward, pruner=wishes.pruner, most_failed=wishes.max_failed)
        if ready.searched
        else None
    )
    if decided is None:
        raise _no_search()
    plan, settings = ready.plan, ready.settings
    layout = Layout(root=plan.root)
    home = plan.scratch or layout.mount
    storage = wishes.storage or settings.storage or f"{home}/search/{STUDY}"
    _need(decided.policy, storage)
    _check_nodes(ready.nodes, storage)
    name = wishes.study or ready.job.metadata.id or ready.job.metadata.name
    now = time.time()
    results = f"{layout.mount}/{RESULTS}"
    own = ready.job.algorithm.environments if ready.job.algorithm else None
    found = lanes(plan.devices, wishes.jobs, ready.environ, own=own or {})
    quest = Quest(
        policy=decided.policy,
        name=name,
        study=partial(_opened, storage, name, (settings.study_patience, now), f"{results}/{STUDY}"),
        job=ready.job,
        lanes=found,
        command=(sys.executable, "-m", "launcher", "run"),
        options=_options(plan, request),
        environ=_settings(ready.environ, plan),
        roots=f"{home}/{FOLDER}",
        results=results,
        local="://" not in storage,
        port=_free_port,
        clear=partial(_cleared, plan.grace),
        draw=_draw if find_spec("plotly") else None,
        since=now,
    )
    said = (*plan.warnings, *map(str, decided.warnings), *_told(quest))
    plan = replace(plan, outputs=_outputs(plan, results, storage), folders=(*plan.folders, results), warnings=said)
    return replace(ready, plan=plan, secrets=(*ready.secrets, *_password(storage))), quest


def stop_trial(request: Request, wishes: Wishes, trial: str, environ: Mapping[str, str]) -> None:
    """Have one running trial of a study end. Raises LauncherError, and click.UsageError where no study is named."""
    import click

    from launcher.adapters.study import open_study

    settings = read_settings(environ)
    layout = Layout(root=absolute(request.root))
    storage = wishes.storage or settings.storage
    name = wishes.study
    if name is None:
        if request.job is None and not environ.get("LAUNCHER_JOB"):
            raise click.UsageError("--stop: give JOB, or --study NAME, so that the study is known.")
        job = load_job(request, environ, open_store(request.store, environ, settings).read).job
        name = job.metadata.id or job.metadata.name
    if storage is None:
        places = [f"{home}/search/{STUDY}" for home in (layout.cache, layout.mount)]
        storage = next(filter(os.path.isfile, places), places[0])
    study = open_study(storage, name, _owner(), alive=_alive, patience=PATIENCE_S)
    try:
        study.stop(trial)
    finally:
        study.close()


def _opened(storage: str, name: str, times: tuple[float, float], kept: str, stopped: Callable[[], bool]) -> Study:
    """The study's storage; a copy that an earlier search has left in the output is gone on from."""
    from launcher.adapters.study import open_study

    if "://" not in storage and not os.path.exists(storage):
        os.makedirs(os.path.dirname(storage), mode=0o700, exist_ok=True)
        if os.path.isfile(kept) and not os.path.islink(kept):
            import shutil

            shutil.copyfile(kept, f"{storage}.part")
            os.replace(f"{storage}.part", storage)
    patience, since = times
    return open_study(
        storage, name, _owner(), alive=_alive, stopped=stopped, note=_log.warning, patience=patience, since=since
    )


def _owner() -> Owner:
    """This process, as the study knows who runs a trial."""
    this = owner()
    if this is None:
        return Owner(worker=os.uname().nodename, boot="", pid=os.getpid(), start=0)
    return Owner(worker=os.uname().nodename, boot=f"{this.boot}/{this.namespace}", pid=this.pid, start=this.started)


def _alive(other: Owner) -> bool | None:
    boot, mark, namespace = other.boot.rpartition("/")
    if not mark or not namespace.isdigit():
        return None
    return alive_here(Process(boot=boot, namespace=int(namespace), pid=other.pid, started=other.start))


def _no_search() -> SpecError:
    message = "is missing; it says what is searched (search_params), by what it is judged (reward_attrs), and how"
    return SpecError([Problem(path=PATH, message=message, code="ModelArts.2788")])


def _need(policy: Policy, storage: str) -> None:
    """Refuse a search whose libraries are not there. Raises LauncherError."""
    wanted = ["optuna", "regex", *filter(None, (NEEDED.get(type(policy.algorithm)),))]
    if storage.startswith(("postgres://", "postgresql://", "postgresql+")):
        wanted.append("psycopg")
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise LauncherError(
            f"a search needs what is not installed here: {', '.join(missing)}",
            code="search-not-installed",
            action="Install it: pip install 'modelarts-launcher[search]'.",
            exit_code=Exit.NODE,
        )
    wrongs = [wrong_expression(metric) for metric in (policy.reward, *policy.others)]
    problems = [
        Problem(path=f"{PATH}.reward_attrs[{index}].regex", message=wrong)
        for index, wrong in enumerate(wrongs)
        if wrong
    ]
    if problems:
        raise SpecError(problems)


def _check_nodes(nodes: int, storage: str) -> None:
    """Each node of a search is a worker by itself, and all need one study."""
    if nodes > 1 and "://" not in storage:
        raise PlanError(
            f"the job has {nodes} nodes, and a search on each of them needs one study that all reach; "
            f"{storage} is a file of this one",
            code="search-storage",
            action="Give --storage postgresql://USER@HOST/DATABASE to all, or ask for one node.",
        )


def _options(plan: Plan, request: Request) -> tuple[str, ...]:
    """What stands behind a trial's job: the same store, and less time to end than this launcher has."""
    grace = max(0.0, plan.grace - reserve(plan.grace) - MARGIN_S)
    store = (
        ()
        if request.store is None
        else ("--store", request.store if "://" in request.store else absolute(request.store))
    )
    return (*store, "--grace", f"{grace:g}", "--no-precheck", "--quiet")


def _settings(environ: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """The launcher's own settings for a trial's launcher."""
    kept = {name: value for name, value in environ.items() if name.startswith(_OWN) and name not in NOT_FOR_TRIALS}
    return {**kept, "LAUNCHER_STAGED": plan.root, "LAUNCHER_PARENT": str(os.getpid())}


def _outputs(plan: Plan, results: str, storage: str) -> tuple[Output, ...]:
    """The one output of a search: its results, below the job's first output."""
    if not plan.outputs:
        return ()
    first = plan.outputs[0]
    target = parse_location(below(first.target.url, RESULTS)).folder
    # where the study is a file, an earlier search's copy of it comes back from there
    return (
        Output(
            name=RESULTS,
            description=first.description,
            field=first.field,
            path=results,
            target=target,
            predownload="://" not in storage,
            period=PERIOD_S,
        ),
    )


def _told(quest: Quest) -> tuple[str, ...]:
    """What is worth a warning of the lanes and of what is not installed."""
    notes = tuple(dict.fromkeys(each.note for each in quest.lanes if each.note))
    if quest.draw is None:
        notes += (
            "plotly is not installed, so that there will be no report.html: pip install 'modelarts-launcher[search]'",
        )
    return notes


def _password(storage: str) -> tuple[str, ...]:
    try:
        found = urlsplit(storage).password if "://" in storage else None
    except ValueError:
        return ()
    return (found, unquote(found)) if found else ()


def _cleared(grace: float, root: str) -> Sequence[str]:
    """End what the killed launcher of a trial left running."""
    layout = Layout(root=root)
    return clear_leftovers(f"{layout.log_dir}/.launcher-processes.json", grace) if os.path.isdir(layout.log_dir) else ()


def _free_port() -> int:
    """A port that nobody listens on just now."""
    import socket

    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def _draw(policy: Policy, trials: tuple[Trial, ...], title: str) -> Drawn:
    from launcher.adapters.study.charts import report_html
    from launcher.adapters.study.importances import importances

    found = importances(policy, trials)
    return Drawn(report=report_html(policy, trials, found, title), importances=found)
