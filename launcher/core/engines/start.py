"""What an engine starts boot processes from, and what it answers: values that every engine shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET

from launcher.core.facts import Facts
from launcher.core.frozen import Record
from launcher.core.layout import Layout
from launcher.core.plan import Document, Input, JobName, Output
from launcher.core.spec import Hyperparameter, JobAlgorithm
from launcher.core.values import argument

if TYPE_CHECKING:
    from collections.abc import Collection


class Start(Record, frozen=True, kw_only=True):
    """What an engine's processes are made from; `interpreter` and `shell` are programs, `boot_file` a local path.

    `user` is the job's own environment, which wins over all; `cards` the accelerators that the node may use (0: it
    trains on its processors), None where only a cluster can tell. `variables` is all that a boot process will find in
    its environment before an engine adds to it.
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
    variables: Mapping[str, str] = {}

    @property
    def said(self) -> Mapping[str, str]:
        """The environment as a boot process would see it, less what the launcher promises: the job's over our own."""
        return {**self.facts.environ, **self.user}


class Launch(Record, frozen=True, kw_only=True):
    """One boot process as an engine wants it.

    `env` is laid over the promised variables, the job's own over both, but for those in `fixed`: what a process is
    among others is not the job's to say. `cwd` None is the job's own working directory; `log` asks for a log file of
    that name in the log folder, where a node has several processes.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    rank: int = 0
    local_rank: int = 0
    cwd: str | None = None
    log: str | None = None
    fixed: frozenset[str] = frozenset()


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


def options(start: Start, without: Collection[str] = ()) -> tuple[str, ...]:
    """The boot file's arguments: inputs, outputs, hyperparameters, each in the order of the job."""
    by_variable = {
        each.name for each in (*start.algorithm.inputs, *start.algorithm.outputs) if each.access_method == "env"
    }
    channels = [(each.name, each.path) for each in (*start.inputs, *start.outputs) if each.name not in by_variable]
    parameters = [(each.name, value) for each in start.algorithm.parameters if (value := _value(each)) is not None]
    return tuple(f"--{name}={value}" for name, value in (*channels, *parameters) if name not in without)


def boot(start: Start, platform: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The boot file and its arguments, without an interpreter; the platform's own last, and each name once."""
    own = platform or {}
    return (start.boot_file or "", *options(start, own), *(f"--{name}={value}" for name, value in own.items()))


def replaced(start: Start, platform: Mapping[str, str]) -> tuple[str, ...]:
    """The warnings about arguments of the job in whose place the platform's own of that name are passed."""
    given = [token[2:].partition("=")[0] for token in options(start)]
    return tuple(
        f"--{name} is the platform's own argument on more than one node: --{name}={platform[name]} is passed in place "
        "of the job's; --no-platform-args keeps the job's"
        for name in dict.fromkeys(given)
        if name in platform
    )


def _value(parameter: Hyperparameter) -> str | None:
    if parameter.value is None or parameter.value is UNSET:
        return None
    kind = parameter.constraint.type if parameter.constraint else "String"
    return argument(kind, parameter.value)
