"""Datasets: a manifest read sample by sample, checked, and rewritten to local paths; pure, and never a whole one."""

from __future__ import annotations

import msgspec


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an input's constraints demand, each empty where nothing is; what may be missing; what else may be read.

    `sources` are of `obs` and `dataset`, `formats` of `Default` and `CarbonData`, `segmentation` is `segmented` or
    `not segmented`, `kinds` are those of `kinds.NUMBERS`. `missing` is a share of the samples, 0 to 1, and `buckets`
    name where samples may lie but in the manifest's own.
    """

    sources: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    segmentation: str = ""
    kinds: tuple[str, ...] = ()
    missing: float = 0.0
    buckets: tuple[str, ...] = ()
