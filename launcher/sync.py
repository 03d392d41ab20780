"""Sync: put outputs and logs in their place in the store, while the boot file runs and after it.

Nothing that fails is hidden: what is not in its place at the end is named in the result. It deletes no object but this
worker's own old manifest, and no file at all.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from launcher.core import events
from launcher.core.errors import Cancelled
from launcher.documents import Documents
from launcher.pool import each as each_of
from launcher.upload import Folder, noted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from launcher.core.plan import Plan
    from launcher.core.record import FailedKey, Synced
    from launcher.disk import Stamp
    from launcher.journal import Journal, Past
    from launcher.protocols import Clock, Record, Store

    Stopped = Callable[[], bool]
    Task = Callable[[Stopped], None]

_log = logging.getLogger(__name__)

LOG_FIRST, LOG_MOST = 1.0, 30.0
"""Seconds between uploads of the log, of which the first begins at once: it doubles from the first to the most."""
SHORTEST = 0.05
"""Seconds below which no period goes, whatever the job says."""
LOOK = 0.05
"""Seconds between two looks at `stopped` while somebody else is waited for."""
PATIENCE = 0.1
"""Seconds that transfers have to notice a stop: the report that names what they left has little more."""


_Sending = tuple["Folder | Documents", str]


class _Turn:
    """Something that is done again and again, the pauses growing up to `most`."""

    def __init__(self, work: Task, pause: float, most: float, due: float) -> None:
        self.work = work
        self.pause = max(pause, SHORTEST)
        self.most = max(most, SHORTEST)
        self.due = due

    def schedule(self, now: float) -> None:
        self.due = now + self.pause
        self.pause = min(self.pause * 2, self.most)


class Sync:
    """All that a run puts in the store. `baseline` is stage's: by output name, the state of what it predownloaded.

    What the store acknowledges is noted in the `journal`. By output name, `past` is what an earlier run did, to go on
    with. Without `with_log` the log itself stays where it is.
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
    ) -> None:
        self._plan = plan
        self._record = record
        self._clock = clock
        self._with_log = with_log
        known = past or {}
        self._folders = tuple(
            Folder(plan, each, store, clock, baseline.get(each.name, {}), journal=journal, past=known.get(each.name))
            for each in plan.outputs
        )
        if journal is not None and past is None:  # what was there before the run need not be sent after a kill either
            journal.note(
                *(
                    noted(output.name, output.target, path, stamp)
                    for output in plan.outputs
                    for path, stamp in baseline.get(output.name, {}).items()
                )
            )
        self._documents = None if plan.log_target is None else Documents(plan, plan.log_target, store, secrets)
        self.summed_up = False
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._current: _Sending | None = None

    def periodic(self, stopped: Stopped) -> None:
        """Upload what stands still, each output by its period, until `halt`; `stopped` breaks off a transfer too."""
        now = self._clock.monotonic()
        turns = [
            _Turn(partial(self._upload_settled, folder), output.period, output.period, now + output.period)
            for folder, output in zip(self._folders, self._plan.outputs, strict=True)
        ]
        if self._documents is not None:
            turns.append(_Turn(partial(self._upload_documents, self._documents), LOG_FIRST, LOG_MOST, now))
        while turns and not self._over.is_set() and not stopped():
            try:
                self._take(turns, stopped)
            except Cancelled:
                return
            self._over.wait(max(0.0, min(turn.due for turn in turns) - self._clock.monotonic()))

    def halt(self) -> None:
        """Begin nothing more in `periodic`; the file that is on its way is finished."""
        with self._guard:
            self._over.set()

    def whole(self) -> bool:
        """Whether every output is whole in the store already. Changes nothing there; raises StoreError."""
        standing = [folder.stands() for folder in self._folders]
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
        self._wait_for_scan(stopped)
        tasks = self._tasks()
        try:
            self._each((folder.clear for folder in self._folders), stopped)
            self._each(tasks, stopped)
            self._wait_for_turn(stopped)
            self._each((folder.write_manifest for folder in self._folders), stopped)
        except Cancelled:
            for folder in self._folders:
                folder.give_up()
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

    def _take(self, turns: Iterable[_Turn], stopped: Stopped) -> None:
        for turn in turns:
            if turn.due <= self._clock.monotonic():
                with self._turn:
                    if self._over.is_set():
                        return
                    turn.work(stopped)
                turn.schedule(self._clock.monotonic())

    def _upload_settled(self, folder: Folder, stopped: Stopped) -> None:
        started = self._clock.monotonic()
        ready = folder.settled()
        if ready:
            folder.clear(stopped)
        for path in ready:
            self._send_one(folder, path, stopped)
        folder.seconds += self._clock.monotonic() - started

    def _upload_documents(self, documents: Documents, stopped: Stopped) -> None:
        started = self._clock.monotonic()
        for path in (*documents.segments(), self._plan.files.run_json, self._plan.files.events):
            self._send_one(documents, path, stopped)
        documents.seconds += self._clock.monotonic() - started

    def _send_one(self, one: Folder | Documents, path: str, stopped: Stopped) -> None:
        with self._guard:
            if self._over.is_set():
                return
            self._current = (one, path)
        try:
            one.send(path, stopped)
        finally:
            self._current = None

    def _tasks(self) -> list[Task]:
        """What is not in its place, newest first, the log after the outputs, what `periodic` is still at after all."""
        found = [(changed, path, folder) for folder in self._folders for changed, path in folder.pending()]
        found.sort(key=lambda one: (-one[0], one[1]))
        sendings: list[tuple[_Sending, Task]] = [
            ((folder, path), partial(folder.send, path, last=True)) for _, path, folder in found
        ]
        if self._documents is not None and self._with_log:
            segments = self._documents.segments()
            self._documents.expect(segments)
            sendings += [((self._documents, path), partial(self._documents.send, path, last=True)) for path in segments]
        current = self._current
        now = [task for sending, task in sendings if sending != current]
        return now + [partial(self._after_turn, task) for sending, task in sendings if sending == current]

    def _wait_for_scan(self, stopped: Stopped) -> None:
        """Let `periodic` end a look at a folder, which would mix with ours; its one transfer may go on beside us."""
        while self._current is None and not stopped():
            if self._turn.acquire(timeout=LOOK):
                self._turn.release()
                return

    def _after_turn(self, task: Task, stopped: Stopped) -> None:
        self._wait_for_turn(stopped)
        task(stopped)

    def _wait_for_turn(self, stopped: Stopped) -> None:
        """Let `periodic` finish the one file that it is at."""
        while not self._turn.acquire(timeout=LOOK):
            if stopped():
                raise Cancelled
        self._turn.release()

    def _each(self, tasks: Iterable[Task], stopped: Stopped) -> None:
        """Run tasks on threads that can be left behind: no put that hangs may hold the end of the run."""
        each_of(_run, tasks, self._plan.transfers, stopped, apart=True, patience=PATIENCE)

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
        task, left_out = self._plan.node.task, folder.left_out()
        if left_out:
            self._record.event(left_out, "Warning")
        if entry.failed:
            first = entry.failed[0]
            why = f"{len(entry.failed):,} not in place, the first is {first.key!r}: {first.error}"
            self._record.event(events.output_failed(task, seconds, folder.name, why), "Error")
        else:
            self._record.event(events.output_uploaded(task, seconds, folder.name))


def _run(task: Task, halted: Stopped) -> None:
    task(halted)
