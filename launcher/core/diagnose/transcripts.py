"""The end of what a process wrote, as lines that can be searched: bounded, without colours, ranks and control marks.

Whatever a program writes comes through here first, so nothing after it meets a huge line or an escape sequence.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

from launcher.core.diagnose.tracebacks import Traceback, tracebacks

MOST_LINES = 3000
LONGEST_LINE = 2000

_COLOUR = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
_RANK = re.compile(r"\[(?:rank|default|worker-)? ?[0-9]{1,6}\]:? ?|\[[0-9]{1,6},[0-9]{1,6}\]<std(?:err|out)>: ?")
"""What PyTorch (`[rank0]: `), torchrun (`[default0]:`), Open MPI (`[1,0]<stderr>:`) and our own log put first."""


class Transcript:
    """The last lines of one stream."""

    def __init__(self, text: str) -> None:
        self.lines = tidy(text)

    @cached_property
    def tracebacks(self) -> tuple[Traceback, ...]:
        """Every Python traceback, in the order of the lines."""
        return tracebacks(self.lines)

    @cached_property
    def text(self) -> str:
        """All lines as one text, so that one search in C sees them all."""
        return "\n".join(self.lines)

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [], 0
        for line in self.lines:
            starts.append(at)
            at += len(line) + 1
        return starts

    def last_lines_with(self, words: str, most: int) -> list[int]:
        """The lines that hold these words, the last first, at most so many."""
        found: list[int] = []
        end = len(self.text)
        if words not in self.text:
            return found
        while len(found) < most:
            at = self.text.rfind(words, 0, end)
            if at < 0:
                break
            found.append(bisect_right(self._starts, at) - 1)
            end = self._starts[found[-1]]
        return found


def tidy(text: str) -> tuple[str, ...]:
    """The last lines, each bounded and printable; a progress bar's states are lines of their own."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")
    return tuple(map(_tidy_line, lines[-MOST_LINES:])) if lines != [""] else ()


def printable(text: str) -> str:
    """One line without control characters, unpaired surrogates and marks that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in text)


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and its end with a mark between them."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[len(text) - most // 2 + 3 :]}"


def _tidy_line(line: str) -> str:
    if line[:1] == "[":
        prefix = _RANK.match(line)
        line = line[prefix.end() :] if prefix else line
    return printable(shortened(line, LONGEST_LINE))
