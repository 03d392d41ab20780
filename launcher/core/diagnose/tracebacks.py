"""Python tracebacks among lines: where each begins and ends, its last sentence, and the line of code that it names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_LINES = 46
"""A longer traceback is cut in its middle."""

_HEADER = "Traceback (most recent call last):"
_GROUP = "+ Exception Group Traceback (most recent call last):"
_LINKS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_SPAWNED = re.compile(r"-- Process [0-9]{1,6} terminated with the following error:$")
_FRAME = re.compile(r'(?:  )?File "(?P<file>[^"]{1,1000})", line (?P<line>[0-9]{1,9})(?P<inside>, in .{1,500})?$')
_FINAL = re.compile(r"[A-Za-z_][\w.<>]{0,200}(?::(?: .*)?)?$")
_SYNTAX = ("SyntaxError:", "IndentationError:", "TabError:")
_MARGIN = re.compile(r" {2,100}[|+] ")
_MESSAGE_LINES = 12
"""So many lines an exception's own text may go on for; no mark ends it but a blank line."""
_LINK_REACH = 40
_SYNTAX_REACH = 5
_NOISE = 3
"""Lines of other threads that may stand between the frames and the exception."""

_FOREIGN = ("/site-packages/", "/dist-packages/", "/lib/python3", "<")


class Traceback(msgspec.Struct, frozen=True, kw_only=True):
    """One traceback with its chained parts: lines[start:end].

    `final` is the exception's first line, empty where the output was cut; `place` is `file:line` in the user's code.
    """

    start: int
    end: int
    final: str
    place: str


def tracebacks(lines: Sequence[str]) -> tuple[Traceback, ...]:
    """Every traceback, in order; chained ones are one."""
    found: list[Traceback] = []
    at = 0
    while at < len(lines):
        end = _end(lines, at) if _may_begin(lines[at]) else at
        if end == at:
            at += 1
            continue
        body = _without_margin(lines[at:end])
        one = Traceback(start=at, end=end, final=_final(body), place=_place(body))
        if found and at - found[-1].end <= _LINK_REACH and _is_linked(lines, at):
            one = msgspec.structs.replace(one, start=found.pop().start)
        found.append(one)
        at = end
    return tuple(found)


def cut_in_the_middle(lines: Sequence[str], most: int = MOST_LINES) -> tuple[str, ...]:
    """The lines, or the first and the last of them with the number of those left out."""
    if len(lines) <= most:
        return tuple(lines)
    head = most // 2
    tail = most - head - 1
    return (*lines[:head], f"  … {len(lines) - head - tail} lines left out …", *lines[-tail:])


def _may_begin(line: str) -> bool:
    return line.endswith(_HEADER) or line.lstrip(" ").startswith('File "')


def _end(lines: Sequence[str], at: int) -> int:
    """Where the traceback ends that begins here; `at` itself where none does."""
    if _GROUP in lines[at]:
        return _past(lines, at + 1, lambda line: line[:1] == " " and line.lstrip(" ")[:1] in ("|", "+"))
    if not lines[at].endswith(_HEADER) and not _stands_alone(lines, at):
        return at
    end = _past(lines, at + 1, lambda line: line[:1] == " ")
    final = next((k for k in range(end, min(end + _NOISE, len(lines))) if _FINAL.match(lines[k])), None)
    if final is None:
        return end
    most = min(final + 1 + _MESSAGE_LINES, len(lines))
    return _past(lines[:most], final + 1, lambda line: bool(line.strip()) and not line.endswith(_HEADER))


def _stands_alone(lines: Sequence[str], at: int) -> bool:
    """Whether frames without a header are a traceback: its top was cut off, or the boot file itself has bad syntax."""
    frame = _FRAME.match(lines[at])
    if frame is None:
        return False
    if frame["inside"] is None:
        return any(line.startswith(_SYNTAX) for line in lines[at + 1 : at + _SYNTAX_REACH])
    return at <= 1


def _past(lines: Sequence[str], at: int, belongs: Callable[[str], bool]) -> int:
    while at < len(lines) and belongs(lines[at]):
        at += 1
    return at


def _is_linked(lines: Sequence[str], at: int) -> bool:
    """Whether the traceback that begins here goes on with the one before it."""
    if lines[at].startswith("Original Traceback"):  # torch.utils.data: an exception out of a worker
        return True
    before = next((lines[k] for k in range(at - 1, max(at - _NOISE, -1), -1) if lines[k].strip()), "")
    return before.strip() in _LINKS or _SPAWNED.match(before) is not None


def _without_margin(lines: Sequence[str]) -> list[str]:
    """The lines of an exception group without the bars that draw its tree."""
    if _GROUP not in lines[0]:
        return list(lines)
    found = []
    for line in lines:
        margin = _MARGIN.match(line)
        found.append(line[margin.end() :] if margin else "")
    return found


def _final(body: Sequence[str]) -> str:
    """The first line of the exception; of a group, that of its last leaf."""
    if not body[0].endswith(_HEADER) or "Exception Group" not in body[0]:
        rest = next((k for k in range(1, len(body)) if body[k][:1] != " "), len(body))
        return next((line for line in body[rest:] if _FINAL.match(line)), "")
    return next((line for line in reversed(body) if line[:1].strip() and _FINAL.match(line)), "")


def _place(body: Sequence[str]) -> str:
    """The innermost line of the user's own code, else the innermost of all."""
    frames = [frame for frame in map(_FRAME.match, body) if frame]
    own = [frame for frame in frames if not any(mark in frame["file"] for mark in _FOREIGN)]
    if not frames:
        return ""
    frame = (own or frames)[-1]
    return f"{'/'.join(frame['file'].split('/')[-2:])}:{frame['line']}"
