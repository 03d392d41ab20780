"""What a Docker engine answers when it does not do what it was asked, as our own errors."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from launcher.core.errors import Exit, LauncherError

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

_OVERLAY = "Build the launcher into it: images/overlay.Dockerfile adds it to any image."
_CHECK = "Look into the engine's own log, and at `docker info`."
_TABLE: tuple[tuple[str, str, str, str, Exit], ...] = (
    (
        r'exec: \\?"launcher\\?".*(not found|no such file)|stat launcher: no such file',
        "image-without-launcher",
        "the image has no `launcher` on its PATH",
        _OVERLAY,
        Exit.MISSING,
    ),
    (
        r"no such image|pull access denied|manifest unknown|repository .*not found",
        "image-missing",
        "there is no such image",
        "Check its name; build or load it, or let --pull missing fetch it.",
        Exit.MISSING,
    ),
    (
        r"name .* is already in use",
        "container-exists",
        "another container has this name",
        "Choose another --name, or remove that one by `docker rm`.",
        Exit.NODE,
    ),
    (
        r"could not select device driver|nvidia-container-cli|unknown runtime",
        "devices-missing",
        "the engine can lend no GPUs",
        "Install the NVIDIA container toolkit for it, or run with --gpus none.",
        Exit.NODE,
    ),
    (
        r"network .*not found|no such network",
        "network-missing",
        "the engine has no such network",
        "Make it by `docker network create`, or name another one by --network.",
        Exit.NODE,
    ),
    (
        r"bind source path does not exist|error while creating mount source path|not a directory",
        "mount-missing",
        "the engine does not find a folder that is to be mounted",
        "Does it run on this machine, and does it see this folder? Choose a --store and a --root that it does.",
        Exit.MISSING,
    ),
    (
        r"no space left on device",
        "engine-full",
        "the engine has no room left",
        "Make some by `docker system prune`.",
        Exit.NODE,
    ),
)


def fault(said: str, wanted: str) -> LauncherError:
    """What the engine said, when it was to do what is `wanted`."""
    line = " ".join(said.split())[:600]
    for pattern, code, message, action, exit_code in _TABLE:
        if re.search(pattern, line, re.IGNORECASE):
            return LauncherError(f"{wanted}: {message} ({line})", code=code, action=action, exit_code=exit_code)
    return LauncherError(f"{wanted}: {line}", code="engine-refused", action=_CHECK, exit_code=Exit.NODE)


def lost(said: object) -> LauncherError:
    """The engine does not answer any more."""
    return LauncherError(
        f"the Docker engine went away ({' '.join(str(said).split())[:300]})",
        code="engine-lost",
        action="Start it again and look by `docker ps` whether the container still runs: it goes on by itself, and "
        "puts its outputs in place.",
        exit_code=Exit.NODE,
    )


def odd(found: object, wanted: str) -> LauncherError:
    """Something else than an engine speaks there, or a broken one."""
    return LauncherError(
        f"{wanted}: {' '.join(repr(found).split())[:200]} came, which is no answer of a Docker engine",
        code="engine-refused",
        action=_CHECK,
        exit_code=Exit.NODE,
    )


def answered(found: object, kind: type[T], wanted: str) -> T:
    """What the engine answered, which is of this kind. Raises LauncherError."""
    if not isinstance(found, kind):
        raise odd(found, wanted)
    return found


def unreachable(path: str, error: OSError) -> LauncherError:
    """Nobody answers at the engine's socket, or not to us."""
    if isinstance(error, PermissionError):
        return LauncherError(
            f"no permission to speak with the Docker engine at {path}",
            code="engine-permission",
            action="Have this user added to the socket's group (often `docker`), and log in again.",
            exit_code=Exit.REFUSED,
        )
    if isinstance(error, TimeoutError):
        return LauncherError(
            f"the Docker engine at {path} does not answer: {error.strerror or error}",
            code="engine-silent",
            action="See by `docker version` whether it only starts, and start it again if not.",
            exit_code=Exit.NODE,
        )
    return LauncherError(
        f"no Docker engine answers at {path}: {error.strerror or error}",
        code="engine-missing",
        action='Install and start one (in a clone `eval "$(images/engine up)"`), or name its socket by DOCKER_HOST.',
        exit_code=Exit.NODE,
    )


@contextmanager
def told(wanted: str) -> Iterator[None]:
    """Turn what the SDK raises into our errors."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise fault(str(error.explanation or error), wanted) from error
    except DockerException as error:
        raise fault(str(error), wanted) from error
    except (RequestException, OSError) as error:
        raise lost(error) from error
