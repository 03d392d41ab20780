"""The other sentence: what an earlier run could not put in its place is put there now, from the folders it left.

Nothing is staged or started. The earlier run's documents are brought up to date; how that run ended stays in them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit
from launcher.core.keys import is_own
from launcher.core.lifecycle import Failure, Phase
from launcher.core.parse.run import Run, amended
from launcher.core.plan import Plan
from launcher.core.record import FailedKey, Level, Staged, Synced
from launcher.core.redact import mask, to_json
from launcher.core.urls import wrong_key
from launcher.disk import reason
from launcher.protocols import Clock, Occupancy, Processes, Record, Store
from launcher.report import append, event_line, write_whole
from launcher.supervise import Desk
from launcher.sync import Sync
from launcher.sync.confirm import confirmed
from launcher.sync.journal import Noted, Past, resume
from launcher.sync.pace import Patience, patient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.parse.cursor import Json
    from launcher.core.plan import Output

    Stopped = Callable[[], bool]

_log = logging.getLogger(__name__)
GONE = "it was not saved by the run, and is not there any more"


class Later(msgspec.Struct, frozen=True, kw_only=True):
    """What putting in place needs of the world. `log_stays` is why the log may not leave, if so.

    `retries` is what `Sync` takes it for; `occupancy` makes the sign in outputs that are written to.
    """

    store: Store
    processes: Processes
    clock: Clock
    grace: float
    secrets: tuple[str, ...] = ()
    log_stays: str | None = None
    retries: Patience = patient
    occupancy: Callable[[Plan, Record], Occupancy | None] = lambda _plan, _record: None


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """How it went. `done`: it came to its end; `changed`: not everything was in its place before; `interrupted` by."""

    synced: tuple[Synced, ...] = ()
    done: bool = False
    changed: bool = True
    interrupted: int | None = None
    failure: Failure | None = None

    @property
    def failed(self) -> tuple[tuple[str, FailedKey], ...]:
        """What is not in its place, with its channel."""
        return tuple((entry.channel, one) for entry in self.synced for one in entry.failed)

    @property
    def exit_code(self) -> int:
        """The exit code: 0 only if everything is in its place."""
        if self.done and self.failure is None and not self.failed:
            return Exit.OK
        if self.interrupted is not None:
            return 128 + self.interrupted
        return self.failure.exit_code if self.failure else Exit.NOT_SAVED


def written(plan: Plan, earlier: Run) -> Plan:
    """The plan without its outputs where no boot process was started: what lies in the store is another run's."""
    return plan if earlier.trained else msgspec.structs.replace(plan, outputs=())


def recover(plan: Plan, earlier: Run, document: Json, later: Later) -> Recovered:
    """Put in place what the run of this plan could not; its run.json is `earlier`, and as a whole `document`."""
    desk = Desk(later.processes, later.clock, later.grace)
    trail = Trail(plan, later)
    attempt = Attempt(plan, earlier, later, trail)

    def broken_off(stopped: Stopped) -> Stopped:
        # nothing else waits for the grace here: the first signal ends the uploads, the rest of it is for the documents
        return lambda: stopped() or desk.state.stopped is not None

    done = desk.during(Phase.SYNC, lambda stopped: attempt.put(broken_off(stopped)))
    if done is None:
        done = Recovered()
    elif done.changed:
        entries = done.synced
        told = desk.during(Phase.REPORT, lambda stopped: attempt.tell(document, entries, stopped))
        done = msgspec.structs.replace(done, synced=entries if told is None else told)
    desk.during(Phase.REPORT, attempt.leave)
    stop = desk.state.stopped
    return msgspec.structs.replace(done, interrupted=stop and stop.number, failure=desk.state.failure)


class Trail:
    """The record of a later upload: lines added to the events of the run."""

    def __init__(self, plan: Plan, later: Later) -> None:
        self._path = plan.files.events
        self._later = later

    def event(self, message: str, level: Level = "Info") -> None:
        """Add a line; an events.jsonl that takes none stops nothing."""
        message = mask(message, self._later.secrets)
        try:
            append(self._path, event_line(self._later.clock.now(), message, level))
        except OSError as error:
            _log.warning("%s cannot be written (%s)", self._path, reason(error))

    def staged(self, entry: Staged) -> None:
        """Nothing is staged here, so there is nothing to note."""

    def synced(self, entry: Synced) -> None:
        """What was put comes back as a result."""


