"""A run among the other nodes of its job: what its desk and their meeting tell each other. One node has no company.

It decides nothing: what a node's end means for the others is in `core/meeting/partings.py` and `core/lifecycle/`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit, LauncherError
from launcher.core.lifecycle import Failure, Phase
from launcher.core.meeting.partings import failed, parting
from launcher.core.record import Cause
from launcher.core.redact import mask
from launcher.rendezvous import Meeting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from launcher.core.lifecycle import State
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


class Company:
    """The others, for the main thread. What ends this run is told to them as soon as the desk knows it, and once."""

    def __init__(self, plan: Plan, world: World, report: Report, desk: Desk, meeting: Meeting) -> None:
        self._plan = plan
        self._world = world
        self._report = report
        self._desk = desk
        self._meeting = meeting
        self._said: Parting | None = None
        desk.listener = self._changed

    def ready(self, offer: str) -> Mapping[int, str]:
        """Wait until all nodes are ready to train, or one of them has ended; what each has to offer to the others."""
        desk, clock, task = self._desk, self._world.clock, self._plan.node.task
        started = clock.monotonic()
        self._meeting.ready(offer, serves=self._plan.serves)
        desk.until(Phase.READY, lambda: desk.state.released or not desk.state.going)
        if desk.state.going:
            count = len(self._plan.rendezvous.names) if self._plan.rendezvous else 1
            seconds = clock.monotonic() - started
            self._report.event(f"[{task}] [Duration: {seconds:.3f}s] All {count} nodes are ready.")
        return self._meeting.offers

    def explain(self, cause: Cause | None) -> None:
        """Tell why the boot process failed, now that it was looked for; that it failed was told at once."""
        if cause is not None and self._said is not None and self._said.how == "failed":
            self._say(msgspec.structs.replace(self._said, code=cause.code, message=cause.message, action=cause.action))

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
            late = None if trained else self._world.clock.monotonic() + LATE_S
            desk.until(Phase.REPORT, lambda: not self._meeting.needed or desk.state.end_by is not None, late)

    def defect(self, error: BaseException) -> None:
        """Tell that this launcher broke."""
        message = f"a defect of the launcher: {type(error).__name__}: {error}"
        cause = Cause(code="defect", message=message, action="Report it with the log of that node.")
        self._say(failed("training", Failure(Exit.DEFECT, cause)))

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
