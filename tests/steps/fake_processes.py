"""A clock that stands still and processes that follow a script: what the desk meets in tests without a kernel."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from launcher.core.lifecycle import Event, Woken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.errors import BootError
    from launcher.core.kin import Relative

FAKE_PID = 4711


class FakeClock:
    """Moves when told."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> str:
        return f"at {self.time:g}"


class FakeProcesses:
    """Hands out scripted events, one batch a `wait`; a batch may be a function that returns one (and does something).

    When the script is at its end, time passes up to the timeout; without one, a `wake` of a thread is awaited.
    """

    def __init__(self, clock: FakeClock, *script: Sequence[Event] | Callable[[], Sequence[Event]]) -> None:
        self.clock = clock
        self.script = list(script)
        self.pending: list[Sequence[Event]] = []
        """What is there already when a step asks before it starts."""
        self.sent: list[tuple[int, int]] = []
        self.started: list[tuple[tuple[str, ...], dict[str, str], str]] = []
        self.refusal: BootError | None = None
        self.output: tuple[bytes, bytes] = (b"", b"")
        self.held = False
        """Whether somebody keeps the child's stdout open."""
        self.alive: Callable[[int, int], bool] = lambda pid, number: False
        self.relatives: dict[int, Sequence[Relative]] = {}
        """Who is in a child's family."""
        self.suspended = 0
        self._fds: list[int] = []
        self._woken = threading.Event()
        self.patient = False
        """Whether a wait lasts until a thread really calls, instead of letting time pass."""

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, stdout: int, stderr: int) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.started.append((tuple(argv), dict(env), cwd))
        os.write(stdout, self.output[0])
        os.write(stderr, self.output[1])
        if self.held:
            self._fds.append(os.dup(stdout))
        return FAKE_PID + len(self.started) - 1

    def signal(self, pid: int, number: int) -> bool:
        if number:
            self.sent.append((pid, number))
        alive = self.alive(pid, number)
        # With nobody left the child's pipes are about to end by themselves, in real time.
        self.patient = number in (0, signal.SIGKILL) and not alive and not self._fds
        return alive

    def wait(self, timeout: float | None) -> Sequence[Event]:
        if timeout == 0:
            return self.pending.pop(0) if self.pending else ()
        if self.script:
            batch = self.script.pop(0)
            return batch() if callable(batch) else batch
        if timeout is not None and not self.patient:
            self.clock.time += timeout
            return ()
        assert self._woken.wait(30), "nothing will ever happen"
        self._woken.clear()
        return (Woken(),)

    def wake(self) -> None:
        self._woken.set()

    def family(self, pid: int) -> Sequence[Relative]:
        return self.relatives.get(pid, ())

    def send(self, pid: int, number: int) -> bool:
        self.sent.append((pid, number))
        return any(one.pid == pid for family in self.relatives.values() for one in family)

    def suspend(self) -> None:
        self.suspended += 1

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
