"""The looks at the job's store: an object of every input is read, one is put into every output and taken away again.

It reads no more of an object than its first piece, and what it puts is the launcher's own, below `.launcher/`.
"""

from __future__ import annotations

import itertools
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from launcher.core import precheck as judge
from launcher.core.errors import Cancelled, Exit, LauncherError, StageError, StoreError
from launcher.core.keys import OWN
from launcher.core.occupancy import seconds
from launcher.core.precheck import Item
from launcher.core.urls import Location, wrong_key
from launcher.core.wheels import NAMES, wheels_named
from launcher.precheck.probes import GIVE_UP_S, Probe
from launcher.protocols import Dated
from launcher.retry import Retries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.interpreter import Interpreter
    from launcher.core.plan import Code, Plan
    from launcher.core.stored import StoredObject
    from launcher.protocols import Clock, Stopped, Store

MOST_TEXT = 1 << 20
"""Bytes of a pip file that are read."""
MARKERS = 1000
"""So many entries of a listing are looked at for one that is no empty folder."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class StoreLooks:
    """The looks at one plan's places. What the writes tell of the store's clock is kept for `clock`."""

    def __init__(self, plan: Plan, store: Store, clock: Clock) -> None:
        self._plan = plan
        self._store = store
        self._clock = clock
        self._skews: list[float] = []
        self._why = "the job writes nothing into its store"

    def probes(self, interpreter: Interpreter | None) -> Iterator[Probe]:
        """Every look, in the order in which they are told."""
        code = self._plan.code
        yield Probe("wheel-tags", lambda stopped: self._wheels(interpreter, stopped))
        reads = [("code_dir", _first_of_code(code))] if code and code.source else []
        reads += [(one.name, one.source) for one in self._plan.inputs]
        for name, at in reads:
            yield Probe(f"store-read {name}", partial(self._read, name, at))
        if not reads:
            yield Probe("store-read", lambda _: _nothing("store-read", "the job reads nothing from its store"))
        places: dict[Location, list[str]] = {}
        for each in self._plan.outputs:
            places.setdefault(each.target.folder, []).append(each.name)
        if self._plan.log_target is not None:
            places.setdefault(self._plan.log_target.folder, []).append("log")
        for folder, names in places.items():
            name = f"store-write {', '.join(names)}"
            yield Probe(name, partial(self._write, name, folder))
        if not places:
            yield Probe("store-write", lambda _: _nothing("store-write", self._why))

    def clock_item(self, most: float) -> Item:
        """How far the store's clock is, after all looks have been made."""
        skew = max(self._skews, key=abs, default=None)
        return judge.clock(skew, self._why, most)

    def _read(self, name: str, at: Location, stopped: Stopped) -> Item:
        title = f"store-read {name}"
        item = self._tried(lambda: self._first(at), stopped)
        if item is None:
            if self._tried(lambda: self._store.stat(at.folder), stopped) is None:
                raise _missing(name, at)
            return Item(name=title, state="warned", said=f"{at.url} holds no files", action="Is this the right folder?")
        place = Location(at.bucket, item.key)
        self._tried(lambda: next(iter(self._store.read(at.bucket, item, 0, item.size, stopped)), None), stopped)
        return Item(name=title, state="ok", said=f"{place.url} can be read")

    def _first(self, at: Location) -> StoredObject | None:
        """The object at a place, or any below it."""
        single = None if at.is_folder else self._store.stat(at)
        if single is not None:
            return single
        some = itertools.islice(self._store.walk(at.folder), MARKERS)
        return next((item for item in some if not item.key.endswith("/")), None)

    def _write(self, name: str, folder: Location, stopped: Stopped) -> Item:
        at = folder.child(f"{OWN}/precheck-{self._plan.node.task}")
        body = f"put by the pre-check of {self._plan.node.task}, to be deleted at once\n".encode()
        before = seconds(self._clock.now())
        try:
            self._tried(lambda: self._store.put(at, iter((body,)), len(body)), stopped)
            self._note(at, before, seconds(self._clock.now()))
        finally:
            # in its own time, whoever stops meanwhile: it may be there even where no answer came
            left = self._removed(at)
        if left is not None:
            said = f"{folder.url} takes objects, but {at.key} cannot be deleted: {left}"
            return Item(name=name, state="warned", said=said, action=left.action)
        return Item(name=name, state="ok", said=f"{folder.url} takes objects")

    def _removed(self, at: Location) -> StoreError | None:
        """Take the probe away; why it is still there."""
        try:
            self._tried(lambda: self._store.remove(at), lambda: False)
        except StoreError as error:
            return error
        return None

    def _note(self, at: Location, before: float, after: float) -> None:
        """Keep how far this node's clock is from when the store says that it was given an object."""
        if not isinstance(self._store, Dated):
            self._why = "this store does not tell its time"
            return
        try:
            told = self._store.modified(at)
        except StoreError as error:
            self._why = f"the store's time could not be seen: {error}"
            return
        ahead = max(before - told - 1, 0.0)  # it may tell whole seconds, and leaves the rest away
        self._skews.append(ahead or min(after - told, 0.0))

    def _wheels(self, interpreter: Interpreter | None, stopped: Stopped) -> Item:
        code = self._plan.code
        file, text = self._tried(lambda: self._pip_file(code, stopped), stopped)
        wheels = wheels_named(text)
        absent = [
            each.path
            for each in wheels
            if code and each.path and not self._tried(partial(self._is_there, code, each.path), stopped)
        ]
        return judge.wheel_check(file, wheels, absent, interpreter)

    def _pip_file(self, code: Code | None, stopped: Stopped) -> tuple[str | None, str]:
        """The pip file's name and text; None for code without one, which may be in a folder of this node."""
        for name in NAMES if code and code.boot_file else ():
            if code and code.source is None:
                raw = _local_text(f"{code.path}/{name}")
            else:
                raw = self._text(code.source.child(name), stopped) if code and code.source else None
            if raw is not None:
                return name, raw.decode(errors="replace")
        return None, ""

    def _text(self, at: Location, stopped: Stopped) -> bytes | None:
        item = self._store.stat(at)
        if item is None:
            return None
        pieces = self._store.read(at.bucket, item, 0, item.size, stopped) if item.size <= MOST_TEXT else iter(())
        return b"".join(bytes(piece) for piece in pieces)

    def _is_there(self, code: Code, path: str) -> bool:
        if path.startswith("/") or code.source is None:
            return os.path.isfile(os.path.join(code.path, path))
        return wrong_key(path) is None and self._store.stat(code.source.child(path)) is not None

    def _tried(self, work: Callable[[], T], stopped: Stopped) -> T:
        """Do it, again where that can help; what failed last is told in good time, before a look takes too long."""
        end = self._clock.monotonic() + GIVE_UP_S
        try:
            return Retries(self._clock.monotonic).call(work, lambda: stopped() or self._clock.monotonic() > end)
        except Cancelled:
            if stopped():
                raise
            return work()  # a pause may have been longer than what was left: who is back by now is not gone


def _first_of_code(code: Code) -> Location:
    """The boot file where there is one: it is what a code directory must hold."""
    if code.source is None or code.boot_file is None:
        return code.source or Location("", "")
    return code.source.child(os.path.relpath(code.boot_file, code.path))


def _missing(name: str, at: Location) -> LauncherError:
    is_code = name == "code_dir"
    return StageError(
        f"no object {'at' if is_code else 'under'} {at.url} (ModelArts.{'2758' if is_code else '2791'})",
        code="nothing-there",
        action="Check the bucket and the key, and that something lies there.",
        exit_code=Exit.MISSING,
    )


def _nothing(name: str, said: str) -> Item:
    return Item(name=name, state="skipped", said=said)


def _local_text(path: str) -> bytes | None:
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return file.read(MOST_TEXT)
    except OSError:
        return None
