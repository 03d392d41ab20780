"""The container that a job is run in on one machine, decided whole before an engine is asked for anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, PlanError
from launcher.core.frozen import Record
from launcher.core.handing import GIVEN, STORE, Given, command, variables
from launcher.core.layout import Layout
from launcher.core.lending import Asked, Gpus, Owned, lend
from launcher.core.urls import parse_location

if TYPE_CHECKING:
    from launcher.core.spec import Job, JobAlgorithm

LABEL = "modelarts-launcher.local"
"""On every container of ours; its value is who made it."""
NAMED = "modelarts-launcher.name"
"""Its name: an image that is made of it (`docker commit`) has all its labels, and containers of that are not ours."""
HOLDS = "modelarts-launcher.holds"
"""On one that would wait for ever if nobody told it to end."""
STOP_MORE_S = 10
"""Beyond its grace an engine that is told to stop the container waits so much longer before it kills."""
LONGEST_NAME = 40


class Wishes(Record, frozen=True, kw_only=True):
    """What the command line wants. `root` and `store` are absolute; `user` is `image`, `root`, UID or UID:GID.

    `folder` is where the container's folders lie while it is there, if no root says so.
    """

    image: str
    name: str
    shell: bool = False
    given: Given
    root: str | None = None
    folder: str
    user: str | None = None
    network: str | None = None
    grace: float = 25.0
    asked: Asked = Asked()


class Host(Record, frozen=True, kw_only=True):
    """Who asks, on what machine; `owner` tells one launcher from all others, for containers that nobody owns any more.

    `environ` is the caller's, of which only what is asked for is handed on.
    """

    uid: int
    gid: int
    owner: str
    owned: Owned
    environ: Mapping[str, str]


class Mount(Record, frozen=True, kw_only=True):
    """A place of the container; without a `source` on the host it is the container's own and goes with it."""

    target: str
    source: str | None = None
    read_only: bool = False


class Container(Record, frozen=True, kw_only=True):
    """A container as an engine is to make it: `argv` is its entrypoint, `files` are laid into it before it starts.

    `make` are the folders of the host that have to be there, and be `owner`'s, before; all lie below `top`.
    """

    image: str
    name: str
    argv: tuple[str, ...]
    variables: Mapping[str, str]
    files: Mapping[str, bytes]
    mounts: tuple[Mount, ...]
    top: str | None
    make: tuple[str, ...]
    owner: tuple[int, int] | None
    user: str | None
    network: str | None
    labels: Mapping[str, str]
    gpus: Gpus | None
    devices: tuple[str, ...]
    groups: tuple[int, ...]
    cpus: float | None
    memory_bytes: int | None
    shm_bytes: int | None
    confined: bool
    stop_s: int


class End(Record, frozen=True, kw_only=True):
    """How a container ended. `out_of_memory`: the kernel has killed something in it for its memory."""

    code: int
    out_of_memory: bool = False


class Decided(Record, frozen=True, kw_only=True):
    """The container, where its MA_MOUNT_PATH lies on the host (None: in the container alone), and what to be told."""

    container: Container
    mount: str | None
    warnings: tuple[str, ...] = ()


def container(job: Job, wishes: Wishes, host: Host) -> Decided:
    """Decide everything. Raises PlanError for what cannot be."""
    _one_node(job)
    _check_name(wishes.name)
    user, numbers = _user(wishes.user, host)
    loan = lend(job, wishes.asked, host.owned)
    top = wishes.root or (wishes.folder if _may_own(numbers, host) else None)
    places = _places(job, wishes.given)
    handed = variables(wishes.given, host.environ, network=wishes.network)
    made = Container(
        image=wishes.image,
        name=wishes.name,
        argv=command(wishes.given, shell=wishes.shell),
        variables={**_home(top, numbers), **handed.variables},
        files={f"{GIVEN}/{name}": content for name, content in wishes.given.files.items()},
        mounts=(*_mounts(places, top, wishes.given), *(_lent(path) for path in loan.driver)),
        top=top,
        make=(*(f"{top}{place}" for place in places), f"{top}{_CACHE}/home") if top else (),
        owner=numbers if host.uid == 0 and top else None,
        user=user,
        network=wishes.network,
        labels={LABEL: host.owner, NAMED: wishes.name, **({HOLDS: "yes"} if wishes.shell else {})},
        gpus=loan.gpus,
        devices=loan.devices,
        groups=loan.groups,
        cpus=loan.cpus,
        memory_bytes=loan.memory_bytes,
        shm_bytes=loan.shm_bytes or host.owned.memory_bytes // 2,
        confined=numbers is None or numbers[0] != 0,
        stop_s=int(wishes.grace) + STOP_MORE_S,
    )
    mount = f"{top}{_MOUNT}" if top else None
    return Decided(container=made, mount=mount, warnings=(*loan.warnings, *handed.warnings))


