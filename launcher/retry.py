"""Trying again: how long one channel goes on with a store that fails, on all its threads together.

Which failure is worth another try, and after how long, is decided in `core.storefault`. It knows no store.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from launcher.core.errors import Cancelled, StoreError
from launcher.core.storefault import AWAY, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_log = logging.getLogger(__name__)

BUDGET = 500
"""A channel gives up when so many more of its tries have failed than went well."""
SLOT = 0.1
"""Of the failures within so many seconds, on whichever threads, one counts: an outage is one, however many meet it."""
PATIENCE = 60.0
"""Seconds for which a store is waited for that has answered well before."""
LONG = 30.0
"""Seconds: a try that went on for so long got somewhere, and its time is none of the store's failing."""
LOOK = 0.1
"""Seconds between two looks at `stopped` while a pause goes on."""


class Retries:
    """The patience of one channel. `slowed` is called when its store asks for less; `spent` counts the tries again.

    A store that has answered well is waited for `patience` seconds, however many wait. Where that was in vain it is
    taken for one that never answered, until something goes well again: what is left then fails soon.

    `rest` is how the pauses pass; other than `pause` only for those who try this out.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        slowed: Callable[[], object] = lambda: None,
        rest: Callable[[float, Callable[[], bool]], None] | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._monotonic = monotonic
        self._slowed = slowed
        self._rest = rest or pause
        self._lock = threading.Lock()
        self._left = BUDGET
        self._patience = patience
        self._counted = 0.0
        self._answered = False
        self._last_well = -math.inf
        self._out_since: float | None = None
        self.spent = 0

    def call(self, work: Callable[[], T], stopped: Callable[[], bool]) -> T:
        """Do the work, again where that can help. Raises what it raised last, and `Cancelled` in a pause."""
        trial = Trial(self)
        while True:
            try:
                result = work()
            except StoreError as error:  # noqa: PERF203 - a request that fails is the rare case
                trial.failed(error, stopped)
            else:
                self.went_well()
                return result

    def went_well(self) -> None:
        """Something came through: that makes up for one failure."""
        self._last_well = self._monotonic()
        if self._left < BUDGET or not self._answered or self._out_since is not None:
            with self._lock:
                self._left = min(self._left + 1, BUDGET)
                self._answered, self._out_since = True, None

    def wait_after(self, error: StoreError, failures: int, since: float) -> float | None:
        """Seconds until one request that has failed so often since then may be tried again; None: never."""
        if error.code == "store-busy":
            self._slowed()
        now = self._monotonic()
        with self._lock:
            if error.code in AWAY and self._out_since is None:
                self._out_since = now
            in_vain = self._out_since is not None and now - self._out_since >= self._patience
            known, silent = self._answered and not in_vain, self._last_well < since
            patience = self._patience if known else None
            wait = retry_after(error, failures, now - since, _chance(), patience=patience, silent=silent)
            if wait is None or self._left <= 0:
                return None
            if self._answered and in_vain and now - since + wait > self._patience:
                return None
            if now - self._counted >= SLOT:
                self._counted = now
                self._left -= 1
            self.spent += 1
            told = self.spent
        if told & (told - 1) == 0:  # the 1st, 2nd, 4th, 8th …: a storm must not become one of lines
            _log.info("trying again in %.1f s (retry %d of this channel): %s", wait, told, error)
        return wait

    def now(self) -> float:
        """The clock that failures are timed by."""
        return self._monotonic()

    def rest(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Let time pass. Raises `Cancelled`."""
        self._rest(seconds, stopped)


class Trial:
    """The tries of one request."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._failures = 0
        self._since = self._resumed = 0.0

    def failed(self, error: StoreError, stopped: Callable[[], bool]) -> None:
        """Let time pass until the next try; raises the error where there is none, and `Cancelled`."""
        now = self._retries.now()
        self._failures += 1
        if self._failures == 1 or now - self._resumed > LONG:
            self._since = now
        wait = self._retries.wait_after(error, self._failures, self._since)
        if wait is None:
            raise error
        self._retries.rest(wait, stopped)
        self._resumed = self._retries.now()


def pause(seconds: float, stopped: Callable[[], bool], monotonic: Callable[[], float] = time.monotonic) -> None:
    """Let time pass, in steps short enough to stop on request. Raises `Cancelled`."""
    end = monotonic() + seconds
    never = threading.Event()
    while (left := end - monotonic()) > 0:
        if stopped():
            raise Cancelled
        never.wait(min(left, LOOK))


def _chance() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32
