"""What only the command line knows of a run that is recorded; nothing of it is looked up before somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.origin import Origin
    from launcher.core.spec import Job


def origin_of(job: Job, environ: Mapping[str, str]) -> Origin:
    """A job on this node, to be recorded."""
    from launcher.adapters.origin import kernel, limits
    from launcher.core.origin import Origin
    from launcher.core.reproduce import HASHSEED

    return Origin(job=job, kernel=kernel(), limits=limits(), hashseed=environ.get(HASHSEED))
