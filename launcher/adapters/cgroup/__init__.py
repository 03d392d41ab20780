"""What the kernel has counted and set for this container, read from its control groups; nothing is ever changed there.

Both versions are read, and each tells something else by the same word. Version 2 counts a kill in the group of the
process that died and in every group above it, so the figure covers sub-groups too (unless the host mounts with
`memory_localevents`). Version 1 counts it in that one group alone. Sub-groups are not added up there: below the root of
a host they are other people's, and what a group counted goes away with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.adapters.cgroup.finding import LONGEST, find, text
from launcher.adapters.cgroup.memory import MEMORY, memory_of

if TYPE_CHECKING:
    from launcher.core.devices import Limits
    from launcher.core.record import Memory

__all__ = ["LONGEST", "Cgroup"]


class Cgroup:
    """The memory counters of the group that this process was charged to when this object was made, and its limits.

    In version 2 that may be a group above its own, and then its neighbours' memory and kills are counted too.
    """

    def __init__(
        self,
        groups: str = "/proc/self/cgroup",
        mounts: str = "/proc/self/mountinfo",
        meminfo: str = "/proc/meminfo",
    ) -> None:
        self._groups = text(groups)
        self._mounts = text(mounts)
        self._meminfo = meminfo
        self._group = find(self._groups, self._mounts, MEMORY)

    def memory(self) -> Memory | None:
        """Limit, peak and kills as they are now; None where there is no memory controller to ask.

        The peak counts the page cache as well: alone it proves nothing. Kernels before 5.19 do not tell it in v2.
        """
        return None if self._group is None else memory_of(self._group)

    def limits(self) -> Limits:
        """Processors and memory that this container may use, by the lowest limit of all that can be seen.

        Processors are those that we may run on (a cpuset, an affinity), or the quota where it is less; memory is the
        machine's, or the limit where it is less. `limits_from` is where the limit of memory is from; where none binds,
        the quota; else the host. A limit that is above what the machine has binds nobody.
        """
        from launcher.adapters.cgroup.cpus import CPU, quota
        from launcher.adapters.cgroup.memory import host_memory, memory_limit
        from launcher.core.devices import Limits

        group = find(self._groups, self._mounts, CPU)
        runs_on, allowed = len(os.sched_getaffinity(0)), None if group is None else quota(group)
        has, limit = host_memory(self._meminfo), None if self._group is None else memory_limit(self._group)
        binds = None
        if allowed is not None and allowed < runs_on:
            binds = group
        if limit is not None and (has is None or limit < has):
            binds = self._group
        return Limits(
            cpus=min(float(runs_on), float(runs_on) if allowed is None else allowed),
            memory_bytes=min((each for each in (has, limit) if each is not None), default=None),
            limits_from="host" if binds is None else "cgroup v2" if binds.unified else "cgroup v1",
        )
