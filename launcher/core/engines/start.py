"""What an engine starts boot processes from, and what it answers: values that every engine shares."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET

from launcher.core.facts import Facts
from launcher.core.frozen import Record
from launcher.core.layout import Layout
from launcher.core.plan import Document, Input, JobName, Output
from launcher.core.spec import Hyperparameter, JobAlgorithm
from launcher.core.values import argument


class Start(Record, frozen=True, kw_only=True):
    """What an engine's processes are made from; `interpreter` and `shell` are programs, `boot_file` a local path.

    `user` is the job's own environment, which wins over all; `cards` the accelerators that the node may use (0: it
    trains on its processors), None where only a cluster can tell.
    """

    algorithm: JobAlgorithm
    boot_file: str | None
    interpreter: str
    shell: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    facts: Facts
    layout: Layout
    job: JobName
    user: Mapping[str, str]
    cards: int | None = None

    @property
    def said(self) -> Mapping[str, str]:
        """The environment as a boot process would see it, less what the launcher promises: the job's over our own."""
        return {**self.facts.environ, **self.user}


class Launch(Record, frozen=True, kw_only=True):
    """One boot process as an engine wants it. `env` is laid over the promised variables, the job's own over both.

    `cwd` None is the job's own working directory; `log` asks for a log file of its own of that name, in the log folder.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    rank: int = 0
    local_rank: int = 0
    cwd: str | None = None
    log: str | None = None


class Engaged(Record, frozen=True, kw_only=True):
    """What an engine decided: the boot processes of this node, in the order of their ranks.

    `per_node` counts the processes that will train on this node in the end, its launches' children included. `serves`,
    `ssh` and `pending` as in Plan; `folders` are made before the start, `warnings` are told.
    """

    launches: tuple[Launch, ...]
    per_node: int = 1
    documents: tuple[Document, ...] = ()
    folders: tuple[str, ...] = ()
    serves: bool = False
    ssh: str | None = None
    pending: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def options(start: Start) -> tuple[str, ...]:
    """The boot file's arguments: inputs, outputs, hyperparameters, each in the order of the job."""
    by_variable = {
        each.name for each in (*start.algorithm.inputs, *start.algorithm.outputs) if each.access_method == "env"
    }
    channels = [(each.name, each.path) for each in (*start.inputs, *start.outputs) if each.name not in by_variable]
    found = [f"--{name}={path}" for name, path in channels]
    found += [f"--{each.name}={option}" for each in start.algorithm.parameters if (option := _option(each)) is not None]
    return tuple(found)


def boot(start: Start) -> tuple[str, ...]:
    """The boot file and its arguments, without an interpreter."""
    return (start.boot_file or "", *options(start))


def _option(parameter: Hyperparameter) -> str | None:
    if parameter.value is None or parameter.value is UNSET:
        return None
    kind = parameter.constraint.type if parameter.constraint else "String"
    return argument(kind, parameter.value)
