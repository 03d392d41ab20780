"""What was seen of all processes, kept in a file that goes where the log goes, and told in a sentence.

It never holds the main thread up: a disk may stand still just as the training does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.errors import StageError
from launcher.core.flights import flight, plog_folder
from launcher.core.redact import mask
from launcher.core.spots import Own, spot
from launcher.core.stackfiles import file_name, next_number, object_name, older
from launcher.core.stacktexts import main_thread, threads
from launcher.core.standing import Place, Standing, summary, veiled
from launcher.stacks import Stacks
from launcher.stacks.flights import RECORD_BYTES, RECORDS_BYTES, ask, bring, plogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from launcher.core.flights import Flight
    from launcher.core.plan import Plan
    from launcher.protocols import Clock
    from launcher.protocols import Record as Events
    from launcher.stacks.taken import Taken
    from launcher.world import World

RECORDS_S = 8.0
"""Flight records are waited for no longer: a rank looks at its FIFO once a second."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_log = logging.getLogger(__name__)


def kept_stacks(
    plan: Plan,
    world: World,
    record: Events,
    secrets: Callable[[], Sequence[str]],
    done: Callable[[Standing], object] = bool,
) -> Stacks:
    """Stacks that are shown, kept, and told of; `done` hears where the ranks of this node stand, on the main thread."""
    woken = world.processes.wake
    keeper = Keeping(plan, record, clock=world.clock, secrets=secrets, done=done, woken=woken)
    native = plan.resilience.hanging.native
    told = world.processes, world.spy, world.environ, world.err, world.log
    return Stacks(*told, native=native, keeper=keeper, secrets=secrets)


