"""A trial's output, looked through for its metrics while it is written: every match of the reward is one iteration.

It keeps what a search needs of a log and nothing else of it; it writes nothing, masks nothing and never fails.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from launcher.core.search.endings import Read
from launcher.core.search.numbers import reading
from launcher.search.expressions import compile_metric
from launcher.search.guard import Guard
from launcher.streams.lines import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from launcher.core.search import Metric
    from launcher.search.expressions import Expression

LINE_BYTES = 128 * 1024
"""A longer line is looked through in parts of this size; of several boot processes it comes in smaller ones anyway."""
LINE_SECONDS = 0.5
MOST_TIMEOUTS = 3
"""An expression that took too long for so many lines is given up for this trial."""
TAIL_LINES = 20
_TAIL_BYTES = 500
_METRIC_LENGTH = 200

_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^_`-~])")
_TOKEN = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.+-"
_LONGEST_TOKEN = 4096
_OWN = PREFIX.encode()
_RANK, _FIRST_RANK, _RANKED = b"[rank ", b"[rank 0] ", re.compile(rb"\[rank [0-9]{1,6}\] ")


class Stream:
    """One stream of a trial, in whole lines: a carriage return ends one too, as progress bars have it."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self._held = b""

    def write(self, chunk: bytes | memoryview) -> None:
        """Take all of it; what has not ended yet is held."""
        text = bytes(chunk)
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if end:
            block, self._held = self._held + text[:end], text[end:]
            self._take(block.replace(b"\r", b"\n") if b"\r" in block else block)
        else:
            self._held += text
        if len(self._held) > LINE_BYTES:
            *parts, self._held = _parts(self._held)
            for part in parts:
                self._take(part + b"\n")

    def end(self) -> None:
        """Take what was held as a line."""
        held, self._held = self._held, b""
        if held:
            self._take(held + b"\n")


