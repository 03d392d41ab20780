"""The pre-check's items: what was seen of a node held against what is wanted, one judgement for each (contract: 7).

It only judges; what is seen comes as plain values. The wheels of a pip file are read in `core.wheels`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from launcher.core.constraints import here
from launcher.core.enginename import FRAMEWORKS, agrees, engine_name, is_older
from launcher.core.frozen import Record
from launcher.core.keys import human_size
from launcher.core.wheels import misfit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from launcher.core.devices import Device, Devices
    from launcher.core.enginename import EngineName
    from launcher.core.interpreter import Interpreter
    from launcher.core.plan import Checks
    from launcher.core.wheels import Wheel

State = Literal["ok", "failed", "skipped", "warned"]
Finding = tuple[Literal["failed", "warned"], str]

WORDS: Mapping[State, str] = {"ok": "ok", "failed": "error,exiting", "skipped": "skipped", "warned": "warning"}
"""What a line says of each state; `item` and `error,exiting` are the service's own words."""

SHOWN = 5
FEW_INODES = 10_000
_HEALTHY = {"ok", "healthy", "normal", "good"}
_DOUBTFUL = {"warning", "unknown", ""}
_COUNT = re.compile(r"[0-9]{1,6}")


class Item(Record, frozen=True, kw_only=True):
    """One thing that was looked at: what was seen, and what to do where it is not well.

    `cause` is the code of the error that a look ended with.
    """

    name: str
    state: State
    said: str
    action: str = ""
    cause: str = ""


class Room(Record, frozen=True, kw_only=True):
    """A file system as this user sees it; `inodes` are the free ones, None where it does not count them."""

    free_bytes: int
    whole_bytes: int
    inodes: int | None = None


def line(item: Item) -> str:
    """An item as a line of the log, or of a terminal."""
    text = f"item {item.name}: {WORDS[item.state]}: {item.said}"
    return f"{text}. {item.action}" if item.action and item.state in ("failed", "warned") else text


def dns(found: Mapping[str, str | None]) -> Item:
    """Names of nodes, each with why it does not resolve, or None."""
    if not found:
        return Item(name="dns", state="skipped", said="no other node's name is known")
    faults = [f"{name} ({why})" for name, why in found.items() if why is not None]
    if not faults:
        return Item(name="dns", state="ok", said=f"{_many(len(found), 'name')} resolve{_s(len(found) == 1)}")
    return Item(
        name="dns",
        state="failed",
        said=f"{len(faults):,} of {len(found):,} names {'do' if faults[1:] else 'does'} not resolve: {_some(faults)}",
        action="Do these nodes run, and does this one ask the cluster's name server (/etc/resolv.conf)?",
    )


def disk_size(which: str, path: str, room: Room | None, wanted_bytes: int, *, whole: bool = False) -> Item:
    """Room on the file system of a path, None where it is not there; `whole`: its size counts, not what is free."""
    name = f"disk-size {which}"
    if room is None:
        return Item(name=name, state="skipped", said=f"this node has no {path}")
    size = room.whole_bytes if whole else room.free_bytes
    said = f"{path} has {human_size(size)}{'' if whole else ' free'}"
    if size < wanted_bytes:
        said += f", {human_size(wanted_bytes)} wanted"
        more = "Give the container more (docker run --shm-size, or an emptyDir of medium Memory)"
        action = f"{more if whole else 'Free space there, or give the node a larger disk'}"
        return Item(name=name, state="failed", said=said, action=f"{action}, or lower LAUNCHER_CHECK_{which.upper()}.")
    if room.inodes is not None and room.inodes < FEW_INODES:
        said += f", but room for {room.inodes:,} more files only"
        return Item(name=name, state="warned", said=said, action="Delete files that nobody needs: the inodes run out.")
    return Item(name=name, state="ok", said=said)


