"""The thin loop around `decide`: steps run on threads, children under pumps, signals are heard all the while.

It decides nothing: what to do about a signal, a deadline or an end is in `core/lifecycle/decide.py`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from launcher.children import Attended, Children, Sinks
from launcher.core.errors import Cancelled, LauncherError
from launcher.core.lifecycle import (
    Action,
    Cancel,
    Dump,
    Entered,
    Event,
    Exited,
    Expire,
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
    Suspend,
    Tick,
    Warn,
)
from launcher.core.lifecycle.deadlines import next_deadline, settle_by
from launcher.core.lifecycle.decide import UNFINISHED, decide
from launcher.core.outcome import Outcome, failure_of, outcome
from launcher.hurry import Hurry
from launcher.looks import Looks, name_left, nobody
from launcher.pool import StepThread
from launcher.streams.drain import Drain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.plan import Process
    from launcher.core.standing import Standing
    from launcher.protocols import Clock, Processes
    from launcher.stacks import Stacks
    from launcher.streams.outlet import Outlet

WARN_S = 600.0
"""How long before its time is over a job is warned; a tenth of a shorter time."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Desk:
    """Where the main thread sits. Its methods are for the main thread alone, `hear` for every other.

    `stop_after`: seconds that the whole job may take, from now. `stacks` makes what shows where children stand, once
    somebody asks. `told` gets a sentence for the record. `outlets` are those among all sinks whose readers may be slow.
    `serves`: what runs here does not end by itself. `listener` is called with the state whenever that has
    changed, `shown` with where the boot processes stand.
    """

    def __init__(
        self,
        processes: Processes,
        clock: Clock,
        grace: float,
        *,
        stop_after: float | None = None,
        serves: bool = False,
        stacks: Callable[[], Stacks | None] = nobody,
        told: Callable[[str], object] = _log.warning,
        outlets: Sequence[Outlet] = (),
    ) -> None:
        self._processes = processes
        self._clock = clock
        self._stop_after = stop_after
        self._looks = Looks(stacks)
        self._told = told
        self._outlets = outlets
        self._state = State(grace=grace, serves=serves)
        if stop_after is not None:
            at = clock.monotonic() + stop_after
            self._state = replace(self._state, expires_at=at, warn_at=at - min(WARN_S, stop_after / 10))
        self._children = Children(processes, clock)
        self._heard: deque[Event] = deque()
        self.listener: Callable[[State], object] = bool
        self.shown: Callable[[Standing], object] = bool
        self.hurry = Hurry()
        self._cancel = threading.Event()

    @property
    def state(self) -> State:
        """Where the trip is."""
        return self._state

    @property
    def first_failed(self) -> int | None:
        """The rank of the boot process that failed first."""
        return self._children.rank(self._state.first) if self._state.boot_code else None

    def outcome(self) -> Outcome:
        """How the run ended, as far as it is known; what did not finish is Abnormal."""
        return outcome(self._state)

    def fail(self, error: LauncherError) -> None:
        """Note that a step failed that ran outside `during`, or whose result says so."""
        self.heed(Finished(failure_of(error)))

    def heed(self, event: Event) -> None:
        """Take an event at once."""
        self._decide(event, self._clock.monotonic())

    def hear(self, event: Event) -> None:
        """Take an event from any thread; it is decided upon where the main thread waits next, which is at once."""
        self._heard.append(event)
        self._processes.wake()

    def until(self, phase: Phase, fact: Callable[[], bool], by: float | None = None) -> None:
        """Hear what happens until something is so, or until then. Nothing runs meanwhile."""
        self._enter(phase)
        while not fact() and (by is None or self._clock.monotonic() < by):
            self._attend_until(by)

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
        processes: Sequence[Process],
        env: Mapping[str, str],
        sinks: Callable[[Process], Sinks],
        *,
        started: Callable[[], object] = bool,
    ) -> tuple[Attended, ...]:
        """Run children to their end, their output to their sinks; those that were started (the state says why not all).

        The own variables of each are laid over `env`. The first that fails ends the others; what they leave behind in
        their groups or as orphans is stopped too.
        """
        self._enter(phase)
        if not self._may_begin(phase):
            return ()
        self._children = Children(self._processes, self._clock)
        try:
            if self._start(processes, env, sinks):
                started()
            self._until_ended()
            self._drain()
        except BaseException:
            # A defect: nothing that was started may outlive the launcher unattended.
            self._children.signal(SIGKILL)
            raise
        return self._children.attended()

    def _enter(self, phase: Phase) -> None:
        self._decide(Entered(phase), self._clock.monotonic())
        # What came between two steps belongs before the next one starts.
        self._attend_until(self._clock.monotonic())

    def _may_begin(self, phase: Phase) -> bool:
        return not self._state.left and (self._state.going or phase in UNFINISHED)

    def _attend_until(self, until: float | None) -> None:
        """Wait once, at most until then or until the state has something to do."""
        times = [at for at in (until, next_deadline(self._state), self._looks.deadline) if at is not None]
        timeout = max(0.0, min(times) - self._clock.monotonic()) if times else None
        events = list(self._processes.wait(timeout))
        # One time for all that was read in one go: the state takes signals of one moment for one request.
        now = self._clock.monotonic()
        while self._heard:
            events.append(self._heard.popleft())
        for event in (*events, Tick()):
            self._decide(event, now)
        self._looks.tick(now)

    def _decide(self, event: Event, now: float) -> None:
        if isinstance(event, Exited):
            self._exited(event)
        for told in self.hurry.foreseen(event, self._state):
            self._decide(told, now)
        before = self._state
        self._state, actions = decide(before, event, now)
        if isinstance(event, Signalled) and self._state.signals > before.signals:
            left = (self._state.end_by or now) - now
            _log.info("%s during %s: %.1f s until the end", Signals(event.number).name, before.phase.value, left)
        for action in actions:
            self._act(action)
        if self._state is not before:
            self.hurry.changed(before, self._state, self._children.living)
            self.listener(self._state)

    def _act(self, action: Action) -> None:
        match action:
            case Forward(number=number):
                self._children.signal(number)
            case Kill():
                self._kill()
            case Cancel():
                self._cancel.set()
            case Suspend():
                self._suspend()
            case Dump(gently=gently):
                self._looks.ask(self._children, gently=gently)
            case Warn() | Expire():
                self._tell_time(action)
            case Leave():
                pass  # a fact of the state, which every loop here looks at

    def _kill(self) -> None:
        if self._children.signal(SIGKILL):
            _log.warning("what did not end in time was killed")

    def _exited(self, event: Exited) -> None:
        self._children.exited(event)
        self._looks.exited(event, self._children.living)

    def _suspend(self) -> None:
        self._looks.stand_still()
        self._processes.suspend()

    def _tell_time(self, action: Warn | Expire) -> None:
        if isinstance(action, Expire):
            self._told(f"auto_stop: the job has had its {self._stop_after:g} s and is stopped now")
            return
        left = max(0.0, (self._state.expires_at or 0.0) - self._clock.monotonic())
        self._told(f"auto_stop: the job may take {self._stop_after:g} s and is stopped in {left:.0f} s")

    def _step_failure(self, error: BaseException | None) -> Failure | None:
        if error is None:
            return None
        if isinstance(error, Cancelled) and self._cancel.is_set():
            return UNFINISHED.get(self._state.phase)
        if isinstance(error, LauncherError):
            return failure_of(error)
        raise error

    def _start(self, processes: Sequence[Process], env: Mapping[str, str], sinks: Callable[[Process], Sinks]) -> bool:
        """Start them all; the first that cannot be started ends the ones before it."""
        for process in processes:
            try:
                pid = self._children.start(process, env, sinks(process))
            except LauncherError as error:
                self._decide(StartFailed(failure_of(error)), self._clock.monotonic())
                return False
            self._decide(Started(pid), self._clock.monotonic())
        return True

    def _until_ended(self) -> None:
        while self._state.running:
            self._attend_until(None)
        for pid in self._children.living:
            _log.warning("process %d was killed and does not end; it is left behind", pid)
        # Once killed, whoever comes to light meanwhile is killed as well: 0 only asks.
        while not self._state.left and self._children.signal(SIGKILL if Kill() in self._state.done else 0):
            self._attend_until(None)
        if self._state.left:
            name_left(self._processes, self._children.pids)

    def _drain(self) -> None:
        drain = Drain(self._children.pumps, self._outlets, self._clock.monotonic())
        while (look := drain.look(self._clock.monotonic(), settle_by(self._state))) is not None:
            self._attend_until(look)
        drain.close()
