"""A Docker engine on this machine, by its SDK."""

from __future__ import annotations

import logging
import os
import time
from functools import cached_property, partial
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

from launcher.adapters.docker.faults import answered, told
from launcher.adapters.docker.knock import FIRST_S, api_version
from launcher.adapters.docker.request import archive, host_config
from launcher.adapters.docker.streams import Connection, beside
from launcher.adapters.docker.watch import Watch
from launcher.core.errors import Exit, LauncherError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from launcher.core.container import Container, End
    from launcher.protocols import Session, Sinks

__all__ = ["FIRST_S", "DockerEngine", "socket_of"]

SOCKET = "/var/run/docker.sock"
_SECONDS = 60
"""For one answer; what takes longer by its nature is not limited."""
_GONE = (404, 409)

_log = logging.getLogger(__name__)


class DockerEngine:
    """The engine behind one socket. Raises LauncherError."""

    def __init__(self, path: str) -> None:
        version = api_version(path)
        try:
            from docker.api import APIClient
        except ImportError as error:
            raise LauncherError(
                "this launcher was built without what speaks with Docker, as those inside images are",
                code="engine-missing",
                action="Install it on the machine itself, by pip, and run `launcher local` there.",
                exit_code=Exit.NODE,
            ) from error
        with told(f"the Docker engine at {path}"):
            self._client: Any = APIClient(base_url=f"unix://{path}", version=version, timeout=_SECONDS)
        self._client.trust_env = False  # a proxy of the environment is none for a socket

    def size(self) -> tuple[float, int]:
        """How many processors and bytes of memory it has to give."""
        wanted = "the Docker engine's own description"
        cpus, memory = self._own.get("NCPU") or 1, self._own.get("MemTotal") or 0
        return float(answered(cpus, int, wanted)), answered(memory, int, wanted)

    def identity(self) -> str:
        """What tells it from another engine, by whatever socket it is spoken with."""
        return str(self._own.get("ID") or "").replace("\n", " ")

    @cached_property
    def _own(self) -> Mapping[str, Any]:
        with told("the Docker engine's own description"):
            return answered(self._client.info(), dict, "the Docker engine's own description")

    def has(self, image: str) -> bool:
        """Whether the image is there."""
        from docker.errors import NotFound

        with told(f"the image {image}"):
            try:
                self._client.inspect_image(image)
            except NotFound:
                return False
        return True

    def pull(self, image: str) -> None:
        """Bring the image from its registry, however long it takes."""
        from docker.utils import parse_repository_tag

        name, tag = parse_repository_tag(image)
        said = ""
        try:
            with told(f"the image {image}"):
                lines = self._client.pull(name, tag=tag or "latest", stream=True, decode=True)
                said = next((str(line["error"]) for line in lines if "error" in answered(line, dict, "a pull")), "")
        except LauncherError as error:
            raise _not_pulled(str(error)) from error
        if said:
            raise _not_pulled(f"the image {image}: {said}")

    def ours(self, label: str) -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
        """Every container with a label: its id, name, state, and its labels."""
        wanted = "the list of containers"
        with told(wanted):
            found = answered(self._client.containers(all=True, filters={"label": label}), list, wanted)
        for each in found:
            one = answered(each, dict, wanted)
            names, labels = answered(one.get("Names") or ["/"], list, wanted), one.get("Labels") or {}
            name, own = answered(names[0], str, wanted), answered(labels, dict, wanted)
            yield answered(one.get("Id"), str, wanted), name.removeprefix("/"), str(one.get("State")), own

    def make(self, wanted: Container) -> str:
        """Make a container with its files in it; its id."""
        with told(f"the container {wanted.name} of {wanted.image}"):
            made = self._client.create_container(
                wanted.image,
                name=wanted.name,
                entrypoint=list(wanted.argv),
                command=[],
                environment=dict(wanted.variables),
                user=wanted.user,
                labels=dict(wanted.labels),
                stop_timeout=wanted.stop_s,
                volumes=[each.target for each in wanted.mounts if each.source is None],
                host_config=host_config(self._client, wanted),
            )
            container = _id(made, f"the container {wanted.name}")
        try:
            with told(f"the job's documents in {wanted.name}"):
                self._client.put_archive(container, "/", archive(wanted.files))
        except BaseException:
            self.remove(container)
            raise
        return container

    def start(self, container: str, sinks: Sinks, woken: Callable[[], object]) -> Callable[[], End | None]:
        """Start it, every byte that it says to come; tells its end once there is one and all is said."""
        with told("the container's streams"):
            raw = self._client.attach_socket(container, params={"stdout": 1, "stderr": 1, "stream": 1})
            # a second back, for who listens is known to the engine only a moment after its answer
            events = self._client.events(
                since=int(time.time()) - 1,
                filters={"container": [container], "event": ["oom", "die"]},
                decode=True,
            )
        watch = Watch(events, Connection(raw), sinks, woken)
        with told("the container's start"):
            self._client.start(container)
        return watch.end

    def signal(self, container: str, number: int) -> None:
        """Send a signal to its first process; one that has ended is left alone.

        An engine answers only when what an ended container has said is read: whoever may be the cause cannot wait.
        """
        beside("container-signal", partial(self._signal, container, number))

    def stop(self, container: str) -> None:
        """Tell it to end, and know that it was told."""
        self._gone_is_well(partial(self._client.kill, container, SIGTERM))

    def _signal(self, container: str, number: int) -> None:
        try:
            self._gone_is_well(partial(self._client.kill, container, number))
        except LauncherError as error:
            _log.warning("a signal did not reach the container: %s", error)

    def enter(
        self,
        container: str,
        argv: Sequence[str],
        size: tuple[int, int] | None,
        sinks: Sinks,
        woken: Callable[[], object],
    ) -> Session:
        """Run a program in it that reads our standard input, at a terminal of this size or at none."""
        from launcher.adapters.docker.session import DockerSession

        return DockerSession(self._client, self._begun(container, argv, size), size, sinks, woken)

    def _begun(self, container: str, argv: Sequence[str], size: tuple[int, int] | None) -> str:
        """A program that is made, and not started yet; its id."""
        # a terminal type that every terminfo has: the caller's own may be unknown in the image
        own = {"TERM": "xterm-256color"} if size else None
        with told("a shell in the container"):
            made = self._client.exec_create(container, list(argv), stdin=True, tty=size is not None, environment=own)
        return _id(made, "a shell in the container")

    def remove(self, container: str) -> None:
        """Take it away with all that is its own, running or not; one that is gone is no error."""
        self._gone_is_well(partial(self._client.remove_container, container, v=True, force=True))
        # the engine takes it away by itself as well, and says so to who asks before it has
        self._gone_is_well(partial(self._client.wait, container, timeout=_SECONDS, condition="removed"))

    def _gone_is_well(self, call: Callable[[], object]) -> None:
        from docker.errors import APIError

        with told("a container of this launcher"):
            try:
                call()
            except APIError as error:
                if error.status_code not in _GONE:
                    raise


def _id(made: object, wanted: str) -> str:
    """The id of what the engine has made."""
    return answered(answered(made, dict, wanted).get("Id"), str, wanted)


def socket_of(environ: Mapping[str, str]) -> str:
    """The engine's socket on this machine. Raises LauncherError for an engine elsewhere."""
    named = environ.get("DOCKER_HOST", "")
    if named:
        scheme, _, path = named.partition("://")
        if scheme != "unix" or not path.startswith("/"):
            raise LauncherError(
                f"DOCKER_HOST is {named}: that engine may be on another machine, whose folders are not these",
                code="engine-elsewhere",
                action="Run `launcher local` where the engine is, or unset DOCKER_HOST to use this machine's.",
                exit_code=Exit.NODE,
            )
        return path
    own = f"{environ.get('XDG_RUNTIME_DIR', '')}/docker.sock"
    return own if not os.path.exists(SOCKET) and os.path.exists(own) else SOCKET


def _not_pulled(said: str) -> LauncherError:
    return LauncherError(
        f"{said.rstrip('.')} (it is not on this machine, or is to be fetched again)",
        code="image-missing",
        action="Check its name and that its registry can be reached (`docker login`); or load it and use --pull never.",
        exit_code=Exit.MISSING,
    )
