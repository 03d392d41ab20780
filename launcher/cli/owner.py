"""Who this launcher is among all processes, so that what it leaves in a store is known for gone when it is."""

from __future__ import annotations

import os

from launcher.adapters.roll import proc
from launcher.core.occupancy import Owner


def owner() -> Owner | None:
    """This process, told exactly; None where /proc does not tell."""
    where, started = proc.namespace(), proc.start_of(os.getpid())
    if where is None or started is None:
        return None
    return Owner(boot=where[0], namespace=where[1], pid=os.getpid(), started=started)


def alive_here(other: Owner) -> bool | None:
    """Whether a process runs; None where its kernel or its pid namespace is another one."""
    if proc.namespace() != (other.boot, other.namespace):
        return None
    return proc.start_of(other.pid) == other.started
