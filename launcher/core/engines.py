"""How a boot file is started: one pure function per engine, in one table. An argv is a tuple from here to exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from launcher.core.frozen import Record
from launcher.core.plan import Input, Output
from launcher.core.spec import JobAlgorithm
from launcher.core.values import argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.spec import Hyperparameter


class Start(Record, frozen=True, kw_only=True):
    """What an engine's argv is made from; `interpreter` and `shell` are programs, `boot_file` a local path."""

    algorithm: JobAlgorithm
    boot_file: str | None
    interpreter: str
    shell: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]


def python(start: Start) -> tuple[str, ...]:
    """The boot file under its interpreter: inputs, outputs, hyperparameters, each in the order of the job."""
    by_variable = {
        each.name for each in (*start.algorithm.inputs, *start.algorithm.outputs) if each.access_method == "env"
    }
    channels = [(each.name, each.path) for each in (*start.inputs, *start.outputs) if each.name not in by_variable]
    options = [f"--{name}={path}" for name, path in channels]
    options += [
        f"--{each.name}={option}" for each in start.algorithm.parameters if (option := _option(each)) is not None
    ]
    return (start.interpreter, start.boot_file or "", *options)


def command(start: Start) -> tuple[str, ...]:
    """The custom image's own shell text: nothing is appended to it."""
    return (start.shell, "-c", start.algorithm.command or "")


ENGINES: Mapping[str, Callable[[Start], tuple[str, ...]]] = {"python": python, "command": command}


def engine_of(algorithm: JobAlgorithm) -> str:
    """Which engine starts this algorithm: a key of ENGINES."""
    return "python" if algorithm.boot_file else "command"


def _option(parameter: Hyperparameter) -> str | None:
    if parameter.value is None or parameter.value is UNSET:
        return None
    kind = parameter.constraint.type if parameter.constraint else "String"
    return argument(kind, parameter.value)