def ulimit(limits: Mapping[str, int | None], checks: Checks, *, infiniband: bool) -> Item:
    """The limits of this process, which its children inherit, None for no limit; memlock and stack in KiB."""
    if not infiniband:
        return Item(name="ulimit", state="skipped", said="this node has no InfiniBand network (/sys/class/infiniband)")
    asked = {
        "memlock": ("max locked memory (ulimit -l)", checks.memlock_kib, " KiB"),
        "nofile": ("open files (ulimit -n)", checks.nofile, ""),
        "stack": ("stack size (ulimit -s)", checks.stack_kib, " KiB"),
        "nproc": ("max user processes (ulimit -u)", checks.nproc, ""),
    }
    short = []
    for key, (name, least, unit) in asked.items():
        limit = limits.get(key)
        if limit is not None and limit < least:
            short.append(f"{name} is {limit:,}{unit}, {least:,}{unit} wanted")
    if not short:
        return Item(name="ulimit", state="ok", said="locked memory, open files, stack and processes")
    action = "Raise the container's limits (docker run --ulimit, or the runtime's defaults): RDMA pins what it sends."
    return Item(name="ulimit", state="failed", said="; ".join(short), action=action)


def gpu_check(devices: Devices, said: str | None) -> Item:
    """The GPUs of a node; `said` is MA_NUM_GPUS, by which the platform tells how many there are."""
    if devices.type == "Ascend":
        return Item(name="gpu-check", state="skipped", said="this node has Ascend devices, and no GPU is looked for")
    if devices.type == "CPU" and not _promises(said):
        return Item(name="gpu-check", state="skipped", said=f"no GPU is wanted; this node has {here(devices)}")
    return _devices("gpu-check", devices, said, "Look at nvidia-smi here, and at what the container was given.")


def npu_check(devices: Devices, said: str | None) -> Item:
    """The Ascend devices of a node, as `gpu_check` has its GPUs."""
    if devices.type != "Ascend":
        return Item(name="npu-check", state="skipped", said="this node has no Ascend devices")
    return _devices("npu-check", devices, said, "Look at npu-smi info here, and at what the container was given.")


def engine_check(version: str | None, interpreter: Interpreter | None, devices: Devices) -> Item:
    """What the engine's name promises against what is installed; never more than a warning."""
    named = engine_name(version)
    if named.framework is None:
        what = f"the name {version!r} says nothing of it" if version else "the job names no version of an engine"
        return Item(name="engine-check", state="skipped", said=what)
    odd = [*_engine_of_devices(named, devices)]
    if interpreter is None or interpreter.fault is not None:
        why = f"{interpreter.path} {interpreter.fault}" if interpreter else "which Python will run is not known"
        odd.append(f"the interpreter could not be asked: {why}")
    else:
        odd += _engine_of_interpreter(named, interpreter)
    if not odd:
        return Item(name="engine-check", state="ok", said=f"what {version} promises is here")
    action = "Run it in the image of this engine, or correct engine_version; the training may still go well."
    return Item(name="engine-check", state="warned", said=f"{version}: {'; '.join(odd)}", action=action)


def wheel_check(
    file: str | None, wheels: Sequence[Wheel], absent: Collection[str], interpreter: Interpreter | None
) -> Item:
    """The wheels that the pip file names: `absent` are the paths that are not beside it."""
    name = "wheel-tags"
    if not wheels:
        return Item(name=name, state="skipped", said=f"{file} names no wheel" if file else "the code has no pip file")
    tags = interpreter.tags if interpreter else frozenset[str]()
    findings: list[Finding] = []
    for each in wheels:
        why = "is not beside the pip file" if each.path in absent else misfit(each, tags)
        if why:
            findings.append(("warned" if each.maybe else "failed", f"{each.file} {why}"))
    python = (
        f"Python {interpreter.python} on {interpreter.machine}" if interpreter and interpreter.python else "this Python"
    )
    if not findings and not tags:
        return Item(name=name, state="skipped", said=f"which wheels {python} takes could not be asked of its pip")
    action = f"Put wheels for {python} into the code directory, and name these in {file}."
    return _worst(name, findings, f"{_many(len(wheels), 'wheel')} of {file} fit{_s(len(wheels) == 1)} {python}", action)


def clock(skew: float | None, why: str, most: float) -> Item:
    """Seconds that this node's clock is ahead of the store's (below 0: behind); None where `why` says so."""
    if skew is None:
        return Item(name="clock", state="skipped", said=why)
    if abs(skew) <= most:
        return Item(name="clock", state="ok", said=f"at most {abs(skew):.0f} s from the store's")
    said = f"this node's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the store's"
    said += f", {most:g} s may be"
    return Item(name="clock", state="failed", said=said, action="Set the node's clock (NTP).")


