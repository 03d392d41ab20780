"""The boot processes of a plan: what an engine starts, each with the environment that it is promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.engines import ENGINES, engine_of
from launcher.core.engines.start import Engaged, Start
from launcher.core.environ import Scene, boot_environment, interpreters
from launcher.core.errors import Problem, SpecError
from launcher.core.plan import Process

if TYPE_CHECKING:
    from launcher.core.plan import Code
    from launcher.core.spec import JobAlgorithm

LONGEST_STRING = 128 * 1024 - 1
"""MAX_ARG_STRLEN of Linux: one argument or one variable with its name, the closing NUL counted."""

LONGEST_TOTAL = 2 * 1024 * 1024 - 64 * 1024
"""A quarter of the default 8 MiB stack, less what the kernel and the dynamic loader put there."""


def boot_processes(
    algorithm: JobAlgorithm, code: Code | None, scene: Scene
) -> tuple[str, Engaged, tuple[Process, ...]]:
    """The engine, what it decided, and its processes as they will be started. Raises SpecError and PlanError."""
    facts = scene.facts
    user = dict(algorithm.environments or {})
    start = Start(
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
    engine = engine_of(algorithm, start.said)
    engaged = ENGINES[engine](start)
    channels = {
        local.name: local.path
        for said, local in zip((*algorithm.inputs, *algorithm.outputs), (*scene.inputs, *scene.outputs), strict=True)
        if said.access_method == "env" or engine == "command"
    }
    promised = boot_environment(scene, engaged.per_node)
    working = scene.layout.at(algorithm.working_dir) if algorithm.working_dir else None
    processes = tuple(
        Process(
            rank=each.rank,
            local_rank=each.local_rank,
            argv=each.argv,
            env={**promised, **each.env, **channels, **user},
            cwd=each.cwd or working or scene.code or scene.layout.mount,
            log=f"{scene.layout.log_dir}/{each.log}" if each.log else None,
        )
        for each in engaged.launches
    )
    for process in processes:
        _check_sizes(process)
    return engine, engaged, processes


def _check_sizes(process: Process) -> None:
    """Refuse by name what the kernel would refuse by E2BIG."""
    strings = {token.partition("=")[0]: token for token in process.argv}
    strings |= {f"the variable {name}": f"{name}={value}" for name, value in process.env.items()}
    sizes = {name: len(text.encode(errors="surrogateescape")) for name, text in strings.items()}
    for name, size in sizes.items():
        if size > LONGEST_STRING:
            message = f"{name} has {size} bytes; a program takes at most {LONGEST_STRING}; put the value in a file"
            raise SpecError([Problem(path="algorithm.parameters", message=message, code="ModelArts.2816")])
    if sum(sizes.values()) > LONGEST_TOTAL:
        message = f"arguments and variables have {sum(sizes.values())} bytes; a program takes at most {LONGEST_TOTAL}"
        raise SpecError([Problem(path="algorithm.parameters", message=message, code="ModelArts.2816")])
