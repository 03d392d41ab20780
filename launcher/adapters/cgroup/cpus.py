"""How much of how many processors a control group may use."""

from __future__ import annotations

from launcher.adapters.cgroup.finding import Controller, Group, number, text

CPU = Controller("cpu", "cpu.shares", "cpu.max")
"""Every group of version 1 has shares; a kernel without bandwidth control, and some roots, have no quota."""


def quota(group: Group) -> float | None:
    """The lowest quota of the group and of those above it that can be seen, in processors; None: there is none."""
    found = [_unified(folder) if group.unified else _legacy(folder) for folder in group.upwards()]
    return min((each for each in found if each is not None), default=None)


def _unified(folder: str) -> float | None:
    allowed, _, period = text(f"{folder}/cpu.max").strip().partition(" ")
    return _processors(number(allowed), number(period))


def _legacy(folder: str) -> float | None:
    # -1 is no quota, and no number here.
    return _processors(
        number(text(f"{folder}/cpu.cfs_quota_us")),
        number(text(f"{folder}/cpu.cfs_period_us")),
    )


def _processors(allowed: int | None, period: int | None) -> float | None:
    """Both are microseconds."""
    return allowed / period if allowed and period else None
