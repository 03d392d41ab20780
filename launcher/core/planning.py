"""plan(job, facts): where a whole job and the facts of a machine become a Plan; nothing here touches the world."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from launcher.core.channels import channel_inputs, channel_outputs, check_folders, own_settings
from launcher.core.constraints import flavor_cards, precheck_wanted, shortfalls, unmet
from launcher.core.environ import Scene, interpreters
from launcher.core.layout import Layout
from launcher.core.meeting import rendezvous
from launcher.core.parse.algorithm import code_below
from launcher.core.plan import Channel, Code, Files, Input, JobName, Node, Plan
from launcher.core.processes import boot_processes
from launcher.core.resilience import resilience
from launcher.core.spec import JobAlgorithm
from launcher.core.urls import Location, parse_location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.engines.start import Engaged
    from launcher.core.facts import Facts
    from launcher.core.spec import Job, Requirement


def plan(job: Job, facts: Facts, warnings: Sequence[str] = (), requirements: Sequence[Requirement] = ()) -> Plan:
    """Decide everything that can be decided. The job is whole (`complete`). Raises SpecError and PlanError.

    `requirements` are the training constraints of the job's algorithm.
    """
    algorithm = job.algorithm or JobAlgorithm()
    layout = Layout(root=facts.root)
    staged = Layout(root=facts.settings.staged) if facts.settings.staged else layout
    code = _code(algorithm, staged)
    scene = _scene(job, facts, (layout, staged), code)
    engine, engaged, processes = boot_processes(algorithm, code, scene)
    moves = scene.node.role == "worker"  # a parameter server needs no data, and a second copy would only cost
    log_url = job.spec.log_export_path.obs_url if job.spec and job.spec.log_export_path else None
    return Plan(
        job=scene.job,
        node=scene.node,
        root=facts.root,
        folders=_folders(scene, engaged),
        code=code if code is None or staged is layout else msgspec.structs.replace(code, source=None),
        inputs=scene.inputs if moves and staged is layout else (),
        outputs=scene.outputs if moves else (),
        processes=processes,
        packages=staged.packages,
        staged=facts.settings.staged,
        scratch=layout.cache if scene.facts.cache else None,
        pip_index=_pip_index(facts),
        files=_files(layout, scene.job, facts),
        log_target=parse_location(log_url).folder if log_url else None,
        limits=facts.settings.limits,
        logs=facts.settings.logs,
        grace=facts.settings.grace,
        stop_after=_stop_after(job, facts),
        transfers=facts.settings.transfers,
        in_use=facts.settings.in_use,
        language=facts.settings.language,
        warnings=(*warnings, *_warnings(job, algorithm, scene), *engaged.warnings),
        engine=engine,
        devices=facts.devices,
        unmet=_unmet(job, facts, requirements),
        constrained="warn" if facts.precheck is False else "refuse",
        precheck=scene.prechecked,
        checks=facts.settings.checks,
        rendezvous=rendezvous(job, facts, facts.topology),
        documents=engaged.documents,
        serves=engaged.serves,
        pending=(*facts.topology.pending, *engaged.pending),
        ssh=engaged.ssh,
        interpreter=facts.interpreter or interpreters(facts, algorithm.environments or {})[0],
        resilience=resilience(job, facts, own_settings(job)),
    )


def _unmet(job: Job, facts: Facts, requirements: Sequence[Requirement]) -> tuple[str, ...]:
    found = unmet(requirements, job, facts.devices, facts.topology.workers)
    if not (found and facts.rehearsal):
        return found
    from launcher.core.rehearsal import hinted  # noqa: PLC0415 - no run but a rehearsal needs it

    return hinted(found, requirements, job)


def _scene(job: Job, facts: Facts, layouts: tuple[Layout, Layout], code: Code | None) -> Scene:
    """`layouts`: of what is this run's own, and of what is staged."""
    algorithm = job.algorithm or JobAlgorithm()
    layout, staged = layouts
    this = _node(facts)
    own = own_settings(job)
    inputs = channel_inputs(algorithm, staged, facts, own)
    outputs = channel_outputs(algorithm, layout, facts, own)
    check_folders(layout, code, inputs, outputs)
    return Scene(
        facts=_without_cache(facts, layout, (*inputs, *outputs)),
        layout=layout,
        staged=staged,
        job=job_name(job, facts, this),
        node=this,
        code=code.path if code else None,
        inputs=inputs,
        outputs=outputs,
        engine_version=algorithm.engine.engine_version if algorithm.engine else None,
        accelerators=_cards(job, facts),
        code_url=code.source.url if code and code.source else None,
        prechecked=precheck_wanted(job, facts.precheck),
        notice=_notice(layout) if resilience(job, facts, own).preemption.passed else None,
    )


