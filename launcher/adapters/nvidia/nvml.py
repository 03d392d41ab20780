"""What NVML tells, read through nvidia-ml-py: calls into the driver, any of which may never return."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher.core.devices import Device, Holder, Partition
from launcher.core.gpus import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST = 1024
"""More GPUs, or processes on one, than these are nonsense."""
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # include/linux/proc_ns.h, PROC_PID_INIT_INO

_ACTIONS = {
    "NVML_ERROR_DRIVER_NOT_LOADED": (
        "in a container: start it with its GPUs (docker run --gpus all; the resource nvidia.com/gpu), on the host: load"
        " the driver (modprobe nvidia, and nvidia-smi must work)"
    ),
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": (
        "the driver was updated while the old one was loaded: start the node anew, or unload the old modules, and make"
        " the container again"
    ),
    "NVML_ERROR_NO_PERMISSION": "give this user access to /dev/nvidia*, or run as another",
    "NVML_ERROR_GPU_IS_LOST": "the GPU fell off the bus: see dmesg on the host for Xid 79, and start the node anew",
    "NVML_ERROR_RESET_REQUIRED": "reset it on the host (nvidia-smi --gpu-reset), or start the node anew",
    "NVML_ERROR_UNKNOWN": (
        "in a container that lost its GPUs (systemd was reloaded on the host): make it again, on a host: see dmesg"
    ),
}
_OTHERWISE = "see whether nvidia-smi works here and on the host"


class Fault(NamedTuple):
    """Why NVML told nothing. `unloadable`: there is no such library, or it is none; `undriven`: there is no driver."""

    said: str
    action: str
    unloadable: bool = False
    undriven: bool = False

    def sentence(self, files: Sequence[str]) -> str:
        """It in one line."""
        if not self.unloadable:
            return f"NVIDIA's driver says {self.said!r}: {self.action}"
        shown = ", ".join(files[:8]) + ("" if len(files) <= 8 else ", ...")  # noqa: PLR2004 - a line of them
        return (
            f"GPUs cannot be counted: {shown} {'is' if len(files) == 1 else 'are'} here, but libnvidia-ml.so.1 cannot"
            " be loaded and nvidia-smi is not on PATH: start the container with"
            " NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        )


def read() -> Found | Fault:
    """All GPUs of this container. Call it where it may hang."""
    try:
        import pynvml  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:
        return Fault(said=str(error), action="install nvidia-ml-py", unloadable=True)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        unloadable = error.value in {pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}
        undriven = error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
        return Fault(said=_said(error), action=_action(pynvml, error), unloadable=unloadable, undriven=undriven)
    try:
        return _Reader(pynvml).found()
    finally:
        _quietly(pynvml, pynvml.nvmlShutdown)


class _Reader:
    """One reading. What one GPU does not tell is None; a GPU that does not answer at all makes the list half."""

    def __init__(self, pynvml: Any) -> None:
        self._nvml = pynvml
        self._notes: list[str] = []
        self._held: list[Holder] = []
        self._divided: set[int] = set()

    def found(self) -> Found:
        nvml = self._nvml
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            return Found(whole=False, notes=(f"NVIDIA's driver says {_said(error)!r}: {_action(nvml, error)}",))
        if count > MOST:
            return Found(whole=False, notes=(f"NVIDIA's driver says that there are {count} GPUs: {_OTHERWISE}",))
        read = [self._device(index) for index in range(count)]
        devices = [device for device in read if device is not None]
        version = _quietly(nvml, nvml.nvmlSystemGetCudaDriverVersion)
        return Found(
            devices=tuple(devices),
            whole=len(devices) == count,
            divided=frozenset(self._divided),
            driver=_quietly(nvml, nvml.nvmlSystemGetDriverVersion),
            runtime=f"{version // 1000}.{version % 1000 // 10}" if version else None,
            held=tuple(self._held),
            notes=tuple(self._notes),
        )

    def _device(self, index: int) -> Device | None:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            self._notes.append(
                f"GPU {index} does not answer, so that the GPUs are not counted: NVIDIA's driver says {_said(error)!r}:"
                f" {_action(nvml, error)}"
            )
            return None
        self._hold(index, handle)
        return Device(
            index=index,
            id=_quietly(nvml, nvml.nvmlDeviceGetUUID, handle),
            name=_quietly(nvml, nvml.nvmlDeviceGetName, handle) or "NVIDIA GPU",
            memory_bytes=_memory(nvml, handle),
            partitions=self._partitions(index, handle),
        )

    def _partitions(self, index: int, handle: object) -> tuple[Partition, ...]:
        nvml = self._nvml
        mode = _quietly(nvml, nvml.nvmlDeviceGetMigMode, handle)
        if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return ()
        self._divided.add(index)
        found = []
        for number in range(min(_quietly(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0, MOST)):
            part = _quietly(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            name = _quietly(nvml, nvml.nvmlDeviceGetUUID, part) if part is not None else None
            if name is not None:
                told = _quietly(nvml, nvml.nvmlDeviceGetName, part)
                found.append(Partition(id=name, name=told or "MIG", memory_bytes=_memory(nvml, part)))
        return tuple(found)

    def _hold(self, index: int, handle: object) -> None:
        nvml = self._nvml
        running = _quietly(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        if running is None:
            running = _quietly(nvml, nvml.nvmlDeviceGetComputeRunningProcesses_v2, handle)
        for each in (running or ())[:MOST]:
            name = program(each.pid)
            self._held.append(Holder(device=index, pid=each.pid, name=name, memory_bytes=each.usedGpuMemory))


def program(pid: int, proc: str = "/proc") -> str | None:
    """The name of a process that the driver knows by the host's number; None where /proc tells of another or of none.

    Below the first pid namespace the same number may be somebody else's: whoever holds a GPU has its file open.
    """
    try:
        if os.readlink(f"{proc}/self/ns/pid") != _INITIAL_PID_NAMESPACE:
            files = (os.readlink(f"{proc}/{pid}/fd/{name}") for name in os.listdir(f"{proc}/{pid}/fd"))
            if not any(file.startswith("/dev/nvidia") for file in files):
                return None
        with open(f"{proc}/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return file.read(64).strip() or None
    except OSError:
        return None


def _memory(nvml: Any, handle: object) -> int | None:
    told = _quietly(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return told.total if told is not None else None


def _quietly(nvml: Any, call: Callable[..., Any], *arguments: object) -> Any:
    """What one call tells, or None: an old driver, a part of a GPU and a container lack this and that."""
    try:
        return call(*arguments)
    except (nvml.NVMLError, UnicodeDecodeError):
        return None


def _said(error: Exception) -> str:
    return str(error)[:200]


def _action(nvml: Any, error: Exception) -> str:
    number = getattr(error, "value", None)
    return next((text for name, text in _ACTIONS.items() if getattr(nvml, name, None) == number), _OTHERWISE)
