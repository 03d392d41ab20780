"""What a command line and this machine say about a container, as values: what is given, wished for, and there."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from launcher.cli.folders import PASSING, temporary
from launcher.cli.load import SUFFIXES, read_file
from launcher.cli.machine import absolute
from launcher.core.container import Host, Wishes, container_name
from launcher.core.handing import Given
from launcher.core.lending import NPU_CONTROL, NPU_DRIVER, Asked, Owned
from launcher.core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.cli.options import Request
    from launcher.cli.stores import Opened
    from launcher.core.spec import Job

_FLAGS = (("quiet", "-q"), ("verbose", "-v"))


def given(
    asked: Request,
    pairs: Mapping[str, tuple[str, ...]],
    options: Mapping[str, Any],
    document: tuple[str, bytes],
    opened: Opened,
) -> Given:
    """What is handed to the run inside: documents as they are, options as they were written."""
    name, data = document
    job = f"job{_suffix(name)}"
    files = {job: data}
    algorithm = _algorithm(asked.algorithm or "", files)
    bundle = options["ca_bundle"] if opened.facts else None
    if bundle:
        files["authorities.pem"] = read_file(bundle)
    named = bool(asked.store) and opened.directory is None
    return Given(
        files=files,
        job=job,
        algorithm=algorithm,
        bundle="authorities.pem" if bundle else None,
        folder=opened.directory,
        endpoint=opened.facts.endpoint if opened.facts else None,
        named=named,
        values=_split(pairs["values"]),
        environment=_split(pairs["variables"]),
        datasets=_split(pairs["datasets"]),
        options=_handed_on(asked, options),
    )


def wishes(job: Job, asked: Request, what: Given, options: Mapping[str, Any], environ: Mapping[str, str]) -> Wishes:
    """What the command line wants of the container."""
    name = options["name"] or container_name(job, os.urandom(4).hex())
    return Wishes(
        image=options["image"],
        name=name,
        shell=options["shell"],
        given=what,
        root=absolute(asked.root).rstrip("/") or None,
        folder=f"{temporary(environ)}/{PASSING}{os.urandom(6).hex()}",
        user=options["user"],
        network=options["network"],
        grace=read_settings(environ).grace if asked.grace is None else asked.grace,
        asked=Asked(gpus=options["gpus"], npus=options["npus"], cpus=options["cpus"], memory=options["memory"]),
    )


def host(job: Job, asked: Asked, environ: Mapping[str, str], size: tuple[float, int]) -> Host:
    """This machine, as far as it matters to the job; `size` is what the engine has of processors and memory."""
    from launcher.core.constraints import flavor_wants

    wanted = [kind for kind, _ in flavor_wants(job)]
    npus = _npus() if asked.npus is not None or "Ascend" in wanted else ()
    owned = Owned(
        cpus=size[0],
        memory_bytes=size[1],
        gpus=_gpus(environ) if asked.gpus is None and "GPU" in wanted else 0,
        npus=npus,
        npu_paths=tuple(filter(os.path.exists, (*NPU_CONTROL, *NPU_DRIVER))) if npus else (),
        npu_groups=_groups(npus),
    )
    return Host(uid=os.getuid(), gid=os.getgid(), owner=_owner(), owned=owned, environ=environ)


def _owner() -> str:
    import msgspec

    from launcher.cli.owner import owner

    return msgspec.json.encode(owner()).decode()


def _gpus(environ: Mapping[str, str]) -> int:
    from launcher.cli.hardware import hardware

    found = hardware(environ)
    return found.count or 0 if found.type == "GPU" else 0


def _npus() -> tuple[int, ...]:
    found = (re.fullmatch(r"davinci([0-9]+)", name) for name in os.listdir("/dev"))
    return tuple(sorted(int(each[1]) for each in found if each))


def _groups(npus: tuple[int, ...]) -> tuple[int, ...]:
    paths = (*(f"/dev/davinci{each}" for each in npus), *filter(os.path.exists, NPU_CONTROL))
    return tuple(sorted({os.stat(path).st_gid for path in paths} - {0})) if npus else ()


def _suffix(name: str) -> str:
    return next((each for each in SUFFIXES if name.endswith(each)), "")


def _algorithm(place: str, files: dict[str, bytes]) -> str | None:
    """The algorithm's name below the documents, which are added to `files`; a URL is read by the run inside."""
    if not place or "://" in place:
        return place or None
    if not os.path.isdir(place):
        name = f"algorithm{_suffix(place)}"
        files[name] = read_file(place)
        return name
    for each in sorted(os.listdir(place)):
        path = os.path.join(place, each)
        if each.endswith(SUFFIXES) and os.path.isfile(path):
            files[f"algorithms/{each}"] = read_file(path)
    return "algorithms"


def _split(pairs: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (each.partition("=") for each in pairs))


def _handed_on(asked: Request, options: Mapping[str, Any]) -> tuple[str, ...]:
    found = [flag for name, flag in _FLAGS if options[name]]
    if asked.grace is not None:
        found += ["--grace", f"{asked.grace:g}"]
    if asked.precheck is not None:
        found.append("--precheck" if asked.precheck else "--no-precheck")
    if asked.resume_from is not None:
        found += ["--resume-from", asked.resume_from]
    return (*found, *(() if asked.platform_args else ("--no-platform-args",)))
