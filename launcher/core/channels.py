"""Where a job's channels lie, on the node and in the store: the inputs and outputs of a plan, none inside another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.errors import Exit, PlanError, Problem, SpecError
from launcher.core.layout import Layout, nested
from launcher.core.parse.cursor import Log
from launcher.core.plan import Code, Input, Output, Patterns
from launcher.core.settings import ANNOTATIONS
from launcher.core.sources import rules_of
from launcher.core.urls import Location, parse_location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.annotations import JobSettings
    from launcher.core.facts import Facts
    from launcher.core.spec import Job, JobAlgorithm

DEFAULT_PERIOD = 30.0
INPUT_DESCRIPTION = {"en": "Data Source", "zh": "数据来源"}
OUTPUT_DESCRIPTION = {"en": "Output Data", "zh": "输出数据"}


def own_settings(job: Job) -> JobSettings | None:
    """What the job's annotations say; what is wrong with them was told when it was completed."""
    annotations = job.metadata.annotations or {}
    if job.algorithm is None or not any(name.startswith(ANNOTATIONS) for name in annotations):
        return None
    from launcher.core.annotations import read_annotations  # noqa: PLC0415 - most jobs have none

    inputs, outputs = ([each.name for each in channels] for channels in (job.algorithm.inputs, job.algorithm.outputs))
    return read_annotations(annotations, inputs, outputs, Log())


def channel_inputs(algorithm: JobAlgorithm, layout: Layout, facts: Facts, own: JobSettings | None) -> tuple[Input, ...]:
    """The inputs in the order of the job. Raises PlanError for a job that was not completed."""
    settings = facts.settings
    missing = settings.dataset_missing if own is None or own.dataset_missing is None else own.dataset_missing
    buckets = settings.dataset_buckets if own is None or own.dataset_buckets is None else own.dataset_buckets
    return tuple(
        Input(
            name=each.name,
            description=each.description or INPUT_DESCRIPTION[settings.language],
            field=f"inputs[{index}].remote.obs.obs_url",
            source=_place(each.remote.obs.obs_url if each.remote and each.remote.obs else None),
            path=layout.input(each.name, index, each.local_dir),
            patterns=own.patterns_of(each.name) if own else Patterns(),
            extract=own is not None and each.name in own.extract,
            dataset=rules_of(each, missing, buckets),
        )
        for index, each in enumerate(algorithm.inputs)
    )


def channel_outputs(
    algorithm: JobAlgorithm, layout: Layout, facts: Facts, own: JobSettings | None
) -> tuple[Output, ...]:
    """The outputs in the order of the job. Raises PlanError for a job that was not completed."""
    made = tuple(
        Output(
            name=each.name,
            description=each.description or OUTPUT_DESCRIPTION[facts.settings.language],
            field=f"outputs[{index}].remote.obs.obs_url",
            target=_place(each.remote.obs.obs_url if each.remote and each.remote.obs else None).folder,
            path=layout.output(each.name, index, each.local_dir),
            predownload=bool(each.prefetch_to_local),
            period=float(each.period) if each.period else DEFAULT_PERIOD,
            patterns=own.patterns_of(each.name) if own else Patterns(),
        )
        for index, each in enumerate(algorithm.outputs)
    )
    return made if facts.resume is None else _resumed(made, facts.resume)


def _resumed(outputs: tuple[Output, ...], url: str) -> tuple[Output, ...]:
    """The outputs of a job that goes on from a place: the output's own is the same as its predownload."""
    place = parse_location(url).folder
    if not outputs:
        raise PlanError(
            f"--resume-from {url}: the job has no output, whose folder would be filled from there",
            code="nothing-to-resume",
            action="Give the job an output (its training reads the checkpoints there), or bring them as an input.",
            exit_code=Exit.USAGE,
        )
    first = outputs[0]
    if place == first.target:
        return (replace(first, predownload=True), *outputs[1:])
    if first.target.bucket == place.bucket and first.target.key.startswith(place.key):
        raise PlanError(
            f"--resume-from {url}: the output {first.name} lies within it, {first.target.url}; each run would bring "
            "its own output into itself",
            code="resume-from-above",
            action="Name the folder of one run, or of one checkpoint.",
            exit_code=Exit.USAGE,
        )
    return outputs


def _place(url: str | None) -> Location:
    if url is None:
        raise PlanError(
            "a channel of this job has no place; the job was not completed",
            code="defect",
            action="Report this: `complete` comes before `plan`.",
            exit_code=Exit.DEFECT,
        )
    return parse_location(url)


def check_folders(layout: Layout, code: Code | None, inputs: Sequence[Input], outputs: Sequence[Output]) -> None:
    """Refuse channels that reach into another folder of the job. Raises SpecError."""
    folders = {"the launcher's logs": layout.log_dir, "the launcher's packages": layout.packages}
    if code:
        folders["the code directory"] = code.path
    folders |= {f"inputs[{index}] ({each.name})": each.path for index, each in enumerate(inputs)}
    folders |= {f"outputs[{index}] ({each.name})": each.path for index, each in enumerate(outputs)}
    clash = nested(folders)
    if clash:
        outer, inner = clash
        message = (
            f"{inner} at {folders[inner]} lies in the folder of {outer}, {folders[outer]}; give it its own local_dir"
        )
        raise SpecError([Problem(path="algorithm", message=message, code="ModelArts.2753")])
