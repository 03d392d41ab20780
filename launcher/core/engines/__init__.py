"""How boot files are started: one pure function per engine, in one table. An argv is a tuple from here to exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.engines.plain import command, python

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.engines.start import Engaged, Start
    from launcher.core.spec import JobAlgorithm

ENGINES: Mapping[str, Callable[[Start], Engaged]] = {"python": python, "command": command}


def engine_of(algorithm: JobAlgorithm, environ: Mapping[str, str]) -> str:  # noqa: ARG001
    """Which engine starts this algorithm: a key of ENGINES. `environ` as a boot process would see it."""
    return "python" if algorithm.boot_file else "command"
