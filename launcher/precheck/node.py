"""The looks at the node itself: names, disks, limits, devices."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core import precheck as judge
from launcher.core.errors import Cancelled
from launcher.core.layout import Layout
from launcher.pool import each
from launcher.precheck.probes import GIVE_UP_S, Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from launcher.core.devices import Devices
    from launcher.core.plan import Checks
    from launcher.core.precheck import Item
    from launcher.protocols import Stopped, Surroundings

RESOLVED_AT_ONCE = 32
SHM = "/dev/shm"  # noqa: S108 - shared memory is not a temporary file of ours


def node_probes(
    checks: Checks,
    devices: Devices,
    surroundings: Surroundings,
    monotonic: Callable[[], float],
    *,
    root: str = "/",
    said: str | None = None,
    hosts: Sequence[str] = (),
) -> list[Probe]:
    """What is looked at on every node. `said` is MA_NUM_GPUS; `hosts` are the names of a job's nodes."""
    cache = Layout(root=root).cache
    near, room = _nearest(root), surroundings.room
    return [
        Probe("dns", lambda stopped: _dns(surroundings, hosts, monotonic, stopped)),
        Probe("disk-size root", lambda _: judge.disk_size("root", near, room(near), checks.root_bytes)),
        Probe("disk-size shm", lambda _: judge.disk_size("shm", SHM, room(SHM), checks.shm_bytes, whole=True)),
        Probe("disk-size cache", lambda _: judge.disk_size("cache", cache, room(cache), checks.cache_bytes)),
        Probe("ulimit", lambda _: _ulimit(surroundings, checks)),
        Probe("gpu-check", lambda _: judge.gpu_check(devices, said)),
        Probe("npu-check", lambda _: judge.npu_check(devices, said)),
    ]


def _dns(surroundings: Surroundings, hosts: Iterable[str], monotonic: Callable[[], float], stopped: Stopped) -> Item:
    names = dict.fromkeys((*surroundings.peers(), *hosts))
    end = monotonic() + GIVE_UP_S
    found: dict[str, str | None] = dict.fromkeys(names, f"no answer in {GIVE_UP_S:g} s")

    def resolve(name: str, _: Stopped) -> None:
        found[name] = surroundings.resolve(name)

    with suppress(Cancelled):
        each(resolve, names, RESOLVED_AT_ONCE, lambda: stopped() or monotonic() > end, apart=True, patience=0.0)
    return judge.dns(dict(found))


def _ulimit(surroundings: Surroundings, checks: Checks) -> Item:
    return judge.ulimit(surroundings.limits(), checks, infiniband=surroundings.infiniband())


def _nearest(path: str) -> str:
    """The path, or the folder that it will be made in."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
