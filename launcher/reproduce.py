"""The record by which a run can be made again, put together beside the training: `reproduce` of run.json.

It never holds a training up, and nothing that goes wrong with it ends one: what could not be looked up is a note in it.
Before the boot processes only little files of the code are summed up, for a moment at most; all else is
looked up by a thread, and by one child that asks the interpreter once the training has gone on for a moment.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from functools import partial, wraps
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from launcher.aside import Aside
from launcher.core.errors import LauncherError
from launcher.core.lifecycle import Exited, Phase
from launcher.streams.pump import piped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal, ParamSpec

    from launcher.core.lifecycle import State
    from launcher.core.listed import Listed
    from launcher.core.plan import Plan
    from launcher.core.reproduce import Reproduce
    from launcher.report import Report
    from launcher.snapshot import Summed
    from launcher.stage import StageResult
    from launcher.streams.pump import Pump
    from launcher.supervise import Desk
    from launcher.world import World

    P = ParamSpec("P")

BEFORE_S = 0.005
"""For summing up code before the training begins."""
SETTLE_S = 2.0
"""At the end, for what is not looked up yet."""
FIRST_S = 0.25
"""The boot file starts alone: so long nothing is looked up beside it, unless it is over before."""
PAUSE_S = 5.0
"""Of an attempt at the training, before its interpreter is asked: that of a shorter one is asked when it is over."""

_log = logging.getLogger(__name__)


def _harmless(work: Callable[P, object]) -> Callable[P, None]:
    """Work for the record where a training would end with it: a defect of it is told, and ends nothing."""

    @wraps(work)
    def done(*given: P.args, **named: P.kwargs) -> None:
        try:
            work(*given, **named)
        except Exception:  # noqa: BLE001 - the edge of the record, which is never worth a training
            _log.exception("a defect ended a part of the record of the run")

    return done


def recording(plan: Plan, world: World, report: Report, desk: Desk, staged: StageResult | None) -> Recording | None:
    """Begin the record of a run whose boot processes are about to start; None where nobody could tell of its origin."""
    if world.origin is None or staged is None or not desk.state.going or not isinstance(world.processes, Aside):
        return None
    listed = {(each.kind, each.name): each for each in staged.listed}
    made = Recording(plan, world, report, desk, processes=world.processes, listed=listed)
    made.begin()
    return made


class Recording:
    """One record. `begin` and `settle` are for the main thread alone."""

    def __init__(
        self,
        plan: Plan,
        world: World,
        report: Report,
        desk: Desk,
        *,
        processes: Aside,
        listed: dict[tuple[str, str], Listed],
    ) -> None:
        self._plan = plan
        self._world = world
        self._report = report
        self._desk = desk
        self._processes = processes
        self._listed = listed
        self._lock = threading.Lock()
        self._hurry = threading.Event()
        self._known: dict[str, Summed] = {}
        self._since = 0
        self._begun = self._looked = self._closed = False
        self._attempt = 0
        self._question: _Question | None = None
        self._asked: set[int | None] = set()
        self._record: Reproduce | None = None
        self._before: Callable[[State], object] = desk.listener

    @_harmless
    def begin(self) -> None:
        """Sum up the code as far as that takes no time, and look on when the first boot process runs."""
        self._since = time.time_ns()
        code, listed = self._plan.code, self._listed.get(("code", "code"))
        if code is not None and listed is not None:
            from launcher.snapshot import summed_early  # noqa: PLC0415 - where a run is recorded

            self._known = summed_early(code.path, listed, BEFORE_S)
        self._before, self._desk.listener = self._desk.listener, self._hear
        self._processes.ended = self._heard

    @_harmless
    def settle(self) -> None:
        """Wait a moment for what is not known yet, ask the interpreter if nobody has, and let nothing change after."""
        if self._desk.listener == self._hear:
            self._desk.listener = self._before
        self._processes.never()
        self._hurry.set()
        hurried = self._desk.state.signals > 0 or self._desk.state.left
        if self._begun and not hurried and not self._has_packages():
            self._end_question()
            self._ask("end")
        self._look()
        if not hurried and not self._over():
            end = self._world.clock.monotonic() + SETTLE_S
            self._desk.until(Phase.REPORT, lambda: self._over() or self._desk.state.signals > 0, end)
        self._end_question()
        self._close()

    def _has_packages(self) -> bool:
        with self._lock:
            return self._record is not None and self._record.packages is not None

    def _hear(self, state: State) -> None:
        """Begin when something runs; what an attempt has not asked, the next one asks."""
        self._before(state)
        if state.phase is Phase.RUN and state.running and state.attempt != self._attempt:
            self._attempt = state.attempt
            self._look()
            self._processes.later(PAUSE_S, self._ask_now)

    def _look(self) -> None:
        """Look up what takes its time, once, on a thread of its own."""
        if self._begun:
            return
        self._begun = True
        try:
            threading.Thread(target=self._look_up, name="record", daemon=True).start()
        except RuntimeError:
            self._looked = True  # and what is missing is told at the end

    def _ask(self, asked: Literal["begin", "end"]) -> None:
        """Ask the boot file's interpreter; a trial's was asked by its search, and a command names none."""
        if self._plan.engine == "command" or self._plan.staged is not None:
            return
        self._question = _Question(self._processes, partial(self._answered, asked))
        self._asked.add(self._question.put(self._plan, self._world.environ))

    @_harmless
    def _ask_now(self) -> None:
        """Ask beside the training, where it still goes on; an interpreter that does not even start is ended too."""
        from launcher.core.freeze import LIMIT_S  # noqa: PLC0415 - not before the training

        state = self._desk.state
        if state.phase is not Phase.RUN or state.signals or self._has_packages():
            return
        if state.running:
            self._ask("begin")
            self._processes.later(LIMIT_S, self._end_question)
        else:  # between two trials
            self._processes.later(PAUSE_S, self._ask_now)

    @_harmless
    def _heard(self, event: Exited) -> None:
        """End a question when another child ends, for beside it nobody could tell whose the orphans are; ask later."""
        if event.pid in self._asked:
            self._asked.discard(event.pid)
            if self._question is not None:
                self._question.heard(event)
        elif self._end_question():
            self._processes.later(PAUSE_S, self._ask_now)

    def _end_question(self) -> bool:
        """Whether one still went on."""
        return self._question is not None and self._question.end()

    def _over(self) -> bool:
        return self._looked and (self._question is None or self._question.over)

    def _look_up(self) -> None:
        self._hurry.wait(FIRST_S)
        from launcher.remembering import look_up  # noqa: PLC0415 - not before the training

        try:
            look_up(self._plan, self._world, self._listed, self._known, self)
        except Exception as error:  # noqa: BLE001 - a thread's edge: the record is never worth a training
            self.note(f"not everything could be looked up: {type(error).__name__}: {error}")
        self._looked = True
        self._world.processes.wake()

    def _answered(self, asked: Literal["begin", "end"], text: str) -> None:
        """Take the interpreter's answer, on the thread that read it."""
        from launcher.core.freeze import told  # noqa: PLC0415 - not before the training

        packages = told(text, asked)
        if packages is not None:
            self.put(packages=packages)

    @property
    def since_ns(self) -> int:
        """When the training was about to begin: what was written to after that is not what was staged."""
        return self._since

    def secrets(self) -> Sequence[str]:
        """What is masked in all that leaves."""
        return self._report.secrets

    def stopped(self) -> bool:
        """Whether nobody waits for more."""
        return self._closed

    def note(self, words: str) -> None:
        """Say what is missing, from any thread."""
        with self._lock:
            notes = self._record.notes if self._record is not None else ()
        self.put(notes=(*notes, words))

    def put(self, **known: Any) -> None:
        """Note what is known now, from any thread, and write run.json with it."""
        from launcher.remembering import laid  # noqa: PLC0415 - not before the training

        with self._lock:
            if self._closed:
                return
            self._record = laid(self._plan, self._record, known)
            self._report.reproduced = self._record
            self._report.write()

    def _close(self) -> None:
        """Take nothing more; what is missing is said. Whoever ends the run writes it down."""
        with self._lock:
            self._closed = True
            from launcher.remembering import closed  # noqa: PLC0415 - not before the training

            self._record = closed(self._plan, self._record, looked=self._looked, asked=self._question is not None)
            self._report.reproduced = self._record