def _promises(said: str | None) -> bool:
    """Whether MA_NUM_GPUS speaks of any device; what is no number speaks of some."""
    text = (said or "").strip()
    return bool(text) and not (_COUNT.fullmatch(text) and int(text) == 0)


def _devices(name: str, devices: Devices, said: str | None, action: str) -> Item:
    findings: list[Finding] = []
    if devices.count is None:
        findings.append(("failed", f"this node has {here(devices)}"))
    findings += [*_contradiction(devices, said), *_health(devices.devices), *_held(devices)]
    names = sorted({each.name for each in devices.devices})
    kinds = f" ({_some(names)})" if names else ""
    return _worst(name, findings, f"{devices.count} {devices.type}{kinds}", action)


def _contradiction(devices: Devices, said: str | None) -> Iterator[Finding]:
    text = (said or "").strip()
    if not text or devices.count is None:
        return
    if not _COUNT.fullmatch(text):
        yield "warned", f"MA_NUM_GPUS is {text!r}, a number of devices was expected"
    elif int(text) > devices.count:
        yield "failed", f"MA_NUM_GPUS says {int(text)}; this node has {here(devices)}"
    elif int(text) < devices.count:
        yield "warned", f"MA_NUM_GPUS says {int(text)}; this node has {here(devices)}"


def _health(devices: Sequence[Device]) -> Iterator[Finding]:
    for each in devices:
        health = each.health
        if health is None or health.lower() in _HEALTHY:
            continue
        state: Literal["failed", "warned"] = "warned" if health.lower() in _DOUBTFUL else "failed"
        yield state, f"device {each.index} ({each.name}): its health is {health or 'not told'}"


def _held(devices: Devices) -> Iterator[Finding]:
    holders = [
        f"device {each.device} by {each.name or 'a process'} (pid {each.pid}"
        + (f", {human_size(each.memory_bytes)})" if each.memory_bytes is not None else ")")
        for each in devices.held
    ]
    if holders:
        yield "warned", f"held already: {_some(holders)}"


def _engine_of_devices(named: EngineName, devices: Devices) -> Iterator[str]:
    if (named.cuda and devices.type == "Ascend") or (named.cann and devices.type == "GPU"):
        runtime = f"CUDA {named.cuda}" if named.cuda else f"CANN {named.cann}"
        yield f"it is for {runtime}, this node has {here(devices)}"
    elif named.cann and devices.runtime and not agrees(named.cann, devices.runtime):
        yield f"it has CANN {named.cann}, here is {devices.runtime}"
    elif named.cuda and devices.runtime and is_older(devices.runtime, named.cuda):
        yield f"it has CUDA {named.cuda}, the driver of this node goes up to {devices.runtime}"


def _engine_of_interpreter(named: EngineName, interpreter: Interpreter) -> Iterator[str]:
    if named.architecture and interpreter.machine not in (None, named.architecture):
        yield f"it is for {named.architecture}, this node is {interpreter.machine}"
    if named.python and interpreter.python and not agrees(named.python, interpreter.python):
        yield f"it has Python {named.python}, {interpreter.path} is {interpreter.python}"
    for framework, version in named.frameworks:
        packages = FRAMEWORKS[framework]
        found = next((each for each in packages if each in interpreter.packages), None)
        if packages and found is None:
            yield f"{packages[0]} is not installed"
        elif found and version and not agrees(version, interpreter.packages[found]):
            yield f"it has {framework} {version}, installed is {found} {interpreter.packages[found]}"
    if named.cuda and interpreter.cuda and not agrees(named.cuda, interpreter.cuda):
        yield f"it has CUDA {named.cuda}, torch was built for {interpreter.cuda}"


def _worst(name: str, findings: Sequence[Finding], well: str, action: str) -> Item:
    if not findings:
        return Item(name=name, state="ok", said=well)
    state: State = "failed" if any(each == "failed" for each, _ in findings) else "warned"
    return Item(name=name, state=state, said="; ".join(text for _, text in findings), action=action)


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else "")


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{_s(count != 1)}"


def _s(wanted: bool) -> str:  # noqa: FBT001 - a letter, or none
    return "s" if wanted else ""
