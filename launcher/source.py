"""A look into the boot file's source, for arguments that it will refuse; it is read with bounds and never run."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from launcher.core.bootfile import LONGEST_SOURCE, undeclared, warning_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.plan import Plan

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A link may lead anywhere and a FIFO may block for ever: neither is looked into."""


def boot_file_warnings(plan: Plan) -> Sequence[str]:
    """What the staged boot file will refuse, unless the plan knew it already."""
    if plan.code is None or plan.code.boot_file is None:
        return ()
    warning = boot_file_warning(plan.code.boot_file, plan.arguments)
    return (warning,) if warning and warning not in plan.warnings else ()


def boot_file_warning(path: str, argv: Sequence[str]) -> str | None:
    """One sentence where the boot file will refuse some of these arguments; None where that is not to be seen."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return None  # staging, or the interpreter, will say the same and better
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        names = undeclared(file.read(LONGEST_SOURCE + 1), argv)
    return warning_for(path, names) if names else None
