"""What a killed launcher left behind: stopped, removed and told before the next one begins."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.adapters.roll import VARIABLE, sweep
from launcher.cli.claim import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator


def clear_leftovers(roll: str, grace: float) -> tuple[str, ...]:
    """Clean up after the run whose roll lies there, and say what was done. Its folder must be claimed.

    It may take the time that processes need to end; a signal handler's exception leaves the roll to the next start.
    """
    told = list(_stopped(roll, grace)) if os.path.lexists(roll) else []
    count = sweep(os.path.dirname(roll))
    if count:
        told.append(f"unfinished files of an earlier run were removed from the log folder: {count}")
    return tuple(told)


def owes(run_json: str) -> bool:
    """Whether an earlier run here has trained and not put everything in its place: `launcher sync` may yet."""
    if not os.path.isfile(run_json):
        return False
    from launcher.core.errors import SpecError
    from launcher.core.parse.run import MOST_BYTES, NAME, parse_run
    from launcher.core.parse.stored import read_json

    try:
        with open(run_json, "rb") as file:
            return parse_run(read_json(file.read(MOST_BYTES + 1), NAME)).owes
    except (OSError, SpecError):
        return False  # nothing that could be followed


def _stopped(roll: str, grace: float) -> Iterator[str]:
    """Stop who is left. What is imported here is for the start after a kill alone."""
    from launcher.adapters.roll.left import read_roll
    from launcher.adapters.roll.survivors import Survivors

    try:
        left = read_roll(roll)
    except ValueError as odd:
        yield f"{roll} is no record of a launcher's processes and was not believed: {odd}"
        return
    yield f"an earlier run here, begun at {left.started}, did not come to an orderly end"
    if left.here:
        yield from Survivors(VARIABLE, left.mark, left.processes, lock=LOCK, grace=grace).stop()
    with suppress(OSError):
        os.unlink(roll)
