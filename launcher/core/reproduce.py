"""By what a run can be made again, as one value: `reproduce` of run.json. What is not known is None, and said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from launcher.core.listed import Listed
from launcher.core.redact import is_secret, mask
from launcher.core.spec import JobAlgorithm

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Iterable, Sequence

    from launcher.core.devices import Devices
    from launcher.core.origin import Origin
    from launcher.core.plan import Plan
    from launcher.core.spec import Job

NAMED_CODE = 256
"""Files of the code that are remembered by themselves, if it has no more."""
HASHSEED = "PYTHONHASHSEED"
_SEED = re.compile(r"(?:^|[._-])(?:[a-z]*seeds?|random_?state)(?:$|[._-])", re.IGNORECASE)


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """Names whose values are secrets and are not recorded: hyperparameters and variables."""

    set: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


class Git(msgspec.Struct, frozen=True, kw_only=True):
    """What the code's own .git says.

    `dirty`: tracked files differ from the commit; None: that cannot be told without git.
    """

    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    note: str | None = None


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """The code directory as it was when the training began.

    `tree` is `tree_digest` of all its files, None where they could not be summed up in peace: those that were written
    to since are `changed`. `listed` is the digest of its listing, None for code that was on the node already. `hashes`
    are those of each file, where there are few.
    """

    source: str
    files: int
    bytes: int
    listed: str | None = None
    tree: str | None = None
    hashes: Mapping[str, str] = {}
    changed: tuple[str, ...] = ()
    git: Git | None = None


class Source(Listed, frozen=True, kw_only=True):
    """What an input brought, or an output that was predownloaded.

    `hashes` are the SHA-256 of what was brought, where that is small and the store's marks are no checksums.
    """

    hashes: Mapping[str, str] = {}


class Packages(msgspec.Struct, frozen=True, kw_only=True):
    """What the boot file's interpreter could load, and when it was asked: as the training began, or when it had ended.

    `left_out` are so many for which the answer had no room.
    """

    python: str
    versions: Mapping[str, str]
    left_out: int = 0
    asked: Literal["begin", "end"] = "begin"


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """The image that the job names; its digest where the name holds it, for a container is not told its own."""

    url: str | None = None
    digest: str | None = None


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """The node's devices by their kind."""

    type: str
    count: int | None
    names: tuple[str, ...] = ()
    driver: str | None = None
    runtime: str | None = None
    cpus: float = 1.0
    memory_bytes: int | None = None


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """This node among those of the job, and its boot processes."""

    index: int
    count: int
    role: str = "worker"
    processes: int = 1


class Reproduce(msgspec.Struct, frozen=True, kw_only=True):
    """The whole record. `job` is the completed job without its secrets. `finished`: nothing more was looked up.

    `staged` is the root of the search that had brought what a trial needed: its code and inputs lie below that.
    """

    version: Literal[1] = 1
    launcher: str
    root: str
    staged: str | None = None
    engine: str
    engine_version: str | None = None
    node: Nodes
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = {}
    hidden: Hidden = Hidden()
    seeds: Mapping[str, str] = {}
    job: Mapping[str, Any] | None = None
    code: Code | None = None
    inputs: tuple[Source, ...] = ()
    interpreter: str | None = None
    packages: Packages | None = None
    image: Image | None = None
    devices: Hardware
    kernel: str | None = None
    limits: Mapping[str, int | None] = {}
    notes: tuple[str, ...] = ()
    finished: bool = False


def of_plan(plan: Plan, launcher: str) -> Reproduce:
    """What the plan alone says. Nothing in it is masked yet."""
    first = plan.processes[0]
    commanded = plan.engine == "command"
    return Reproduce(
        launcher=launcher,
        root=plan.root,
        staged=plan.staged,
        engine=plan.engine,
        engine_version=first.env.get("MA_ENGINE_VERSION"),
        node=Nodes(index=plan.node.index, count=plan.node.count, role=plan.node.role, processes=len(plan.processes)),
        argv=first.argv,
        cwd=first.cwd,
        interpreter=None if commanded else plan.interpreter,
        devices=_hardware(plan.devices),
        notes=("a command decides itself what it starts: its packages are not known",) if commanded else (),
    )


