"""How far a training is, looked at before and after an attempt: the checkpoints in its outputs, the steps in its log.

It follows no link and changes nothing, and looks for a few seconds only, unless a file system hangs. What it could not
see is said, never guessed. What comes of it is decided in `core/gain.py`.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from launcher import disk
from launcher.core.checkpoints import File, Gathering
from launcher.core.gain import Mark, Reached, reached
from launcher.core.keys import is_own
from launcher.core.steps import longest_line, number_of
from launcher.streams.segments import segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from launcher.core.plan import Output, Plan

    Seen = tuple[tuple[Reached, ...], str | None]
    """How far each output is, and what could not be looked at."""
    Aside = Callable[[Callable[[], Seen]], Seen | None]

MOST_ENTRIES = 500_000
"""Files and folders of all outputs that one look takes in,"""
LOOK_S = 5.0
"""and its seconds; what has more, or is slower, is not judged."""
TAIL = 8 * 1024**2
"""Bytes of the log that one look reads for steps, the last ones that were written."""
STEPS_S = 2.0
"""Seconds that may go into finding steps in them."""
LINE = 4096
"""Bytes of a line that steps are looked for in."""
_LINE_S = 0.05
_ENDS = re.compile(r"[\r\n]+")
_HOPELESS = (
    "the step pattern may take very long on a line and is not looked for; write it without repeats of repeats, or "
    "install the package regex"
)
_UNSEEN = "the outputs were not looked at to the end"


class Gains:
    """The marks of one training: the first is made before its first attempt. For one thread."""

    def __init__(
        self, plan: Plan, monotonic: Callable[[], float] = time.monotonic, *, most_entries: int = MOST_ENTRIES
    ) -> None:
        self._outputs = plan.outputs
        self._rules = plan.resilience.gain
        self._log = plan.files.log
        self._monotonic = monotonic
        self._most = most_entries
        self._finder = None if self._rules.step is None else _Finder(self._rules.step, monotonic)
        self._step: float | None = None
        self._read: tuple[int, int] | None = None
        """Up to where the log was read: its inode, and the offset in it."""

    def mark(self, aside: Aside = lambda look: look()) -> Mark:
        """How far the training is now; what the log shows counts from the mark before.

        `aside` looks at the outputs, on whatever thread, or gives that up: None.
        """
        latest = self._latest()
        if latest is not None:
            self._step = latest if self._step is None else max(self._step, latest)
        outputs, why = aside(self._seen) or ((), _UNSEEN)
        return Mark(outputs=outputs, step=self._step, latest=latest, unknown=why or self._hopeless())

    def _seen(self) -> Seen:
        look = _Look(self._monotonic() + LOOK_S, self._most, self._monotonic)
        return tuple(self._reached(output, look) for output in self._outputs), look.why

    def _reached(self, output: Output, look: _Look) -> Reached:
        gathering = Gathering(self._rules.checkpoints)
        look.into(output.path, gathering)
        return reached(output.name, gathering.found())

    def _hopeless(self) -> str | None:
        return self._finder.hopeless if self._finder is not None else None

    def _latest(self) -> float | None:
        """The highest step that the log has shown since the last look."""
        if self._finder is None:
            return None
        text = b"".join(reversed(list(self._pieces())))
        lines = _ENDS.split(text.decode("utf-8", "replace"))
        return self._finder.highest(reversed(lines))

    def _pieces(self) -> Iterator[bytes]:
        """What was written since then, the last of it first: a full log is another file now, with the same inode."""
        since, left, now = self._read, TAIL, None
        for path in (self._log, *segments(self._log)):
            try:
                descriptor = disk.open_regular(os.path.dirname(path), path)
            except OSError:
                continue  # there is none yet, or something else stands in its place
            with open(descriptor, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if now is None:
                    now = (status.st_ino, status.st_size)
                    self._read = now
                    if since is None:  # what an earlier run has left
                        return
                known = status.st_ino == since[0] if since else False
                start = max(since[1] if since and known else 0, status.st_size - left)
                file.seek(start)
                piece = file.read(max(status.st_size - start, 0))
                left -= len(piece)
                yield piece
            if known or left <= 0:
                return


class _Look:
    """One look at the outputs, which ends at a moment or after so many entries; `why` says so."""

    def __init__(self, end: float, left: int, monotonic: Callable[[], float]) -> None:
        self._end = end
        self._left = left
        self._monotonic = monotonic
        self.why: str | None = None

    def into(self, base: str, gathering: Gathering) -> None:
        """Gather the checkpoints of a folder; one that is not there has none."""
        waiting = [""]
        while waiting and self.why is None:
            folder = waiting.pop()
            try:
                descriptor = os.open(f"{base}/{folder}".rstrip("/"), disk.DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self.why = f"not all checkpoints could be looked at: {disk.reason(error)}"
                return
            try:
                self._take(descriptor, folder, waiting, gathering)
            finally:
                os.close(descriptor)
            if gathering.cut or self._left < 0 or self._monotonic() > self._end:
                self.why = "the outputs hold more files than could be looked at in time"

    def _take(self, descriptor: int, folder: str, waiting: list[str], gathering: Gathering) -> None:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0 or gathering.cut:
                    return
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if not is_own(path):
                        waiting.append(f"{path}/")
                    continue
                part = gathering.part(path)
                if part is None or is_own(path) or not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                gathering.add(part, File(path=path, size=status.st_size, mtime_ns=status.st_mtime_ns))


class _Finder:
    """Finds steps in lines, by `regex` where it is there, for that has a limit of time; else in short lines."""

    def __init__(self, expression: str, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._longest = LINE
        self._search = _limited(expression)
        if self._search is None:
            self._longest = longest_line(expression)
            self._search = re.compile(expression).search
        self.hopeless: str | None = None if self._longest else _HOPELESS

    def highest(self, lines: Iterator[str]) -> float | None:
        """The highest step of these lines, as far as there is time to look."""
        found: float | None = None
        end = self._monotonic() + STEPS_S
        with _alarm(STEPS_S):
            for line in lines:
                if not self._longest or self._monotonic() > end:
                    break
                step = self._step(line[: self._longest])
                if step is not None and (found is None or step > found):
                    found = step
        if found is None and self._monotonic() > end:
            self.hopeless = _HOPELESS
        return found

    def _step(self, line: str) -> float | None:
        try:
            match = self._search(line) if self._search and line else None
        except TimeoutError:
            return None
        return number_of(match[1]) if match and match[1] is not None else None


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """End what takes longer: Python's `re` looks for signals now and then, and for nothing else that could end it.

    On another thread than the main one nothing is limited by this.
    """
    armed = True

    def ring(_number: int, _frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise TimeoutError

    with suppress(TimeoutError):
        try:
            before = signal.signal(signal.SIGALRM, ring)
        except ValueError:
            yield
            return
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            signal.signal(signal.SIGALRM, before)


def _limited(expression: str) -> Callable[[str], re.Match[str] | None] | None:
    """A search with a limit of time; None where there is none on this node, or it does not know the expression."""
    try:
        import regex  # noqa: PLC0415 - of the extra `search`, and for jobs that say how their steps look
    except ImportError:
        return None
    try:
        compiled = regex.compile(expression)
    except (regex.error, ValueError, RecursionError):
        return None
    return lambda line: compiled.search(line, timeout=_LINE_S)
