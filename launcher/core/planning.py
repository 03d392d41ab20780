"""plan(job, facts): where a whole job and the facts of a machine become a Plan; nothing here touches the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from launcher.core.engines import ENGINES, Start, engine_of
from launcher.core.environ import Scene, boot_environment, interpreters
from launcher.core.errors import Exit, PlanError, Problem, SpecError
from launcher.core.layout import Layout, nested
from launcher.core.parse.algorithm import code_below
from launcher.core.parse.cursor import Log
from launcher.core.plan import Code, Files, Input, JobName, Node, Output, Patterns, Plan, Process
from launcher.core.settings import ANNOTATIONS
from launcher.core.sources import rules_of
from launcher.core.spec import JobAlgorithm
from launcher.core.topology import accelerators, node
from launcher.core.urls import Location, parse_location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.annotations import JobSettings
    from launcher.core.facts import Facts
    from launcher.core.spec import Job

DEFAULT_PERIOD = 30.0
INPUT_DESCRIPTION = {"en": "Data Source", "zh": "数据来源"}
OUTPUT_DESCRIPTION = {"en": "Output Data", "zh": "输出数据"}
LONGEST_STRING = 128 * 1024 - 1
"""MAX_ARG_STRLEN of Linux: one argument or one variable with its name, the closing NUL counted."""

LONGEST_TOTAL = 2 * 1024 * 1024 - 64 * 1024
"""A quarter of the default 8 MiB stack, less what the kernel and the dynamic loader put there."""


def plan(job: Job, facts: Facts, warnings: Sequence[str] = ()) -> Plan:
    """Decide everything that can be decided. The job is whole (`complete`). Raises SpecError and PlanError."""
    algorithm = job.algorithm or JobAlgorithm()
    layout = Layout(root=facts.root)
    this = node(job, facts)
    name = job_name(job, facts, this)
    code = _code(algorithm, layout)
    own = _own_settings(job)
    inputs = _inputs(algorithm, layout, facts, own)
    outputs = _outputs(algorithm, layout, facts.settings.language, own)
    _check_folders(layout, code, inputs, outputs)
    if any(layout.cache == each.path or layout.cache.startswith(f"{each.path}/") for each in (*inputs, *outputs)):
        facts = msgspec.structs.replace(facts, cache=False)  # scratch files are no output
    scene = Scene(
        facts=facts,
        layout=layout,
        job=name,
        node=this,
        code=code.path if code else None,
        inputs=inputs,
        outputs=outputs,
        engine_version=algorithm.engine.engine_version if algorithm.engine else None,
        accelerators=accelerators(job),
    )
    log_url = job.spec.log_export_path.obs_url if job.spec and job.spec.log_export_path else None
    return Plan(
        job=name,
        node=this,
        root=facts.root,
        folders=(layout.mount, layout.job_dir, layout.log_dir, *([layout.cache] if facts.root != "/" else [])),
        code=code,
        inputs=inputs,
        outputs=outputs,
        processes=(_process(algorithm, code, scene),),
        packages=layout.packages,
        scratch=layout.cache if facts.cache else None,
        pip_index=_pip_index(facts),
        files=_files(layout, name, facts),
        log_target=parse_location(log_url).folder if log_url else None,
        limits=facts.settings.limits,
        logs=facts.settings.logs,
        grace=facts.settings.grace,
        stop_after=_stop_after(job, facts),
        transfers=facts.settings.transfers,
        in_use=facts.settings.in_use,
        language=facts.settings.language,
        warnings=(*warnings, *_warnings(job, algorithm, inputs, outputs)),
    )


def job_name(job: Job, facts: Facts, this: Node) -> JobName:
    """The job's names; one without an id gets its name and start time."""
    identity = job.metadata.id or f"{job.metadata.name}-{facts.started}"
    return JobName(id=identity, name=job.metadata.name, label=f"modelarts-job-{identity}-{this.task}")


def _code(algorithm: JobAlgorithm, layout: Layout) -> Code | None:
    if not algorithm.code_dir:
        return None
    relative = code_below(algorithm.code_dir, algorithm.boot_file) if algorithm.boot_file else None
    if algorithm.code_dir.startswith("file://"):
        source, path = None, algorithm.code_dir.removeprefix("file://").rstrip("/")
    else:
        source = parse_location(algorithm.code_dir).folder
        path = layout.code(source.name, algorithm.local_code_dir)
    return Code(source=source, path=path, boot_file=f"{path}/{relative}" if relative else None)


def _own_settings(job: Job) -> JobSettings | None:
    """What the job's annotations say; what is wrong with them was told when it was completed."""
    annotations = job.metadata.annotations or {}
    if job.algorithm is None or not any(name.startswith(ANNOTATIONS) for name in annotations):
        return None
    from launcher.core.annotations import read_annotations  # noqa: PLC0415 - most jobs have none

    inputs, outputs = ([each.name for each in channels] for channels in (job.algorithm.inputs, job.algorithm.outputs))
    return read_annotations(annotations, inputs, outputs, Log())


def _inputs(algorithm: JobAlgorithm, layout: Layout, facts: Facts, own: JobSettings | None) -> tuple[Input, ...]:
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


def _outputs(algorithm: JobAlgorithm, layout: Layout, language: str, own: JobSettings | None) -> tuple[Output, ...]:
    return tuple(
        Output(
            name=each.name,
            description=each.description or OUTPUT_DESCRIPTION[language],
            field=f"outputs[{index}].remote.obs.obs_url",
            target=_place(each.remote.obs.obs_url if each.remote and each.remote.obs else None).folder,
            path=layout.output(each.name, index, each.local_dir),
            predownload=bool(each.prefetch_to_local),
            period=float(each.period) if each.period else DEFAULT_PERIOD,
            patterns=own.patterns_of(each.name) if own else Patterns(),
        )
        for index, each in enumerate(algorithm.outputs)
    )