class Keeping:
    """Keeps what one request after the other has brought (`taken.Keeper`); `woken` is called when that is done."""

    def __init__(
        self,
        plan: Plan,
        record: Events,
        *,
        clock: Clock,
        secrets: Callable[[], Sequence[str]],
        done: Callable[[Standing], object],
        woken: Callable[[], object],
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._record = record
        self._secrets = secrets
        self._done = done
        self._woken = woken
        self._work: _Work | None = None

    @property
    def over(self) -> bool:
        """Whether all is kept."""
        return self._work is None or self._work.over

    def begin(self, taken: Taken) -> None:
        """Keep it, on a thread of its own."""
        self._work = _Work(self._plan, self._clock, taken, self._woken)
        self._work.start()

    def tell(self) -> None:
        """Say where the ranks stand, and give it to who waits for that."""
        if self._work is None:
            return
        standing = self._work.standing
        said = summary(standing)
        task = self._plan.node.task
        if said:
            self._record.event(f"[{task}] Where the training stands: {said}.", "Warning")
        if standing.text:
            self._record.event(f"[{task}] All stacks are in {standing.text}{self._goes_to(standing.text)}.", "Warning")
        elif not said:
            self._record.event(f"[{task}] Nothing could be seen of where the training stands.", "Warning")
        self._work = None
        secrets = self._secrets()
        self._done(veiled(standing, lambda word: mask(word, secrets)))

    def _goes_to(self, path: str) -> str:
        target = self._plan.log_target
        if target is None:
            return ""
        return f", which goes to {target.folder.child(object_name(self._plan, path) or '').url}"


class _Work:
    """The keeping of one request. A standing is there from the begin, and known better from step to step."""

    def __init__(self, plan: Plan, clock: Clock, taken: Taken, woken: Callable[[], object]) -> None:
        self._plan = plan
        self._clock = clock
        self._taken = taken
        self._woken = woken
        self.standing = Standing(unknown=tuple(one.rank for one in taken.looked if one.rank is not None))
        self.over = False

    def start(self) -> None:
        """Begin."""
        try:
            threading.Thread(target=self._run, name="stacks", daemon=True).start()
        except RuntimeError:
            _log.warning("stacks: they are not kept, for no thread can be started")
            self.over = True

    def _run(self) -> None:
        try:
            self._keep()
        except (OSError, StageError) as error:
            _log.warning("stacks: they are not kept: %s", error)
        finally:
            self.over = True
            self._woken()

    def _keep(self) -> None:
        began, asked = (
            time.time_ns(),
            [
                each
                for one in self._taken.looked
                if one.rank is not None and (each := flight(one.told, one.rank, _folder(one.pid))) and ask(each)
            ],
        )
        self.standing = self._seen()
        files = _Files(self._plan)
        try:
            records = self._records(asked, files, began - 10**7)
            for line in records:
                _log.warning("stacks: %s", line)
            lines = [*self._head(), *records, *(self._logs() if self._plan.is_ascend else ()), "", *self._texts()]
            text = "\n".join(lines).encode("utf-8", "replace")
            path = files.put([text])
            self.standing = Standing(places=self.standing.places, unknown=self.standing.unknown, text=path)
            files.clear()
        finally:
            files.close()

    def _records(self, asked: Sequence[Flight], files: _Files, since_ns: int) -> list[str]:
        """Bring the flight records that were asked for, and say where they are."""
        by, told = time.monotonic() + RECORDS_S, list[str]()
        for each in asked:
            put = partial(files.put, kind=each.name, rank=each.rank)
            path = bring(each, since_ns, by, put, min(RECORD_BYTES, RECORDS_BYTES - files.written))
            told += [f"flight record of rank {each.rank}: {path}"] if path else []
        return told

    def _seen(self) -> Standing:
        """Where each rank's main thread is."""
        own = Own(code=self._plan.code.path if self._plan.code else "", packages=self._plan.packages)
        places: list[Place] = []
        unknown: list[int] = []
        for one in self._taken.looked:
            if one.rank is None:
                continue
            thread = main_thread(threads(one.text))
            there = None if thread is None else spot(thread, own)
            if there is None:
                unknown.append(one.rank)
            else:
                places.append(Place(rank=one.rank, spot=there))
        return Standing(places=tuple(places), unknown=tuple(unknown))

    def _head(self) -> list[str]:
        said = summary(self.standing) or "nothing is known of where the ranks stand"
        return [f"{self._plan.job.label}, {self._clock.now()}", f"{said}"]

    def _texts(self) -> Iterable[str]:
        for one in self._taken.looked:
            rank = "" if one.rank is None else f", rank {one.rank}"
            yield f"== process {one.pid} ({one.name}){rank}"
            yield one.text.rstrip("\n") or one.outside or "nothing could be seen of it"
            yield ""

    def _logs(self) -> Iterable[str]:
        """The newest logs of CANN."""
        for one in self._taken.looked:
            folder = None if one.rank is None else plog_folder(one.told)
            for each in plogs(folder) if folder else ():
                _log.warning("stacks: plog of rank %d: %s (%d bytes)", one.rank, each.path, each.size)
                yield f"plog of rank {one.rank}: {each.path} ({each.size} bytes)"
                yield from (f"  {line}" for line in each.end.splitlines())


class _Files:
    """The files of one request in the log's folder: this user's alone, whole, and the oldest ones removed."""

    def __init__(self, plan: Plan) -> None:
        self._stem = os.path.basename(plan.files.stacks)
        self._path = os.path.dirname(plan.files.stacks)
        self._folder = disk.open_folder(plan.root, self._path)
        self.written = 0
        """Bytes, of all files together."""
        self._number = next_number(os.listdir(self._folder), self._stem)

    def put(self, chunks: Iterable[bytes], kind: str = "", rank: int = 0) -> str:
        """Write one; its path. Raises OSError."""
        name = file_name(self._stem, self._number, kind, rank)
        part = f".{name}.part"
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=self._folder)
        try:
            with open(os.open(part, _NEW, 0o600, dir_fd=self._folder), "wb") as file:
                file.writelines(chunks)
                self.written += file.tell()
            os.rename(part, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            with suppress(OSError):
                os.unlink(part, dir_fd=self._folder)
            raise
        return f"{self._path}/{name}"

    def clear(self) -> None:
        """Take away all but the newest."""
        for name in older(os.listdir(self._folder), self._stem):
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder)


def _folder(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return "/"
