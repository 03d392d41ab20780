"""Why a dataset cannot be used: the sentences, with the channel, the manifest and the lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, Problem, StageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.urls import Location


def invalid(channel: str, manifest: Location, problems: Sequence[Problem], wrong: int = 1) -> StageError:
    """Tell some of the `wrong` things that are wrong with a manifest."""
    said = "; ".join(str(problem) for problem in problems)
    more = f"; and {wrong - len(problems):,} more lines" if wrong > len(problems) else ""
    return StageError(
        f"input {channel}: {manifest.url}: {said}{more}",
        code="dataset-invalid",
        action="Correct the manifest or publish the dataset again; LAUNCHER_DATASET_BUCKETS allows other buckets.",
        exit_code=Exit.INVALID,
    )


def allowed(share: float, total: int) -> int:
    """How many of so many samples may be missing."""
    return math.floor(share * total + 1e-6)  # 0.29 x 100 is 28.999999999999996


def lacking(channel: str, manifest: Location, share: float, found: tuple[int, int], told: Sequence[str]) -> StageError:
    """Tell that more samples are missing than may; `found` counts the missing and all, `told` names the first."""
    count, total = found
    what = f"{count:,} of {total:,} samples lack an object in the store" if share else "an object is not in the store"
    more = f" and {count - len(told):,} more" if count > len(told) else ""
    return StageError(
        f"input {channel}: {manifest.url}: {what}, {f'{100 * share:g} %' if share else 'none'} may be missing: "
        f"{', '.join(told)}{more}",
        code="dataset-missing",
        action="Put the objects back, publish the dataset again, or allow a share with LAUNCHER_DATASET_MISSING.",
        exit_code=Exit.MISSING,
    )


def told(number: int, at: Location) -> str:
    """Name a missing object and the line that names it."""
    return f"line {number}: {at.url}"
