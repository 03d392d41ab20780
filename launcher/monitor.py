"""Watches a training for hanging, on a thread of its own: looks now and then, tells that it stands, asks to end it.

What counts as hung is decided in `core.hang`; how a training is looked at, shown and ended is handed in.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.hang import LEAST_SAMPLES, beginning, follow, moves, suspected, unchanged, words
from launcher.core.record import Cause
from launcher.core.retrying import HUNG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.children import Sinks
    from launcher.core.hang import Course, Look
    from launcher.core.plan import Process
    from launcher.core.resilience import Hanging
    from launcher.protocols import Clock
    from launcher.senses import Senses

SHOWING_S, SHOWING_PERIODS = 60.0, 10.0
"""How long stacks are waited for, the shorter of a time and of so many periods: what is shown may be seen moving."""

WHAT_TO_DO = (
    "See where every rank stands in the stacks that the log names; if it was at work, raise LAUNCHER_HANG_PERIODS or "
    "LAUNCHER_HANG_LONG_PERIODS, or set LAUNCHER_HANG=off."
)

_log = logging.getLogger(__name__)


class Counter:
    """A sink that only counts; one pump writes to it."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Count it."""
        self.bytes += len(chunk)

    def end(self) -> None:
        """Know that no more comes."""


class Monitor:
    """One attempt at a training under watch.

    `pids` are those of the boot processes that run. `suspect` is told a sentence, and has the stacks shown; `hung` is
    told why the training is to be ended, if `ends`. `quiet` tells the other nodes of a job whether nothing moves here,
    and answers whether nothing moves there either: a job hangs when all of its nodes do. Where somebody else knows of
    all nodes, it answers nothing, and whoever knows has stacks shown: `asked` before that, `shown` afterwards.
    """

    def __init__(
        self,
        rules: Hanging,
        senses: Senses,
        clock: Clock,
        pids: Callable[[], Sequence[int]],
        *,
        suspect: Callable[[str], object],
        hung: Callable[[Cause], object],
        quiet: Callable[[bool], object] = lambda _: True,
        ends: bool = False,
    ) -> None:
        self._rules = rules
        self._senses = senses
        self._use = senses.use
        self._clock = clock
        self._pids = pids
        self._suspect = suspect
        self._hung = hung
        self._quiet = quiet
        self._ends = ends
        self._over = threading.Event()
        self._shown = threading.Event()
        self._summary = ""
        self._counters: list[Counter] = []
        self._course: Course | None = None
        self._told_at = 0
        self._was_quiet = False
        self._was_flat: bool | None = None
        self._blind_until: float | None = None

    def counted(self, sinks: Callable[[Process], Sinks]) -> Callable[[Process], Sinks]:
        """The sinks of boot processes, with what they print counted."""

        def both(process: Process) -> Sinks:
            counters = Counter(), Counter()
            self._counters += counters
            out, err = sinks(process)
            return (counters[0], *out), (counters[1], *err)

        return both

    @property
    def sentence(self) -> str:
        """How the training stands, from any thread; empty as long as something moves."""
        course = self._course
        return words(course, devices=self._was_flat) if self._was_quiet and course is not None else ""

    def asked(self) -> None:
        """Know that stacks will be shown: until that has been done, what moves tells nothing; from any thread."""
        self._shown.clear()
        self._blind_until = self._clock.monotonic() + self._showing_s

    def shown(self, summary: str = "") -> None:
        """Know that stacks have been shown, and what they come to; from any thread."""
        self._summary = summary
        self._shown.set()

    def run(self) -> None:
        """Look every period until it is over, or nothing can be told."""
        while not self._over.wait(self._rules.period_s):
            if not self.step():
                break

    def end(self) -> None:
        """Look no more."""
        self._over.set()

    def step(self) -> bool:
        """One period; whether to go on."""
        pids = self._pids()
        if not pids:
            self._course = None
            return True
        look = self._look(pids)
        if look is None:
            _log.warning("a training that hangs will not be noticed: what its processes read and write may not be seen")
            return False
        if self._course is None:
            self._course = beginning(look)
            return True
        if self._blind_until is not None:
            self._look_past(look, self._course)
            return True
        self._course = follow(self._course, self._closer(self._course.last, look), self._rules)
        if not self._course.quiet:
            self._told_at = 0
        if not suspected(self._course, self._rules, devices=self._use is not None):
            self._tell(quiet=False)
        elif self._course.quiet >= 2 * self._told_at:
            self._judge(self._course)
        return True

    def _judge(self, course: Course) -> None:
        """Ask the devices and the other nodes, and say that it hangs if none of them moves."""
        flat = self._flat() if not self._was_quiet else self._was_flat
        look = self._look(self._pids())
        if flat is False or look is None or moves(course.last, look):
            self._course = None if look is None else beginning(look)
            self._tell(quiet=False)
            return
        self._was_flat = flat
        if not self._tell(quiet=True):
            return  # the others are asked again, the devices are not
        self._told_at = course.quiet
        sentence = words(course, devices=flat)
        self._shown.clear()
        self._suspect(sentence)
        self._shown.wait(self._showing_s)
        # Who is asked for its stacks writes them: what moved meanwhile tells nothing.
        if (after := self._look(self._pids())) is None:
            return
        self._course = replace(course, last=self._closer(look, after))
        if self._ends and not self._over.wait(self._rules.period_s):
            self._end_it(after, sentence)

    def _look_past(self, look: Look, course: Course) -> None:
        """Go on from here as if nothing had been done meanwhile."""
        if self._shown.is_set() or look.at >= (self._blind_until or 0.0):
            self._blind_until = None
        self._course = replace(course, last=self._closer(look, look))

    @property
    def _showing_s(self) -> float:
        return min(SHOWING_S, SHOWING_PERIODS * self._rules.period_s)

    def _end_it(self, before: Look, sentence: str) -> None:
        """Ask to end it, unless it has moved since; there was time for whoever waits at the last moment."""
        after = self._look(self._pids())
        if after is None or moves(before, after):
            self._course = None
            return
        evidence = tuple(self._summary.splitlines())
        self._hung(Cause(code=HUNG, message=" ".join((sentence, *evidence[:1])), action=WHAT_TO_DO, evidence=evidence))

    def _tell(self, *, quiet: bool) -> bool:
        """Tell the other nodes, who need not be told twice that something moves; whether nothing moves there."""
        if not quiet and not self._was_quiet:
            return False
        self._was_quiet = quiet
        return bool(self._quiet(quiet))

    def _look(self, pids: Sequence[int]) -> Look | None:
        look = self._senses.activity.look(pids, self._clock.monotonic()) if pids else None
        return look and replace(look, said=sum(each.bytes for each in self._counters))

    def _closer(self, before: Look, look: Look) -> Look:
        """The look with all that there is to see, where it is needed: a training that moves is not looked into."""
        return look if moves(before, look) else replace(look, closely=self._senses.activity.closer())

    def _flat(self) -> bool | None:
        """Whether the use of the devices stays the same for a window; None where it cannot be told."""
        if self._use is None:
            return None
        samples: list[Sequence[int]] = []
        count = LEAST_SAMPLES + 2
        try:
            for _ in range(count):
                if self._over.wait(self._rules.window_s / count):
                    return None
                samples.append(self._use.sample())
        except OSError as error:
            _log.warning("the use of the devices cannot be read (%s): whether it hangs is told without it", error)
            self._use = None
            return None
        return unchanged(samples, self._rules.variance)


@contextmanager
def watching(monitor: Monitor) -> Iterator[Monitor]:
    """Watch as long as the block goes on; without a thread for it, the training goes on unwatched, and that is said."""
    thread = threading.Thread(target=monitor.run, name="monitor", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        _log.warning("a training that hangs will not be noticed: this node allows no more threads")
    try:
        yield monitor
    finally:
        monitor.end()
