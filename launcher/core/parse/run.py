"""The door for the run.json of an earlier run, and what becomes of it when its outputs were put in place later.

It may come from anywhere: nothing in it is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from launcher.core.errors import Exit
from launcher.core.parse.stored import refused, typed
from launcher.core.record import Cause, Memory, Synced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.parse.cursor import Json

NAME = "run.json"
MOST_BYTES = 256 * 1024**2
"""It names every file that is not in its place."""
SHOWN = 5
"""So many files that are not in their place are told to a person; run.json names them all."""
LOST_FOR_GOOD = "log-incomplete"
"""The one thing not saved that no later upload brings back."""

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


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What the log on the node lacks."""

    lost_bytes: Size = 0


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at the training: how it ended, and why another one followed, if one did."""

    exit_code: Code | None = None
    cause: Cause | None = None
    again: str | None = None


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """One phase that a run came to."""

    phase: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is over, as far as it is asked for. Without an exit code it goes on, or its launcher was killed.

    `plan` is where its plan lies, if it was written down.
    """

    version: Literal[1]
    phase: Literal["Completed", "Failed", "Terminated", "Abnormal"]
    exit_code: Code | None
    cause: Cause | None = None
    processes: tuple[Ran, ...] = ()
    limits: Limits | None = None
    log: Log | None = None
    synced: tuple[Synced, ...] = ()
    timeline: tuple[Passed, ...] = ()
    attempts: tuple[Tried, ...] = ()
    plan: str | None = None
    owed: bool = False

    @property
    def trained(self) -> bool:
        """Whether a boot process was started; of a launcher that was killed only the phase is known.

        A run that did not come so far itself may stand for an earlier one, whose outputs are still `owed`.
        """
        killed = self.phase == "Abnormal" and any(each.phase == "run" for each in self.timeline)
        return bool(self.processes) or killed or self.owed or self.childless

    @property
    def childless(self) -> bool:
        """Whether it trained without boot processes: those of a search are its trials', those of a hold somebody's."""
        return any(each.phase in ("search", "hold") for each in self.timeline)

    @property
    def owes(self) -> bool:
        """Whether it has trained, and something of that may not be in its place."""
        return self.trained and (self.owed or self.phase == "Abnormal" or any(each.failed for each in self.synced))

    def awaits_only_uploads(self, processes: int) -> bool:
        """Whether training went well on all of its processes and the uploads alone did not."""
        expected = 0 if self.childless else processes
        if self.phase != "Failed" or self.exit_code != Exit.NOT_SAVED or len(self.processes) != expected:
            return False
        if (self.cause is not None and self.cause.code == LOST_FOR_GOOD) or (
            self.log is not None and self.log.lost_bytes
        ):
            return False
        return all(each.exit_code == 0 and each.signal is None for each in self.processes)


def is_run(document: Json) -> bool:
    """Whether a document looks like a run.json at all."""
    return isinstance(document, dict) and {"version", "phase", "exit_code"} <= document.keys()


def parse_run(document: Json) -> Run:
    """The run of a plain document. Raises SpecError with the path of what is wrong; unknown keys are left alone."""
    if not is_run(document):
        raise refused(NAME, "", "expected a run.json, with version, phase and exit_code")
    run = typed(document, Run, NAME)
    if run.plan is not None and not run.plan.startswith("/"):
        raise refused(NAME, "plan", "expected an absolute path")
    return run


def amended(document: Json, synced: Sequence[Synced], *, completed: bool) -> Json:
    """run.json as it is after a later upload; how the run itself ended stays in its attempts."""
    outcome = {"phase": "Completed", "exit_code": 0, "cause": None} if completed else {}
    return {**document, **outcome, "synced": msgspec.to_builtins(tuple(synced))}
