"""The attempts at one training: how each ended, whether another one is worth it, and what must be so before it.

Only jobs that may be started again get here. It decides nothing by itself: the rules are in `core/retrying.py`, those
of what an attempt has gained in `core/gain.py`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.asking import Asker
from launcher.closing import explained
from launcher.core.errors import Exit, LauncherError
from launcher.core.gain import UNBEGUN, compare, no_progress, stuck
from launcher.core.lifecycle import Again, Failure, GivenUp, Phase, Signalled
from launcher.core.lifecycle.troubles import may_begin_again
from launcher.core.outcome import Outcome
from launcher.core.retrying import Decision, Past, judge, past_of
from launcher.gain import Gains
from launcher.pool import StepThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.company import Company
    from launcher.core.devices import Devices
    from launcher.core.gain import Gained, Mark
    from launcher.core.plan import Plan
    from launcher.core.record import Cause
    from launcher.gain import Seen
    from launcher.report import Report
    from launcher.supervise import Desk
    from launcher.world import World

LOOK_S = 2.0
"""Seconds between two looks at devices that somebody else holds."""
GAIN_S = 15.0
"""Seconds after which a look at the outputs is given up: a file system may not answer."""
SHOWN = 8


class Attempts:
    """Its methods are for the main thread alone. `share` draws the part of the longest pause that is waited."""

    def __init__(
        self,
        plan: Plan,
        world: World,
        report: Report,
        desk: Desk,
        others: Company | None,
        *,
        share: random.Random | None = None,
        gains: Gains | None = None,
    ) -> None:
        self._plan = plan
        self._world = world
        self._report = report
        self._desk = desk
        self._others = others
        self._share = share or random.Random()  # noqa: S311 - a pause is no secret
        self._past: list[Past] = []
        self._gains = gains or Gains(plan)
        self._gained: list[bool | None] = []
        self._mark: Mark | None = None
        """How far the training was when it began in this attempt; None as long as it has not."""
        self._devices: Devices | None = None

    @property
    def plan(self) -> Plan:
        """The plan, with the devices as they were before this attempt."""
        return self._plan if self._devices is None else replace(self._plan, devices=self._devices)

    def begin(self) -> None:
        """Note how far the training is, which is about to begin."""
        if self._desk.state.going:
            self._mark = self._gains.mark(self._aside)

    def again(self, found: Cause | None) -> bool:
        """Whether the training is started again; if so, the desk, the record and the devices are ready for it.

        `found` is why the boot processes failed, as far as it was looked for. Several nodes decide as number 0 says.
        """
        outcome = self._came_to(found)
        if self._others is None and outcome.phase != "Failed":
            return False
        gained = self._gain()
        decision = self._alone(outcome, gained) if self._others is None else self._together(self._others, gained)
        if not decision.again:
            return False
        self._world.log.part()
        self._report.again(outcome, decision.why)
        self._report.phase("pause")
        self._wait(decision.pause_s)
        self._free_devices()
        return True

    def _alone(self, outcome: Outcome, gained: Gained) -> Decision:
        self._desk.until(Phase.READY, lambda: True)  # who has asked for the end by now is heard first
        state = self._desk.state
        past = past_of(outcome, trained=state.boot_code is not None)
        if past is None or not may_begin_again(state):
            if state.expired:
                self._say("The training is not started again: the job has had the time that auto_stop gives it.")
            return Decision(again=False, why="")
        decision = self._worth(past, gained)
        if decision.again:
            self._desk.heed(Again(state.attempt + 1))
        return decision

    def _together(self, others: Company, gained: Gained) -> Decision:
        """Begin again where number 0 says so, which asks for its own view of it; all others wait for it."""
        decided = Decision(again=True, why="the nodes of the job begin again together")

        def decide(failure: Failure) -> float | None:
            nonlocal decided
            past = Past(code=failure.cause.code, message=failure.cause.message, trained=self._desk.state.released)
            decided = self._worth(past, gained)
            return decided.pause_s if decided.again else None

        attempt = others.agree(decide)
        if attempt is None:
            return Decision(again=False, why="")
        others.begin(attempt)
        return decided

    def _worth(self, past: Past, gained: Gained) -> Decision:
        """Whether another attempt is worth it after this one, and after which pause; that is said."""
        self._past.append(past)
        decision = judge(self._past, self._plan.resilience.retrying)
        if no_progress(self._gained) and (decision.again or decision.spent):
            self._desk.heed(GivenUp(Failure(Exit.NO_PROGRESS, stuck(gained))))
            return Decision(again=False, why="")
        if not decision.again:
            self._say(f"The training is not started again: {decision.why}.")
            return decision
        decision = replace(decision, pause_s=self._share.uniform(0.0, decision.pause_s))
        attempt = self._desk.state.attempt
        words = f"Attempt {attempt + 1} begins in {decision.pause_s:.1f} s: {decision.why}."
        self._say(f"Attempt {attempt} failed: {past.message.rstrip('.')}. {words}")
        return decision

    def _came_to(self, found: Cause | None) -> Outcome:
        """How this node's part in the attempt has ended."""
        state = self._desk.state
        if state.boot_code == 0 and state.going and not state.running:
            return Outcome(phase="Completed", exit_code=Exit.OK)
        return explained(self._desk.outcome(), found)

    def _gain(self) -> Gained:
        """What the attempt that has ended was worth."""
        before, self._mark = self._mark, None
        gained = UNBEGUN if before is None else compare(before, self._gains.mark(self._aside))
        self._gained.append(gained.gained)
        self._report.gained(gained.words)
        return gained

    def _aside(self, look: Callable[[], Seen]) -> Seen | None:
        """Look on a thread of its own; None where that takes too long, or somebody asks for the end meanwhile."""
        step = StepThread(lambda _: look(), bool, self._world.processes.wake)
        step.start()
        by = self._world.clock.monotonic() + GAIN_S
        self._desk.until(Phase.READY, lambda: step.over or not may_begin_again(self._desk.state), by)
        if step.error is not None and not isinstance(step.error, LauncherError):
            raise step.error
        return step.result

    def _free_devices(self) -> None:
        """Look at the devices until nobody holds memory of them any more; whoever does so to the end is named."""
        look = self._world.hardware
        if look is None or self._plan.devices.type == "CPU" or not self._desk.state.going:
            return
        ask = Asker(self._world.processes, self._world.clock, self._world.environ, self._heard)
        began, told = self._world.clock.monotonic(), False
        limit = self._plan.resilience.retrying.device_wait_s
        while self._desk.state.going:
            self._devices = look(ask)
            held = _holders(self._devices)
            if not held:
                return
            if self._world.clock.monotonic() - began >= limit:
                self._say(f"Devices are still held by {held}; the training is started all the same.")
                return
            if not told:
                self._say(f"Waiting until the devices are free, at most {limit:g} s: they are held by {held}.")
            told = True
            self._wait(min(LOOK_S, limit))

    def _say(self, words: str) -> None:
        self._report.event(f"[{self._plan.node.task}] {words}", "Warning")

    def _heard(self, number: int) -> None:
        self._desk.hear(Signalled(number))

    def _wait(self, seconds: float) -> None:
        by = self._world.clock.monotonic() + seconds
        self._desk.until(Phase.READY, lambda: not self._desk.state.going, by)


def _holders(devices: Devices) -> str:
    """Who holds memory of the devices, for people; empty where nobody does."""
    named = [
        f"process {each.pid}{f' ({each.name})' if each.name else ''} on device {each.device}" for each in devices.held
    ]
    more = f" and {len(named) - SHOWN} more" if named[SHOWN:] else ""
    return ", ".join(named[:SHOWN]) + more