_LAYOUT = Layout()
_MOUNT, _CACHE = _LAYOUT.mount, _LAYOUT.cache
_BUNDLE = "/opt/launcher"


def container_name(job: Job, unique: str) -> str:
    """A name that a person recognises and no other container has."""
    words = re.sub(r"[^a-zA-Z0-9_.-]+", "-", job.metadata.name)[:LONGEST_NAME].strip("-.")
    return f"launcher-{words}-{unique}" if words else f"launcher-{unique}"


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name):
        raise PlanError(
            f"--name {name}: expected two or more of letters, digits, '_', '.' and '-', a letter or a digit first",
            code="usage",
            action="It is a container's name, as docker ps shows it; left out, one is made of the job's.",
            exit_code=Exit.USAGE,
        )


def _one_node(job: Job) -> None:
    resource = job.spec.resource if job.spec else None
    if resource is not None and (resource.node_count or 1) > 1:
        raise PlanError(
            f"spec.resource.node_count: the job has {resource.node_count} nodes, and a container is one",
            code="local-nodes",
            action="Try all of them here with `launcher run --rehearse`, or set node_count to 1 for a run in one.",
        )


def _user(text: str | None, host: Host) -> tuple[str | None, tuple[int, int] | None]:
    """What the engine is told (None: nothing, so it is the image's), and the numbers where they are known."""
    if text is None:
        return f"{host.uid}:{host.gid}", (host.uid, host.gid)
    if text == "image":
        return None, None
    if text == "root":
        return "0:0", (0, 0)
    found = re.fullmatch(r"([0-9]{1,10})(?::([0-9]{1,10}))?", text)
    if found is None or max(map(int, filter(None, found.groups()))) >= _HIGHEST_ID:
        raise PlanError(
            f"--user {text}: expected image, root, UID or UID:GID",
            code="usage",
            action="A name is known to the image alone: give its number, or make it the image's own and say image.",
            exit_code=Exit.USAGE,
        )
    uid, gid = int(found[1]), int(found[2] or found[1])
    return f"{uid}:{gid}", (uid, gid)


_HIGHEST_ID = 2**32 - 1


def _may_own(numbers: tuple[int, int] | None, host: Host) -> bool:
    """Whether the caller can make folders that are the container's user's, and take them away again."""
    return numbers is not None and (host.uid in (0, numbers[0]))


def _home(top: str | None, numbers: tuple[int, int] | None) -> dict[str, str]:
    """A home for who may have none in the image: where everybody may write, if not in a folder of its own."""
    if top is None and (numbers is None or numbers[0] == 0):
        return {}
    return {"HOME": f"{_CACHE}/home" if top else _CACHE, "USER": "ma-user", "LOGNAME": "ma-user"}


def _places(job: Job, given: Given) -> tuple[str, ...]:
    """Where a run writes: the layout's own folders, and those that the job names; none inside another."""
    algorithm = job.algorithm
    named = [each.local_dir for each in (*algorithm.inputs, *algorithm.outputs)] if algorithm else []
    own = [_LAYOUT.at(each) for each in named if each]
    own += _code(algorithm) if algorithm else []
    for each in own:
        _check_free(each, given)
    found = [_MOUNT, _CACHE, *own]
    tops = [each for each in found if not any(each.startswith(f"{other}/") for other in found)]
    return tuple(dict.fromkeys(tops))


def _code(algorithm: JobAlgorithm) -> list[str]:
    """The folder that the job names for code; of one around the layout's own only what the code itself is laid into.

    All of /home/ma-user would hide what the image has there, its Python for one.
    """
    if not algorithm.local_code_dir:
        return []
    parent = _LAYOUT.at(algorithm.local_code_dir)
    if not f"{_MOUNT}/".startswith(f"{parent}/"):
        return [parent]
    code = algorithm.code_dir
    return [f"{parent}/{parse_location(code).folder.name}"] if code and not code.startswith("file:") else []


def _check_free(place: str, given: Given) -> None:
    """Refuse a folder that would hide what the run inside needs, or be hidden by it."""
    taken = {_BUNDLE: "the launcher", GIVEN: "the job's documents", **({STORE: "the store"} if given.folder else {})}
    for each, what in taken.items():
        if f"{place}/".startswith(f"{each}/") or f"{each}/".startswith(f"{place}/"):
            raise PlanError(
                f"the job's folder {place} cannot be given to the container: {what} lies at {each} there",
                code="local-folder",
                action="Choose another local_dir or local_code_dir, such as one below /home or /cache.",
            )


def _mounts(places: tuple[str, ...], top: str | None, given: Given) -> tuple[Mount, ...]:
    own = tuple(Mount(target=each, source=f"{top}{each}" if top else None) for each in places)
    return own if given.folder is None else (*own, Mount(target=STORE, source=given.folder))


def _lent(path: str) -> Mount:
    return Mount(target=path, source=path, read_only=True)
