"""A run among the other nodes of its job: what its desk and their meeting tell each other. One node has no company.

It decides nothing: what a node's end means for the others is in `core/meeting/` and `core/lifecycle/`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit, LauncherError
from launcher.core.lifecycle import Again, Failure, GivenUp, Phase
from launcher.core.lifecycle.troubles import may_begin_again
from launcher.core.meeting import Rhythm
from launcher.core.meeting.partings import failed, first_failure, parting, withdrawn
from launcher.core.outcome import UNEXPLAINED
from launcher.core.record import Cause
from launcher.core.redact import mask
from launcher.rendezvous import Meeting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from launcher.core.lifecycle import State
    from launcher.core.meeting.table import Table
    from launcher.core.meeting.words import Parting
    from launcher.core.plan import Plan, Rendezvous
    from launcher.report import Report
    from launcher.supervise import Desk
    from launcher.world import World

SERVED_S = 60.0
"""A server that ended by itself, and well, may have heard from the workers that they are done: so long they have to
say so to their launchers as well."""

LATE_S = 30.0
"""A launcher that starts a little later than this one, which has ended meanwhile, shall hear of it all the same."""

CALL_S = 20.0
"""What one call of number 0 may take where a name server does not answer."""

MISSED_S = Rhythm().lost_s + CALL_S
"""A training that failed may have failed for want of number 0. It counts as lost so long after its last word, and not
while a call of it is under way: so long is waited, for the cause shall name it."""

REST_S = 30.0
"""When an attempt has failed all boot processes have the grace to end, and their launchers so long to say why."""


class Company:
    """The others, for the main thread. What ends this run is told to them as soon as the desk knows it, and once.

    Where the training may be started again, each attempt that has not ended well everywhere is followed by `agree`, and
    by `begin` where that says so; `quiet`, `stood`, `tell` and `hung` are for any thread.
    """

    def __init__(self, plan: Plan, world: World, report: Report, desk: Desk, meeting: Meeting) -> None:
        self._plan = plan
        self._world = world
        self._report = report
        self._desk = desk
        self._meeting = meeting
        self._attempt = 1
        self._said: Parting | None = None
        desk.listener = self._changed

    def ready(self, offer: str) -> Mapping[int, str]:
        """Wait until all nodes are ready to train, or one of them has ended; what each has to offer to the others.

        A launcher that was started in place of another one takes part in the attempt that the others gather for.
        """
        desk, clock, task = self._desk, self._world.clock, self._plan.node.task
        started = clock.monotonic()
        while True:
            if self._meeting.attempt > self._attempt:
                self.begin(self._meeting.attempt)
            self._meeting.ready(offer, serves=self._plan.serves)
            desk.until(Phase.READY, lambda: desk.state.released or not desk.state.going or self._is_behind())
            if desk.state.released or not desk.state.going:
                break
        if desk.state.going:
            count = len(self._plan.rendezvous.names) if self._plan.rendezvous else 1
            seconds = clock.monotonic() - started
            self._report.event(f"[{task}] [Duration: {seconds:.3f}s] All {count} nodes are ready.")
        return self._meeting.offers

    def explain(self, cause: Cause | None) -> None:
        """Tell why the boot process failed, now that it was looked for; that it failed was told at once."""
        if cause is not None and self._said is not None and self._said.code in UNEXPLAINED:
            self._say(msgspec.structs.replace(self._said, code=cause.code, message=cause.message, action=cause.action))

    def ended(self) -> Failure | None:
        """Why this attempt has ended for all nodes, as number 0 knows it by now; None on every other one."""
        table = self._meeting.table
        if table is None or table.ended is None or self._plan.rendezvous is None:
            return None
        return first_failure(self._plan.rendezvous.names, table.ended)

    def agree(self, decide: Callable[[Failure], float | None]) -> int | None:
        """The attempt that all nodes begin after this one, which is over here; None where there is none.

        A node that was done waits as well, until all are: it is wanted where one of them fails. Number 0 asks `decide`
        for the pause before the next attempt, or None, once nothing of this one runs any more on any node.
        """
        table, desk, meeting = self._meeting.table, self._desk, self._meeting
        if not self._is_ending():
            self._report.phase("wait")
            meeting.idle()
            if table is not None:
                self._lead(table, decide)
            else:
                desk.until(Phase.READY, lambda: self._is_behind() or meeting.final or self._is_ending())
        if self._is_ending():
            self._say(withdrawn(self._said))
            return None
        if self._is_behind():
            if table is None:
                words = (
                    f"All nodes begin attempt {meeting.attempt} in {meeting.pause_s:.1f} s, as worker-0 has decided."
                )
                self._report.event(f"[{self._plan.node.task}] {words}", "Warning")
            return meeting.attempt
        if meeting.given_up and not (self._said and self._said.how == "done"):
            desk.heed(GivenUp(meeting.given_up))
        elif not (meeting.decided or (self._said and self._said.how == "done")):
            text = "The training is not started again: worker-0, which would decide on it, is gone."
            self._report.event(f"[{self._plan.node.task}] {text}", "Warning")
        return None

    def begin(self, attempt: int) -> None:
        """Take part in an attempt that all nodes begin; the desk forgets the last one, and nothing of it is heard."""
        desk = self._desk
        self._meeting.wait(attempt)
        desk.until(Phase.READY, lambda: True)  # what was said of the last attempt is heard before it is forgotten
        desk.heed(Again(attempt))
        self._attempt, self._said = attempt, None
        if desk.state.attempt != attempt:
            self._say(withdrawn(None))
            return
        self._meeting.go()
        self._changed(desk.state)

    def watch(self, looks: Callable[[], object], gathered: Callable[[Mapping[int, str]], object]) -> None:
        """Have `looks` called when no node moves and each is to show where it stands: to `stood`, within a minute.

        Number 0 gets `gathered` called with what they have shown, by number, for one summary of all. Both are called on
        the thread of the meeting, which they must not hold up.
        """
        self._meeting.listen(looks, gathered)

    def quiet(self, quiet: bool) -> None:  # noqa: FBT001 - a fact by itself
        """Tell whether nothing moves on this node."""
        self._meeting.quiet(quiet=quiet)

    def stood(self, text: str) -> None:
        """Show where this node stands, in at most 16 KiB."""
        self._meeting.stood(mask(text, self._report.secrets))

    def tell(self, text: str) -> None:
        """Have every node note a warning, as number 0."""
        self._meeting.tell(mask(text, self._report.secrets))

    def hung(self, cause: Cause) -> None:
        """End the training on every node because it hangs, as number 0; not if something moves again by then."""
        self._meeting.hung(self._masked(Failure(Exit.HUNG, cause)).cause)

    def outlast(self) -> None:
        """Wait for those who are not done yet, where that is this node's part.

        A server that has ended well waits for the workers' own word; number 0 stays as long as somebody trains or
        serves, who has to hear from it that the workers are done, or that one has failed. What ended this node is told
        to who comes a little late, too.
        """
        desk = self._desk
        if self._plan.serves and desk.state.boot_code == 0 and not desk.state.over and self._said is None:
            by = self._world.clock.monotonic() + SERVED_S
            desk.until(Phase.REPORT, lambda: desk.state.over or self._is_leaving(), by)
            state, cause = desk.state, desk.outcome().cause
            if not state.over and state.peer is None and cause is not None:
                self._say(failed("training", Failure(Exit.NODE, cause)))
        elif self._meeting.needed:
            self._report.phase("wait")
            self._report.event(f"[{self._plan.node.task}] Waiting for the other nodes, which have not ended yet.")
            trained = desk.state.released and not self._failed()
            late = None if trained else self._world.clock.monotonic() + (MISSED_S if desk.state.released else LATE_S)
            desk.until(Phase.REPORT, lambda: not self._meeting.needed or desk.state.end_by is not None, late)

    def defect(self, error: BaseException) -> None:
        """Tell that this launcher broke."""
        message = f"a defect of the launcher: {type(error).__name__}: {error}"
        cause = Cause(code="defect", message=message, action="Report it with the log of that node.")
        self._say(msgspec.structs.replace(failed("training", Failure(Exit.DEFECT, cause)), final=True))

    def _lead(self, table: Table, decide: Callable[[Failure], float | None]) -> None:
        """Decide for all, once nothing of this attempt runs any more."""
        desk, clock, meeting = self._desk, self._world.clock, self._meeting
        desk.until(Phase.READY, lambda: table.ended is not None or meeting.final or self._is_ending())
        by = clock.monotonic() + self._plan.grace + REST_S
        desk.until(Phase.READY, lambda: table.rested or table.hopeless or meeting.final or self._is_ending(), by)
        found = None if table.hopeless or meeting.final or self._is_ending() else self.ended()
        pause_s = None if found is None else decide(found)
        meeting.decide(pause_s, desk.state.given_up and self._masked(desk.state.given_up))
        desk.until(Phase.READY, lambda: self._is_behind() or meeting.final or self._is_ending())

    def _masked(self, failure: Failure) -> Failure:
        """A failure as it may be told to the others."""
        cause, secrets = failure.cause, self._report.secrets
        message, action = mask(cause.message, secrets), mask(cause.action, secrets)
        return Failure(failure.exit_code, msgspec.structs.replace(cause, message=message, action=action))

    def _is_behind(self) -> bool:
        """Whether all nodes were told to begin another attempt."""
        return self._meeting.attempt > self._attempt

    def _is_ending(self) -> bool:
        """Whether this run is to end whatever the others do."""
        return not may_begin_again(self._desk.state)

    def _failed(self) -> bool:
        return self._said is not None and self._said.how != "done"

    def _is_leaving(self) -> bool:
        """Whether there is a reason to wait no longer."""
        return self._desk.state.end_by is not None or self._desk.state.peer is not None

    def _changed(self, state: State) -> None:
        found = parting(state) if self._said is None else None
        if found is not None:
            self._say(found)

    def _say(self, word: Parting) -> None:
        """Tell the others, and no secret of the job with it."""
        secrets = self._report.secrets
        told = msgspec.structs.replace(word, message=mask(word.message, secrets), action=mask(word.action, secrets))
        self._said = told
        self._meeting.part(told)


@contextmanager
def company(known: Rendezvous, plan: Plan, world: World, report: Report, desk: Desk) -> Iterator[Company]:
    """The others, in touch from here on until the training is over."""
    meeting = Meeting(known, world.clock, desk.hear, report.event)
    found = Company(plan, world, report, desk, meeting)
    try:
        try:
            meeting.open()
        except LauncherError as error:
            desk.fail(error)
        yield found
    except BaseException as error:
        found.defect(error)
        raise
    finally:
        desk.listener = bool
        meeting.close()
