"""The GPUs that NVIDIA's driver gives to this container: asked of NVML, or of `nvidia-smi` where there is no NVML.

It changes nothing on them, and a node without NVIDIA costs a look at a few paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.adapters.nvidia.signs import Signs, signs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.adapters.nvidia.nvml import Fault
    from launcher.core.devices import Accelerators
    from launcher.core.gpus import Found
    from launcher.protocols import Ask

LIMIT_S = 5.0
"""How long a driver may take to say what it has; a broken one may take for ever."""


def nvidia(environ: Mapping[str, str], ask: Ask, top: str = "", limit_s: float = LIMIT_S) -> Accelerators | None:
    """What there is of NVIDIA; None: nothing. `top` goes before the system's own paths.

    What the driver told before it went silent is not kept: half a list is a wrong count.
    """
    found = signs(environ, top)
    return _told(found, environ, ask, limit_s) if found else None


def _told(found: Signs, environ: Mapping[str, str], ask: Ask, limit_s: float) -> Accelerators | None:
    from launcher.core.gpus import Found, accelerators

    told = _nvml(limit_s)
    if told is None:
        note = (
            f"NVIDIA's driver gave no answer in {limit_s:g} s, so that its GPUs are not counted: see dmesg on the host"
            " for Xid errors; most often the node must be started anew"
        )
        return accelerators(Found(whole=False, notes=(note,)), environ)
    if isinstance(told, Found):
        return accelerators(told, environ)
    if told.unloadable and found.tool is not None:
        from launcher.adapters.nvidia.smi import by_tool

        return accelerators(by_tool(ask, found.tool), environ)
    if told.unloadable and not found.files:
        # The library is where the loader does not look, or does not load: nothing of a GPU was given to us either way.
        return None
    # Without a driver and without device files there is certainly none; else there may be some that cannot be asked.
    none = told.undriven and not found.files
    return accelerators(Found(whole=none, notes=(told.sentence(found.files),)), environ)


def _nvml(limit_s: float) -> Found | Fault | None:
    """What NVML tells; None when it does not answer. Its thread is left behind then, for nothing can end it."""
    import threading

    from launcher.adapters.nvidia.nvml import Fault, read

    told: list[Found | Fault] = []

    def ask() -> None:
        try:
            told.append(read())
        except Exception as error:  # noqa: BLE001 - a library that nobody here knows: whatever it raises is an answer
            told.append(
                Fault(said=f"{type(error).__name__}: {error}"[:200], action="see whether nvidia-smi works here")
            )

    thread = threading.Thread(target=ask, name="nvml", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return Fault(said="this node allows no more threads", action="raise its limit of processes (ulimit -u)")
    thread.join(limit_s)
    return told[0] if told else None
