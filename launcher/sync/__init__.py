"""Sync: put outputs and logs in their place in the store, while the boot file runs and after it.

Nothing that fails is hidden: what is not in its place at the end is named in the result. It deletes no object but this
worker's own old manifest, and no file at all.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from launcher.core import events
from launcher.core.errors import Cancelled, SyncError
from launcher.pool import each as each_of
from launcher.sync.documents import Documents
from launcher.sync.meanwhile import Meanwhile
from launcher.sync.pace import Pace, Patience, patient
from launcher.sync.upload import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from launcher.core.plan import Plan
    from launcher.core.record import FailedKey, Moving, Synced
    from launcher.disk import Stamp
    from launcher.protocols import Clock, Record, Store
    from launcher.sync.journal import Journal, Past
    from launcher.sync.turns import Stopped, Task

_log = logging.getLogger(__name__)

PATIENCE = 0.1
"""Seconds that transfers have to notice a stop: the report that names what they left has little more."""


class Sync:
    """All that a run puts in the store. `baseline` is stage's: by output name, the state of what it predownloaded.

    What the store acknowledges is noted in the `journal`. By output name, `past` is what an earlier run did, to go on
    with. Without `with_log` the log itself stays where it is. `retries` makes the patience of each output.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        record: Record,
        clock: Clock,
        baseline: Mapping[str, Mapping[str, Stamp]],
        *,
        secrets: Sequence[bytes] = (),
        journal: Journal | None = None,
        past: Mapping[str, Past] | None = None,
        with_log: bool = True,
        retries: Patience = patient,
    ) -> None:
        self._plan = plan
        self._record = record
        self._clock = clock
        self._with_log = with_log
        self._pace = pace = Pace(plan.transfers.most, plan.transfers.memory_bytes, clock.monotonic)
        known = past or {}
        self._folders = tuple(
            Folder(
                plan,
                each,
                store,
                clock,
                baseline.get(each.name, {}),
                retries=retries(pace.slowed, plan.transfers.patience),
                journal=journal,
                past=known.get(each.name),
            )
            for each in plan.outputs
        )
        if journal is not None and past is None:  # what was there before the run need not be sent after a kill either
            for output in plan.outputs:
                journal.found(output.name, output.target.folder.url, baseline.get(output.name, {}))
        target = plan.log_target
        own = retries(pace.slowed, plan.transfers.patience)
        self._documents = None if target is None else Documents(plan, target, store, secrets, own)
        self.summed_up = False
        self.meanwhile = False
        self._beside = Meanwhile(plan, self._folders, self._documents, pace, clock)

    def periodic(self, stopped: Stopped) -> None:
        """Upload what stands still, each output by its period, until `halt`; `stopped` breaks off a transfer too."""
        self._beside.periodic(stopped)

    def hasten(self) -> None:
        """Upload what stands still at once, newest first, and again every second: the run may be killed soon."""
        self._beside.hasten()

    def halt(self) -> None:
        """Begin nothing more in `periodic`, nor in haste; what is on its way is finished."""
        self._beside.halt()

    def moving(self) -> tuple[Moving, ...]:
        """How far the final upload of each output is."""
        return tuple(folder.moving() for folder in self._folders)

    def whole(self, stopped: Stopped = lambda: False) -> bool:
        """Whether every output is whole in the store already. Changes nothing there; raises StoreError."""
        standing = [folder.stands(stopped) for folder in self._folders]
        return all(standing)

    def finish(self, stopped: Stopped) -> tuple[Synced, ...]:
        """Put everything in its place, newest first, the log after the outputs, the manifests last.

        Never raises for what could not be put: it is named in the result, also when `stopped()` cut it short. A log
        that was only not in time is named by `publish`, which has a time of its own for it.
        """
        started = self._clock.monotonic()
        self.halt()
        for folder in self._folders:
            self._record.event(events.output_uploading(self._plan.node.task, folder.name))
        self._beside.wait_for_looks(stopped)
        tasks = self._tasks()
        try:
            self._each((folder.clear for folder in self._folders), stopped)
            self._pace.begun()
            self._each(tasks, stopped, self._pace.width)
            self._beside.wait_for_transfers(stopped)
            self._each((folder.write_manifest for folder in self._folders), stopped)
        except Cancelled:
            for folder in self._folders:
                folder.give_up()
            if self._documents is not None:
                self._documents.give_up_rank_logs()
        seconds = self._clock.monotonic() - started
        summed = tuple(self._sum_up(one, seconds) for one in self._all())
        self.summed_up = True
        return summed

    def publish(
        self, paths: Sequence[str], stopped: Stopped = lambda: False, texts: Mapping[str, bytes] | None = None
    ) -> tuple[FailedKey, ...]:
        """Upload documents that are final now (run.json, the events, the log again if it grew); what failed.

        The log brings its segments along, last. `texts` says what is sent in place of a file that could not be written.
        """
        if self._documents is None:
            return ()
        send, texts = self._documents.send, texts or {}
        if self._plan.files.log in paths:
            paths = tuple(dict.fromkeys((*paths, *self._documents.segments())))
        self._documents.expect(paths)
        try:
            self._each((partial(send, path, last=True, text=texts.get(path)) for path in paths), stopped)
        except Cancelled:
            self._documents.give_up()
        return self._documents.failures(paths)

    def _tasks(self) -> Iterator[Task]:
        """What is not in its place, newest first, the log after the outputs, what is still on its way after all."""
        found = [(changed, path, size, folder) for folder in self._folders for changed, path, size in folder.pending()]
        found.sort(key=lambda one: (-one[0], one[1]))
        queue: list[tuple[Folder | Documents, str, int]] = [(folder, path, size) for _, path, size, folder in found]
        if self._documents is not None and self._with_log:
            logs = self._documents.all_logs()
            self._documents.expect(logs)
            queue += [(self._documents, path, 0) for path in logs]
        under_way = self._beside.under_way
        now = (partial(self._place, *one) for one in queue if one[:2] not in under_way)
        later = (partial(self._after_it, partial(self._place, *one)) for one in queue if one[:2] in under_way)
        return chain(now, later)

    def _place(self, one: Folder | Documents, path: str, size: int, stopped: Stopped) -> None:
        self._pace.during(size, partial(one.send, path, stopped, last=True), stopped)

    def _after_it(self, task: Task, stopped: Stopped) -> None:
        self._beside.wait_for_transfers(stopped)
        task(stopped)

    def _each(self, tasks: Iterable[Task], stopped: Stopped, width: Callable[[], int] | None = None) -> None:
        """Run tasks on threads that can be left behind: no put that hangs may hold the end of the run."""
        each_of(_run, tasks, width or self._plan.transfers.most, stopped, apart=True, patience=PATIENCE)

    def _all(self) -> tuple[Folder | Documents, ...]:
        return self._folders if self._documents is None else (*self._folders, self._documents)

    def _sum_up(self, one: Folder | Documents, seconds: float) -> Synced:
        one.seconds += seconds
        entry = one.synced()
        self._record.synced(entry)
        _log.info(
            "synced %s: %d objects, %d bytes, %.1f s, %d failed, to %s",
            *(entry.channel, entry.objects, entry.bytes, entry.seconds, len(entry.failed), entry.target),
        )
        if isinstance(one, Folder):
            self._say(one, entry, seconds)
        return entry

    def _say(self, folder: Folder, entry: Synced, seconds: float) -> None:
        task = self._plan.node.task
        for said, level in folder.remarks():
            self._record.event(said, level)
        if entry.failed:
            first = entry.failed[0]
            why = f"{len(entry.failed):,} not in place, the first is {first.key!r}: {first.error}"
            self._record.event(events.output_failed(task, seconds, folder.name, why), "Error")
        else:
            self._record.event(events.output_uploaded(task, seconds, folder.name))


def not_saved(failed: Sequence[tuple[str, FailedKey]]) -> SyncError:
    """Tell of what is not in its place, by its channel: the first of them."""
    channel, first = failed[0]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return SyncError(
        f"{channel}: {first.key} could not be put in its place: {first.error}{more}",
        code="output-not-saved",
        action="run.json names every such file; what was written is still on the node, unless the job removed it.",
    )


def _run(task: Task, halted: Stopped) -> None:
    task(halted)
