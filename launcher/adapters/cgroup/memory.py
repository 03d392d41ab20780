"""The memory that a control group may use and has used, in bytes."""

from __future__ import annotations

from launcher.adapters.cgroup.finding import Controller, Group, entry, number, text
from launcher.core.record import Memory

MEMORY = Controller("memory", "memory.limit_in_bytes", "memory.max")
_BOUNDLESS = 1 << 62
"""From here on version 1 means no limit: it writes the highest number of whole pages, which differs by page size."""


def memory_of(group: Group) -> Memory:
    """Limit, peak and kills as they are now."""
    return _unified(group) if group.unified else _legacy(group)


def memory_limit(group: Group) -> int | None:
    """The lowest limit of the group and of those above it; None: there is none."""
    if group.unified:
        limits = [number(text(f"{folder}/memory.max")) for folder in group.upwards()]
        return min((limit for limit in limits if limit is not None), default=None)
    # It heeds the groups above as well, those included that a container cannot see: a pod's, for one.
    limit = entry(text(f"{group.folder}/memory.stat"), "hierarchical_memory_limit")
    if limit is None:
        limit = number(text(f"{group.folder}/memory.limit_in_bytes"))
    return None if limit is None or limit >= _BOUNDLESS else limit


def host_memory(path: str) -> int | None:
    """The memory of the whole machine, as /proc/meminfo tells it."""
    for line in text(path).split("\n"):
        name, _, value = line.partition(":")
        if name == "MemTotal":
            kilobytes = number(value.strip().removesuffix("kB"))
            return None if kilobytes is None else kilobytes * 1024
    return None


def _unified(group: Group) -> Memory:
    return Memory(
        source="cgroup v2",
        limit_bytes=memory_limit(group),
        peak_bytes=number(text(f"{group.folder}/memory.peak")),
        oom_kills=entry(text(f"{group.folder}/memory.events"), "oom_kill"),
    )


def _legacy(group: Group) -> Memory:
    return Memory(
        source="cgroup v1",
        limit_bytes=memory_limit(group),
        peak_bytes=number(text(f"{group.folder}/memory.max_usage_in_bytes")),
        oom_kills=entry(text(f"{group.folder}/memory.oom_control"), "oom_kill"),
    )
