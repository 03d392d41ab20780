"""From a command line to a Plan and the world it will run in: the one place where adapters are chosen and wired."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from launcher.cli.load import load_job
from launcher.cli.machine import gather, meet, waits
from launcher.cli.stores import HOW_TO_NAME_A_STORE, Opened, open_store
from launcher.core.errors import Exit, PlanError, SpecError
from launcher.core.plan import Plan
from launcher.core.planning import plan as decide
from launcher.core.redact import mask, plan_secrets, secret_values
from launcher.core.searchspace import searched_algorithm
from launcher.core.settings import Settings, read_settings
from launcher.core.spec import Job, JobAlgorithm
from launcher.core.topology import TELLERS, Flags, Topology
from launcher.source import boot_file_warning

if TYPE_CHECKING:
    from launcher.cli.options import Request
    from launcher.protocols import Store


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, the topology that it is for, the store it needs, and what must be masked wherever something leaves.

    Where the job is searched, the plan is that of one trial: `searched` is its algorithm with the policy, `whole` the
    job as it was given, `job` what a trial runs, `nodes` how many nodes search, and `environ` tells of this node alone.
    """

    plan: Plan
    whole: Job
    job: Job
    environ: Mapping[str, str]
    searched: JobAlgorithm | None = None
    nodes: int = 1
    topology: Topology
    opened: Opened
    settings: Settings
    secrets: tuple[str, ...]

    @property
    def store(self) -> Store:
        """The store; an empty one for a plan that needs none (`need_store` has refused all others)."""
        from launcher.adapters.localfs import LocalStore

        return self.opened.store or LocalStore(os.devnull)


def prepare(request: Request, environ: Mapping[str, str], *, preview: bool = False) -> Ready:
    """Read, complete and plan; nothing is changed. Raises LauncherError, its secrets masked, and click.UsageError.

    A preview waits for nothing and nobody, and its plan says what is pending; it cannot be carried out.
    """
    own = secret_values((*environ.items(), *request.overrides.values), request.secrets)
    try:
        return _prepare(request, environ, own, preview=preview)
    except SpecError as error:
        problems = [msgspec.structs.replace(each, message=mask(each.message, own)) for each in error.problems]
        raise SpecError(problems) from error


def _prepare(request: Request, environ: Mapping[str, str], own: tuple[str, ...], *, preview: bool) -> Ready:
    settings = read_settings(environ)
    opened = open_store(request.store, environ, settings)
    completed = load_job(request, environ, opened.read)
    whole, searched, nodes = completed.job, searched_algorithm(completed.job), 1
    if searched is not None:
        from launcher.core.search.trialjob import nodes_told, single

        if request.resume_from is not None:
            raise PlanError(
                "--resume-from: each trial of a search begins anew, with an output of its own",
                code="nothing-to-resume",
                action="Leave it out: a search goes on by itself when it is started again. Or take auto_search away.",
                exit_code=Exit.USAGE,
            )
        nodes = 1 if request.rehearse else nodes_told(completed.job, environ, request.flags)
        completed = msgspec.structs.replace(completed, job=single(completed.job))
        request, environ = alone(request, environ)
    facts = gather(completed.job, request, environ, settings, opened.facts, preview=preview)
    if waits(completed.job, facts):
        # A job that cannot be is refused before anybody is waited for.
        early = decide(completed.job, msgspec.structs.replace(facts, preview=True), (), completed.requirements)
        if not preview:
            need_store(early, opened)
        facts = meet(completed.job, facts)
    warnings = [*opened.warnings, *map(str, completed.warnings)]
    plan = decide(completed.job, facts, warnings, completed.requirements)
    plan = _with_boot_file_warning(plan, opened)
    secrets = plan_secrets(plan, (*own, *opened.secrets()))
    return Ready(
        plan=plan,
        whole=whole,
        job=completed.job,
        environ=environ,
        searched=searched,
        nodes=nodes,
        topology=facts.topology,
        opened=opened,
        settings=settings,
        secrets=secrets,
    )


def alone(request: Request, environ: Mapping[str, str]) -> tuple[Request, Mapping[str, str]]:
    """The command line and the environment without what they say of other nodes: each searches by itself."""
    kept = {name: value for name, value in environ.items() if name not in TELLERS}
    return msgspec.structs.replace(request, flags=Flags()), kept


def need_store(plan: Plan, opened: Opened) -> None:
    """Refuse a plan that needs a store where none was given. Raises PlanError."""
    places = [plan.code.source] if plan.code and plan.code.source else []
    places += [each.source for each in plan.inputs] + [each.target for each in plan.outputs]
    places += [plan.log_target] if plan.log_target else []
    if places and opened.store is None:
        raise PlanError(
            f"{places[0].url} is in an object store, and none is known",
            code="store-unknown",
            action=HOW_TO_NAME_A_STORE,
            exit_code=Exit.USAGE,
        )


def _with_boot_file_warning(plan: Plan, opened: Opened) -> Plan:
    """Look into the boot file before staging where its code is a local file anyway."""
    path = opened.local_path(plan.code.source) if plan.code and plan.code.source else None
    if plan.code is None or plan.code.boot_file is None or path is None:
        return plan
    place = os.path.join(path, os.path.relpath(plan.code.boot_file, plan.code.path))
    warning = boot_file_warning(place, plan.arguments)
    return msgspec.structs.replace(plan, warnings=(*plan.warnings, warning)) if warning else plan
