"""One request for stacks that are kept: who is asked, what has been seen by now, and when it is over."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from launcher.core.flights import NAMES as FLIGHT_NAMES
from launcher.stacks.ranks import ranked, variables
from launcher.stacks.taken import Answer, Looked, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.kin import Relative
    from launcher.stacks.taken import Keeper

WHOLE_S, LOOKS_S = 55.0, 40.0
"""A request takes no longer, whatever hangs, and its looks no longer than this of it."""
ANSWER_S = 2.0
"""So long the own words of a process are waited for that could not be looked into."""
GLANCE_S = 0.1

_log = logging.getLogger(__name__)


class Request:
    """From the question to the word about it. Its methods are for the main thread alone."""

    def __init__(
        self,
        keeper: Keeper,
        families: Mapping[int, Sequence[Relative]],
        rank: Callable[[int], int | None],
        tail: Callable[[int], bytes],
        proc: str = "/proc",
    ) -> None:
        self._keeper = keeper
        self.ranks: dict[int, int] = {}
        """Of each process that is a rank."""
        self._names: dict[int, str] = {}
        self._told: dict[int, Mapping[str, str]] = {}
        self._answers: dict[int, Answer] = {}
        self._seen: dict[int, str] = {}
        self._outside: dict[int, str] = {}
        self._until = self._looks_by = self._answers_by = self._glance = 0.0
        self._closing = False
        self._tails = {pid: partial(tail, pid) for pid in families}
        for pid, family in families.items():
            self._note(family, rank(pid), proc)

    @property
    def due(self) -> float:
        """When somebody has to look after it again; once it is being kept, whoever keeps it calls."""
        return self._until if self._closing else self._glance or self._looks_by

    def expect(self, pid: int) -> None:
        """Note that a process is about to be asked for its stacks; of a child, the launcher sees what it writes."""
        if pid in self._tails:
            self._answers[pid] = Answer(self._tails[pid])

    def saw(self, pid: int, text: str) -> None:
        """Note what was seen of a process."""
        self._seen[pid] = text

    def described(self, pid: int, lines: Sequence[str]) -> None:
        """Note what /proc tells of a process that nobody can look into."""
        self._outside[pid] = "\n".join(lines)

    def late(self, now: float) -> bool:
        """Whether nobody else can be looked into any more; the first call starts its time."""
        if not self._until:
            self._until, self._looks_by = now + WHOLE_S, now + LOOKS_S
        if self._closing or now < self._looks_by:
            return False
        self.close()
        return True

    def closed(self, now: float) -> bool:
        """Whether all is said; what was seen is kept as soon as nobody is looked into any more."""
        if not self._closing:
            self._answers_by = self._answers_by or now + ANSWER_S
            if now < self._answers_by and self._awaits():
                self._glance = now + GLANCE_S
                return False
            self.close()
        if not self._keeper.over and now < self._until:
            return False
        self._keeper.tell()
        return True

    def close(self) -> None:
        """Keep what was seen by now."""
        if not self._closing:
            self._closing = True
            self._keeper.begin(self._taken())

    def _note(self, family: Sequence[Relative], rank: int | None, proc: str) -> None:
        self.ranks |= ranked(family, rank, proc)
        self._names |= {one.pid: one.name for one in family if not one.ended}
        self._told |= {each: variables(each, FLIGHT_NAMES, proc) for each in self.ranks if each in self._names}

    def _awaits(self) -> bool:
        return any(pid not in self._seen and not answer.text for pid, answer in self._answers.items())

    def _taken(self) -> Taken:
        """The ranks in their order, then all others that were looked into, or described."""
        spoken = {pid: answer.text for pid, answer in self._answers.items() if pid not in self._seen}
        texts = {**spoken, **self._seen}
        pids = [
            *sorted(self.ranks, key=lambda pid: self.ranks[pid]),
            *(pid for pid in {**texts, **self._outside} if pid not in self.ranks),
        ]
        looked = [
            Looked(
                pid=pid,
                name=self._names.get(pid, "?"),
                text=texts.get(pid, ""),
                outside=self._outside.get(pid, ""),
                rank=self.ranks.get(pid),
                told=self._told.get(pid, {}),
            )
            for pid in pids
        ]
        return Taken(looked=tuple(looked))
