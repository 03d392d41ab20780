"""The trials of this worker: claimed, started on their lanes, listened to, ended, told to the study.

What is to be tried is for the study to say and what an ending means for the core. The main thread attends the children;
whatever waits for the study is done by the keeper's thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from launcher.core.errors import Exit, LauncherError
from launcher.core.search.endings import RunEnd, ending, unfit
from launcher.core.search.recorded import recorded
from launcher.core.search.slots import standing
from launcher.search.keeper import Keeper
from launcher.search.laying import clear_away, how_it_ran, lay_out, sweep
from launcher.search.scan import Scanner
from launcher.search.seat import Seat, start_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from launcher.children import Attended
    from launcher.core.search import Trial
    from launcher.core.search.endings import Asked
    from launcher.core.search.lanes import Lane
    from launcher.core.search.slots import Standing
    from launcher.protocols import Clock, Study
    from launcher.search.host import Start
    from launcher.search.quest import Quest

SAY_S = 30.0
"""Between two words on whom is waited for."""

_log = logging.getLogger(__name__)


class Told(Protocol):
    """Who wants to know. `shown` is called by the main thread, all else by the keeper's."""

    def looked(self, trials: tuple[Trial, ...], standing: Standing) -> None:
        """Take a new look at the study."""
        ...

    def ended(self, trial: Trial, standing: Standing) -> None:
        """Hear how a trial of this worker ended."""
        ...

    def summed_up(self, trials: tuple[Trial, ...], standing: Standing, *, stopping: bool) -> None:
        """Hear that nothing else comes."""
        ...

    def shown(self, now: float) -> float | None:
        """Show how it stands; when to do so again."""
        ...


