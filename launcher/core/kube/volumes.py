"""The folders of a pod: what may be written over a read-only root, shared memory, and the job's own volumes."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

import msgspec

from launcher.core.errors import Problem, SpecError
from launcher.core.frozen import Record
from launcher.core.kube.resources import shared_memory
from launcher.core.layout import Layout
from launcher.core.spec import JobAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from launcher.core.resources import Volume
    from launcher.core.spec import Job

BODY = "/etc/launcher"
"""Where the job's body lies in the container."""

_WRITABLE = (("tmp", "/tmp"), ("cache", "/cache"), ("modelarts", "/home/ma-user/modelarts"))  # noqa: S108 - the pod's own
_NEEDED = re.compile(
    r"/(dev|proc|sys)(?!/shm(/|$))(/.*)?|/etc(/launcher(/.*)?)?|/opt(/launcher(/.*)?)?"
    r"|/(bin|sbin|lib[^/]*|usr(/(bin|sbin|lib[^/]*|local(/(bin|lib))?))?)"
)
"""Where the container has its body, its devices, and programs without which the launcher does not start."""
_NFS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/\s]+):(/[^\0]*)")


class Folder(Record, frozen=True, kw_only=True):
    """One volume of a pod and where it is mounted."""

    name: str
    path: str
    source: dict[str, Any]
    read_only: bool = False


def folders(job: Job, config: str, claims: Mapping[str, str]) -> tuple[Folder, ...]:
    """Every folder of the pod. Raises SpecError for a volume of the job that needs a claim, or cannot be."""
    made = [
        Folder(name="job", path=BODY, source={"configMap": {"name": config}}, read_only=True),
        Folder(name="shm", path="/dev/shm", source={"emptyDir": _shm(job)}),  # noqa: S108 - the pod's own
        *(Folder(name=name, path=path, source={"emptyDir": {}}) for name, path in _WRITABLE),
    ]
    own = _of_the_job(job, claims)
    taken = {each.path for each in own}
    made = [each for each in made if each.path not in taken] + own
    for number, path in enumerate(sorted(_written(job))):
        if not any(path == each.path or path.startswith(f"{each.path}/") for each in made):
            made.append(Folder(name=f"folder-{number}", path=path, source={"emptyDir": {}}))
    return (*made, *_between(made))


def _between(made: Sequence[Folder]) -> Iterator[Folder]:
    """The folders between an empty one and what is mounted further in: root would make them, and nobody else write."""
    empty = {each.path for each in made if "emptyDir" in each.source}
    mounted, number = {each.path for each in made}, 0
    for each in made:
        above = posixpath.dirname(each.path)
        while above not in mounted and any(above.startswith(f"{path}/") for path in empty):
            yield Folder(name=f"between-{number}", path=above, source={"emptyDir": {}})
            mounted.add(above)
            number += 1
            above = posixpath.dirname(above)


def _shm(job: Job) -> dict[str, str]:
    most = shared_memory(job)
    return {"medium": "Memory", **({"sizeLimit": most} if most else {})}


def _written(job: Job) -> Iterator[str]:
    """Folders that the launcher makes outside the usual ones: no read-only root has room for them."""
    algorithm = job.algorithm or JobAlgorithm()
    named = [each.local_dir for each in (*algorithm.inputs, *algorithm.outputs)]
    paths = {Layout().at(each) for each in (*named, algorithm.local_code_dir) if each}
    unfit = sorted(filter(None, map(_unfit, paths)))
    if unfit:
        raise SpecError([Problem(path="algorithm", message=f"local_dir or local_code_dir {each}") for each in unfit])
    yield from paths


def _unfit(path: str) -> str | None:
    """Why nothing can be mounted at a path, or None."""
    if _NEEDED.fullmatch(path):
        return f"{path} would hide what the launcher needs in its image; choose another folder"
    return f"{path} holds a ':', and a cluster mounts nothing there; choose another folder" if ":" in path else None


def _of_the_job(job: Job, claims: Mapping[str, str]) -> list[Folder]:
    """The job's own volumes: a claim where one is given, else what a pod can mount by itself, which NFS alone is."""
    made: list[Folder] = []
    problems: list[Problem] = []
    unused = {Layout().at(path): claim for path, claim in claims.items()}
    for number, volume in enumerate(job.spec.volumes if job.spec else ()):
        path = volume.path
        claim, read_only = unused.pop(path, None), bool(volume.nfs and volume.nfs.read_only)
        source = _source(volume, path, claim)
        if isinstance(source, Problem):
            where = ".".join(filter(None, (f"spec.volumes[{number}]", source.path)))
            problems.append(msgspec.structs.replace(source, path=where))
            continue
        (inner,) = source.values()
        inner |= {"readOnly": True} if read_only else {}
        made.append(Folder(name=f"volume-{number}", path=path, source=source, read_only=read_only))
    problems += [Problem(path=f"--claim {path}", message="no volume of the job has this local_path") for path in unused]
    if problems:
        raise SpecError(problems)
    return made


def _source(volume: Volume, path: str, claim: str | None) -> dict[str, Any] | Problem:
    unfit = _unfit(path)
    if unfit:
        return Problem(path="", message=f"local_path {unfit}")
    return {"persistentVolumeClaim": {"claimName": claim}} if claim else _by_itself(volume, path)


def _by_itself(volume: Volume, path: str) -> dict[str, Any] | Problem:
    """What a pod mounts without anybody's preparation."""
    if volume.nfs is None:
        kind = "pfs" if volume.pfs else "obs"
        message = f"a pod mounts {kind} by a persistent volume claim; make one, and give --claim {path}=CLAIM"
        return Problem(path="", message=message)
    found = _NFS.fullmatch(volume.nfs.nfs_server_path)
    if found is None:
        return Problem(path="nfs.nfs_server_path", message="expected SERVER:/PATH")
    return {"nfs": {"server": found[1].strip("[]"), "path": found[2]}}
