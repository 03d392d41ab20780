"""The door for a run.json that is to be explained. It may come from anywhere: nothing in it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from launcher.core.parse.stored import refused, typed
from launcher.core.record import Cause, FailedKey, Memory

if TYPE_CHECKING:
    from launcher.core.parse.cursor import Json

NAME = "run.json"

Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Code = Annotated[int, msgspec.Meta(ge=0, le=255)]
Number = Annotated[int, msgspec.Meta(ge=1, le=64)]


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """How one boot process ended, and when."""

    rank: Size | None = None
    exit_code: Code | None = None
    signal: Number | None = None
    ended: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The memory counters around the boot processes, in bytes and kills."""

    memory_bytes: Size | None = None
    oom_kills_before: Size | None = None
    oom_kills_after: Size | None = None
    memory_peak_bytes: Size | None = None

    def around(self) -> tuple[Memory, Memory]:
        """The same as the meter told it, before and after; which version it was does not matter any more."""
        before = Memory(source="cgroup v2", limit_bytes=None, peak_bytes=None, oom_kills=self.oom_kills_before)
        after = Memory(
            source="cgroup v2",
            limit_bytes=self.memory_bytes,
            peak_bytes=self.memory_peak_bytes,
            oom_kills=self.oom_kills_after,
        )
        return before, after


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One output, or the log, and what of it is not in its place."""

    channel: str
    target: str = ""
    failed: tuple[FailedKey, ...] = ()


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """One phase that a run came to."""

    phase: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is to be explained. Without an exit code it goes on, or its launcher was killed."""

    phase: Literal["Completed", "Failed", "Terminated", "Abnormal"]
    exit_code: Code | None = None
    cause: Cause | None = None
    processes: tuple[Ran, ...] = ()
    limits: Limits | None = None
    synced: tuple[Channel, ...] = ()
    timeline: tuple[Passed, ...] = ()


def is_run(document: Json) -> bool:
    """Whether a document looks like a run.json at all."""
    return isinstance(document, dict) and {"version", "phase", "exit_code"} <= document.keys()


def parse_run(document: Json) -> Run:
    """The run of a plain document. Raises SpecError with the path of what is wrong; unknown keys are left alone."""
    if not is_run(document):
        raise refused(NAME, "", "expected a run.json, with version, phase and exit_code")
    return typed(document, Run, NAME)
