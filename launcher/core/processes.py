"""The boot processes of a plan: what an engine starts, each with the environment that it is promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.engines import engine_of
from launcher.core.engines.plain import PLAIN
from launcher.core.engines.start import Engaged, Start
from launcher.core.environ import Scene, boot_environment, interpreters
from launcher.core.errors import PlanError, Problem, SpecError
from launcher.core.interfaces import unmatched
from launcher.core.plan import Process

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from launcher.core.plan import Code
    from launcher.core.spec import JobAlgorithm

LONGEST_STRING = 128 * 1024 - 1
"""MAX_ARG_STRLEN of Linux: one argument or one variable with its name, the closing NUL counted."""

WITH_SERVERS = ("tensorflow", "python", "command")
"""Engines with which a node may be a parameter server; of the last two, it is the job's own affair."""

LONGEST_TOTAL = 2 * 1024 * 1024 - 64 * 1024
"""A quarter of the default 8 MiB stack, less what the kernel and the dynamic loader put there."""


def boot_processes(
    algorithm: JobAlgorithm, code: Code | None, scene: Scene
) -> tuple[str, Engaged, tuple[Process, ...]]:
    """The engine, what it decided, and its processes as they will be started. Raises SpecError and PlanError."""
    start = _start(algorithm, code, scene)
    engine = engine_of(algorithm, start.said)
    _check_role(engine, start)
    channels = {
        local.name: local.path
        for said, local in zip((*algorithm.inputs, *algorithm.outputs), (*scene.inputs, *scene.outputs), strict=True)
        if said.access_method == "env" or engine == "command"
    }
    # No name depends on how many processes an engine starts, which only the engine tells.
    variables = {**scene.facts.environ, **boot_environment(scene), **channels, **start.user}
    engaged = _engaged(engine, replace(start, variables=variables))
    promised = boot_environment(scene, engaged.per_node)
    working = scene.layout.at(algorithm.working_dir) if algorithm.working_dir else None
    processes = tuple(
        Process(
            rank=each.rank,
            local_rank=each.local_rank,
            argv=each.argv,
            env={**promised, **each.env, **channels, **_but(start.user, each.fixed)},
            cwd=each.cwd or working or scene.code or scene.layout.mount,
            # a node's only process writes the job's own log
            log=f"{scene.layout.log_dir}/{each.log}" if each.log and len(engaged.launches) > 1 else None,
        )
        for each in engaged.launches
    )
    for process in processes:
        _check_sizes(process)
    warnings = (*engaged.warnings, *unmatched({**promised, **start.said}, scene.facts.network))
    return engine, replace(engaged, warnings=warnings), processes


def _but(variables: Mapping[str, str], fixed: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in fixed}


def _engaged(engine: str, start: Start) -> Engaged:
    """Most jobs have a plain engine, and are spared the import of all others."""
    if engine in PLAIN:
        return PLAIN[engine](start)
    from launcher.core.engines.table import ENGINES  # noqa: PLC0415 - as above

    return ENGINES[engine](start)


def _start(algorithm: JobAlgorithm, code: Code | None, scene: Scene) -> Start:
    facts, user = scene.facts, dict(algorithm.environments or {})
    return Start(
        algorithm=algorithm,
        boot_file=code.boot_file if code else None,
        interpreter=facts.interpreter or interpreters(facts, user)[0],
        shell=facts.shell or "bash",
        inputs=scene.inputs,
        outputs=scene.outputs,
        facts=facts,
        layout=scene.layout,
        job=scene.job,
        user=user,
        cards=scene.accelerators,
    )


def _check_role(engine: str, start: Start) -> None:
    if start.facts.topology.role == "ps" and engine not in WITH_SERVERS:
        raise PlanError(
            f"this node is a parameter server (MA_TASK_NAME is ps), and the job's engine, {engine}, has none",
            code="topology",
            action="Use a TensorFlow engine, or start the job without parameter servers.",
        )


def _check_sizes(process: Process) -> None:
    """Refuse by name what the kernel would refuse by E2BIG."""
    strings = [(token.partition("=")[0], token) for token in process.argv]
    strings += [(f"the variable {name}", f"{name}={value}") for name, value in process.env.items()]
    sizes = [(name, len(text.encode(errors="surrogateescape"))) for name, text in strings]
    for name, size in sizes:
        if size > LONGEST_STRING:
            message = f"{name} has {size} bytes; a program takes at most {LONGEST_STRING}; put the value in a file"
            raise SpecError([Problem(path="algorithm.parameters", message=message, code="ModelArts.2816")])
    total = sum(size for _, size in sizes)
    if total > LONGEST_TOTAL:
        message = f"arguments and variables have {total} bytes; a program takes at most {LONGEST_TOTAL}"
        raise SpecError([Problem(path="algorithm.parameters", message=message, code="ModelArts.2816")])
