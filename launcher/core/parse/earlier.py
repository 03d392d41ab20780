"""The door for the run.json of a run that is over, and what becomes of it when its outputs were put in place later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from launcher.core.errors import Exit
from launcher.core.parse.stored import read_json, refused, typed
from launcher.core.record import Synced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.parse.cursor import Json

NAME = "run.json"
MOST_BYTES = 256 * 1024**2
"""It names every file that is not in its place."""
LOST_FOR_GOOD = "log-incomplete"
"""The one thing not saved that no later upload brings back."""


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run ended, as a program reads it."""

    code: str


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How one boot process ended."""

    exit_code: int | None = None
    signal: int | None = None


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """One phase that a run came to."""

    phase: str


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a run that is over. `plan` is where its plan lies, if it was written down."""

    version: Literal[1]
    phase: Literal["Completed", "Failed", "Terminated", "Abnormal"]
    exit_code: int | None = None
    cause: Code | None = None
    processes: tuple[Finished, ...] = ()
    timeline: tuple[Passed, ...] = ()
    synced: tuple[Synced, ...] = ()
    plan: str | None = None

    @property
    def trained(self) -> bool:
        """Whether a boot process was started; of a launcher that was killed only the phase is known."""
        return bool(self.processes) or (self.phase == "Abnormal" and any(each.phase == "run" for each in self.timeline))

    def awaits_only_uploads(self, processes: int) -> bool:
        """Whether training went well on all of its processes and the uploads alone did not."""
        if self.phase != "Failed" or self.exit_code != Exit.NOT_SAVED or len(self.processes) != processes:
            return False
        if self.cause is not None and self.cause.code == LOST_FOR_GOOD:
            return False
        return all(each.exit_code == 0 and each.signal is None for each in self.processes)


def parse_earlier(raw: bytes) -> tuple[Earlier, Json]:
    """What is asked of run.json, and the whole of it. Raises SpecError."""
    document = read_json(raw, NAME)
    earlier = typed(document, Earlier, NAME)
    if earlier.plan is not None and not earlier.plan.startswith("/"):
        raise refused(NAME, "plan", "expected an absolute path")
    return earlier, document


def amended(document: Json, synced: Sequence[Synced], *, completed: bool) -> Json:
    """run.json as it is after a later upload; how the run itself ended stays in its attempts."""
    outcome = {"phase": "Completed", "exit_code": 0, "cause": None} if completed else {}
    return {**document, **outcome, "synced": msgspec.to_builtins(tuple(synced))}
