"""Stacks as py-spy and faulthandler print them: the threads of a process, and the frames of each, innermost first.

What is read here was printed by, or about, a program that may have any names: all of it is bounded, nothing is trusted.
"""

from __future__ import annotations

import re

from msgspec import Struct

MOST_BYTES = 1024 * 1024
"""What is kept, and read, of the text about one process."""
MOST_THREADS, MOST_FRAMES = 1024, 256
LONGEST_NAME, LONGEST_FILE = 200, 500
MOST_LINE = 10**9
"""No file has a line of a higher number."""

_HEAD = re.compile(r"Process ([0-9]{1,10}): ")
_SPIED = re.compile(r'Thread (0x[0-9A-Fa-f]{1,16}|[0-9]{1,10})(?: \([^()"]{0,40}\))?(?:: "(.{0,200})"?)?')
_FAULT = re.compile(r"(Current thread|Thread) 0x[0-9a-f]{1,16}(?: \[.{0,200}\])? \(most recent call first\):$")
_FAULT_FRAME = re.compile(r'  File "(.{1,500})", line ([0-9]{1,9}) in (.{1,200})$')
_SOURCES = (".py", ".pyc", ".pyx", ".pyi", ".ipynb")
_UNNAMED = re.compile(r"<[\w -]{1,100}>$")
"""`<string>`, `<stdin>`, `<frozen importlib._bootstrap>`: code that has no file."""
MAIN = "MainThread"


class Frame(Struct, frozen=True):
    """A call that has not returned; `line` is 0 where it is not known."""

    function: str
    file: str
    line: int


class Thread(Struct, frozen=True, kw_only=True):
    """One thread: its frames of Python code, the innermost first. `main`: it is the one that the program began with."""

    frames: tuple[Frame, ...]
    main: bool = False


def threads(text: str) -> tuple[Thread, ...]:
    """The threads of which a text tells, whichever of the two printed it; none where neither did."""
    lines = text[:MOST_BYTES].splitlines()
    return _of_fault(lines) or _of_spy(lines)


def main_thread(found: tuple[Thread, ...]) -> Thread | None:
    """The thread that counts: the main one, if a text told of it at all."""
    return next((thread for thread in found if thread.main), None)


def _of_spy(lines: list[str]) -> tuple[Thread, ...]:
    """`Thread 7 (idle): "MainThread"` and its frames, of which each is `    function (file:line)`."""
    pid, found, heads = "", list[list[Frame]](), list[tuple[str, str]]()
    for line in lines:
        if not pid and (head := _HEAD.match(line)):
            pid = head[1]
        elif line.startswith("    "):
            frame = _spied(line[4:]) if found else None
            if frame is not None and len(found[-1]) < MOST_FRAMES:
                found[-1].append(frame)
        elif (head := _SPIED.match(line)) and len(found) < MOST_THREADS:
            found.append([])
            heads.append((head[1], head[2] or ""))
    first = _first(pid, heads)
    return tuple(Thread(frames=tuple(frames), main=at == first) for at, frames in enumerate(found))


def _first(pid: str, heads: list[tuple[str, str]]) -> int | None:
    """Which is the main thread: its number is the process's own; from within another namespace, by its name alone."""
    by_number = [at for at, (number, _) in enumerate(heads) if number == pid]
    by_name = [at for at, (_, name) in enumerate(heads) if name.rstrip('"') == MAIN]
    return next(iter((*by_number, *by_name, *range(len(heads))[:1])), None)


def _spied(text: str) -> Frame | None:
    """A frame of Python code; None for one of a library, which has no line, or not of a Python file."""
    function, between, place = text.partition(" (")
    file, colon, line = place.rpartition(":")
    if not (between and colon and place.endswith(")") and line[:-1].isascii() and line[:-1].isdecimal()):
        return None
    is_python = file.endswith(_SOURCES) or _UNNAMED.match(file)
    return _frame(function, file, line[:-1]) if function and is_python else None


def _of_fault(lines: list[str]) -> tuple[Thread, ...]:
    """The last dump of a text: the main thread is its last, and a program that goes on writes other lines too."""
    found: list[list[Frame]] = []
    ended = True
    for line in lines:
        if _FAULT.match(line):
            # a dump's threads are one block, with a blank line between two
            found = [] if ended else found
            ended = False
            if len(found) < MOST_THREADS:
                found.append([])
        elif found and (frame := _FAULT_FRAME.match(line)) and len(found[-1]) < MOST_FRAMES:
            found[-1].append(_frame(frame[3], frame[1], frame[2]))
        elif line and not line.startswith("  "):
            ended = True
    return tuple(Thread(frames=tuple(frames), main=at == len(found) - 1) for at, frames in enumerate(found))


def _frame(function: str, file: str, line: str) -> Frame:
    number = int(line) if len(line) <= len(str(MOST_LINE)) else 0
    return Frame(function[:LONGEST_NAME], file[-LONGEST_FILE:], min(number, MOST_LINE))
