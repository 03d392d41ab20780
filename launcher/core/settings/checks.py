"""The settings of the pre-check: what it wants of a node."""

from __future__ import annotations

from launcher.core.settings.form import Setting

CHECKS = (
    Setting(
        name="LAUNCHER_CHECK_ROOT",
        kind="number",
        default="32",
        meaning="GiB that the pre-check wants free in the root file system.",
    ),
    Setting(
        name="LAUNCHER_CHECK_SHM", kind="number", default="1", meaning="GiB that the pre-check wants /dev/shm to have."
    ),
    Setting(
        name="LAUNCHER_CHECK_CACHE",
        kind="number",
        default="32",
        meaning="GiB that the pre-check wants free in /cache, where the node has one.",
    ),
    Setting(
        name="LAUNCHER_CHECK_CLOCK",
        kind="seconds",
        default="300",
        meaning="Seconds that the node's clock and the store's may differ by.",
    ),
    Setting(
        name="LAUNCHER_CHECK_MEMLOCK",
        kind="number",
        default="16000",
        meaning="KiB that the pre-check wants lockable (ulimit -l), on a node with an InfiniBand network.",
    ),
    Setting(
        name="LAUNCHER_CHECK_NOFILE",
        kind="number",
        default="1000000",
        meaning="Open files that the pre-check wants allowed (ulimit -n), with InfiniBand.",
    ),
    Setting(
        name="LAUNCHER_CHECK_STACK",
        kind="number",
        default="8000",
        meaning="KiB of stack that the pre-check wants allowed (ulimit -s), with InfiniBand.",
    ),
    Setting(
        name="LAUNCHER_CHECK_NPROC",
        kind="number",
        default="1000000",
        meaning="Processes of a user that the pre-check wants allowed (ulimit -u), with InfiniBand.",
    ),
)
