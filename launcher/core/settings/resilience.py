"""The settings of what a run does about hangs, restarts and preemption."""

from __future__ import annotations

from launcher.core.settings.form import Setting

RESILIENCE = (
    Setting(
        name="LAUNCHER_RETRY_PAUSE",
        kind="seconds",
        default="10",
        meaning="Longest pause in seconds before the first restart; it doubles up to 300, and each is drawn at random.",
    ),
    Setting(
        name="LAUNCHER_DEVICE_WAIT",
        kind="seconds",
        default="60",
        meaning="Seconds for which a restart waits until no other process holds memory of its devices.",
    ),
    Setting(
        name="LAUNCHER_HANG",
        kind="auto|on|off",
        default="auto",
        meaning="Whether a training is watched for hanging; `auto`: with GPUs, NPUs or `fault-tolerance/hang-retry`.",
    ),
    Setting(
        name="LAUNCHER_HANG_PERIOD",
        kind="seconds",
        default="60",
        meaning="Seconds between two looks at what a training reads, writes and computes.",
    ),
    Setting(
        name="LAUNCHER_HANG_PERIODS",
        kind="number",
        default="5",
        meaning="Periods in which nothing has moved after which the devices are looked at, and a hang is told.",
    ),
    Setting(
        name="LAUNCHER_HANG_LONG_PERIODS",
        kind="number",
        default="30",
        meaning="The same for a process that sleeps, or computes without reading or writing anything.",
    ),
    Setting(
        name="LAUNCHER_HANG_WINDOW",
        kind="seconds",
        default="60",
        meaning="Seconds for which the use of the devices is sampled before a hang is told.",
    ),
    Setting(
        name="LAUNCHER_HANG_VARIANCE",
        kind="number",
        default="1",
        meaning="Variance of a device's use (percent squared) up to which it counts as unchanged.",
    ),
    Setting(
        name="LAUNCHER_STACKS_NATIVE",
        kind="0|1",
        default="0",
        meaning="1 shows stacks with their native frames, which stops a process for longer.",
    ),
    Setting(
        name="LAUNCHER_STEP_PATTERN",
        kind="text",
        default="",
        meaning="Regular expression that finds the number of a step in the log (group 1): how far an attempt came.",
    ),
    Setting(
        name="LAUNCHER_PREEMPTION_FILE",
        kind="text",
        default="",
        meaning="A file that appears where the platform is about to take the machine away; what it says is the reason.",
    ),
    Setting(
        name="LAUNCHER_PREEMPTION_NOTICE",
        kind="0|1",
        default="0",
        meaning="1 tells boot processes of a preemption: by a file, and by SIGUSR1.",
    ),
)
