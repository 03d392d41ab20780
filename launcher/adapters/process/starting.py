"""A child begins: in its own session, with nothing on stdin; or the reason why it could not."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from launcher.core.unstarted import Attempt, not_started, unstartable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.errors import BootError


def popen(argv: Sequence[str], env: Mapping[str, str], cwd: str, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    """Start a program. Keep what comes back until it is reaped: dropped, it waits for its child and steals its end."""
    try:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _not_started(argv, env, cwd, error) from error


def _not_started(argv: Sequence[str], env: Mapping[str, str], cwd: str, error: OSError | ValueError) -> BootError:
    program = argv[0] if argv else ""
    if not isinstance(error, OSError):
        return unstartable(program, str(error))
    attempt = Attempt(
        program=program,
        cwd=cwd,
        path=env.get("PATH", os.defpath),
        uid=os.geteuid(),
        cwd_failed=not os.path.isdir(cwd) or (error.filename == cwd and program != cwd),
        program_exists="/" in program and os.path.exists(os.path.join(cwd, program)),
    )
    return not_started(attempt, error.errno or 0)
