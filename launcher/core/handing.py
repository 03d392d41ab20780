"""What a launcher hands to the one in a container: its command line, the documents, and variables by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from launcher.core.errors import Exit, PlanError
from launcher.core.frozen import Record
from launcher.core.redact import is_secret, mask

GIVEN = "/.launcher"
"""The folder of the container in which the job's documents lie."""
STORE = "/store"
"""Where a store that is a directory lies in the container."""
_REFERENCE = "LAUNCHER_LOCAL_"
"""How the names of variables begin that hold a secret of the command line; no boot process gets them."""
_STORES_OWN = re.compile(
    r"S3_[A-Z0-9_]+|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|REGION|DEFAULT_REGION)"
    r"|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SECURITY_TOKEN|(http|https|no)_proxy|(HTTP|HTTPS|NO)_PROXY"
)
_OF_THIS_MACHINE = frozenset(
    f"LAUNCHER_{name}" for name in ("JOB", "ALGORITHMS", "CACHE", "CA_BUNDLE", "PARENT", "STAGED", "TERMINATION_LOG")
)
"""Settings that name a file, a folder or a process of this machine."""
_LOCALHOST = re.compile(r"(?:https?://)?(localhost|127(?:\.[0-9]+){3}|\[::1\])(?=[:/]|$)", re.IGNORECASE)


class Given(Record, frozen=True, kw_only=True):
    """What the command line gave for the run inside. Pairs are NAME and VALUE as they were written.

    `files` are documents by their names below `GIVEN`; `job`, `algorithm` and `bundle` are such names, or a URL.
    `folder` is the store where it is a directory of this machine, `endpoint` where it is a server.
    """

    files: Mapping[str, bytes]
    job: str
    algorithm: str | None = None
    bundle: str | None = None
    folder: str | None = None
    endpoint: str | None = None
    named: bool = False
    """Whether the command line names the endpoint."""
    values: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    datasets: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()
    """The names of the variables that the job sets itself."""


class Handed(Record, frozen=True, kw_only=True):
    """The variables of the container, and what somebody should know about them."""

    variables: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def command(given: Given, *, shell: bool) -> tuple[str, ...]:
    """The command line of the launcher in the container. No secret stands in it: each is a variable's name."""
    store = STORE if given.folder is not None else given.endpoint if given.named else None
    values = [f"{name}={_by_reference(index, name, value)}" for index, (name, value) in enumerate(given.values)]
    open_ones = [f"{name}={value}" for name, value in dict(given.environment).items() if not _is_hidden(name, value)]
    return (
        *("launcher", "run", f"{GIVEN}/{given.job}"),
        *(("--algorithm", _placed(given.algorithm)) if given.algorithm else ()),
        *(("--store", store) if store else ()),
        *(each for value in values for each in ("--set", value)),
        *(each for value in open_ones for each in ("--env", value)),
        *(each for name, url in given.datasets for each in ("--dataset", f"{name}={url}")),
        *given.options,
        *(("--hold",) if shell else ()),
    )


def variables(given: Given, environ: Mapping[str, str], *, network: str | None) -> Handed:
    """What the container's environment holds: the launcher's settings, the store's keys, and what is given by name."""
    _check_endpoint(given, network)
    found = {name: value for name, value in environ.items() if _is_handed(name, given)}
    if given.bundle is not None:
        found["LAUNCHER_CA_BUNDLE"] = f"{GIVEN}/{given.bundle}"
    for index, (name, value) in enumerate(given.values):
        if value.startswith("@env:"):
            # not by its own name: the container has a PATH and a HOME of its own
            found[f"{_REFERENCE}{index}"] = environ[value.removeprefix("@env:")]
        elif _is_hidden(name, value):
            found[f"{_REFERENCE}{index}"] = value
    hidden = {name: value for name, value in dict(given.environment).items() if _is_hidden(name, value)}
    for name, value in hidden.items():
        _check_free(name, value, found, given)
    return Handed(variables={**found, **hidden}, warnings=_without_keys(given, found))


def _is_handed(name: str, given: Given) -> bool:
    if name.startswith("LAUNCHER_"):
        return name not in _OF_THIS_MACHINE
    return given.endpoint is not None and bool(_STORES_OWN.fullmatch(name))


def _by_reference(index: int, name: str, value: str) -> str:
    return f"@env:{_REFERENCE}{index}" if value.startswith("@env:") or _is_hidden(name, value) else value


def _is_hidden(name: str, value: str) -> bool:
    """Whether a value may stand on no command line: a secret by its name, or a URL with a password in it."""
    return is_secret(name, value) or mask(value, ()) != value


def _placed(name: str) -> str:
    return name if "://" in name else f"{GIVEN}/{name}"


def _check_endpoint(given: Given, network: str | None) -> None:
    found = _LOCALHOST.match(given.endpoint or "")
    if found and network != "host":
        raise PlanError(
            f"the store is at {found[1]}, which in a container is the container itself",
            code="store-unknown",
            action="Add --network host, or name the store by an address that is reached from other machines.",
            exit_code=Exit.USAGE,
        )


def _check_free(name: str, value: str, found: Mapping[str, str], given: Given) -> None:
    if name in given.fixed:
        raise PlanError(
            f"--env {name}: the job sets it too, and would win, for a secret is a variable of the whole container",
            code="usage",
            action="Take it out of the job's environments.",
            exit_code=Exit.USAGE,
        )
    if found.get(name, value) != value:
        raise PlanError(
            f"--env {name}: the launcher in the container needs a variable of that name, with another value",
            code="usage",
            action="Set it in the job's environments instead.",
            exit_code=Exit.USAGE,
        )


def _without_keys(given: Given, found: Mapping[str, str]) -> tuple[str, ...]:
    if given.endpoint is None or {"AWS_ACCESS_KEY_ID", "ACCESS_KEY_ID"} & found.keys():
        return ()
    found_none = "no keys of the store are in the environment, and files such as ~/.aws are not in the container"
    return (f"{found_none}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if the store wants keys",)
