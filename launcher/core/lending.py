"""What of this machine a container gets: accelerators, processors, memory. By the command line, else by the flavor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from launcher.core.constraints import flavor_detail, flavor_wants, size_bytes
from launcher.core.errors import Exit, PlanError
from launcher.core.frozen import Record
from launcher.core.keys import human_size

if TYPE_CHECKING:
    from launcher.core.spec import Job

NPU_CONTROL = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
"""Without these no process reaches an NPU (Ascend's documents on containers)."""
NPU_DRIVER = (
    "/usr/local/Ascend/driver",
    "/usr/local/dcmi",
    "/usr/local/bin/npu-smi",
    "/usr/local/sbin/npu-smi",
    "/etc/ascend_install.info",
    "/etc/hccn.conf",
    "/etc/hdcBasic.cfg",
    "/etc/sys_version.conf",
)
"""The driver's own part of the host, which an image does not bring; whichever of them is there is lent read-only."""
LEAST_MEMORY = 64 * 1024**2
_SIZE = re.compile(r"([0-9]{1,15})([bkmgt]?)", re.IGNORECASE)
_POWER = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_ID = re.compile(r"[0-9]{1,4}|(GPU|MIG)-[A-Za-z0-9-]{1,64}")


class Asked(Record, frozen=True, kw_only=True):
    """What the command line wants lent, as it was written; None: it says nothing. `cpus` is a number of processors."""

    gpus: str | None = None
    npus: str | None = None
    cpus: float | None = None
    memory: str | None = None


class Owned(Record, frozen=True, kw_only=True):
    """What the machine has: GPUs by their number, NPUs by their numbers on the host, and which of Ascend's paths.

    `npu_groups` are the groups of the device files: who is in none of them may not open one.
    """

    cpus: float
    memory_bytes: int
    gpus: int = 0
    npus: tuple[int, ...] = ()
    npu_paths: tuple[str, ...] = ()
    npu_groups: tuple[int, ...] = ()


class Gpus(Record, frozen=True, kw_only=True):
    """GPUs as the engine is asked for them: so many (-1: all), or those named."""

    count: int = 0
    ids: tuple[str, ...] = ()


class Loan(Record, frozen=True, kw_only=True):
    """What the container gets; None is no limit. `devices` and `driver` are paths, the same on both sides."""

    gpus: Gpus | None = None
    devices: tuple[str, ...] = ()
    driver: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    cpus: float | None = None
    memory_bytes: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def shm_bytes(self) -> int | None:
        """Half of the memory for /dev/shm: an engine's 64 MiB end every DataLoader that has workers."""
        return None if self.memory_bytes is None else self.memory_bytes // 2


def lend(job: Job, asked: Asked, owned: Owned) -> Loan:
    """Decide what is lent. Raises PlanError for what the command line wants and the machine has not."""
    gpus, npus, told = _accelerators(job, asked, owned)
    cpus, of_cpus = _cpus(job, asked, owned)
    memory, of_memory = _memory(job, asked, owned)
    return Loan(
        gpus=gpus,
        devices=(*(f"/dev/davinci{each}" for each in npus), *_paths(NPU_CONTROL, owned)) if npus else (),
        driver=_paths(NPU_DRIVER, owned) if npus else (),
        groups=owned.npu_groups if npus else (),
        cpus=cpus,
        memory_bytes=memory,
        warnings=(*told, *of_cpus, *of_memory),
    )


def _paths(wanted: tuple[str, ...], owned: Owned) -> tuple[str, ...]:
    return tuple(each for each in wanted if each in owned.npu_paths)


def _accelerators(job: Job, asked: Asked, owned: Owned) -> tuple[Gpus | None, tuple[int, ...], tuple[str, ...]]:
    """What the command line names, and for what it does not what the flavor has, as far as it is here."""
    gpus = None if asked.gpus is None else _named_gpus(asked.gpus)
    npus = () if asked.npus is None else _named_npus(asked.npus, owned)
    told: list[str] = []
    for kind, count in flavor_wants(job):
        has, said = (owned.gpus, asked.gpus) if kind == "GPU" else (len(owned.npus), asked.npus)
        if said is not None:
            continue
        lent = has if count is None else min(count, has)
        if kind == "GPU":
            gpus = Gpus(count=lent) if lent else None
        else:
            npus = owned.npus[:lent]
        if lent < (count or 1):
            told.append(_lacking(kind, count, has))
    return gpus, npus, tuple(told)


def _lacking(kind: str, count: int | None, has: int) -> str:
    wanted = f"{kind} devices" if count is None else f"{kind} ({count})"
    found = f"{has} of them" if has else "none"
    return (
        f"the job's flavor has {wanted}; this machine has {found}, so the container gets {found} "
        "(--no-precheck makes a run of what the algorithm would refuse)"
    )


def _named_gpus(text: str) -> Gpus | None:
    if text == "all":
        return Gpus(count=-1)
    count, ids = _number_or_ids(text, "gpus")
    return Gpus(ids=ids) if ids else Gpus(count=count) if count else None


def _named_npus(text: str, owned: Owned) -> tuple[int, ...]:
    if text == "all":
        found = owned.npus
    else:
        count, ids = _number_or_ids(text, "npus")
        found = tuple(int(each) for each in ids if each.isdecimal()) if ids else owned.npus[:count]
        if len(found) < max(count, len(ids)) or not {*found} <= {*owned.npus}:
            raise _not_here(text, owned)
    if text == "all" and not found:
        raise _not_here(text, owned)
    return found


def _not_here(text: str, owned: Owned) -> PlanError:
    here = ",".join(map(str, owned.npus)) or "none"
    return PlanError(
        f"--npus {text}: this machine has {here}",
        code="devices-missing",
        action="Name some of these (/dev/davinci<number>), or leave the option out.",
        exit_code=Exit.NODE,
    )


def _number_or_ids(text: str, option: Literal["gpus", "npus"]) -> tuple[int, tuple[str, ...]]:
    """A single number is how many; several, or one with a comma behind it, are which."""
    if text == "none":
        return 0, ()
    if re.fullmatch(r"[0-9]{1,4}", text):
        return int(text), ()
    ids = tuple(text.removesuffix(",").split(","))
    if not all(map(_ID.fullmatch, ids)) or len({*ids}) != len(ids):
        raise _usage(f"--{option} {text}: expected all, none, a number, or numbers separated by commas")
    return 0, ids


def _cpus(job: Job, asked: Asked, owned: Owned) -> tuple[float | None, tuple[str, ...]]:
    detail = flavor_detail(job)
    info = detail.flavor_info if detail else None
    cores = info.cpu.core_num if info and info.cpu else None
    if asked.cpus is not None and not asked.cpus > 0:  # a NaN is not more than anything
        raise _usage(f"--cpus {asked.cpus:g}: expected a number of processors")
    wanted = asked.cpus if asked.cpus is not None else cores
    if not wanted:
        return None, ()
    if wanted <= owned.cpus:
        return float(wanted), ()
    where = "--cpus asks for" if asked.cpus is not None else "the job's flavor has"
    return owned.cpus, (f"{where} {wanted:g} processors; this machine has {owned.cpus:g}, which the container gets",)


def _memory(job: Job, asked: Asked, owned: Owned) -> tuple[int | None, tuple[str, ...]]:
    detail = flavor_detail(job)
    info = detail.flavor_info if detail else None
    flavor = size_bytes(info.memory) if info and info.memory else None
    wanted = _size(asked.memory) if asked.memory is not None else flavor
    if not wanted:
        return None, ()
    if wanted <= owned.memory_bytes:
        return wanted, ()
    where = "--memory asks for" if asked.memory is not None else "the job's flavor has"
    has = human_size(owned.memory_bytes)
    return owned.memory_bytes, (f"{where} {human_size(wanted)} of memory; this machine has {has}: that is the limit",)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * 1024 ** _POWER[found[2].lower()] if found else 0
    if size < LEAST_MEMORY:
        raise _usage(f"--memory {text}: expected a size such as 8g or 512m, of 64m at least")
    return size


def _usage(message: str) -> PlanError:
    return PlanError(message, code="usage", action="See launcher local --help.", exit_code=Exit.USAGE)
