"""Ascend's script that prepares a node for its boot file, `ma-pre-start.sh` or `.py`: found after staging, run once.

A shell script is there to set variables, so that it is sourced and what it exports is laid over the boot processes'
own. Nothing else that it changes of itself (working folder, limits, functions) lives on.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core.errors import Exit, StageError
from launcher.core.plan import Process
from launcher.core.prestart import changes, entries
from launcher.core.ranktable import RANK_VARIABLES
from launcher.core.redact import written_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.core.plan import Plan

_log = logging.getLogger(__name__)

NAMES = ("ma-pre-start.sh", "ma-pre-start.py")
"""Where both are there, the first is run."""

MOST_BYTES = 4 * 1024 * 1024
"""Twice what the kernel gives to a program as its environment."""

_CAPTURE = """
import os, sys
with open("/proc/self/environ", "rb") as block:
    told = block.read()
target = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
with os.fdopen(target, "wb") as file:
    file.write(told)
"""
"""Writes its own environment as it was given, before Python added to it; may be run by a Python as old as 3.6."""

_SOURCE = """
__ma_file=$0 __ma_python=$1 __ma_code=$2 __ma_target=$3
set --
__ma_leave() {
    __ma_status=$?
    trap - EXIT
    [ "$__ma_status" = 0 ] || exit "$__ma_status"
    exec "$__ma_python" -I -S -c "$__ma_code" "$__ma_target"
}
trap __ma_leave EXIT
source "$__ma_file"
exit
"""
"""For bash: also a script that ends by `exit 0` leaves its environment. What stops it by `set -e` is a failure."""


def prestart_file(plan: Plan) -> str | None:
    """The script beside the boot file, if there is one and the job is one of Ascend's."""
    if plan.code is None or plan.code.boot_file is None or not plan.is_ascend:
        return None
    folder = os.path.dirname(plan.code.boot_file)
    paths = (f"{folder}/{name}" for name in NAMES)
    return next((path for path in paths if os.path.isfile(path)), None)


def prestart_process(plan: Plan, file: str) -> Process:
    """How the script is run: in the code folder, with the variables that all boot processes have in common."""
    env = _shared(plan)
    cwd = plan.code.path if plan.code else os.path.dirname(file)
    if not file.endswith(".sh"):
        return Process(rank=0, local_rank=0, argv=(plan.interpreter, file), env=env, cwd=cwd)
    target = _target(plan)
    prestart_over(plan)  # of an attempt that was killed; what cannot go is told when the script comes to it
    argv = ("bash", "-c", _SOURCE, file, sys.executable, _CAPTURE, target)
    return Process(rank=0, local_rank=0, argv=argv, env=env, cwd=cwd)


def prestart_secrets(file: str) -> tuple[str, ...]:
    """The secrets that stand in the script: whatever it says of them, and however it ends, they are known by then."""
    try:
        with open(file, "rb", opener=_as_it_is) as script:
            return written_secrets(script.read(MOST_BYTES).decode(errors="replace"))
    except OSError:
        return ()


def prestart_over(plan: Plan) -> None:
    """Leave nothing of a script that did not come to its end: its environment may hold secrets."""
    with suppress(OSError):
        os.unlink(_target(plan))


def prestart_environment(plan: Plan, file: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """What a script that ended well set: variables to lay over those of every boot process. Raises StageError.

    `environ` is what the script was started in, below the plan's own. A variable that it took away stays: that is said.
    """
    if not file.endswith(".sh"):
        return {}
    target = _target(plan)
    try:
        raw = _taken(target)
    except OSError as error:
        raise StageError(
            f"{os.path.basename(file)} ended well, and left no word of its variables: {error.strerror}",
            code="prestart-untold",
            action="A script with a trap on EXIT of its own may not call exit: let it come to its end.",
            exit_code=Exit.NODE,
        ) from error
    told = changes({**environ, **_shared(plan)}, entries(raw))
    if told.removed:
        _log.warning(
            "%s unset %s, which the boot file still has; set it to nothing instead",
            *(os.path.basename(file), ", ".join(told.removed)),
        )
    kept = [name for name in told.values if name in RANK_VARIABLES]
    if kept:
        _log.warning(
            "%s sets %s, which a rank has from its rank table alone; that is left alone",
            *(os.path.basename(file), ", ".join(kept)),
        )
    return {name: value for name, value in told.values.items() if name not in kept}


def prestart_failed(file: str, code: int, last_line: str) -> StageError:
    """The error of a script that did not end well."""
    name = os.path.basename(file)
    return StageError(
        f"{name} failed (it ended with {code}): {last_line}",
        code="prestart-failed",
        action=f"Correct {name} beside the boot file; its own words are in the log.",
        exit_code=Exit.NODE,
    )


def _shared(plan: Plan) -> dict[str, str]:
    """The variables that are the same in all boot processes: a rank's own would not fit the others."""
    first, *others = plan.processes
    return {name: value for name, value in first.env.items() if all(each.env.get(name) == value for each in others)}


def _target(plan: Plan) -> str:
    return f"{os.path.dirname(plan.files.log)}/.launcher-pre-start"


def _taken(path: str) -> bytes:
    """What the script left, and it is gone: it may hold secrets."""
    with open(path, "rb", opener=_as_it_is) as file:
        os.unlink(path)
        return file.read(MOST_BYTES)


def _as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
