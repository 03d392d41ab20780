"""Stage: bring code, inputs and predownloaded outputs to the node, each file whole under its name or not at all.

Everything is listed, counted and measured before the first byte moves. It deletes nothing but its own unfinished files.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from launcher import disk
from launcher.core import events, keys
from launcher.core.errors import Cancelled, LauncherError, PlanError, StageError
from launcher.core.record import Staged
from launcher.listing import check_boot_file, check_folding, check_room, look, named, output_remarks, remarks, wanted
from launcher.pool import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from launcher.core.plan import Plan
    from launcher.core.stored import StoredObject
    from launcher.listing import Channel, Wanted
    from launcher.protocols import Record, Store

_log = logging.getLogger(__name__)


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """What sync starts from: by output name, the state of each predownloaded file by relative path; and what to say."""

    baseline: Mapping[str, Mapping[str, disk.Stamp]]
    warnings: tuple[str, ...]


def stage(
    plan: Plan,
    store: Store,
    record: Record,
    stopped: Callable[[], bool],
    monotonic: Callable[[], float] = time.monotonic,
) -> StageResult:
    """Bring every channel of the plan to its folder.

    Raises `PlanError` for code that breaks a limit, `StageError` for all else, and `Cancelled` when `stopped()` did it.
    """
    staging = _Staging(plan, store, record, stopped, monotonic)
    staging.list_all()
    staging.check_room()
    staging.make_folders()
    staging.bring()
    if plan.code is not None:
        check_boot_file(plan.code)
    return staging.result()


class _Progress:
    """How far one channel is; changed under the staging's lock."""

    def __init__(self, channel: Channel, seconds: float) -> None:
        self.channel = channel
        self.want = channel.wanted
        self.left = len(channel.arrangement.files)
        self.brought = self.bytes = 0
        self.stamps: dict[str, disk.Stamp] = {}
        self.listing = self.seconds = seconds
        self.started: float | None = None


if TYPE_CHECKING:
    _Job = tuple[_Progress, int, str, StoredObject]


