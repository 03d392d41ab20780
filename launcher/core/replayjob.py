"""The job of a recorded run, made ready to be run once more: its secrets asked for again, its outputs elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from launcher.core.reproduce import Hidden


def missing(hidden: Hidden, values: Iterable[str], variables: Iterable[str]) -> tuple[str, ...]:
    """The options that a person has yet to give, for what was not recorded."""
    given, told = set(values), set(variables)
    return (
        *(f"--set {name}=@env:VARIABLE" for name in hidden.set if name not in given),
        *(f"--env {name}=VALUE" for name in hidden.env if name not in told),
    )


def with_outputs(job: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The document of a job whose outputs go below another folder, each by its name, and the log beside them.

    What is no job's is left as it is, for whoever reads the job to refuse.
    """
    top = url.rstrip("/")
    algorithm, spec = job.get("algorithm"), job.get("spec")
    changed: dict[str, Any] = {}
    if algorithm is None or isinstance(algorithm, dict):
        outputs = (algorithm or {}).get("outputs")
        changed["algorithm"] = {**(algorithm or {}), "outputs": _moved(outputs or [], top)}
    log = spec.get("log_export_path") if isinstance(spec, dict) else None
    if log and isinstance(spec, dict) and isinstance(log, dict):
        changed["spec"] = {**spec, "log_export_path": {**log, "obs_url": f"{top}/log/"}}
    return {**job, **changed}


def _moved(outputs: Any, top: str) -> Any:
    if not isinstance(outputs, list):
        return outputs
    return [
        {**each, "remote": {"obs": {"obs_url": f"{top}/outputs/{each.get('name')}/"}}}
        if isinstance(each, dict)
        else each
        for each in outputs
    ]
