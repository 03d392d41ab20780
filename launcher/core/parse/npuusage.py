"""What `npu-smi info -t usages` tells of how much an NPU does: percent of its cores and of its memory's bandwidth."""

from __future__ import annotations

import re

# Occupied memory tells nothing of work, and the control processors work for the driver as well.
_RATE = re.compile(
    r"^[ \t]*(?:(?:AI ?(?:core|vector|cube)|NPU|(?:HBM|DDR|Memory) Bandwidth) (?:Usage Rate|Utilization)) ?\(%\)[ \t]*:"
    r"[ \t]*([0-9]{1,3})[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
MOST = 64
"""Numbers of one NPU: chips, each with its kinds of cores."""


def parse_usage(text: str) -> tuple[int, ...]:
    """The rates in their order; none where the tool says something else."""
    return tuple(min(int(each), 100) for each in _RATE.findall(text)[:MOST])
