"""Which rewards of a trial the study keeps: a boot file may print one for each of a million steps."""

from __future__ import annotations

_ALL = 100


def recorded(step: int) -> bool:
    """Whether the reward of this step, from 1, is kept: the first hundred, then every 10th to 1,000, every 100th…."""
    every = 1
    while step > _ALL * every:
        every *= 10
    return step % every == 0