class Attempt:
    """One later upload, on the threads of the desk: the outputs and the log first, then what tells of them."""

    def __init__(self, plan: Plan, earlier: Run, later: Later, trail: Trail) -> None:
        self._plan = plan
        self._earlier = earlier
        self._later = later
        self._trail = trail
        self._sync: Sync | None = None
        self._occupancy = later.occupancy(plan, trail)

    def put(self, stopped: Stopped) -> Recovered:
        """Put outputs and log in their place. Raises StoreError where the store cannot be asked at all."""
        plan, later = self._plan, self._later
        known = confirmed(plan, later.store, stopped, later.retries)
        self._sync = Sync(
            plan,
            later.store,
            self._trail,
            later.clock,
            {name: {one.key: one.stamp for one in noted} for name, noted in known.items()},
            secrets=[secret.encode(errors="surrogateescape") for secret in later.secrets],
            journal=resume(plan.files.uploads),
            past=self._past(known),
            with_log=later.log_stays is None,
            retries=later.retries,
        )
        if self._sync.whole(stopped) and self._earlier.phase == "Completed":
            return Recovered(synced=self._earlier.synced, done=True, changed=False)
        if self._occupancy is not None:
            self._occupancy.take(stopped)  # by now another run may be at work there
            self._occupancy.keep()
        entries = self._sync.finish(stopped)
        return Recovered(done=True, synced=tuple(self._with_log(entry) for entry in entries))

    def leave(self, stopped: Stopped) -> None:
        """Take the sign away that others see in the outputs."""
        if self._occupancy is not None:
            self._occupancy.end(stopped)

    def tell(self, document: Json, synced: tuple[Synced, ...], stopped: Stopped) -> tuple[Synced, ...]:
        """Bring events and run.json up to date, on the node and at the target; the entries with what failed of it."""
        plan = self._plan
        objects, size = sum(entry.objects for entry in synced), sum(entry.bytes for entry in synced)
        failed = sum(len(entry.failed) for entry in synced)
        said = f"Outputs were put in place after the run: {objects:,} objects, {size:,} bytes, {failed:,} failed."
        self._trail.event(f"[{plan.node.task}] {said}", "Error" if failed else "Info")
        synced = self._published(synced, [plan.files.events], stopped)
        synced = self._write(document, synced)
        told = self._published(synced, [plan.files.run_json], stopped)
        return told if told == synced else self._write(document, told)

    def _past(self, known: Mapping[str, Sequence[Noted]]) -> dict[str, Past]:
        named = {entry.channel: entry.failed for entry in self._earlier.synced}
        past = {}
        for output in self._plan.outputs:
            done = {one.key: one.entry for one in known[output.name] if one.entry is not None}
            lost = {one.key: GONE for one in named.get(output.name, ()) if _is_gone(output, one.key)}
            past[output.name] = Past(done=done, lost={key: why for key, why in lost.items() if key not in done})
        return past

    def _with_log(self, entry: Synced) -> Synced:
        if entry.channel != "log" or self._later.log_stays is None:
            return entry
        return _with_failed(entry, (FailedKey(f"{self._plan.job.label}.log", self._later.log_stays),))

    def _write(self, document: Json, synced: tuple[Synced, ...]) -> tuple[Synced, ...]:
        """Write run.json; the entries, with it among the failed ones where it cannot be written."""
        whole = not any(entry.failed for entry in synced)
        completed = whole and self._earlier.awaits_only_uploads(len(self._plan.processes))
        text = to_json(amended(document, synced, completed=completed), self._later.secrets)
        try:
            write_whole(self._plan.files.run_json, text)
        except OSError as error:
            _log.warning("%s cannot be written (%s)", self._plan.files.run_json, reason(error))
            return _failing(synced, (FailedKey("run.json", f"it cannot be written on the node: {reason(error)}"),))
        return synced

    def _published(self, synced: tuple[Synced, ...], paths: Sequence[str], stopped: Stopped) -> tuple[Synced, ...]:
        failed = self._sync.publish(paths, stopped) if self._sync is not None else ()
        return _failing(synced, failed)


def _is_gone(output: Output, key: str) -> bool:
    """Whether a file that the run could not save has gone with it; what is named besides files goes for nothing."""
    if not key or key.endswith("/") or wrong_key(key) or is_own(key):
        return False
    return not os.path.lexists(os.path.join(output.path, key))


def _with_failed(entry: Synced, failed: tuple[FailedKey, ...]) -> Synced:
    return msgspec.structs.replace(entry, failed=(*entry.failed, *failed))


def _failing(synced: tuple[Synced, ...], failed: tuple[FailedKey, ...]) -> tuple[Synced, ...]:
    """The entries, with documents that failed among those of the log; without a log they are an entry of their own."""
    if not failed:
        return synced
    if not any(entry.channel == "log" for entry in synced):
        return (*synced, Synced(channel="log", target="", objects=0, bytes=0, seconds=0.0, failed=failed))
    return tuple(_with_failed(entry, failed) if entry.channel == "log" else entry for entry in synced)
