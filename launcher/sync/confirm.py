"""What an earlier run put in place and the store still has: its journal and the store must agree on it.

Both know the size of an object. The journal's SHA-256 cannot be held against the store's mark, which is an MD5 or none.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING

from launcher.core.errors import Cancelled, Exit, StoreError
from launcher.pool import each
from launcher.sync.journal import Noted, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from launcher.core.plan import Output, Plan
    from launcher.core.stored import StoredObject
    from launcher.protocols import Store
    from launcher.retry import Retries
    from launcher.sync.pace import Patience

    Stopped = Callable[[], bool]

FEW = 100
"""So many objects are asked for one by one; more are looked for in a listing."""
SPARSE, PAGE = 4, 1000
"""A listing is left when it has shown so many times the objects that are looked for, and ten pages: the rest of what it
would show is somebody else's."""


def confirmed(plan: Plan, store: Store, stopped: Stopped, patience: Patience) -> dict[str, tuple[Noted, ...]]:
    """What the journal says is in place and the store says too, by the name of the output. Raises StoreError.

    What was there before the run that came by `--resume-from` is no part of the output: the store is not asked for it.
    """
    latest: dict[str, dict[str, Noted]] = {output.name: {} for output in plan.outputs}
    targets = {output.name: output.target.folder.url for output in plan.outputs}
    for one in load(plan.files.uploads):
        if targets.get(one.channel) == one.target:
            latest[one.channel][one.key] = one
    found = {}
    for index, output in enumerate(plan.outputs):
        noted = latest[output.name].values()
        resumed = plan.resilience.resume is not None and index == 0
        brought = [one for one in noted if resumed and one.sha256 is None]
        asked = [one for one in noted if not (resumed and one.sha256 is None)]
        retries = patience(lambda: None, plan.transfers.patience)
        found[output.name] = (*brought, *_Asked(output, asked, store, retries).kept(plan.transfers.most, stopped))
    return found


class _Asked:
    """What is asked of the store about one output."""

    def __init__(self, output: Output, noted: Iterable[Noted], store: Store, retries: Retries) -> None:
        self._target = output.target.folder
        self._noted = sorted(noted, key=lambda one: one.key)
        self._store = store
        self._refused = threading.Event()
        self._retries = retries
        self._kept: list[Noted] = []
        self._place = self._listed = 0
        self._after = ""
        self._items: Iterator[StoredObject] | None = None

    def kept(self, threads: int, stopped: Stopped) -> tuple[Noted, ...]:
        """What the store has as it was noted."""
        if len(self._noted) > FEW:
            each(_run, (self._walk,), 1, stopped, apart=True)
        each(self._look, self._noted[self._place :], threads, stopped, apart=True)
        return () if self._refused.is_set() else tuple(self._kept)

    def _walk(self, stopped: Stopped) -> None:
        """Go through a listing beside what was noted, as far as that is worth it."""
        most = SPARSE * len(self._noted) + 10 * PAGE
        try:
            while self._place < len(self._noted) and self._listed < most:
                self._retries.call(lambda: self._take_page(stopped), stopped)
        except StoreError as error:
            if error.exit_code != Exit.REFUSED:
                raise  # who may look but not list asks for each

    def _take_page(self, stopped: Stopped) -> None:
        """Take so much of the listing that another failure after it is a new one; where it failed it is begun again."""
        items, self._items = self._items or self._store.walk(self._target, self._after), None
        listed = self._listed
        for item in islice(items, PAGE):
            if stopped():
                raise Cancelled
            self._after = item.key
            self._listed += 1
            if not self._meet(item.key[len(self._target.key) :], item.size):
                return
        self._items = items
        if self._listed == listed:  # it has ended: what was not shown is not there
            self._place = len(self._noted)

    def _meet(self, key: str, size: int) -> bool:
        """Take what the listing shows next; whether anything is still looked for."""
        noted, place = self._noted, self._place
        while place < len(noted) and noted[place].key < key:
            place += 1
        if place < len(noted) and noted[place].key == key:
            if noted[place].size == size:
                self._kept.append(noted[place])
            place += 1
        self._place = place
        return place < len(noted)

    def _look(self, one: Noted, stopped: Stopped) -> None:
        if self._refused.is_set():
            return
        try:
            found = self._retries.call(lambda: self._store.stat(self._target.child(one.key)), stopped)
        except StoreError as error:
            if error.exit_code != Exit.REFUSED:
                raise
            self._refused.set()  # who may write but not read puts all of it again
            return
        if found is not None and found.size == one.size:
            self._kept.append(one)


def _run(task: Callable[[Stopped], None], halted: Stopped) -> None:
    task(halted)
