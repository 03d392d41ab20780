"""A vendor's tool asked by another thread while boot processes run: the one child that the reaper leaves alone.

It stays in the launcher's own session, by which the reaper knows that somebody else waits for it (`SystemProcesses`).
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from launcher.core.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 64 * 1024
REAP_S = 1.0
"""How long a tool may take to die of its SIGKILL; one that is stuck in a driver is left behind."""


class Tool:
    """Asks one tool after the other, in this environment; one thread's alone."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._left: list[subprocess.Popen[bytes]] = []

    def __call__(self, argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        """What a tool says; never raises for what a tool does."""
        pipe = subprocess.PIPE
        try:
            child = subprocess.Popen(
                argv, env={**self._environ, **(env or {})}, cwd="/", stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
            )
        except OSError as error:
            return Answer(code=None, fault=f"cannot be started ({error.strerror})")
        try:
            out, err = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self._kill(child)
            return Answer(code=None, fault=f"gave no answer in {limit_s:g} s")
        said = (text[:MOST].decode(errors="replace") for text in (out, err))
        return Answer(code=child.returncode, stdout=next(said), stderr=next(said))

    def _kill(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        try:
            child.wait(REAP_S)
        except subprocess.TimeoutExpired:
            self._left.append(child)  # dropped, it would be waited for whenever it is collected
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