class Trials:
    """The shift of a search (`host.Shift`)."""

    def __init__(self, quest: Quest, study: Study, told: Told, clock: Clock, wake: Callable[[], object]) -> None:
        self._quest = quest
        self._study = study
        self._told = told
        self._wake = wake
        self._keeper = Keeper(self._regularly, quest.beat_s, clock, wake)
        self._free: deque[Lane] = deque(quest.lanes)
        self._waiting: deque[Lane] = deque()
        self._ready: deque[Seat] = deque()
        self._unwanted: deque[Seat] = deque()
        self._seats: dict[str, Seat] = {}
        self._by_pid: dict[int, Seat] = {}
        self._guard = threading.Lock()
        self.trials: tuple[Trial, ...] = ()
        self.standing: Standing | None = None
        self._summed_up = False
        self._clearing = 0
        self._unfit: LauncherError | None = None
        self._clock = clock
        self._said = -SAY_S

    def start(self) -> None:
        """Begin. Raises RuntimeError where the node allows no more threads."""
        self._keeper.start()
        self._keeper.post(partial(sweep, self._quest.roots))
        self._keeper.post(self._look)

    def close(self) -> None:
        """Let the keeper end when it has done what it was asked."""
        self._keeper.close()

    @property
    def error(self) -> LauncherError | None:
        """Why this worker cannot go on: the study, or this node. What is no such error is a defect, and raised."""
        error = self._keeper.error
        if error is None or isinstance(error, LauncherError):
            return error or self._unfit
        raise error

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Those that are claimed and not told yet."""
        with self._guard:
            return tuple(self._seats.values())

    def starts(self) -> Iterable[Start]:
        """Who is to be started now; lanes without a trial get one claimed."""
        if not (self._ending or (self.standing is not None and self.standing.over)):
            while self._free:
                self._keeper.post(partial(self._claim, self._free.popleft()))
            while self._ready:
                yield start_of(self._quest, self._ready.popleft())

    def began(self, start: Start, pid: int | None, error: LauncherError | None) -> None:
        """Note that a trial's launcher runs, or tell why it does not."""
        seat = self._seats[start.process.cwd.rpartition("/")[2]]
        if pid is None:
            self._keeper.post(partial(self._finish, seat, RunEnd(code=Exit.NODE, phase="Failed", message=str(error))))
            return
        self._by_pid[pid] = seat
        self._keeper.post(partial(self._study.started, seat.trial, pid))
        with self._guard:
            seat.pid = pid
            if seat.asked is not None:
                self._unwanted.append(seat)

    def unwanted(self) -> Iterator[int]:
        """The pids of those that are to end."""
        if self._ending:
            for seat in self.seats:
                self._ask(seat, "end")
        while self._unwanted:
            seat = self._unwanted.popleft()
            if seat.pid in self._by_pid:
                yield seat.pid

    def ended(self, pid: int, attended: Attended) -> None:
        """A trial's launcher has ended: have it told."""
        seat = self._by_pid.pop(pid)
        self._keeper.post(partial(self._ran, seat, attended.code))

    def look_at(self, now: float) -> float | None:
        """When to look again, if nothing happens before."""
        return self._told.shown(now)

    def over(self, *, stopping: bool) -> bool:
        """Whether nobody else will be started and nothing is left to be noted."""
        if not (stopping or self._ending or (self.standing is not None and self.standing.over)):
            return False
        while self._ready:
            seat = self._ready.popleft()
            seat.asked = "end"
            self._keeper.post(partial(self._finish, seat, RunEnd(code=143, phase="Terminated")))
        if self._clearing or not self._keeper.idle:
            return False
        if not self._summed_up:
            self._summed_up = True
            self._keeper.post(partial(self._sum_up, stopping=stopping))
        return self._keeper.idle

    @property
    def _ending(self) -> bool:
        """Whether the search has failed, and all that still runs is to end."""
        return self.error is not None or (self.standing is not None and self.standing.failure is not None)

    def _ask(self, seat: Seat, who: Asked) -> None:
        """Have a trial end, once."""
        with self._guard:
            if seat.asked is not None:
                return
            seat.asked = who
            if seat.pid is not None:  # else whoever starts it looks
                self._unwanted.append(seat)
        self._wake()

    # From here on it is the keeper's thread.

    def _claim(self, lane: Lane) -> None:
        trial = self._study.claim(lane.label)
        if trial is None:
            self._waiting.append(lane)
            self._wait(self._look())
            return
        root = f"{self._quest.roots}/{trial.id}"
        scanner = Scanner((self._quest.policy.reward, *self._quest.policy.others), partial(self._rewarded, trial.id))
        seat = Seat(trial, lane, root, scanner)
        with self._guard:
            self._seats[trial.id] = seat
        try:
            lay_out(self._quest, trial, root)
        except LauncherError as error:
            self._finish(seat, RunEnd(code=Exit.NODE, phase="Failed", message=str(error)))
            return
        self._ready.append(seat)
        self._look()

    def _rewarded(self, trial: str, step: int, value: float) -> None:
        """Take a reward on its way, from the thread that reads the trial's output."""
        if recorded(step + 1):
            self._keeper.post(partial(self._report, trial, step, value))

    def _report(self, trial: str, step: int, value: float) -> None:
        seat = self._seats.get(trial)
        if seat is not None and self._study.report(seat.trial, step, value):
            self._ask(seat, "pruner")

    def _ran(self, seat: Seat, code: int) -> None:
        ran = how_it_ran(seat.root, code)
        if ran.phase not in (None, "Abnormal"):
            self._finish(seat, ran)
            return
        # Its launcher was killed: to end what that left takes its time, in which the others give signs of life.
        with self._guard:
            self._clearing += 1
        try:
            threading.Thread(target=self._clear, args=(seat, ran), name="clear", daemon=True).start()
        except RuntimeError:
            self._clear(seat, ran)

    def _clear(self, seat: Seat, ran: RunEnd) -> None:
        try:
            for line in self._quest.clear(seat.root):
                _log.warning("trial %s: %s", seat.trial.id, line)
        finally:
            self._keeper.post(partial(self._finish, seat, ran))
            with self._guard:
                self._clearing -= 1

    def _finish(self, seat: Seat, ran: RunEnd) -> None:
        made = ending(self._quest.policy, ran, seat.scanner.read(), seat.asked)
        if unfit(ran):
            self._unfit = LauncherError(
                f"this node cannot run a trial: {ran.message}",
                code="node-unfit",
                action="Mend the node, and start the same command again: the search goes on.",
                exit_code=Exit.NODE,
            )
        counts = self._study.finish(seat.trial, made)
        clear_away(seat.root, ran)
        with self._guard:
            del self._seats[seat.trial.id]
        standing = self._look()
        told = next((each for each in self.trials if each.number == seat.trial.number), None)
        if counts and told is not None:
            self._told.ended(told, standing)
        else:
            _log.warning("trial %s was given up by another worker meanwhile; its result does not count", seat.trial.id)
        self._again(seat.lane)

    def _regularly(self) -> None:
        """Say that the trials are alive, end those that are not wanted, and see whether there is something to do."""
        seats = {seat.trial.id: seat for seat in self.seats}
        for each in self._study.beat([seat.trial for seat in seats.values()]):
            self._ask(seats[each], "user")
        self._look()
        if self._waiting:
            self._again(self._waiting.popleft())

    def _wait(self, now: Standing) -> None:
        """Say, once in a while, for whom it is that nothing is begun here."""
        others = [each for each in self.trials if each.state == "RUNNING" and each.id not in self._seats]
        moment = self._clock.monotonic()
        if others and not now.over and not self._seats and moment >= self._said + SAY_S:
            self._said = moment
            first = others[0]
            _log.info(
                "nothing to begin here while %d trials run elsewhere (the first is %s of %s); those of a worker that is"
                " not heard of any more are tried again after a while",
                len(others),
                first.id,
                first.worker,
            )

    def _again(self, lane: Lane) -> None:
        self._free.append(lane)
        while self._waiting:
            self._free.append(self._waiting.popleft())

    def _sum_up(self, *, stopping: bool) -> None:
        standing = self._look()
        self._told.summed_up(self.trials, standing, stopping=stopping)
        self._study.close()

    def _look(self) -> Standing:
        self.trials = self._study.trials()
        self.standing = standing(self._quest.policy, self.trials, self._quest.since)
        self._told.looked(self.trials, self.standing)
        return self.standing
