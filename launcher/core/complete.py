"""A job laid over its algorithm, with the command line's own values on top: one whole job, or every reason why not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import UNSET

from launcher.core.errors import Problem, SpecError
from launcher.core.parse.algorithm import check_code, check_names
from launcher.core.parse.channels import steers_programs
from launcher.core.parse.cursor import At, Log
from launcher.core.parse.forms import no_text
from launcher.core.parse.job import wrong_variable
from launcher.core.parse.parameters import NAME, NAME_MEANING
from launcher.core.parse.places import BAD_CHANNEL, BAD_URL
from launcher.core.settings import ANNOTATIONS
from launcher.core.sources import check_constraints, placed
from launcher.core.spec import (
    Constraint,
    Hyperparameter,
    InputChannel,
    Job,
    JobAlgorithm,
    JobConfig,
    ObsPlace,
    OutputChannel,
    Policies,
    Requirement,
)
from launcher.core.urls import parse_location
from launcher.core.values import wrong_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.spec import Algorithm

Channel = TypeVar("Channel", InputChannel, OutputChannel)
NO_VALUE = "ModelArts.2766"
NOT_EDITABLE = "ModelArts.2814"
UNKNOWN_ALGORITHM = "ModelArts.2755"


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line lays on top: `--set`, `--env`, `--dataset` (`ID/VERSION` to URL)."""

    values: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    datasets: tuple[tuple[str, str], ...] = ()


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A job that needs nothing from elsewhere any more, what is strange about it, and its algorithm's constraints."""

    job: Job
    warnings: tuple[Problem, ...] = ()
    requirements: tuple[Requirement, ...] = ()


def find_algorithm(job: Job, algorithms: Sequence[Algorithm]) -> Algorithm | None:
    """The algorithm that a job names, by id or else by name; a lone body without an id is the one that is meant."""
    wanted = job.algorithm
    if wanted is None:
        return None
    by_id = [each for each in algorithms if wanted.id and each.metadata.id == wanted.id]
    by_name = [each for each in algorithms if wanted.name and not wanted.id and each.metadata.name == wanted.name]
    alone = [each for each in algorithms if wanted.id and len(algorithms) == 1 and each.metadata.id is None]
    return next(iter(by_id or by_name or alone), None)


def names_unknown_algorithm(job: Job, algorithm: Algorithm | None) -> str | None:
    """The name of an algorithm that only the service knows, where the job cannot do without it."""
    own = job.algorithm
    if own is None or algorithm is not None or own.code_dir or own.command:
        return None
    return own.id or own.name or own.item_version_id


def complete(job: Job, algorithm: Algorithm | None, overrides: Overrides) -> Completed:
    """Lay the job over its algorithm and the overrides over both. Raises SpecError with every problem."""
    log = Log()
    unknown = names_unknown_algorithm(job, algorithm)
    if unknown:
        at = At(None, "algorithm.id", log)
        at.wrong(
            f"only the service knows the algorithm {unknown!r}; give its body with --algorithm FILE or DIR",
            UNKNOWN_ALGORITHM,
        )
        raise SpecError(log.problems)
    own = job.algorithm or JobAlgorithm()
    base = algorithm.job_config if algorithm else None
    merged = _lay(own, base, algorithm)
    merged = msgspec.structs.replace(
        merged,
        parameters=_parameters(own, base, overrides, log, _searched(merged)),
        environments=_variables(own, overrides, log),
        inputs=placed(merged.inputs, overrides.datasets, log),
    )
    check_constraints(merged.inputs, log)
    _check_annotations(job, merged, log)
    check_code(At(None, "algorithm", log), merged)
    check_names(At(None, "algorithm", log), merged)
    _check_places(merged, log)
    _check_search(merged, base, log)
    if log.problems:
        raise SpecError(log.problems)
    return Completed(
        job=msgspec.structs.replace(job, algorithm=merged),
        warnings=tuple(log.warnings),
        requirements=algorithm.resource_requirements if algorithm else (),
    )


def _lay(own: JobAlgorithm, base: JobConfig | None, algorithm: Algorithm | None) -> JobAlgorithm:
    if base is None or algorithm is None:
        return own
    search = algorithm.advanced_config.auto_search if algorithm.advanced_config else None
    policies = own.policies if own.policies and own.policies.auto_search else Policies(auto_search=search)
    return msgspec.structs.replace(
        own,
        code_dir=own.code_dir or base.code_dir,
        boot_file=own.boot_file or base.boot_file,
        command=own.command or base.command,
        engine=own.engine or base.engine,
        inputs=_by_name(base.inputs, own.inputs),
        outputs=_by_name(base.outputs, own.outputs),
        policies=policies,
        parameters_customization=base.parameters_customization,
    )


def _by_name(below: Sequence[Channel], above: Sequence[Channel]) -> tuple[Channel, ...]:
    """The algorithm's channels in its order, each with what the job says of it, then the job's own."""
    said = {each.name: each for each in above}
    laid: list[Channel] = [_over(each, said.pop(each.name, None)) for each in below]
    laid.extend(said.values())
    return tuple(laid)


def _over(below: Channel, above: Channel | None) -> Channel:
    if above is None:
        return below
    said = {name: value for name in below.__struct_fields__ if (value := getattr(above, name)) not in (None, ())}
    return msgspec.structs.replace(below, **said)


