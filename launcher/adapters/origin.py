"""This node as a record of a run tells of it: its kernel, and the limits that a child meets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITS = ("nofile", "nproc", "stack", "memlock", "as", "core", "fsize", "data")


def kernel() -> str:
    """The kernel by its name, release and machine; its version tells builds of one release apart."""
    told = os.uname()
    return f"{told.sysname} {told.release} {told.version} {told.machine}"


def limits() -> Mapping[str, int | None]:
    """The soft limits by their names in lower case, as the kernel counts them; None: unlimited."""
    import resource

    soft = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[0] for name in LIMITS}
    return {name: None if value == resource.RLIM_INFINITY else value for name, value in soft.items()}
