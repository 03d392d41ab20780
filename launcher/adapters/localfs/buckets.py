"""The buckets of a directory that stands for a store: where one is, and what to do where it is not."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, StoreError
from launcher.core.storefault import file_fault

if TYPE_CHECKING:
    from launcher.core.storefault import Operation
    from launcher.core.urls import Location

SHOWN = 5


def bucket_folder(operation: Operation, at: Location, root: str) -> str:
    """The folder of a place's bucket. Raises StoreError: it is not there, or may not be looked at."""
    path = os.path.join(root, at.bucket)
    if "/" not in at.bucket and at.bucket not in {"", ".", ".."} and _is_folder(operation, path):
        return path
    raise _no_bucket(operation, at, root)


def _is_folder(operation: Operation, path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise file_fault(operation, path, error, os.path.ismount) from error


def _no_bucket(operation: Operation, at: Location, root: str) -> StoreError:
    found, action = _instead(operation, at.bucket, root)
    told = f"could not {operation} {at.url}: no such bucket: {found}"
    return StoreError(told, code="store-no-bucket", action=action, exit_code=Exit.MISSING)


def _instead(operation: Operation, wanted: str, root: str) -> tuple[str, str]:
    """What is there instead of a bucket, the nearest name first, and what to do about it."""
    if not _is_folder(operation, root):
        return f"the store's directory {root} is not there", "Check --store."
    above, name = os.path.split(root)
    if name == wanted:
        return f"{root} is the bucket itself, and a store holds buckets", f"Give the folder above it: --store {above}"
    try:
        names = sorted(name for name in os.listdir(root) if os.path.isdir(os.path.join(root, name)))
    except OSError as error:
        return f"{root} cannot be listed: {error.strerror}", "Check the bucket's name and --store."
    if not names:
        action = f"Make the folder {os.path.join(root, wanted)} with the bucket's objects as files, or check --store."
        return f"{root} is empty; a bucket is a folder in it", action
    action = "Check the bucket's name, and that --store names the folder that holds the buckets."
    return f"{root} has {', '.join(_nearest_first(wanted, names))}", action


def _nearest_first(wanted: str, names: list[str]) -> list[str]:
    import difflib

    near = difflib.get_close_matches(wanted, names, n=1)
    return near + [name for name in names if name not in near][: SHOWN - len(near)]
