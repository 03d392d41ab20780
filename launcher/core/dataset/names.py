"""Which object is a dataset's manifest, and how the files are named that are made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import Exit, StageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from launcher.core.urls import Location

SUFFIX = ".manifest"
DATA = "data"
"""The folder beside the manifest that holds what it names."""
SPLITS: Mapping[str, str] = {"TRAIN": "train.manifest", "EVAL": "eval.manifest", "TEST": "test.manifest"}
"""The manifests of one usage each."""
SHOWN_MOST = 4


def is_manifest(key: str) -> bool:
    """Whether a key is spelled as a dataset's manifest."""
    return key.endswith(SUFFIX)


def whole_name(at: Location) -> str:
    """The name of the manifest here: its own, unless the folder of the samples has it."""
    return f"{DATA}{SUFFIX}" if at.name == DATA else at.name


def choose_manifest(keys: Iterable[str]) -> str | None:
    """Choose the manifest of a dataset that is named by its folder; None where the folder has none.

    The one that lies highest; of several there, the one that is named as its folder, as published versions are.
    Raises `StageError` where several are left.
    """
    found = sorted(key for key in keys if is_manifest(key))
    if not found:
        return None
    height = min(key.count("/") for key in found)
    highest = [key for key in found if key.count("/") == height]
    left = [key for key in highest if _is_version(key)] or highest
    if len(left) == 1:
        return left[0]
    more = f" and {len(left) - SHOWN_MOST:,} more" if len(left) > SHOWN_MOST else ""
    raise StageError(
        f"{len(left):,} manifests lie there and none stands out: {', '.join(left[:SHOWN_MOST])}{more}",
        code="dataset-ambiguous",
        action="Name the manifest itself as the dataset's place, not its folder.",
        exit_code=Exit.INVALID,
    )


def _is_version(key: str) -> bool:
    folder, _, name = key.rpartition("/")
    return name.removesuffix(SUFFIX) == folder.rpartition("/")[2]
