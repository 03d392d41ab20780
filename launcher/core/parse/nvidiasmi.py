"""What `nvidia-smi` prints, read line by line; it decides nothing, and a line that it cannot read makes no device.

Every reader says whether it could read all that was there: only then the devices may be counted.
"""

from __future__ import annotations

import re

import msgspec

from launcher.core.devices import Device, Partition

LISTING = ("nvidia-smi", "-L")
QUERY = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.total,driver_version",
    "--format=csv,noheader,nounits",
)
PROCESSES = (
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,process_name,used_memory",
    "--format=csv,noheader,nounits",
)
MODES = ("nvidia-smi", "--query-gpu=uuid,mig.mode.current", "--format=csv,noheader")
VERSIONS = ("nvidia-smi", "--version")

_GPU = re.compile(r"GPU (\d{1,4}): (\S.{0,199}?) \(UUID: (GPU-[0-9A-Za-z-]{1,60})\)")
_MIG = re.compile(r"\s+MIG (\S{1,60})\s+Device\s+(\d{1,3}): \(UUID: (MIG-[0-9A-Za-z/-]{1,80})\)")
_NONE = re.compile(r"no devices (were )?found\.?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,9}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){1,3}")
_CUDA = re.compile(r"^\s*CUDA (?:UMD )?Version\s*:\s*([0-9]{1,3}\.[0-9]{1,3})\s*$", re.MULTILINE | re.IGNORECASE)
_MIB = 1 << 20


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs of `nvidia-smi -L`. `unread` is the first line that is neither a GPU nor a part of one; None: all is."""

    devices: tuple[Device, ...] = ()
    unread: str | None = None


class Queried(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `--query-gpu`; what the tool could not tell is None."""

    index: int
    id: str
    name: str
    memory_bytes: int | None = None
    driver: str | None = None


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `--query-compute-apps`: a process that has memory of a GPU, and the program's path."""

    gpu: str
    pid: int
    name: str | None = None
    memory_bytes: int | None = None


def listed(text: str) -> Listed:
    """The GPUs and their MIG instances. A number or an identifier that comes twice is not believed."""
    devices: list[Device] = []
    parts: list[list[Partition]] = []
    seen: set[str] = set()
    unread = None
    for line in _lines(text):
        gpu, mig = _GPU.fullmatch(line), _MIG.fullmatch(line)
        mark = gpu[3] if gpu else mig[3] if mig else ""
        if gpu and int(gpu[1]) == len(devices) and mark not in seen:
            devices.append(Device(index=len(devices), id=mark, name=gpu[2]))
            parts.append([])
        elif mig and parts and mark not in seen:
            parts[-1].append(Partition(id=mark, name=f"{devices[-1].name} MIG {mig[1]}"))
        elif unread is None and not (_NONE.fullmatch(line.strip()) and not devices):
            unread = line.strip()
        seen.add(mark)
    whole = zip(devices, parts, strict=True)
    return Listed(
        devices=tuple(msgspec.structs.replace(device, partitions=tuple(of_it)) for device, of_it in whole),
        unread=unread if devices or unread is not None or _NONE.search(text) else "",
    )


def queried(text: str) -> tuple[Queried, ...]:
    """The rows that could be read, one for each GPU."""
    rows: dict[str, Queried] = {}
    for line in _lines(text):
        fields = [field.strip() for field in line.split(",")]
        # a name may hold a comma, the others cannot
        if len(fields) < 5 or not _NUMBER.fullmatch(fields[0]) or not fields[1].startswith("GPU-"):  # noqa: PLR2004 - of the query
            continue
        row = Queried(
            index=int(fields[0]),
            id=fields[1],
            name=", ".join(fields[2:-2]),
            memory_bytes=_bytes(fields[-2]),
            driver=fields[-1] if _VERSION.fullmatch(fields[-1]) else None,
        )
        rows.setdefault(row.id, row)
    return tuple(rows.values())


def used(text: str) -> tuple[Used, ...]:
    """The rows that could be read."""
    rows = []
    for line in _lines(text):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 4 or not fields[0].startswith("GPU-") or not _NUMBER.fullmatch(fields[1]):  # noqa: PLR2004 - of the query
            continue
        name = ", ".join(fields[2:-1])
        rows.append(
            Used(
                gpu=fields[0],
                pid=int(fields[1]),
                name=None if name.startswith("[") or not name else name,  # [Not Found], [Insufficient Permissions]
                memory_bytes=_bytes(fields[-1]),
            )
        )
    return tuple(rows)


def divided(text: str) -> frozenset[str]:
    """The identifiers of the GPUs in MIG mode; drivers before it do not know that query, and there is none then."""
    rows = (line.partition(",") for line in _lines(text))
    return frozenset(name.strip() for name, _, mode in rows if mode.strip() == "Enabled")


def cuda_version(text: str) -> str | None:
    """The CUDA version that the driver supports, by `nvidia-smi --version`; old ones do not know that option."""
    found = _CUDA.search(text)
    return found[1] if found else None


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def _bytes(text: str) -> int | None:
    """MiB as the tool counts memory, in bytes; `[N/A]` is none."""
    return int(text) * _MIB if _NUMBER.fullmatch(text) else None
