"""How long the rest of an output is waited for once all who were started have ended: as long as it is of use.

A reader of ours that is slow is waited for as long as it takes something, a pipe that somebody holds open only shortly.
It waits for nothing itself.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.streams.outlet import Outlet
    from launcher.streams.pump import Pump

DRAIN_S = 2.0
"""How long an output that somebody still holds open is read on (contract: times at the end)."""
LEAST_S = 0.1
"""The same where no time is left: a pump needs a moment to find that the output has ended."""
STUCK_S = 10.0
"""How long a reader that takes nothing is waited for."""
SLOW_S = 60.0
"""How long one that takes something is."""
LET_GO_S = 0.25
"""What the pumps need to put down what nobody takes from them, of a time that is limited."""
LOOK_S = 0.1

_log = logging.getLogger(__name__)


class Drain:
    """The end of some pumps. First it waits for the readers of the outlets, then no more for them, then for nobody."""

    def __init__(self, pumps: Sequence[Pump], outlets: Sequence[Outlet], now: float) -> None:
        self._pumps = pumps
        self._outlets = outlets
        self._began = self._moved_at = now
        self._moved = (0, 0)
        self._let_go_at: float | None = None
        self._why = ""
        for pump in pumps:
            pump.ending()

    def look(self, now: float, limit: float | None) -> float | None:
        """When to look again, at the latest; None when there is nothing left to wait for. By `limit` all is over."""
        if all(pump.over for pump in self._pumps):
            return None
        owing = any(pump.owes for pump in self._pumps)
        if self._let_go_at is None:
            by = self._patience(now, limit, owing=owing)
            if now < by:
                return min(by, now + LOOK_S)
            if owing:
                self._let_go(now)
        if self._let_go_at is not None:
            by = max(self._let_go_at + LEAST_S, _sooner(self._let_go_at + DRAIN_S, limit))
            if now < by:
                return by
        if owing:
            _log.warning("an output could not be passed on in time; what is left of it is dropped")
        else:
            _log.warning("an output is held open by a process that did not end; it is read no further")
        return None

    def close(self) -> None:
        """Read no further what somebody still holds open. Raises what went wrong in a pump: a defect."""
        for pump in self._pumps:
            pump.leave()
        for outlet in self._outlets:
            lost = outlet.take_up()
            if lost:
                _log.warning("%d bytes were not passed on to %s: %s; the log has them", lost, outlet.name, self._why)
        for pump in self._pumps:
            if pump.error is not None:
                raise pump.error

    def _patience(self, now: float, limit: float | None, *, owing: bool) -> float:
        """Until when to go on as before."""
        passed = sum(outlet.passed for outlet in self._outlets) if owing else self._moved[1]
        moved = sum(pump.moved for pump in self._pumps), passed
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        ends = [(self._began + SLOW_S, f"its reader was not done within {SLOW_S:g} s")]
        if owing:
            ends.append((self._moved_at + STUCK_S, f"its reader took nothing for {STUCK_S:g} s"))
        else:
            ends.append((self._moved_at + DRAIN_S, ""))
        if limit is not None:
            at = limit - LET_GO_S if owing else limit
            ends.append((max(at, self._began + LEAST_S), "no time was left to wait for its reader"))
        by, self._why = min(ends)
        return by

    def _let_go(self, now: float) -> None:
        self._let_go_at = now
        for outlet in self._outlets:
            outlet.let_go()


def _sooner(at: float, limit: float | None) -> float:
    return at if limit is None else min(at, limit)
