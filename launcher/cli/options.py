"""The options that `run` and `preview` share, as one decorator and one value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher.core.complete import Overrides
from launcher.core.frozen import Record
from launcher.core.settings import MOST_GRACE
from launcher.core.topology import MOST_NODES, Flags

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


class Request(Record, frozen=True, kw_only=True):
    """What the command line asks for. `grace` in seconds, None where the setting decides; `secrets` came by `@env:`."""

    job: str | None = None
    algorithm: str | None = None
    store: str | None = None
    root: str = "/"
    overrides: Overrides = Overrides()
    grace: float | None = None
    report: str | None = None
    secrets: tuple[str, ...] = ()
    flags: Flags = Flags()
    precheck: bool | None = None
    platform_args: bool = True


def job_options(function: F) -> F:
    """JOB and the options around it; the function gets them as keywords for `request`."""
    decorators = (
        click.argument("job", required=False),
        click.option("--algorithm", metavar="FILE|DIR|URL", help="Algorithm body, or a folder of them."),
        click.option("--store", metavar="URL|DIR", help="Where obs:// lives: an endpoint, or a directory of buckets."),
        click.option("--root", metavar="DIR", default="/", help="Stands for / of the container's layout."),
        click.option("--set", "values", metavar="NAME=VALUE", multiple=True, help="Hyperparameter (or NAME=@env:VAR)."),
        click.option("--env", "variables", metavar="NAME=VALUE", multiple=True, help="Variable of the boot file."),
        click.option("--dataset", "datasets", metavar="ID/VERSION=URL", multiple=True, help="Where a dataset lies."),
        click.option("--grace", type=float, help="Seconds from SIGTERM to the end [default: 25]."),
        click.option("--report", metavar="FILE", help="A second copy of run.json."),
        click.option("--nodes", type=click.IntRange(1, MOST_NODES), metavar="N", help="Nodes of the job."),
        click.option(
            "--node-index", type=click.IntRange(0, MOST_NODES - 1), metavar="I", help="Which of them this is, from 0."
        ),
        click.option("--master", metavar="HOST[:PORT]", help="Worker-0, and the port of the training there."),
        click.option("--precheck/--no-precheck", default=None, help="Check this node first [default: with retries]."),
        click.option(
            "--platform-args/--no-platform-args",
            default=True,
            help="Pass --init_method, --rank and such to boot files of several nodes [default: yes].",
        ),
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def request(environ: dict[str, str], options: dict[str, Any]) -> Request:
    """The command line as a value. Raises click.UsageError."""
    given = options.pop("values")
    values = tuple(_value(pair, environ) for pair in given)
    secrets = tuple(value for pair, (_, value) in zip(given, values, strict=True) if "=@env:" in pair)
    _check(options)
    overrides = Overrides(
        values=values,
        variables=tuple(_pair(pair, "--env") for pair in options.pop("variables")),
        datasets=tuple(_dataset(pair) for pair in options.pop("datasets")),
    )
    flags = Flags(**{name: options.pop(option, None) for name, option in _FLAGS})
    return Request(overrides=overrides, secrets=secrets, flags=flags, **options)


_FLAGS = (("nodes", "nodes"), ("index", "node_index"), ("master", "master"))


def _check(options: dict[str, Any]) -> None:
    for name in ("root", "store", "algorithm", "report", "master"):
        if options.get(name) == "":
            raise click.UsageError(f"--{name}: the value is empty; was a shell variable not set?")
    grace = options["grace"]
    if grace is not None and not 0 <= grace <= MOST_GRACE:  # a NaN is in no range
        raise click.UsageError(f"--grace {grace:g}: expected seconds from 0 to {MOST_GRACE:g}.")
    if options["report"] and os.path.isdir(options["report"]):
        raise click.UsageError(f"--report {options['report']}: expected a file, found a folder.")


def _dataset(text: str) -> tuple[str, str]:
    name, url = _pair(text, "--dataset", "ID/VERSION=URL")
    if "/" not in name:
        raise click.UsageError(f"--dataset {text!r}: expected ID/VERSION=URL.")
    return name, url


def _pair(text: str, option: str, form: str = "NAME=VALUE") -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise click.UsageError(f"{option} {text!r}: expected {form}.")
    return name, value


def _value(text: str, environ: dict[str, str]) -> tuple[str, str]:
    name, value = _pair(text, "--set")
    if not value.startswith("@env:"):
        return name, value
    variable = value.removeprefix("@env:")
    if variable not in environ:
        raise click.UsageError(f"--set {text}: the launcher's environment has no variable {variable!r}.")
    return name, environ[variable]
