"""How many transfers are under way at once: as many as help, and half as many when the store says it is too much.

Pure: it is told what ended when, and only counts. What helps is seen by trying: the number doubles for as long as more
gets done in a second, and is felt for in small steps after that, up and down: threads that wait for each other cost
the node, so fewer that do as much are better.
"""

from __future__ import annotations

FIRST = 8
UNIT = 256 * 1024
"""Bytes that weigh as much as one request: small objects are counted, large ones are measured."""
ROUNDS = 2
"""Each place of the window ends so many transfers before what they got done is judged, and no less time passes than
`SHORTEST` seconds: less than that is chance."""
SHORTEST = 0.03
DOUBLING = 1.2
"""How many times as much must get done for twice the transfers to be worth it."""
STEP, MORE, LESS = 0.25, 1.05, 0.97
"""The size of a small step, and how many times as much must get done after one up and one down. One is tried in so many
judgements, and after one that was worth it the next at once:"""
PAUSE = 16
QUIET = 0.5
"""Seconds in which refusals count as one: they answer requests that were under way together."""


class Window:
    """The number of transfers that may be under way, from 1 to `most`. Not safe from several threads at once."""

    def __init__(self, most: int, first: int = FIRST) -> None:
        self.limit = max(1, min(first, most))
        self._most = max(1, most)
        self._doubles = self._eager = True
        self._up = True
        self._before = 0
        self._rate = 0.0
        self._judged = 0
        self._slowed: float | None = None
        self._since: float | None = None
        self._ended = 0
        self._done = 0.0

    def begun(self, now: float) -> None:
        """The first transfer begins; those after it need not be told."""
        if self._since is None:
            self._since = now

    def done(self, now: float, size: int) -> None:
        """A transfer of so many bytes has ended well."""
        self.begun(now)
        self._ended += 1
        self._done += 1 + size / UNIT
        passed = now - (self._since or 0.0)
        if self._ended >= self.limit * ROUNDS and passed >= SHORTEST:
            self._judge(self._done / passed)
            self._restart(now)

    def slowed(self, now: float) -> None:
        """The store has asked for less."""
        if self._slowed is not None and now - self._slowed < QUIET:
            return
        self._slowed = now
        self.limit = max(1, self.limit // 2)
        self._doubles, self._eager, self._up, self._before, self._judged = False, False, True, 0, 0
        self._restart(now)

    def _restart(self, now: float) -> None:
        self._since, self._ended, self._done = now, 0, 0.0

    def _judge(self, rate: float) -> None:
        """Keep the last step if it was worth it, and decide on the next one."""
        if self._before and rate < self._rate * (DOUBLING if self._doubles else MORE if self._up else LESS):
            self.limit, self._before = self._before, 0
            self._turn(eager=self._doubles)
            return
        self._eager = self._eager or self._before > 0
        self._before = 0
        self._rate = rate
        self._judged += 1
        if self._eager or self._judged >= PAUSE:
            self._step()

    def _turn(self, *, eager: bool) -> None:
        """Try the other way next."""
        self._doubles, self._eager, self._up, self._judged = False, eager, not self._up, 0

    def _step(self) -> None:
        """Take a step, which is judged later, unless it is none."""
        more = self.limit if self._doubles else max(1, int(self.limit * STEP))
        limit = min(self.limit + more, self._most) if self._up else max(1, self.limit - more)
        if limit == self.limit:
            self._turn(eager=False)
        else:
            self._before, self.limit, self._judged = self.limit, limit, 0
