"""The thin loop around `lifecycle.decide`: steps run on threads, children under pumps, signals are heard all the while.

It decides nothing: what to do about a signal, a deadline or an end is in `core/lifecycle.py`.
"""

from __future__ import annotations

import logging
import os
import threading
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING, TypeVar

import msgspec

from launcher.core.errors import Cancelled, LauncherError
from launcher.core.lifecycle import (
    UNFINISHED,
    Action,
    Cancel,
    Entered,
    Event,
    Exited,
    Failure,
    Finished,
    Forward,
    Kill,
    Leave,
    Phase,
    Signalled,
    Started,
    StartFailed,
    State,
    Tick,
    decide,
    next_deadline,
    settle_by,
)
from launcher.core.outcome import Outcome, outcome
from launcher.core.record import Cause, Ended
from launcher.logs import Outlet
from launcher.pool import StepThread, no_threads
from launcher.pump import Pump

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.plan import Process
    from launcher.logs import LogFile
    from launcher.protocols import Clock, Processes

DRAIN_S = 2.0
"""How long an output that somebody still holds open is read on (contract: times at the end)."""
DRAIN_LEAST_S = 0.1
"""The same where no time is left: a pump needs a moment to find that the output has ended."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Attended(msgspec.Struct, frozen=True, kw_only=True):
    """A child from its start to its end; `code` is its exit code or 128 + n; the tails are at most 8 KiB each."""

    ended: Ended
    code: int
    stdout: bytes
    stderr: bytes


class Desk:
    """Where the main thread sits. Its methods are for the main thread alone."""

    def __init__(
        self,
        processes: Processes,
        clock: Clock,
        grace: float,
        *,
        out: Outlet | None = None,
        err: Outlet | None = None,
    ) -> None:
        self._processes = processes
        self._clock = clock
        self._out = out or Outlet(1, "stdout")
        self._err = err or Outlet(2, "stderr")
        self._state = State(grace=grace)
        self._groups: tuple[int, ...] = ()
        self._cancel = threading.Event()
        self._exits: dict[int, tuple[Exited, str]] = {}

    @property
    def state(self) -> State:
        """Where the trip is."""
        return self._state

    def outcome(self) -> Outcome:
        """How the run ended, as far as it is known; what did not finish is Abnormal."""
        return outcome(self._state)

    def fail(self, error: LauncherError) -> None:
        """Note that a step failed that ran outside `during`, or whose result says so."""
        self._decide(Finished(_failure(error)), self._clock.monotonic())

    def during(self, phase: Phase, work: Callable[[Callable[[], bool]], T]) -> T | None:
        """Run a step on a thread of its own and hear signals meanwhile; its result, or None when the state says why.

        `work` gets a question to ask between parts: True means stop now and raise `Cancelled`. To return is to say
        that everything is done. Nothing but the sync and the report starts once the run is interrupted or has failed.
        An exception that is no `LauncherError` is a defect and is raised here.
        """
        self._cancel = threading.Event()
        self._enter(phase)
        if not self._may_begin(phase):
            return None
        step = StepThread(work, self._cancel.is_set, self._processes.wake)
        step.start()
        while not (step.over or self._state.left):
            self._attend_until(None)
        if not step.over:
            _log.warning("the step %r does not end and is left behind", phase.value)
            return None
        self._decide(Finished(self._step_failure(step.error)), self._clock.monotonic())
        return step.result

    def attend(
        self,
        phase: Phase,
        process: Process,
        env: Mapping[str, str],
        log: LogFile,
        *,
        out: Outlet | None = None,
        err: Outlet | None = None,
        started: Callable[[], object] = bool,
    ) -> Attended | None:
        """Run a child to its end, its output to ours and the log; None when it was not started (the state says why).

        Its own variables are laid over `env`. What it leaves behind in its group or as orphans is stopped too.
        """
        self._enter(phase)
        if not self._may_begin(phase):
            return None
        began = self._clock.now()
        pid, pumps = self._start(process, env, (out or self._out, log), (err or self._err, log))
        if pid is None:
            return None
        try:
            started()
            self._until_ended(pid)
            self._drain(pumps)
        except BaseException:
            # A defect: nothing that was started may outlive the launcher unattended.
            self._signal(SIGKILL)
            raise
        finally:
            self._groups = ()
        return self._attended(process, pid, began, pumps)

    def _enter(self, phase: Phase) -> None:
        self._decide(Entered(phase), self._clock.monotonic())
        # What came between two steps belongs before the next one starts.
        self._attend_until(self._clock.monotonic())

    def _may_begin(self, phase: Phase) -> bool:
        return not self._state.left and (self._state.going or phase in UNFINISHED)

    def _attend_until(self, until: float | None) -> None:
        """Wait once, at most until then or until the state has something to do."""
        times = [at for at in (until, next_deadline(self._state)) if at is not None]
        timeout = max(0.0, min(times) - self._clock.monotonic()) if times else None
        events = self._processes.wait(timeout)
        # One time for all that was read in one go: the state takes signals of one moment for one request.
        now = self._clock.monotonic()
        for event in (*events, Tick()):
            self._decide(event, now)

    def _decide(self, event: Event, now: float) -> None:
        if isinstance(event, Exited) and event.pid in self._state.running:
            self._exits[event.pid] = event, self._clock.now()
        before = self._state
        self._state, actions = decide(before, event, now)
        if isinstance(event, Signalled) and self._state.signals > before.signals:
            self._tell_budget(event.number, now)
        for action in actions:
            self._act(action)

    def _tell_budget(self, number: int, now: float) -> None:
        left = (self._state.end_by or now) - now
        _log.info("%s during %s: %.1f s until the end", Signals(number).name, self._state.phase.value, left)

    def _act(self, action: Action) -> None:
        match action:
            case Forward(number=number):
                self._signal(number)
            case Kill():
                if self._signal(SIGKILL):
                    _log.warning("what did not end in time was killed")
            case Cancel():
                self._cancel.set()
            case Leave():
                pass  # a fact of the state, which every loop here looks at

    def _signal(self, number: int) -> bool:
        reached = [self._processes.signal(pid, number) for pid in self._groups]
        return any(reached)

    def _step_failure(self, error: BaseException | None) -> Failure | None:
        if error is None:
            return None
        if isinstance(error, Cancelled) and self._cancel.is_set():
            return UNFINISHED.get(self._state.phase)
        if isinstance(error, LauncherError):
            return _failure(error)
        raise error

    def _start(
        self, process: Process, env: Mapping[str, str], out: tuple[Outlet, LogFile], err: tuple[Outlet, LogFile]
    ) -> tuple[int | None, tuple[Pump, ...]]:
        ends: list[int] = []
        pumps: list[Pump] = []
        pid: int | None = None
        try:
            # The pumps first: where there is no thread for them, there is no child that nobody reads.
            for sinks in (out, err):
                pump, end = self._pump(sinks)
                pumps.append(pump)
                ends.append(end)
            pid = self._processes.start(process.argv, {**env, **process.env}, process.cwd, ends[0], ends[1])
        except LauncherError as error:
            self._decide(StartFailed(_failure(error)), self._clock.monotonic())
        finally:
            # Without a child the pumps see the end at once and close their pipes.
            for end in ends:
                os.close(end)
        if pid is not None:
            self._groups = (pid,)
            self._decide(Started(pid), self._clock.monotonic())
        return pid, tuple(pumps)

    def _pump(self, sinks: tuple[Outlet, LogFile]) -> tuple[Pump, int]:
        """A pump at work, and the end of the pipe for whoever writes."""
        pipe, end = os.pipe()
        try:
            pump = Pump(pipe, sinks, self._processes.wake)
            pump.start()
        except BaseException as error:
            os.close(pipe)
            os.close(end)
            if isinstance(error, RuntimeError):
                raise no_threads("take the output of a process") from error
            raise
        return pump, end

    def _until_ended(self, pid: int) -> None:
        while pid in self._state.running:
            self._attend_until(None)
        if pid not in self._exits:
            _log.warning("process %d was killed and does not end; it is left behind", pid)
            return
        # Once killed, whoever comes to light meanwhile is killed as well: 0 only asks.
        while not self._state.left and self._signal(SIGKILL if Kill() in self._state.done else 0):
            self._attend_until(None)

    def _drain(self, pumps: tuple[Pump, ...]) -> None:
        now = self._clock.monotonic()
        while not all(pump.over for pump in pumps):
            end = max(now + DRAIN_LEAST_S, min(now + DRAIN_S, settle_by(self._state) or now + DRAIN_S))
            if self._clock.monotonic() >= end:
                _log.warning("an output is held open by a process that did not end; it is read no further")
                break
            self._attend_until(end)
        for pump in pumps:
            pump.leave()
            if pump.error is not None:
                raise pump.error

    def _attended(self, process: Process, pid: int, started: str, pumps: tuple[Pump, ...]) -> Attended:
        exited, at = self._exits.pop(pid, (None, None))
        ended = Ended(
            rank=process.rank,
            local_rank=process.local_rank,
            pid=pid,
            exit_code=exited.code if exited and exited.signal is None else None,
            signal=exited.signal if exited else SIGKILL,
            started=started,
            ended=at,
            peak_rss_bytes=exited.peak_rss_bytes if exited else None,
        )
        code = exited.code if exited else 128 + SIGKILL
        return Attended(ended=ended, code=code, stdout=pumps[0].tail, stderr=pumps[1].tail)


def _failure(error: LauncherError) -> Failure:
    return Failure(error.exit_code, Cause(code=error.code, message=str(error), action=error.action))
