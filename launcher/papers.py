"""The files that boot processes need to start: laid down right before, each whole and for this user alone.

They are the plan's, and nothing is read back from them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher import disk

if TYPE_CHECKING:
    from launcher.core.plan import Document, Plan

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def lay_down(plan: Plan) -> None:
    """Write them all. Raises StageError."""
    for document in plan.documents:
        write(plan.root, document)


def write(root: str, document: Document, mode: int = 0o600) -> None:
    """Write one of them; no link below the root is followed, neither to its folder nor in its place."""
    above, _, name = document.path.rpartition("/")
    folder = disk.open_folder(root, above)
    part = f".launcher-part-{name}"
    try:
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=folder)
        with os.fdopen(os.open(part, _NEW, mode, dir_fd=folder), "wb") as file:
            file.write(document.text.encode(errors="surrogateescape"))
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise disk.refusal(error, f"write {document.path}") from error
    finally:
        os.close(folder)
