"""The options that `run` and `preview` share, as one decorator and one value."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, TypeVar

import click

from launcher.core.complete import Overrides
from launcher.core.frozen import Record
from launcher.core.settings import MOST_GRACE
from launcher.core.topology import MOST_NODES, Flags
from launcher.core.urls import parse_location

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


class Request(Record, frozen=True, kw_only=True):
    """What the command line asks for. `grace` in seconds, None where the setting decides; `secrets` came by `@env:`.

    `rehearse`: this is a rehearsal, or one node of it; `fake_devices` are checked, as `GPU:8`. `resume_from` is the URL
    of a folder or an object.
    """

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
    rehearse: bool = False
    fake_devices: str | None = None
    rehearse_nodes: int | None = None
    resume_from: str | None = None


_OPTIONS = {
    "job": click.argument("job", required=False),
    "algorithm": click.option("--algorithm", metavar="FILE|DIR|URL", help="Algorithm body, or a folder of them."),
    "store": click.option(
        "--store", metavar="URL|DIR", help="Where obs:// lives: an endpoint, or a directory of buckets."
    ),
    "root": click.option("--root", metavar="DIR", default="/", help="Stands for / of the container's layout."),
    "values": click.option(
        "--set", "values", metavar="NAME=VALUE", multiple=True, help="Hyperparameter (or NAME=@env:VAR)."
    ),
    "variables": click.option(
        "--env", "variables", metavar="NAME=VALUE", multiple=True, help="Variable of the boot file."
    ),
    "datasets": click.option(
        "--dataset", "datasets", metavar="ID/VERSION=URL", multiple=True, help="Where a dataset lies."
    ),
    "grace": click.option("--grace", type=float, help="Seconds from SIGTERM to the end [default: 25]."),
    "report": click.option("--report", metavar="FILE", help="A second copy of run.json."),
    "nodes": click.option("--nodes", type=click.IntRange(1, MOST_NODES), metavar="N", help="Nodes of the job."),
    "node_index": click.option(
        "--node-index", type=click.IntRange(0, MOST_NODES - 1), metavar="I", help="Which of them this is, from 0."
    ),
    "master": click.option("--master", metavar="HOST[:PORT]", help="Worker-0, and the port of the training there."),
    "precheck": click.option(
        "--precheck/--no-precheck", default=None, help="Check this node first [default: with retries]."
    ),
    "platform_args": click.option(
        "--platform-args/--no-platform-args",
        default=True,
        help="Pass --init_method, --rank and such to boot files of several nodes [default: yes].",
    ),
    "resume_from": click.option(
        "--resume-from", metavar="URL", help="Fill the first output from there before the start: a folder, or a file."
    ),
    "rehearse": click.option("--rehearse", is_flag=True, help="Try the whole cluster run here, without its hardware."),
    "fake_devices": click.option(
        "--fake-devices", metavar="TYPE:N", help="Made-up devices of a rehearsal: GPU:8, Ascend:8."
    ),
    "rehearse_nodes": click.option(
        "--rehearse-nodes", type=click.IntRange(1), metavar="N", help="Its nodes [default: those of the job]."
    ),
}
"""JOB and the options around it, by the names under which `request` takes them."""


def declared(*names: str) -> Callable[[F], F]:
    """Those of these names, as one decorator; the function gets them as keywords for `request`."""

    def declare(function: F) -> F:
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return declare


job_options = declared(*_OPTIONS)
"""All of them."""


def request(environ: dict[str, str], options: dict[str, Any]) -> Request:
    """The command line as a value; an option that a command does not have is as if it were not given.

    Raises click.UsageError, which shows no value: it may be a secret.
    """
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
    for name in ("root", "store", "algorithm", "report", "master", "resume_from"):
        if options.get(name) == "":
            raise click.UsageError(f"--{name.replace('_', '-')}: the value is empty; was a shell variable not set?")
    if options.get("resume_from"):
        options["resume_from"] = _place(options["resume_from"])
    grace = options.get("grace")
    if grace is not None and not 0 <= grace <= MOST_GRACE:  # a NaN is in no range
        raise click.UsageError(f"--grace {grace:g}: expected seconds from 0 to {MOST_GRACE:g}.")
    if any(options.get(name) not in (None, False) for name in ("rehearse", "fake_devices", "rehearse_nodes")):
        from launcher.cli.rehearse import check

        check(options)
    if options.get("report") and os.path.isdir(options["report"]):
        raise click.UsageError(f"--report {options['report']}: expected a file, found a folder.")


def _place(text: str) -> str:
    """A place in the store, in the one spelling that is told."""
    try:
        return parse_location(text).url
    except ValueError:
        raise click.UsageError(
            "--resume-from: expected the URL of a folder or of an object, obs://bucket/folder/."
        ) from None


def _dataset(text: str) -> tuple[str, str]:
    name, url = _pair(text, "--dataset", "ID/VERSION=URL")
    if "/" not in name:
        raise click.UsageError("--dataset: expected ID/VERSION=URL.")
    return name, url


def _pair(text: str, option: str, form: str = "NAME=VALUE") -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise click.UsageError(f"{option}: expected {form}.")
    return name, value


def _value(text: str, environ: dict[str, str]) -> tuple[str, str]:
    name, value = _pair(text, "--set")
    if not value.startswith("@env:"):
        return name, value
    variable = value.removeprefix("@env:")
    if variable not in environ:
        # where a shell has put the value in the name's place, it is not shown
        which = variable if re.fullmatch(r"[A-Z_]{1,64}", variable) else "of that name"
        raise click.UsageError(f"--set {name}: the launcher's environment has no variable {which}.")
    return name, environ[variable]
