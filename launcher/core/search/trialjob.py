"""The job of one trial: the searched job with the trial's values, its own places in the store, and no search."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.spec import Hyperparameter, Job, JobAlgorithm, ObsPlace, OutputChannel, OutputRemote, Policies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.topology import Flags

FOLDER = "trials"
"""Below every output of the job: a trial's own go to `trials/<id>/` there."""
RESULTS = "autosearch"
"""Below the first output of the job, and on the node: what the search itself writes."""


def nodes_told(job: Job, environ: Mapping[str, str], flags: Flags) -> int:
    """How many nodes the job is said to have, by whoever says most: each of them searches."""
    asked = job.spec.resource.node_count if job.spec and job.spec.resource else None
    told = [environ.get(name, "") for name in ("MA_NUM_HOSTS", "VC_WORKER_NUM", "PET_NNODES")]
    return max(1, asked or 1, flags.nodes or 1, *(int(each) for each in told if re.fullmatch(r"[0-9]{1,6}", each)))


def single(job: Job) -> Job:
    """The job as a search runs it: on one node, and without the search."""
    algorithm = replace(job.algorithm or JobAlgorithm(), policies=Policies())
    spec = job.spec
    if spec is not None:
        resource = replace(spec.resource, node_count=1) if spec.resource is not None else None
        spec = replace(spec, resource=resource)
    return replace(job, algorithm=algorithm, spec=spec)


def trial_job(job: Job, trial: str, values: Mapping[str, str]) -> Job:
    """The `single` job of a trial, which is named by its id; `values` are the texts that the boot file gets."""
    algorithm = job.algorithm or JobAlgorithm()
    laid = {each.name: each for each in algorithm.parameters}
    for name, value in values.items():
        laid[name] = replace(laid[name], value=value) if name in laid else Hyperparameter(name=name, value=value)
    algorithm = replace(
        algorithm,
        parameters=tuple(laid.values()),
        outputs=tuple(_output(each, trial) for each in algorithm.outputs),
    )
    metadata = replace(job.metadata, id=f"{job.metadata.id or job.metadata.name}-{trial}"[-128:])
    spec = job.spec
    if spec is not None:
        place = spec.log_export_path
        if place is not None and place.obs_url:
            place = replace(place, obs_url=below(place.obs_url, FOLDER, trial))
        spec = replace(spec, log_export_path=place, auto_stop=None)  # its time is the search's
    return replace(job, metadata=metadata, algorithm=algorithm, spec=spec)


def best_job(job: Job, values: Mapping[str, str]) -> Job:
    """The job without the search, with these values: ready to be run by itself."""
    algorithm = trial_job(job, "best", values).algorithm
    own = job.algorithm or JobAlgorithm()
    parameters = algorithm.parameters if algorithm else ()
    return replace(job, algorithm=replace(own, parameters=parameters, policies=Policies()))


def without(job: Job, hidden: Callable[[str], bool]) -> tuple[Job, tuple[str, ...]]:
    """A job without the values that may not be written down, and the options that a person gives in their place."""
    algorithm = job.algorithm or JobAlgorithm()
    environments = algorithm.environments or {}
    secret = {each.name for each in algorithm.parameters if isinstance(each.value, str) and hidden(each.value)}
    hides = {name for name, value in environments.items() if hidden(value)}
    left = replace(
        algorithm,
        parameters=tuple(each for each in algorithm.parameters if each.name not in secret),
        environments={name: value for name, value in environments.items() if name not in hides},
    )
    options = (*(f"--set={name}=…" for name in sorted(secret)), *(f"--env={name}=…" for name in sorted(hides)))
    return replace(job, algorithm=left), options


def below(url: str, *parts: str) -> str:
    """The URL of a folder below another one."""
    return "/".join((url.rstrip("/"), *parts)) + "/"


def _output(channel: OutputChannel, trial: str) -> OutputChannel:
    """A trial begins with an empty output: what others wrote is theirs."""
    place = channel.remote.obs if channel.remote else None
    remote = OutputRemote(obs=ObsPlace(obs_url=below(place.obs_url, FOLDER, trial))) if place else channel.remote
    return replace(channel, remote=remote, prefetch_to_local=False)
