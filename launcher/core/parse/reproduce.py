"""The door for the record in a run.json, by which a run is made again: nothing in it is believed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from launcher.core.parse.run import NAME, parse_run
from launcher.core.parse.stored import refused, typed
from launcher.core.reproduce import Reproduce

if TYPE_CHECKING:
    from launcher.core.parse.cursor import Json

MOST = 4096
"""Entries of any list or mapping in it that is read; a launcher writes fewer."""


def parse_reproduce(document: Json) -> Reproduce:
    """The record of a run.json. Raises SpecError with the path of what is wrong."""
    parse_run(document)
    record = document.get("reproduce")
    if record is None:
        raise refused(
            NAME, "reproduce", "it holds no record: the run ended before its training, or was an older launcher's"
        )
    made = typed(record, Reproduce, f"{NAME}: reproduce")
    if made.job is None:
        raise refused(NAME, "reproduce.job", "it holds no job: the launcher was killed before it was written down")
    if not made.root.startswith("/"):
        raise refused(NAME, "reproduce.root", "expected an absolute path")
    if not math.isfinite(made.devices.cpus):
        raise refused(NAME, "reproduce.devices.cpus", "expected a number")
    for name, entries in (("inputs", made.inputs), ("argv", made.argv), ("env", made.env)):
        if len(entries) > MOST:
            raise refused(NAME, f"reproduce.{name}", f"expected at most {MOST:,} entries, found {len(entries):,}")
    return made