def _node(facts: Facts) -> Node:
    here = facts.topology
    return Node(index=here.index, count=here.count, host=facts.host, role=here.role, hosts=here.hosts)


def _without_cache(facts: Facts, layout: Layout, channels: Sequence[Channel]) -> Facts:
    """The facts as they are; without the scratch space where a channel holds it, for scratch files are no output."""
    held = any(layout.cache == each.path or layout.cache.startswith(f"{each.path}/") for each in channels)
    return msgspec.structs.replace(facts, cache=False) if held else facts


def _folders(scene: Scene, engaged: Engaged) -> tuple[str, ...]:
    layout = scene.layout
    scratch = (layout.cache,) if layout.root != "/" else ()
    # a parameter server is told of the same outputs, and may write there; it stays on the node
    local = tuple(each.path for each in scene.outputs) if scene.node.role == "ps" else ()
    return (layout.mount, layout.job_dir, layout.log_dir, *scratch, *local, *engaged.folders)


def _cards(job: Job, facts: Facts) -> int | None:
    """The accelerators that a training may use here; in a preview on a machine without any, those of the flavor."""
    if facts.preview and facts.devices.type == "CPU":
        return flavor_cards(job) or 0
    return facts.devices.count


def job_name(job: Job, facts: Facts, this: Node) -> JobName:
    """The job's names; one without an id gets its name and start time, or what all its nodes know alike."""
    alone = len(facts.topology.tasks) == 1
    known = job.metadata.id or (f"{job.metadata.name}-{facts.started}" if alone else _of_group(job, facts))
    return JobName(id=known, name=job.metadata.name, label=f"modelarts-job-{known}-{this.task}")


def _of_group(job: Job, facts: Facts) -> str:
    """The id within the group's name, as the service makes that (contract: MA_VJ_NAME), else the job's name."""
    group = facts.environ.get("MA_VJ_NAME", "")
    return group.removeprefix("ma-job-") if re.fullmatch(r"ma-job-[A-Za-z0-9-]{1,64}", group) else job.metadata.name


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
        roll=layout.roll,
        notice=_notice(layout),
        stacks=f"{layout.log_dir}/{name.label}-stacks",
        termination=facts.termination,
        report=facts.report,
    )


def _notice(layout: Layout) -> str:
    return f"{layout.log_dir}/.launcher-preempted"


def _stop_after(job: Job, facts: Facts) -> float | None:
    """Seconds that the job may take: the node's setting, else the job's own hours."""
    if facts.settings.auto_stop is not None:
        return facts.settings.auto_stop
    return job.spec.auto_stop.duration * 3600.0 if job.spec and job.spec.auto_stop else None


def _warnings(job: Job, algorithm: JobAlgorithm, scene: Scene) -> list[str]:
    found = [*scene.facts.topology.warnings, *shortfalls(job, scene.facts.devices)]
    if job.kind != "job":
        found.append(f"kind is {job.kind}; it is run as a training job")
    if algorithm.command and algorithm.boot_file:
        found.append("the job has a boot file and a command; the boot file is started, the command is left alone")
    found += [
        f"the job's variable {each.name} stands, and hides the folder of the channel of that name"
        for each in (*algorithm.inputs, *algorithm.outputs)
        if each.access_method == "env" and each.name in (algorithm.environments or {})
    ]
    found += [
        f"the job has a volume at {path}, and nothing is mounted there: the platform does that (docker run --volume, "
        "launcher kube)"
        for path in scene.facts.unmounted
    ]
    targets: dict[Location, str] = {}
    for each in scene.outputs:
        if each.target in targets:
            found.append(f"outputs {targets[each.target]} and {each.name} go to the same place, {each.target.url}")
        targets.setdefault(each.target, each.name)
    found += _store_urls_in_values(algorithm, scene.inputs)
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
