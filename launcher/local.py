"""The sentence of a job in a container: make, attach, start, forward signals, wait, remove, tell.

Everything was decided before (`core.container`); here it is done, and undone in the end whatever happens.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from signal import SIGCONT, SIGINT, SIGTERM, SIGTSTP, SIGWINCH
from typing import TYPE_CHECKING

from launcher.core.enter import HELD, enter_path
from launcher.core.errors import Exit, LauncherError
from launcher.core.layout import Layout
from launcher.core.lifecycle import Signalled

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Protocol

    from launcher.core.container import Container, End
    from launcher.protocols import Clock, Engine, Processes, Session
    from launcher.streams.outlet import Outlet

    class Terminal(Protocol):
        """What a shell needs of the terminal that we were started at."""

        def size(self) -> tuple[int, int] | None:
            """Rows and columns; None where there is no terminal to work at."""
            ...

        def raw(self) -> AbstractContextManager[None]:
            """Have every key passed on as it is."""
            ...


AWAKE_S = 2.0
"""The kernel drops what PID 1 does not listen to yet: until the container says something, signals wait so long."""
LAST_S = 15.0
"""A run that is asked twice ends within seconds: so long after a third time the engine may take to tell of it."""
_KEPT = (SIGCONT, SIGTSTP, SIGWINCH)
"""Signals that are about us and our terminal, not about the job."""
_IMPATIENT = 3
_LONGEST = 4096

_log = logging.getLogger(__name__)


class Attendance:
    """One container in the care of the main thread; sinks are called by others."""

    def __init__(self, engine: Engine, processes: Processes, clock: Clock, streams: tuple[Outlet, Outlet]) -> None:
        self._engine = engine
        self._processes = processes
        self._clock = clock
        self._out, self._err = streams
        self._id = ""
        self._ended: Callable[[], End | None] = lambda: None
        self._awake_at = 0.0
        self._spoke = False
        self._waiting: list[int] = []
        self._line = b""
        self._asked = 0
        self._until: float | None = None
        self.held = False
        self.gone = True
        """Whether there is no container, or none any more."""
        self.explained = False
        """Whether the last line on stderr tells of an error: the launcher inside has said why it ended."""

    def run(self, wanted: Container, shell: Callable[[Attendance], int] | None = None) -> tuple[End, int]:
        """The container from its making to its removal; how it ended, and how the shell in it did."""
        self._id, self.gone = self._engine.make(wanted), False
        try:
            self._ended = self._engine.start(self._id, (self._said, self._told), self._processes.wake)
            self._awake_at = self._clock.monotonic() + AWAKE_S
            code = self._entered(shell) if shell is not None else 0
            return self._until_ended(), code
        finally:
            self._remove(wanted.name)

    def shell(self, terminal: Terminal) -> int:
        """Wait until the run holds, and enter; the shell's exit code, or 0 where the run ended before."""
        while not self.held:
            if self._ended() is not None:
                return 0
            self._attend()
        size, sinks = terminal.size(), (self._out.write, self._err.write)
        argv = ("/bin/sh", enter_path(Layout().mount))
        with terminal.raw() if size else nullcontext():
            session = self._engine.enter(self._id, argv, size, sinks, self._processes.wake)
            while (code := session.end()) is None:
                self._attend(session, terminal)
        self._forward(SIGTERM)
        return code

    def _entered(self, shell: Callable[[Attendance], int]) -> int:
        try:
            return shell(self)
        except LauncherError:
            # what was made in there is put in place all the same
            self._forward(SIGTERM)
            self._until_ended()
            raise

    def _until_ended(self) -> End:
        while (end := self._ended()) is None:
            self._attend()
        return end

    def _attend(self, session: Session | None = None, terminal: Terminal | None = None) -> None:
        """Wait once, and pass on what came. Raises LauncherError where that has become vain."""
        self._check_silence()
        for event in self._processes.wait(self._patience()):
            if not isinstance(event, Signalled):
                continue
            if event.number == SIGTSTP:
                self._processes.suspend()
            elif event.number == SIGWINCH and session and terminal and (size := terminal.size()):
                session.resize(*size)
            elif event.number not in _KEPT:
                self._waiting.append(event.number)
        if self._waiting and (self._spoke or self._clock.monotonic() >= self._awake_at):
            waiting, self._waiting = self._waiting, []
            for number in waiting:
                self._forward(number)

    def _is_vain(self) -> bool:
        return self._until is not None and self._clock.monotonic() >= self._until

    def _check_silence(self) -> None:
        if self._is_vain():
            raise LauncherError(
                "the container was asked three times to end, and the engine does not tell that it has",
                code="engine-silent",
                action="Look by `docker ps` whether it still runs, and end it by `docker kill`; is the engine well?",
                exit_code=Exit.NODE,
            )

    def _patience(self) -> float | None:
        """How long may be waited for the next event; for ever, if nothing is to be done until then."""
        if self._waiting and self._spoke:
            return 0.0
        times = [at for at in (self._awake_at if self._waiting else None, self._until) if at is not None]
        return max(0.0, min(times) - self._clock.monotonic()) if times else None

    def _forward(self, number: int) -> None:
        """Pass a signal on. Who asks a third time does not even want to wait for those who read our output."""
        self._asked += number in (SIGTERM, SIGINT)
        if self._asked >= _IMPATIENT:
            self._until = self._until or self._clock.monotonic() + LAST_S
            self._out.let_go()
            self._err.let_go()
        self._engine.signal(self._id, number)

    def _said(self, chunk: bytes) -> None:
        self._heard()
        self._out.write(chunk)

    def _told(self, chunk: bytes) -> None:
        self._heard()
        # nobody is waited for any more, but who does read is to learn how it ended
        (self._err.write if self._until is None else self._err.line)(chunk)
        *whole, rest = (self._line + chunk).split(b"\n")
        self._line = rest[-_LONGEST:]
        for line in whole:
            self.explained = line.startswith(b"error: ")
            if HELD.encode() in line and line.startswith(b"[ModelArts Service Log]"):
                self.held = True
                self._processes.wake()

    def _heard(self) -> None:
        if not self._spoke:
            self._spoke = True
            self._processes.wake()

    def _remove(self, name: str) -> None:
        if self._is_vain():
            return  # the engine would be waited for once more
        try:
            self._engine.remove(self._id)
            self.gone = True
        except LauncherError as error:
            _log.warning("the container %s could not be removed, and may still run: %s", name, error)