def _place(url: str | None) -> Location:
    if url is None:
        raise PlanError(
            "a channel of this job has no place; the job was not completed",
            code="defect",
            action="Report this: `complete` comes before `plan`.",
            exit_code=Exit.DEFECT,
        )
    return parse_location(url)


def _check_folders(layout: Layout, code: Code | None, inputs: Sequence[Input], outputs: Sequence[Output]) -> None:
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


def _process(algorithm: JobAlgorithm, code: Code | None, scene: Scene) -> Process:
    facts = scene.facts
    start = Start(
        algorithm=algorithm,
        boot_file=code.boot_file if code else None,
        interpreter=facts.interpreter or interpreters(facts, algorithm.environments or {})[0],
        shell=facts.shell or "bash",
        inputs=scene.inputs,
        outputs=scene.outputs,
    )
    engine = engine_of(algorithm)
    user = dict(algorithm.environments or {})
    channels = {
        local.name: local.path
        for said, local in zip((*algorithm.inputs, *algorithm.outputs), (*scene.inputs, *scene.outputs), strict=True)
        if said.access_method == "env" or engine == "command"
    }
    argv = ENGINES[engine](start)
    env = boot_environment(scene, channels | user)
    _check_sizes(argv, env)
    working = scene.layout.at(algorithm.working_dir) if algorithm.working_dir else None
    return Process(rank=0, local_rank=0, argv=argv, env=env, cwd=working or scene.code or scene.layout.mount)


def _check_sizes(argv: Sequence[str], env: dict[str, str]) -> None:
    """Refuse by name what the kernel would refuse by E2BIG."""
    strings = {token.partition("=")[0]: token for token in argv}
    strings |= {f"the variable {name}": f"{name}={value}" for name, value in env.items()}
    sizes = {name: len(text.encode(errors="surrogateescape")) for name, text in strings.items()}
    for name, size in sizes.items():
        if size > LONGEST_STRING:
            message = f"{name} has {size} bytes; a program takes at most {LONGEST_STRING}; put the value in a file"
            raise SpecError([Problem(path="algorithm.parameters", message=message, code="ModelArts.2816")])
    if sum(sizes.values()) > LONGEST_TOTAL:
        message = f"arguments and variables have {sum(sizes.values())} bytes; a program takes at most {LONGEST_TOTAL}"
        raise SpecError([Problem(path="algorithm.parameters", message=message, code="ModelArts.2816")])


def _pip_index(facts: Facts) -> tuple[str, ...]:
    """The platform's own package index as pip's options."""
    host, url = facts.environ.get("MA_PIP_HOST"), facts.environ.get("MA_PIP_URL")
    options = [f"--trusted-host={host}"] if host else []
    return (*options, f"--index-url={url}") if url else tuple(options)


def _files(layout: Layout, name: JobName, facts: Facts) -> Files:
    return Files(
        log=f"{layout.log_dir}/{name.label}.log",
        run_json=f"{layout.log_dir}/run.json",
        events=f"{layout.log_dir}/events.jsonl",
        plan=f"{layout.log_dir}/plan.json",
        staged=f"{layout.log_dir}/.launcher-staged",
        uploads=f"{layout.log_dir}/.launcher-uploads.jsonl",
        roll=f"{layout.log_dir}/.launcher-processes.json",
        termination=facts.termination,
        report=facts.report,
    )


def _stop_after(job: Job, facts: Facts) -> float | None:
    """Seconds that the job may take: the node's setting, else the job's own hours."""
    if facts.settings.auto_stop is not None:
        return facts.settings.auto_stop
    return job.spec.auto_stop.duration * 3600.0 if job.spec and job.spec.auto_stop else None


def _warnings(job: Job, algorithm: JobAlgorithm, inputs: Sequence[Input], outputs: Sequence[Output]) -> list[str]:
    found = []
    if job.kind != "job":
        found.append(f"kind is {job.kind}; it is run as a training job")
    if algorithm.command and algorithm.boot_file:
        found.append("the job has a boot file and a command; the boot file is started, the command is left alone")
    found += [
        f"the job's variable {each.name} stands, and hides the folder of the channel of that name"
        for each in (*algorithm.inputs, *algorithm.outputs)
        if each.access_method == "env" and each.name in (algorithm.environments or {})
    ]
    targets: dict[Location, str] = {}
    for each in outputs:
        if each.target in targets:
            found.append(f"outputs {targets[each.target]} and {each.name} go to the same place, {each.target.url}")
        targets.setdefault(each.target, each.name)
    found += _store_urls_in_values(algorithm, inputs)
    return found


def _store_urls_in_values(algorithm: JobAlgorithm, inputs: Sequence[Input]) -> list[str]:
    """Hyperparameters that name a channel's own URL: open() cannot read it, the channel's folder can be read."""
    places = {each.source.folder.url: each for each in inputs}
    found = []
    for parameter in algorithm.parameters:
        value = parameter.value if isinstance(parameter.value, str) else ""
        channel = places.get(value.replace("s3://", "obs://").rstrip("/") + "/")
        if channel:
            found.append(
                f"hyperparameter {parameter.name} is the URL {value}; a boot file reads that channel at {channel.path} "
                f"(--{channel.name})"
            )
    return found