class _Question:
    """The one child that asks an interpreter what it could load. All but its end is for the main thread."""

    def __init__(self, processes: Aside, told: Callable[[str], object]) -> None:
        self._processes = processes
        self._told = told
        self._pid: int | None = None
        self._pump: Pump | None = None
        self.over = False

    def put(self, plan: Plan, environ: Mapping[str, str]) -> int | None:
        """Ask; the pid of the child that does. Where that cannot be, the question is over at once."""
        from launcher.core.freeze import question  # noqa: PLC0415 - not before the training

        argv = question(plan.interpreter, plan.processes[0].env.get("PYTHONPATH", ""))
        try:
            self._pump, end = piped((), self._ended)
        except LauncherError:
            self.over = True
            return None
        with (
            os.fdopen(end, "wb", 0),
            suppress(LauncherError),
        ):  # where nothing is started, its pump sees the end at once
            self._pid = self._processes.start(argv, environ, "/", end, end)
        return self._pid

    def heard(self, event: Exited) -> None:
        """Hear of an end: after its own there is nobody to be signalled."""
        if event.pid == self._pid:
            self._pid = None

    def end(self) -> bool:
        """End it, if it still goes on, and say whether it did."""
        if self._pid is None:
            return False
        self._processes.signal(self._pid, SIGKILL)
        return True

    def _ended(self) -> None:
        if self._pump is not None:
            self._told(self._pump.tail.decode(errors="replace"))
        self.over = True
        self._processes.wake()
