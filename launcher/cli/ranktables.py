"""Waiting for the rank table that a cluster writes while its nodes come up: until it is completed, or time is over.

A table that is completed and wrong is an error at once: nobody will write it anew.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, NoReturn

from launcher.core.errors import Exit, PlanError, SpecError
from launcher.core.parse.ranktable import Own, read_rank_table, status
from launcher.core.parse.text import MOST_BYTES, read_document
from launcher.core.ranktable import COMPLETED, FILE, FOLDER, expected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.ranktable import RankTable

LOOK_S, SAY_S = 1.0, 30.0
"""Seconds between two looks at the file, and between two lines that tell of it."""


def rank_table(
    environ: Mapping[str, str],
    timeout_s: float,
    *,
    preview: bool,
    say: Callable[[str], object],
    needed: bool = True,
    look_s: float = LOOK_S,
    say_s: float = SAY_S,
    folder: str = FOLDER,
) -> RankTable | None:
    """The completed table that `environ` names, waited for; None in a preview where it is not there yet.

    Without `needed` (one card, one node) a table that nothing names and that is not there is not waited for. `environ`
    is as a boot process sees it. Raises PlanError: 71 when time is over or it cannot be read, 65 when it is wrong.
    """
    named = environ.get("RANK_TABLE_FILE_V_1_0") or environ.get("RANK_TABLE_FILE")
    path = _path(environ, folder)
    own = Own(pod=environ.get("MA_CURRENT_INSTANCE_NAME"), address=environ.get("MA_CURRENT_HOST_IP"))
    began = told = time.monotonic()
    found = _look(path, own)
    if isinstance(found, str) and (preview or not (named or needed)):
        return None
    if isinstance(found, str):
        say(f"Wait for Rank table file ready: {path} ({found})")
    while isinstance(found, str):
        left = began + timeout_s - time.monotonic()
        if left <= 0:
            _too_late(path, found, timeout_s)
        time.sleep(min(look_s, left))
        found = _look(path, own)
        now = time.monotonic()
        if isinstance(found, str) and now - told >= say_s:
            told = now
            say(f"There is still no completed rank table at {path} after {now - began:.0f} s: {found}")
    return found


def _look(path: str, own: Own) -> RankTable | str:
    """The table, or why it is not ready."""
    try:
        data = _read(path)
    except FileNotFoundError:
        return "it is not there"
    except PermissionError as error:
        raise PlanError(
            f"the rank table {path} may not be read (we are uid {os.geteuid()}, gid {os.getegid()})",
            code="rank-table-refused",
            action="Let this user read it, and enter the folders above it.",
            exit_code=Exit.NODE,
        ) from error
    except OSError as error:
        return (error.strerror or str(error)).lower()
    try:
        document = read_document(data, FILE)
    except SpecError as error:  # half of it is written, or something else altogether
        return error.problems[0].message
    said = status(document)
    return read_rank_table(document, path, own) if said == COMPLETED else f"its status is {said[:80]!r}"


def _read(path: str) -> bytes:
    """A file, through links, as a cluster mounts it; at most one byte more than a document may have."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("no regular file stands there")
        return file.read(MOST_BYTES + 1)


def _path(environ: Mapping[str, str], folder: str) -> str:
    """The file, also where a folder has the name of one, and a file that of a folder."""
    place = environ.get("RANK_TABLE_FILE")
    if place and not environ.get("RANK_TABLE_FILE_V_1_0"):
        if os.path.isdir(place):
            return f"{place.rstrip('/')}/{FILE}"
        if os.path.isfile(place):
            return place
    return expected({**environ, "RANK_TABLE_FILE": place or folder})


def _too_late(path: str, found: str, timeout_s: float) -> NoReturn:
    raise PlanError(
        f"no completed rank table at {path} after {timeout_s:g} s: {found}",
        code="rank-table-late",
        action=(
            "Look whether all nodes of the job have started and who writes the table (the cluster's HCCL controller); "
            "RANK_TABLE_FILE says where it is to come, LAUNCHER_RANK_TABLE_TIMEOUT how long it is waited for."
        ),
        exit_code=Exit.NODE,
    )
