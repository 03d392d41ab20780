"""From a prepared run to a search: its policy, study and lanes, and a plan that stages once for all trials."""

from __future__ import annotations

import os
import re
import time
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from launcher.cli.again import again
from launcher.cli.leftovers import clear_leftovers
from launcher.cli.machine import absolute
from launcher.cli.studies import PLACE, file_of, join, named, passwords
from launcher.core.errors import Exit, LauncherError, PlanError, Problem, SpecError
from launcher.core.layout import Layout
from launcher.core.lifecycle.deadlines import reserve
from launcher.core.plan import Output
from launcher.core.search import Anneal, Bayes, Pruner
from launcher.core.search.lanes import lanes
from launcher.core.search.policy import PATH, policy_of
from launcher.core.search.trialjob import FOLDER, RESULTS, below
from launcher.core.urls import parse_location
from launcher.search.expressions import wrong_expressions
from launcher.search.quest import Drawn, Quest
from launcher.search.results import STUDY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.cli.options import Request
    from launcher.cli.prepare import Ready
    from launcher.core.plan import Plan
    from launcher.core.search import Policy, Trial
    from launcher.job import Train
    from launcher.supervise import Desk

PERIOD_S = 5.0
"""Between two uploads of the results."""
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


def searching(ready: Ready, request: Request, wishes: Wishes | None) -> tuple[Ready, tuple[Train, type[Desk]], bool]:
    """A search: what is prepared for it, what is done in a run's place, and whether its outputs are its own."""
    from launcher.search import search
    from launcher.search.host import Host

    ready, quest = quest_of(ready, request, wishes or Wishes())
    return ready, (partial(search, quest=quest), Host), quest.local


def quest_of(ready: Ready, request: Request, wishes: Wishes) -> tuple[Ready, Quest]:
    """The search of a job, and what is prepared for it: a plan that stages once. Raises LauncherError."""
    # For the libraries that draw, as a node with many processors would lend them all; no boot file gets it from here.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
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
    storage = named(wishes.storage or settings.storage) or f"{home}/{PLACE}"
    _need(decided.policy, storage)
    _check_nodes(ready.nodes, storage)
    name = wishes.study or ready.job.metadata.id or ready.job.metadata.name
    patience, now = settings.study_patience, time.time()
    results = f"{layout.mount}/{RESULTS}"
    own = ready.job.algorithm.environments if ready.job.algorithm else None
    found = lanes(plan.devices, wishes.jobs, ready.environ, own=own or {})
    quest = Quest(
        policy=decided.policy,
        name=name,
        study=partial(join, decided.policy, storage, name, kept=f"{results}/{STUDY}", times=(patience, now)),
        whole=ready.whole,
        job=ready.job,
        lanes=found,
        command=again("run"),
        store=_store(request.store),
        options=(*_options(plan), *_rehearsal(request)),
        environ=_settings(ready.environ, plan),
        roots=f"{home}/{FOLDER}",
        results=results,
        local=file_of(storage) is not None,
        port=_free_port,
        clear=partial(_cleared, plan.grace),
        draw=_draw if find_spec("plotly") else None,
        since=now,
    )
    said = (*plan.warnings, *map(str, decided.warnings), *_told(quest))
    if file_of(storage) is None:
        plan = _of_this_host(plan)
    plan = replace(plan, outputs=_outputs(plan, results, storage), folders=(*plan.folders, results), warnings=said)
    return replace(ready, plan=plan, secrets=(*ready.secrets, *passwords(storage))), quest


def _no_search() -> SpecError:
    message = "is missing; it says what is searched (search_params), by what it is judged (reward_attrs), and how"
    return SpecError([Problem(path=PATH, message=message, code="ModelArts.2788")])


def _need(policy: Policy, storage: str) -> None:
    """Refuse a search whose libraries are not there. Raises LauncherError."""
    wanted = ["optuna", "regex", *filter(None, (NEEDED.get(type(policy.algorithm)),))]
    if file_of(storage) is None:
        wanted.append("psycopg")
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        from launcher.adapters.study import remedy

        raise LauncherError(
            f"a search needs what is not installed here: {', '.join(missing)}",
            code="search-not-installed",
            action=remedy(),
            exit_code=Exit.NODE,
        )
    problems = wrong_expressions(policy)
    if problems:
        raise SpecError(problems)


def _check_nodes(nodes: int, storage: str) -> None:
    """Each node of a search is a worker by itself, and all need one study."""
    if nodes > 1 and file_of(storage) is not None:
        raise PlanError(
            f"the job has {nodes} nodes, and a search on each of them needs one study that all reach; "
            f"{storage} is a file of this one",
            code="search-storage",
            action="Give --storage postgresql://USER@HOST/DATABASE to all, or ask for one node.",
        )


def _store(named: str | None) -> tuple[str, ...]:
    """The store, as a trial's launcher is told of it."""
    return () if named is None else ("--store", named if "://" in named else absolute(named))


def _options(plan: Plan) -> tuple[str, ...]:
    """What else stands behind a trial's job: less time to end than this launcher has."""
    grace = max(0.0, plan.grace - reserve(plan.grace) - MARGIN_S)
    return ("--grace", f"{grace:g}", "--no-precheck", "--quiet")


def _rehearsal(request: Request) -> tuple[str, ...]:
    if not request.rehearse:
        return ()
    from launcher.cli.rehearse import for_trials

    return for_trials(request)


def _settings(environ: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """The launcher's own settings for a trial's launcher."""
    kept = {name: value for name, value in environ.items() if name.startswith(_OWN) and name not in NOT_FOR_TRIALS}
    return {**kept, "LAUNCHER_STAGED": plan.root, "LAUNCHER_PARENT": str(os.getpid())}


def _of_this_host(plan: Plan) -> Plan:
    """The plan of one worker among many: all are worker-0 to themselves, and their logs go to one folder."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", plan.node.host)[:64]
    label = f"modelarts-job-{plan.job.id}-{host}"
    log = f"{os.path.dirname(plan.files.log)}/{label}.log"
    return replace(plan, job=replace(plan.job, label=label), files=replace(plan.files, log=log))


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
            predownload=file_of(storage) is not None,
            period=PERIOD_S,
        ),
    )


def _told(quest: Quest) -> tuple[str, ...]:
    """What is worth a warning of the lanes and of what is not installed."""
    notes = tuple(dict.fromkeys(each.note for each in quest.lanes if each.note))
    if quest.draw is None:
        from launcher.adapters.study import remedy

        notes += (f"plotly is not installed, so that there will be no report.html. {remedy()}",)
    return notes


def _cleared(grace: float, root: str) -> Sequence[str]:
    """End what the killed launcher of a trial left running."""
    layout = Layout(root=root)
    return clear_leftovers(layout.roll, grace) if os.path.isdir(layout.log_dir) else ()


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