def of_origin(record: Reproduce, origin: Origin, document: Mapping[str, Any], hidden: Hidden) -> Reproduce:
    """The same with what the command line knows; `document` is the job's, without what is `hidden`."""
    algorithm = origin.job.algorithm or JobAlgorithm()
    image = algorithm.engine.image_url if algorithm.engine else None
    return replace(
        record,
        job=document,
        hidden=hidden,
        env={name: value for name, value in (algorithm.environments or {}).items() if name not in hidden.env},
        seeds=_seeds(origin, algorithm, hidden),
        image=Image(url=image, digest=digest_of(image)) if image else None,
        kernel=origin.kernel,
        limits=origin.limits,
    )


def digest_of(image: str) -> str | None:
    """The digest by which an image's name pins it."""
    found = re.search(r"@(sha256:[0-9a-f]{64})\Z", image)
    return found[1] if found else None


def hide(job: Job, secrets: Sequence[str]) -> tuple[Job, Hidden]:
    """A job without the values that may not be written down, and the names of these."""
    algorithm = job.algorithm or JobAlgorithm()
    variables = algorithm.environments or {}

    def secret(name: str, value: object) -> bool:
        return isinstance(value, str) and (is_secret(name, value) or mask(value, secrets) != value)

    values = {
        each.name
        for each in algorithm.parameters
        if secret(each.name, each.value)
        or (isinstance(each.value, str) and each.constraint is not None and each.constraint.sensitive)
    }
    names = {name for name, value in variables.items() if secret(name, value)}
    left = replace(
        algorithm,
        parameters=tuple(replace(each, value=UNSET) if each.name in values else each for each in algorithm.parameters),
        environments={name: value for name, value in variables.items() if name not in names} or None,
    )
    return replace(job, algorithm=left), Hidden(set=tuple(sorted(values)), env=tuple(sorted(names)))


def tree_digest(files: Iterable[tuple[str, bool, int, str]], whole: hashlib._Hash) -> str:
    """One SHA-256, begun by whoever calls, over files: path, whether the owner may run it, bytes, their own SHA-256.

    For each, in the order of the bytes of their paths: `path NUL x NUL size NUL digest LF`, with `-` in place of the
    `x` for one that is not to be run.
    """
    for path, runs, size, digest in sorted(files, key=lambda each: each[0].encode(errors="surrogateescape")):
        line = f"{path}\0{'x' if runs else '-'}\0{size}\0{digest}\n"
        whole.update(line.encode(errors="surrogateescape"))
    return whole.hexdigest()


def is_code(path: str) -> bool:
    """Whether a file of a code directory counts: what git and the interpreter keep for themselves does not."""
    folders = path.split("/")
    return folders[0] != ".git" and "__pycache__" not in folders


def _hardware(devices: Devices) -> Hardware:
    return Hardware(
        type=devices.type,
        count=devices.count,
        names=tuple(each.name for each in devices.devices),
        driver=devices.driver,
        runtime=devices.runtime,
        cpus=devices.cpus,
        memory_bytes=devices.memory_bytes,
    )


def _seeds(origin: Origin, algorithm: JobAlgorithm, hidden: Hidden) -> dict[str, str]:
    """Whatever is named like a seed."""
    told = {
        each.name: each.value
        for each in algorithm.parameters
        if isinstance(each.value, str) and each.name not in hidden.set
    }
    told |= {name: value for name, value in (algorithm.environments or {}).items() if name not in hidden.env}
    if origin.hashseed is not None:
        told.setdefault(HASHSEED, origin.hashseed)
    return {name: value for name, value in told.items() if name == HASHSEED or _SEED.search(name)}