class Scanner:
    """What the two streams of one trial say; any thread may write to them and ask. The first metric is the reward.

    `on_reward` is told the number of each iteration, from 0, and its value, in their order and by the thread that
    reads: it must return at once. Of lines that have their rank before them (`streams.ranks`) only those of rank 0
    count. Raises ValueError where an expression cannot be run.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        on_reward: Callable[[int, float], object],
        *,
        now: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._reward = metrics[0]
        self._live = [compile_metric(metric) for metric in metrics]
        self._on_reward = on_reward
        self._guard = Guard(now, spent)
        self._lock = threading.Lock()
        self._count = self._unread = self._passed = 0
        self._last: float | None = None
        self._best: float | None = None
        self._metrics: dict[str, str] = {}
        self._example = ""
        self._timeouts: dict[str, int] = {}
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self.stdout = Stream(self._take)
        self.stderr = Stream(self._take)

    def read(self) -> Read:
        """All of it, as it is now."""
        with self._lock:
            return Read(
                count=self._count,
                last=self._last,
                best=self._best,
                metrics=dict(self._metrics),
                unread=self._unread,
                example=self._example,
                tail=tuple(line.decode("utf-8", "replace") for line in self._tail),
                notes=tuple(self._notes()),
            )

    def _notes(self) -> Iterator[str]:
        for name, count in self._timeouts.items():
            if count >= MOST_TIMEOUTS:
                lines = f"{count} lines took it more than {LINE_SECONDS} s each"
                yield f"The expression of {name} was given up: {lines}"
        if self._passed:
            yield f"So much was written that {self._passed} bytes of it were not looked through for {self._reward.name}"

    def _take(self, block: bytes) -> None:
        """Look through whole lines, each ended by a line feed."""
        with self._lock:
            if b"\x1b" in block:
                block = _ESCAPE.sub(b"", block)
            self._keep_last(block)
            for expression in tuple(self._live):
                if expression.literal in block:
                    with self._guard:
                        self._look(expression, block)

    def _keep_last(self, block: bytes) -> None:
        last = block[-LINE_BYTES:].rsplit(b"\n", 4 * TAIL_LINES)
        whole = last if len(block) <= LINE_BYTES or len(last) <= 2 else last[1:]  # noqa: PLR2004 - one line and its end
        kept = [line for line in map(self._ours, whole) if line.strip()]
        self._tail.extend(line if len(line) <= _TAIL_BYTES else line[:_TAIL_BYTES] + b"..." for line in kept)

    def _ours(self, line: bytes) -> bytes:
        """A line of the boot file; nothing where it is the launcher's, or another rank's."""
        other = line.startswith(_RANK) and not line.startswith(_FIRST_RANK) and _RANKED.match(line)
        return b"" if other or line.startswith(_OWN) else line

    def _look(self, expression: Expression, block: bytes) -> None:
        for line, end in _lines(block, expression.literal):
            if not self._match(expression, line):
                return
            if not self._guard.open():
                self._look_at_last(expression, block[end:])
                return

    def _look_at_last(self, expression: Expression, rest: bytes) -> None:
        """Too much was written: look at the last lines of it only, and not even at these after a long time."""
        last = rest[-LINE_BYTES:].split(b"\n")[-TAIL_LINES - 1 :]
        if expression.metric is self._reward:
            self._passed += max(len(rest) - sum(map(len, last)) - len(last), 0)
        for line in last:
            if self._guard.exhausted or not self._match(expression, line):
                return

    def _match(self, expression: Expression, line: bytes) -> bool:
        """Note what an expression finds in a line. False where it is given up."""
        line = self._ours(line)
        bare = line.removeprefix(_FIRST_RANK)
        try:
            # a boot file may print its rank by itself, and an expression may want to see it
            if not self._find(expression, bare) and bare is not line:
                self._find(expression, line)
        except TimeoutError:
            name = expression.metric.name
            self._timeouts[name] = self._timeouts.get(name, 0) + 1
            if self._timeouts[name] >= MOST_TIMEOUTS:
                self._live.remove(expression)
                return False
        return True

    def _find(self, expression: Expression, line: bytes) -> bool:
        """Note what an expression finds; whether that is anything. Raises TimeoutError."""
        found = False
        for part in (line,) if len(line) <= LINE_BYTES else _parts(line):
            for text in expression.found(part.decode("utf-8", "replace"), LINE_SECONDS):
                found = True
                self._note(expression.metric, text.strip())
        return found

    def _note(self, metric: Metric, text: str) -> None:
        if not text:
            return
        self._metrics[metric.name] = text[:_METRIC_LENGTH]
        if metric is not self._reward:
            return
        found = reading(text)
        if found.value is None:
            self._unread += 1
            self._example = text[:_METRIC_LENGTH]
        else:
            self._add(found.value)

    def _add(self, value: float) -> None:
        step, self._count = self._count, self._count + 1
        better = max if self._reward.mode == "max" else min
        self._last = value
        self._best = value if self._best is None else better(self._best, value)
        self._on_reward(step, value)


def _lines(block: bytes, literal: bytes) -> Iterator[tuple[bytes, int]]:
    """The lines that hold a text, each with where it ends; all of them for an empty text."""
    at = block.find(literal)
    while at >= 0:
        start = block.rfind(b"\n", 0, at) + 1
        end = block.find(b"\n", at)
        yield block[start:end], end + 1
        at = block.find(literal, end + 1) if end + 1 < len(block) else -1


def _parts(line: bytes) -> Iterator[bytes]:
    """A long line in parts, cut at a space or beside a word, never in a number: half of one would be another one."""
    at = 0
    while len(line) - at > LINE_BYTES:
        part = line[at : at + LINE_BYTES]
        whole = part[: part.rfind(b" ") + 1]
        if len(part) - len(whole) > _LONGEST_TOKEN:
            whole = part.rstrip(_TOKEN)
        part = whole if len(part) - len(whole) <= _LONGEST_TOKEN else part
        yield part
        at += len(part)
    yield line[at:]
