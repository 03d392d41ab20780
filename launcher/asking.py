"""Asking a tool: one short-lived child with a time limit, for facts that only a vendor's tool or an interpreter knows.

It decides nothing and never raises for what a tool does: no tool, no answer in time and nonsense are answers too.
"""

from __future__ import annotations

from contextlib import suppress
from signal import SIGKILL
from typing import TYPE_CHECKING

from launcher.children import Children
from launcher.core.answer import Answer
from launcher.core.errors import LauncherError
from launcher.core.lifecycle import Exited, Signalled
from launcher.core.plan import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.protocols import Clock, Processes

REAP_S = 1.0
"""How long a tool may take to die of its SIGKILL; one that is stuck in a driver is left behind."""


class Asker:
    """Asks one tool after the other. `heard` is called with the number of a signal to the launcher; it may raise."""

    def __init__(
        self, processes: Processes, clock: Clock, environ: Mapping[str, str], heard: Callable[[int], object]
    ) -> None:
        self._processes = processes
        self._clock = clock
        self._environ = environ
        self._heard = heard

    def __call__(self, argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        """What a tool says, at most 64 KiB of it; `env` is laid over the environment."""
        children = Children(self._processes, self._clock)
        tool = Process(rank=0, local_rank=0, argv=tuple(argv), env=env or {}, cwd="/")
        try:
            pid = children.start(tool, self._environ, ((), ()))
        except LauncherError as error:
            return Answer(code=None, fault=f"cannot be started ({error})")
        ended = False
        try:
            ended = self._ended(children, pid, limit_s)
        finally:
            if not ended:
                children.signal(SIGKILL)
                with suppress(LauncherError):
                    self._ended(children, pid, REAP_S)
        if not ended:
            return Answer(code=None, fault=f"gave no answer in {limit_s:g} s")
        self._drain(children)
        told = children.attended()[0]
        return Answer(
            code=told.code, stdout=told.stdout.decode(errors="replace"), stderr=told.stderr.decode(errors="replace")
        )

    def _ended(self, children: Children, pid: int, limit_s: float) -> bool:
        end = self._clock.monotonic() + limit_s
        while pid in children.living:
            left = end - self._clock.monotonic()
            if left <= 0:
                return False
            self._wait(children, left)
        return True

    def _drain(self, children: Children) -> None:
        """Wait for what is still in the pipes; whoever holds them open any longer is not waited for."""
        end = self._clock.monotonic() + REAP_S
        try:
            while not all(pump.over for pump in children.pumps) and self._clock.monotonic() < end:
                self._wait(children, end - self._clock.monotonic())
        finally:
            for pump in children.pumps:
                pump.leave()

    def _wait(self, children: Children, limit_s: float) -> None:
        """Take what has come. An end is noted before a signal is told, for who hears that may raise."""
        events = self._processes.wait(limit_s)
        for event in events:
            if isinstance(event, Exited):
                children.exited(event)
        for event in events:
            if isinstance(event, Signalled):
                self._heard(event.number)