def _searched(merged: JobAlgorithm) -> frozenset[str]:
    """The names of hyperparameters that get their values from a search."""
    search = merged.policies.auto_search if merged.policies else None
    return frozenset(each.name for each in search.search_params) if search else frozenset()


def _parameters(
    own: JobAlgorithm, base: JobConfig | None, overrides: Overrides, log: Log, searched: frozenset[str]
) -> tuple[Hyperparameter, ...]:
    laid = {each.name: each for each in (base.parameters if base else ())}
    fixed = base is not None and base.parameters_customization is False
    for index, each in enumerate(own.parameters):
        _lay_parameter(laid, each, At(None, f"algorithm.parameters[{index}]", log), fixed=fixed)
    closed = fixed or own.parameters_customization is False  # what the job brings itself is its own; a typo is not
    for name, value in overrides.values:
        at = At(None, f"--set {name}", log)
        if not re.fullmatch(NAME, name):
            at.wrong(f"expected a hyperparameter name of {NAME_MEANING}")
        elif no_text(value):
            at.wrong(no_text(value))
        else:
            _lay_parameter(laid, Hyperparameter(name=name, value=value), at, fixed=closed)
    for each in laid.values():
        if each.constraint and each.constraint.required and not each.value and each.name not in searched:
            At(None, f"hyperparameter {each.name}", log).wrong(
                f"is required and has no value; give one in the job or with --set {each.name}=VALUE", NO_VALUE
            )
    return tuple(each for each in laid.values() if each.value is not None)


def _lay_parameter(laid: dict[str, Hyperparameter], top: Hyperparameter, at: At, *, fixed: bool) -> None:
    below = laid.get(top.name)
    if below is None:
        if fixed:
            known = ", ".join(laid) or "none"
            at.wrong(
                f"the algorithm takes no hyperparameter {top.name!r} of the job's own; it has: {known}", NOT_EDITABLE
            )
        laid[top.name] = top
        return
    constraint = below.constraint or top.constraint or Constraint()
    if top.value is UNSET:
        return
    if not constraint.editable and top.value != below.value:
        at.wrong(f"the algorithm fixes {top.name!r} (editable is false); leave it out", NOT_EDITABLE)
    elif top.value is None and constraint.required:
        at.wrong(f"{top.name!r} is required and cannot be deleted; give a value", NO_VALUE)
    elif isinstance(top.value, str) and top.value:
        wrong = wrong_value(constraint, top.value)
        if wrong:
            at.wrong(*wrong)
    # without a constraint of its own it stays one of any type
    laid[top.name] = msgspec.structs.replace(below, value=top.value, constraint=below.constraint or top.constraint)


def _variables(own: JobAlgorithm, overrides: Overrides, log: Log) -> Mapping[str, str]:
    laid = dict(own.environments or {})
    for name, value in overrides.variables:
        wrong = no_text(value) or wrong_variable(name, value)
        if wrong:
            At(None, f"--env {name}", log).wrong(wrong)
        laid[name] = value
    return laid


def _check_annotations(job: Job, merged: JobAlgorithm, log: Log) -> None:
    annotations = job.metadata.annotations or {}
    if any(name.startswith(ANNOTATIONS) for name in annotations):
        from launcher.core.annotations import read_annotations  # noqa: PLC0415 - most jobs have none

        read_annotations(annotations, [one.name for one in merged.inputs], [one.name for one in merged.outputs], log)


def _check_places(merged: JobAlgorithm, log: Log) -> None:
    by_command = bool(merged.command and not merged.boot_file)
    for index, source in enumerate(merged.inputs):
        place = source.remote.obs if source.remote else None
        _check_place(At(None, f"algorithm.inputs[{index}]", log), source.name, place, by_command=by_command)
    for index, target in enumerate(merged.outputs):
        place = target.remote.obs if target.remote else None
        _check_place(At(None, f"algorithm.outputs[{index}]", log), target.name, place, by_command=by_command)


def _check_place(at: At, name: str, place: ObsPlace | None, *, by_command: bool) -> None:
    if place is None:
        at.key("remote.obs.obs_url").wrong(f"is missing; where does {name!r} lie?", BAD_URL)
    elif not _is_location(place.obs_url):
        at.key("remote.obs.obs_url").wrong(f"expected obs://bucket/key/, found {place.obs_url!r}", BAD_URL)
    if by_command and steers_programs(name):
        message = f"as a variable of the command {name!r} would steer programs; rename the channel"
        at.key("name").wrong(message, BAD_CHANNEL)


def _is_location(url: str) -> bool:
    try:
        parse_location(url)
    except ValueError:
        return False
    return True


def _check_search(merged: JobAlgorithm, base: JobConfig | None, log: Log) -> None:
    search = merged.policies.auto_search if merged.policies else None
    names = {each.name for each in merged.parameters}
    for index, each in enumerate(search.search_params if search else ()):
        if each.name in names:
            continue
        at = At(None, f"algorithm.policies.auto_search.search_params[{index}].name", log)
        message = f"no hyperparameter is called {each.name!r}"
        if base is not None and base.parameters_customization is False:
            at.wrong(f"{message}; the algorithm takes none of the job's own", NOT_EDITABLE)
        else:
            at.warn(f"{message}; it is passed to the boot file all the same")
