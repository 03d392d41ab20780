"""Which call of a stack tells a person what goes on: a meeting of ranks, a wait, a line of the user's own code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from launcher.core.stacktexts import LONGEST_FILE, LONGEST_NAME, MOST_LINE, Frame, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MEETING = frozenset(
    {
        *("all_reduce", "all_reduce_coalesced", "all_gather", "all_gather_into_tensor", "all_gather_object"),
        *("all_gather_coalesced", "all_to_all", "all_to_all_single", "barrier", "monitored_barrier", "broadcast"),
        *("broadcast_object_list", "gather", "gather_object", "reduce", "reduce_scatter", "reduce_scatter_tensor"),
        *("scatter", "scatter_object_list", "send", "recv", "batch_isend_irecv", "init_process_group", "new_group"),
        *("rendezvous", "destroy_process_group", "allreduce", "allgather", "alltoall", "synchronize", "join"),
    }
)
"""What a rank calls to meet the others; where it stands there, it waits for them."""
_MEETING_PLACES = ("distributed", "horovod", "deepspeed/comm", "communication")
_TELLING = frozenset(
    {
        *("__next__", "get", "put", "join", "acquire", "wait", "recv", "accept", "connect", "select", "poll"),
        *("result", "communicate", "synchronize", "backward", "urlopen", "getresponse"),
    }
)
"""What tells a person more than that which it calls, or is called by, within libraries."""
_WRAPPERS = frozenset({"wrapper", "inner", "decorate_context", "_wrapped_call_impl", "_call_impl", "__call__", "_fn"})

_LIBRARY = re.compile(r"(?:^|.*/)(?:site-packages|dist-packages|lib/python[0-9.]{1,6})/")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Number = Annotated[int, Meta(ge=0, le=MOST_LINE)]
Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
File = Annotated[str, Meta(max_length=LONGEST_FILE)]


class Spot(Struct, frozen=True, kw_only=True):
    """A place in code: the function that tells what goes on there, and who of the user's own code called it.

    `waits`: it waits for other ranks there.
    """

    function: Name
    file: File = ""
    line: Number = 0
    caller: Name = ""
    caller_file: File = ""
    caller_line: Number = 0
    waits: bool = False


class Own(Struct, frozen=True, kw_only=True):
    """How the user's own code is told from libraries: `code` is its folder, `packages` one of libraries."""

    code: str = ""
    packages: str = ""

    def is_own(self, file: str) -> bool:
        """Whether a file is the user's own; what has no file is, unless Python itself brings it."""
        if self.packages and file.startswith(f"{self.packages}/"):
            return False
        return not _LIBRARY.match(file) and not file.startswith("<frozen ")

    def short(self, file: str) -> str:
        """A file's name for people: below the code's folder, or as a library's package."""
        library = _LIBRARY.match(file)
        if library is not None:
            return file[library.end() :]
        for folder in (self.packages, self.code):
            if folder and file.startswith(f"{folder}/"):
                return file[len(folder) + 1 :]
        return file


def spot(thread: Thread, own: Own) -> Spot | None:
    """Where a thread stands; None where it has no frame."""
    users = next((at for at, frame in enumerate(thread.frames) if own.is_own(frame.file)), len(thread.frames))
    library, calls = thread.frames[:users], thread.frames[users:]
    told = next((frame for frame in reversed(library) if _is_meeting(frame)), None)
    if told is not None:
        return _spot(told, calls[:1], own, waits=True)
    told = next((frame for frame in reversed(library) if _bare(frame) in _TELLING), None)
    told = told or next((frame for frame in reversed(library) if _bare(frame) not in _WRAPPERS), None)
    if told is None and calls:
        told, calls = calls[0], tuple(frame for frame in calls[1:] if own.is_own(frame.file))
    return None if told is None else _spot(told, calls[:1], own, waits=False)


def _bare(frame: Frame) -> str:
    """A function's own name, where py-spy names its class too."""
    return frame.function.rpartition(".")[2]


def _is_meeting(frame: Frame) -> bool:
    return _bare(frame) in _MEETING and any(place in frame.file for place in _MEETING_PLACES)


def _spot(told: Frame, calls: Sequence[Frame], own: Own, *, waits: bool) -> Spot:
    caller = calls[0] if calls else Frame("", "", 0)
    found = Spot(
        function=told.function,
        file=own.short(told.file),
        line=told.line,
        caller=caller.function,
        caller_file=own.short(caller.file),
        caller_line=caller.line,
        waits=waits,
    )
    return clean(found)


def clean(one: Spot) -> Spot:
    """The same without characters that do more than to be read."""
    return reworded(one, lambda word: CONTROL.sub("?", word))


def reworded(one: Spot, change: Callable[[str], str]) -> Spot:
    """The same with every word changed; none gets longer than it may be."""
    return replace(
        one,
        function=change(one.function)[:LONGEST_NAME],
        file=change(one.file)[:LONGEST_FILE],
        caller=change(one.caller)[:LONGEST_NAME],
        caller_file=change(one.caller_file)[:LONGEST_FILE],
    )
