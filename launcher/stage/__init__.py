"""Stage: bring code, inputs and predownloaded outputs to the node, each file whole under its name or not at all.

The code is listed as a whole, and every other source is looked at, before the first byte moves; after that listing and
transfers go on side by side. It deletes nothing but its own unfinished files.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import msgspec

from launcher import disk
from launcher.core import keys
from launcher.core.errors import Cancelled, Exit, StageError
from launcher.core.listed import Listed
from launcher.core.record import Staged
from launcher.core.window import Window
from launcher.pool import each
from launcher.retry import Retries
from launcher.stage.ahead import Ahead
from launcher.stage.arrival import Arrivals
from launcher.stage.channel import Channel
from launcher.stage.marks import Marks
from launcher.stage.room import Room
from launcher.stage.supply import Supply
from launcher.stage.telling import Telling
from launcher.stage.transfer import LITTLE, MEMORY, Transfers
from launcher.stage.wanted import (
    check_boot_file,
    check_there,
    output_remarks,
    present,
    remarks,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from launcher.core.plan import Plan
    from launcher.core.record import Moving
    from launcher.protocols import Cache, Record, Store
    from launcher.stage.channel import Entry
    from launcher.stage.transfer import Job
    from launcher.stage.wanted import Wanted

    Stopped = Callable[[], bool]
    Shown = Callable[[Callable[[], Sequence[Moving]]], AbstractContextManager[None]]

_log = logging.getLogger(__name__)

WAITING = 64
"""Little files that may wait to be written by the one thread that writes for all."""


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """What sync starts from: by output name, the state of each predownloaded file by relative path; and what to say.

    `listed` is what every source held.
    """

    baseline: Mapping[str, Mapping[str, disk.Stamp]]
    warnings: tuple[str, ...]
    listed: tuple[Listed, ...] = ()


def stage(
    plan: Plan,
    store: Store,
    record: Record,
    stopped: Stopped,
    monotonic: Callable[[], float] = time.monotonic,
    *,
    cache: Cache | None = None,
    shown: Shown = lambda _: nullcontext(),
) -> StageResult:
    """Bring every channel of the plan to its folder. `shown` shows how far it is, for as long as bytes move.

    Raises `PlanError` for code that breaks a limit, `StageError` for all else, and `Cancelled` when `stopped()` did it.
    """
    limit = plan.transfers.stage_timeout
    end = None if limit is None else monotonic() + limit
    late = threading.Event()

    def halted() -> bool:
        if end is not None and monotonic() > end:
            late.set()
        return late.is_set() or stopped()

    staging = _Staging(plan, store, record, halted, monotonic=monotonic, cache=cache)
    try:
        staging.list_all()
        staging.make_folders()
        with shown(staging.moving):
            staging.bring()
    except Cancelled:
        if stopped() or not late.is_set():
            raise
        raise staging.timed_out() from None
    finally:
        staging.close()
    if plan.code is not None:
        check_boot_file(plan.code)
    return staging.result()


class _Staging:
    def __init__(
        self,
        plan: Plan,
        store: Store,
        record: Record,
        stopped: Stopped,
        *,
        monotonic: Callable[[], float],
        cache: Cache | None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._record = record
        self._stopped = stopped
        self._monotonic = monotonic
        self._channels: list[Channel] = []
        self._listings: list[Ahead[Entry]] = []
        self._warnings: list[str] = []
        self._telling = Telling(plan.node.task, record, monotonic)
        self._lock = threading.Lock()
        self._room = Room(monotonic, cache.free) if cache else Room(monotonic)
        self._supply = Supply(plan, store, stopped)
        self._marks = Marks(plan.files.staged)
        memory = plan.transfers.memory_bytes
        self._waiting = min(WAITING, memory // 4 // LITTLE)
        self._window = Window(min(plan.transfers.most, max(1, (memory - self._waiting * LITTLE) // MEMORY)))
        self._arrivals = Arrivals(
            plan.root,
            marks=self._marks,
            window=self._window,
            lock=self._lock,
            monotonic=monotonic,
            done=self._telling.done,
        )
        self._transfers = Transfers(
            plan.root,
            store,
            self._arrivals,
            marks=self._marks,
            lock=self._lock,
            cache=cache,
            ratio=plan.transfers.extract_ratio,
        )

    def list_all(self) -> None:
        """List the code, begin with every other source, and look at what the outputs would meet."""
        plan, announced = self._plan, set()
        if plan.code is not None and plan.code.source is None and not os.path.isdir(plan.code.path):
            raise StageError(
                f"code_dir: no folder {plan.code.path} on this node (ModelArts.2757)",
                code="nothing-there",
                action="Mount or copy the code there, or give code_dir as obs://bucket/folder/.",
            )
        for want in wanted(plan):
            if want.kind not in announced:
                announced.add(want.kind)
                self._telling.announce(want)
            with self._telling.failing(want):
                self._channels.append(self._begin(want))
        for channel, listing in zip(self._channels, self._listings, strict=True):
            with self._telling.failing(channel.want):
                if not listing.wait() and not channel.met:
                    check_there(channel.want, self._store, channel.retries, self._stopped)
        for output in plan.outputs:
            if not output.predownload:
                filled = any(one.want.path == output.path for one in self._channels)
                self._warnings += output_remarks(output, self._store, plan.root, self._stopped, filled=filled)
        with self._lock:
            self._room.check_all()

    def make_folders(self) -> None:
        """Make every folder of the plan, and remove what an earlier start left unfinished and nobody can go on with."""
        root = self._plan.root
        outputs = (output.path for output in self._plan.outputs)
        for path in (*self._plan.folders, *outputs, *(one.want.path for one in self._channels)):
            disk.make_folder(root, path)
        for one in self._channels:
            _remove_all(one.want.path, (part for part in one.present.parts if not keys.is_lasting(part)))
            with self._telling.failing(one.want):
                one.decide(folds=disk.folds_case(one.want.path))

    def bring(self) -> None:
        """Move the bytes of all channels together."""
        self._window.begun(self._monotonic())
        try:
            each(self._bring_one, self._jobs(), lambda: self._window.limit, self._stopped, waiting=self._waiting)
        finally:
            self._arrivals.abandon()
        for one in self._channels:
            with self._telling.failing(one.want):
                self._supply.deliver(one)
        self._marks.settle()
        for one in self._channels:
            _remove_all(one.want.path, one.present.parts)

    def close(self) -> None:
        """Let nothing go on listing, lose no mark, and leave no manifest on its way."""
        self._marks.flush()
        for listing in self._listings:
            listing.close()
        self._supply.close(self._channels)

    def moving(self) -> tuple[Moving, ...]:
        """How far every channel is."""
        return tuple(one.moving() for one in self._channels)

    def timed_out(self) -> StageError:
        """Say how far it had come when the time was over."""
        limit = self._plan.transfers.stage_timeout or 0.0
        far = ", ".join(
            f"{one.label} {one.objects:,} of {one.known_objects:,}{'' if one.listed else ' and more'} objects"
            for one in self.moving()
        )
        return StageError(
            f"staging took more than {limit:g} s (LAUNCHER_STAGE_TIMEOUT): {far or 'nothing was listed'}",
            code="stage-timeout",
            action="Raise LAUNCHER_STAGE_TIMEOUT, stage less, or look at the network between this node and the store.",
            exit_code=Exit.UNREACHABLE,
        )

    def result(self) -> StageResult:
        """Sum up, in the order of the plan."""
        code = self._plan.code
        if code is not None and code.source is None:
            here = f"file://{code.path}"
            self._record.staged(
                Staged(channel="code", kind="code", source=here, path=code.path, objects=0, bytes=0, seconds=0.0)
            )
        for one in self._channels:
            self._record.staged(one.staged())
            self._warnings += remarks(one.want, one.moving().known_objects, one.foreign)
        self._warnings += self._supply.warnings
        baseline = {one.want.name: one.stamps for one in self._channels if one.want.kind == "output"}
        wants = ((one.want, one.tally) for one in self._channels)
        listed = tuple(tally.listed(name=want.name, kind=want.kind, source=want.source.url) for want, tally in wants)
        return StageResult(baseline=baseline, warnings=tuple(self._warnings), listed=listed)

    def _begin(self, want: Wanted) -> Channel:
        """Look at one folder and begin to list its source."""
        retries = Retries(self._monotonic, self._slow_down, patience=self._plan.transfers.patience)
        there = present(want, self._plan.root)
        channel = Channel(want, there, retries, room=self._room, lock=self._lock, began=self._monotonic())
        self._room.user(want.label, want.path, there.parts_bytes)
        listing = Ahead(self._supply.entries(channel), self._stopped)
        channel.supply = listing
        self._listings.append(listing)
        listing.start()
        return channel

    def _jobs(self) -> Iterator[Job]:
        for one in self._channels:
            with self._telling.failing(one.want):
                yield from self._transfers.jobs(one)

    def _bring_one(self, job: Job, halted: Stopped) -> Job | None:
        channel, work = job
        try:
            return work(halted)
        except Exception:
            with self._telling.failing(channel.want):
                raise

    def _slow_down(self) -> None:
        with self._lock:
            self._window.slowed(self._monotonic())


def _remove_all(folder: str, parts: Iterable[str]) -> None:
    for part in parts:
        with suppress(OSError):
            os.unlink(os.path.join(folder, part))
