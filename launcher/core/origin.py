"""Where a run comes from, as only the command line knows it: what a record of the run needs besides the plan."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from launcher.core.spec import Job


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The completed job, the node's kernel and limits (None: unlimited), and a seed of hashes set from outside."""

    job: Job
    kernel: str
    limits: Mapping[str, int | None]
    hashseed: str | None = None
