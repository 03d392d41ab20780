"""Whether there may be anything of NVIDIA on this node at all: a few looks at paths, no file is opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIBRARY = "libnvidia-ml.so.1"
TOOL = "nvidia-smi"
_WSL = "/usr/lib/wsl/lib"
_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/local/lib",
    _WSL,
)


class Signs(NamedTuple):
    """What points at NVIDIA; false when nothing does.

    The driver's /proc/driver/nvidia/version is no sign: every container of a host that has GPUs sees it.
    """

    files: tuple[str, ...]
    library: bool
    tool: str | None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.files) or self.library or self.tool is not None


def signs(environ: Mapping[str, str], top: str = "") -> Signs:
    """Look for device files, the library and the tool, below `top`; what the environment names stays as it stands."""
    search = (*_absolute(environ.get("PATH", "")), f"{top}{_WSL}")
    loads = (*_absolute(environ.get("LD_LIBRARY_PATH", "")), *(f"{top}{folder}" for folder in _FOLDERS))
    return Signs(
        files=_device_files(f"{top}/dev"),
        library=any(os.path.exists(f"{folder}/{LIBRARY}") for folder in loads),
        tool=next((path for path in (f"{folder}/{TOOL}" for folder in search) if _runs(path)), None),
    )


def _device_files(folder: str) -> tuple[str, ...]:
    """The files of GPUs. /dev/nvidiactl alone is of no GPU, and WSL's /dev/dxg may be of another maker's."""
    try:
        names = os.listdir(folder)
    except OSError:
        return ()
    return tuple(f"/dev/{name}" for name in sorted(names) if name[:6] == "nvidia" and name[6:].isdecimal())


def _absolute(path: str) -> Sequence[str]:
    """The folders of a search path. Where we stand is none of ours."""
    return [folder for folder in path.split(":") if folder.startswith("/")]


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