class _Staging:
    def __init__(
        self,
        plan: Plan,
        store: Store,
        record: Record,
        stopped: Callable[[], bool],
        monotonic: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._store = store
        self._record = record
        self._stopped = stopped
        self._monotonic = monotonic
        self._channels: list[_Progress] = []
        self._warnings: list[str] = []
        self._parts: set[str] = set()
        self._failed = False
        self._lock = threading.Lock()

    def list_all(self) -> None:
        """List and arrange every source, code first, and look at what the outputs would meet."""
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
                self._announce(want)
            started = self._monotonic()
            try:
                channel = look(want, self._store, plan.root, plan.limits, self._stopped)
            except (PlanError, StageError) as error:
                self._say_failed(want, self._monotonic() - started, error)
                raise
            self._channels.append(_Progress(channel, self._monotonic() - started))
            self._warnings += remarks(channel)
        for output in plan.outputs:
            if not output.predownload:
                self._warnings += output_remarks(output, self._store, plan.root)

    def check_room(self) -> None:
        """See that everything fits before anything is written."""
        check_room([one.channel for one in self._channels], self._plan.transfers)

    def make_folders(self) -> None:
        """Make every folder of the plan and of the arrangements, and see that names stay apart in them."""
        root = self._plan.root
        outputs = (output.path for output in self._plan.outputs)
        for path in (*self._plan.folders, *outputs, *(one.want.path for one in self._channels)):
            disk.make_folder(root, path)
        for one in self._channels:
            want, found = one.want, one.channel.arrangement
            try:
                for part in one.channel.parts:
                    _remove(os.path.join(want.path, part))
                for folder in found.folders:
                    disk.make_folder(want.path, os.path.join(want.path, folder))
                if found.files and disk.folds_case(want.path):
                    check_folding(one.channel)
            except LauncherError as error:
                raise named(want.label, error) from error

    def bring(self) -> None:
        """Move the bytes of all channels together."""
        for one in self._channels:
            if not one.left:
                self._say_done(one)
        try:
            each(self._bring_one, _jobs(self._channels), self._plan.transfers, self._stopped)
        finally:
            # a worker left behind with a hung transfer cannot clean up after itself
            for part in tuple(self._parts):
                _remove(part)

    def result(self) -> StageResult:
        """Sum up, in the order of the plan."""
        code = self._plan.code
        if code is not None and code.source is None:
            here = f"file://{code.path}"
            self._record.staged(
                Staged(channel="code", kind="code", source=here, path=code.path, objects=0, bytes=0, seconds=0.0)
            )
        for one in self._channels:
            self._record.staged(
                Staged(
                    channel=one.want.name,
                    kind=one.want.kind,
                    source=one.want.source.url,
                    path=one.want.path,
                    objects=one.brought,
                    bytes=one.bytes,
                    seconds=round(one.seconds, 3),
                )
            )
        baseline = {one.want.name: one.stamps for one in self._channels if one.want.kind == "output"}
        return StageResult(baseline=baseline, warnings=tuple(self._warnings))

    def _bring_one(self, job: _Job, halted: Callable[[], bool]) -> None:
        one, number, path, item = job
        if one.started is None:
            one.started = self._monotonic()
        is_output = one.want.kind == "output"
        try:
            kept = is_output and self._keeps(one.channel, path, item, halted)
            if not kept:
                self._fetch(one.want, number, path, item, halted)
            stamp = disk.stamp_of(os.lstat(f"{one.want.path}/{path}")) if is_output else None
        except Cancelled:
            raise
        except (LauncherError, OSError) as error:
            ours = (
                error if isinstance(error, LauncherError) else disk.refusal(error, f"write {path!r} in {one.want.path}")
            )
            said = named(one.want.label, ours)
            self._say_failed(one.want, self._seconds(one), said)
            raise said from error
        with self._lock:
            one.left -= 1
            one.brought += not kept
            one.bytes += 0 if kept else item.size
            if stamp is not None:
                one.stamps[path] = stamp
            if not one.left:
                self._say_done(one)

    def _fetch(self, want: Wanted, number: int, path: str, item: StoredObject, halted: Callable[[], bool]) -> None:
        """Bring one file beside its place, then into it."""
        target = f"{want.path}/{path}"
        part = f"{target[: target.rindex('/')]}/{keys.part_name(number)}"
        self._parts.add(part)
        try:
            self._store.fetch(want.source.bucket, item, part, halted)
            _go_on_unless(halted)
            if want.kind == "code" and path.endswith(".sh"):
                mode = os.stat(part).st_mode
                os.chmod(part, mode | (mode & 0o444) >> 2)  # who may read it may run it
            os.replace(part, target)
        except BaseException:
            _remove(part)
            raise
        finally:
            self._parts.discard(part)

    def _keeps(self, channel: Channel, path: str, item: StoredObject, halted: Callable[[], bool]) -> bool:
        """Whether the file that lies there is the object, by its checksum."""
        present, md5 = channel.present.get(path), keys.plain_md5(item.etag)
        if present is None or present.size != item.size or md5 is None:
            return False
        try:
            return disk.file_md5(self._plan.root, os.path.join(channel.wanted.path, path), halted) == md5
        except OSError:
            return False

    def _announce(self, want: Wanted) -> None:
        if want.kind == "code":
            self._record.event(events.code_downloading(self._plan.node.task))
        elif want.kind == "input":
            self._record.event(events.input_downloading(self._plan.node.task))

    def _seconds(self, one: _Progress) -> float:
        return one.listing + (self._monotonic() - one.started if one.started is not None else 0.0)

    def _say_done(self, one: _Progress) -> None:
        one.seconds = self._seconds(one)
        task, want = self._plan.node.task, one.want
        _log.info(
            "staged %s: %d objects, %d bytes, %.1f s, to %s", want.label, one.brought, one.bytes, one.seconds, want.path
        )
        if want.kind == "code":
            self._record.event(events.code_downloaded(task, one.seconds))
        elif want.kind == "input":
            self._record.event(events.input_downloaded(task, one.seconds, want.name))

    def _say_failed(self, want: Wanted, seconds: float, error: LauncherError) -> None:
        """Note the first failure; those that only follow from it are no news."""
        with self._lock:
            if self._failed:
                return
            self._failed = True
        task = self._plan.node.task
        if want.kind == "code":
            self._record.event(events.code_failed(task, seconds, str(error)), "Error")
        elif want.kind == "input":
            self._record.event(events.input_failed(task, seconds, want.name, str(error)), "Error")


def _jobs(channels: Iterable[_Progress]) -> Iterator[_Job]:
    number = 0
    for one in channels:
        for path, item in one.channel.arrangement.files.items():
            number += 1
            yield one, number, path, item


def _go_on_unless(halted: Callable[[], bool]) -> None:
    if halted():
        raise Cancelled


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
