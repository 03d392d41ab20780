"""Where the flight recorder of a rank listens, and where it writes: what PyTorch keeps of the last collectives.

A process group that records them opens a FIFO for each rank, and writes its record once somebody writes to that one
(PyTorch 2.2 on: torch/csrc/distributed/c10d, DumpPipe and DebugInfoWriter; torch_npu has the same for HCCL).
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec import Struct

from launcher.core.ranklogs import VARIABLE as PROCESS_LOG

if TYPE_CHECKING:
    from collections.abc import Mapping

    Told = Mapping[str, str]

LONGEST_PATH = 4000


class _Recorder(Struct, frozen=True, kw_only=True):
    """One kind of recorder: the variables that say how much it keeps, where it listens, and where it writes."""

    name: str
    sizes: tuple[str, ...]
    pipe: str
    files: tuple[str, ...]
    usual: tuple[str, ...]


_RECORDERS = (
    _Recorder(
        name="nccl",
        sizes=("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE"),
        pipe="TORCH_NCCL_DEBUG_INFO_PIPE_FILE",
        files=("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"),
        # by release: the newest have the first
        usual=("{cache}/torch/comm_lib_trace_rank_", "{cache}/torch/nccl_trace_rank_", "/tmp/nccl_trace_rank_"),  # noqa: S108 - PyTorch's own
    ),
    _Recorder(
        name="hccl",
        sizes=("TORCH_HCCL_TRACE_BUFFER_SIZE",),
        pipe="TORCH_HCCL_DEBUG_INFO_PIPE_FILE",
        files=("TORCH_HCCL_DEBUG_INFO_TEMP_FILE",),
        usual=("/tmp/hccl_trace_rank_",),  # noqa: S108 - torch_npu's own
    ),
)
NAMES = frozenset(
    (
        *("HOME", "XDG_CACHE_HOME", PROCESS_LOG),
        *(name for each in _RECORDERS for name in (*each.sizes, each.pipe, *each.files)),
    )
)
"""The variables that are read here."""


class Flight(Struct, frozen=True, kw_only=True):
    """The recorder of one rank: `pipe` is None where it was not told to listen; it writes one of `files`."""

    name: str
    rank: int
    pipe: str | None
    files: tuple[str, ...]
    variable: str
    """Names where it would listen."""


def flight(told: Told, rank: int, folder: str) -> Flight | None:
    """The recorder that a rank with these variables has, if it is switched on; `folder` is where the rank works."""
    for one in _RECORDERS:
        if any(_count(told.get(size, "")) for size in one.sizes):
            cache = told.get("XDG_CACHE_HOME") or f"{told.get('HOME') or '/tmp'}/.cache"  # noqa: S108 - PyTorch's own
            usual = tuple(each.format(cache=cache) for each in one.usual)
            stems = [stem for name in one.files if (stem := told.get(name))][:1] or usual
            pipe = told.get(one.pipe)
            return Flight(
                name=one.name,
                rank=rank,
                pipe=_path(folder, f"{pipe}{rank}.pipe") if pipe else None,
                files=tuple(path for stem in stems if (path := _path(folder, f"{stem}{rank}"))),
                variable=one.pipe,
            )
    return None


def plog_folder(told: Told) -> str | None:
    """Where CANN writes the logs of a process with these variables."""
    if told.get(PROCESS_LOG):
        return _path("/", told[PROCESS_LOG])
    return _path("/", f"{told['HOME']}/ascend/log") if told.get("HOME") else None


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(2**31)) else 0


def _path(folder: str, path: str) -> str | None:
    found = posixpath.normpath(posixpath.join(folder, path))
    return found if found.startswith("/") and len(found) <= LONGEST_PATH else None
