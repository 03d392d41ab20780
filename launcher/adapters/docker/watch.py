"""A container from its start to its end: what it says, and what the engine's events tell of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from launcher.adapters.docker.faults import lost, odd
from launcher.adapters.docker.streams import Connection, beside, demultiplex
from launcher.core.container import End
from launcher.core.errors import LauncherError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from launcher.protocols import Sinks


class Watch:
    """Follows one container by two threads; asked by the main one. Made before it starts, to miss nothing."""

    def __init__(
        self,
        events: Iterator[Mapping[str, Any]],
        connection: Connection,
        sinks: Sinks,
        woken: Callable[[], object],
    ) -> None:
        self._woken = woken
        self._lock = threading.Lock()
        self._code: int | None = None
        self._out_of_memory = False
        self._said = False
        self._lost: object = None
        self._connection = connection
        beside("container-output", lambda: self._read(sinks))
        beside("container-events", lambda: self._follow(events))

    def end(self) -> End | None:
        """How it ended, once it has and all is said. Raises LauncherError where that cannot be learnt any more."""
        with self._lock:
            if self._code is not None and self._said:
                return End(code=self._code, out_of_memory=self._out_of_memory)
            if self._lost is not None and self._code is None:
                raise self._lost if isinstance(self._lost, LauncherError) else lost(self._lost)
            return None

    def _read(self, sinks: Sinks) -> None:
        try:
            demultiplex(self._connection, *sinks)
        finally:
            self._connection.close()
            with self._lock:
                self._said = True
            self._woken()

    def _follow(self, events: Iterator[Mapping[str, Any]]) -> None:
        why: object = "its events ended"
        try:
            for event in events:
                self._note(event)
                if self._code is not None:
                    break
        except Exception as error:  # noqa: BLE001 - whatever ends the events, it is told by who asks for the end
            why = error
        with self._lock:
            self._lost = why
        self._woken()

    def _note(self, event: Mapping[str, Any]) -> None:
        try:
            # an event's own word may have more behind it, as `exec_die: …` has
            action = str(event.get("Action", ""))
            code = int(event.get("Actor", {}).get("Attributes", {}).get("exitCode", 0)) if action == "die" else None
        except (AttributeError, TypeError, ValueError) as error:
            raise odd(event, "the container's events") from error
        with self._lock:
            self._out_of_memory = self._out_of_memory or action == "oom"
            self._code = code
