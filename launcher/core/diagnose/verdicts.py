"""What one failed process says of itself: the known failure that its output names, or the way it ended."""

from __future__ import annotations

import re
from signal import SIGABRT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, Signals
from typing import TYPE_CHECKING

import msgspec

from launcher.core.diagnose.signatures import TABLE, cascades
from launcher.core.diagnose.signatures.endings import CODES, LOGGED, NOTHING, OTHER_SIGNAL, SIGNALS, UNKNOWN, Ending
from launcher.core.diagnose.signatures.form import Signature
from launcher.core.diagnose.tracebacks import cut_in_the_middle
from launcher.core.diagnose.transcripts import Transcript, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.core.diagnose.tracebacks import Traceback

CASCADE = 2
"""The weight of a verdict that only follows from another failure."""
NEAR = 100
"""Without a traceback only so many last lines count: what a script met earlier it lived with."""
_AFTER, _BEFORE = 2, 3
_TRIES = 6
_TRACEBACKS = 20
_QUOTE, _FINAL = 120, 200
_ENDS = frozenset(map(int, (SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGQUIT)))
"""Signals that come from outside; the words that a process wrote before do not explain them."""
_SIGNALLED = {137: int(SIGKILL), 247: int(SIGKILL)}
"""247 is what `sys.exit(-9)` comes to: a starter that hands on the code of its child (contract: exit codes)."""
CHILD_KILLED = frozenset({"worker-killed", "dataloader-killed"})


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """One process that failed. `code` is its exit code or 128 + signal, None where it is not known.

    `stderr` and `stdout` are the ends of what it wrote, decoded and bounded by the caller.
    """

    code: int | None
    rank: int | None = None
    signal: int | None = None
    stderr: str = ""
    stdout: str = ""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that one line shows. `key` orders them: the smallest speaks."""

    signature: Signature
    key: tuple[int, int, int, int]
    line: str
    groups: dict[str, str]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one witness comes to, by its own evidence alone; `child_killed` tells that it names a killed child."""

    witness: Witness
    weight: int
    says: Signature | Ending
    final: str
    place: str
    groups: dict[str, str]
    evidence: tuple[str, ...]
    lines: tuple[int, int]
    signal: int | None = None
    child_killed: bool = False


def read(witness: Witness, *, first: bool) -> Verdict:
    """The verdict on one witness. Its weight: 0 a root cause, 1 unknown, 2 a cascade, 3 unknown and not the first."""
    streams = (Transcript(witness.stderr), Transcript(witness.stdout))
    uncaught = tuple(map(_uncaught, streams))
    roots, follows, child_killed = _matches(streams, uncaught)
    number = _signal(witness)
    final = next((each for each in uncaught if each), None)
    match = _speaks(roots, follows, number, final)
    says: Signature | Ending = match.signature if match else _ending(witness, number, final)
    return Verdict(
        witness=witness,
        weight=_weight(says, number, final, first=first),
        says=says,
        final=shortened(final.final, _FINAL) if final else "",
        place=final.place if final else "",
        groups=match.groups if match else {},
        evidence=_evidence(streams, uncaught, match, number),
        lines=(len(streams[0].lines), len(streams[1].lines)),
        signal=number,
        child_killed=child_killed,
    )


def signal_name(number: int) -> str:
    """SIGKILL for 9; the bare number where it has no name."""
    return next((each.name for each in Signals if each == number), f"signal {number}")


def _signal(witness: Witness) -> int | None:
    """The signal that ended it, also where a shell or a starter tells of it by its exit code."""
    if witness.signal is not None or witness.code is None:
        return witness.signal
    if witness.code in _SIGNALLED:
        return _SIGNALLED[witness.code]
    number = witness.code - 128
    return number if number in SIGNALS else None


def _speaks(
    roots: Sequence[Match], follows: Sequence[Match], number: int | None, final: Traceback | None
) -> Match | None:
    """The match that explains this end, if one does: words before a signal from outside explain nothing."""
    if number in _ENDS:
        return None
    if roots:
        return min(roots, key=lambda match: match.key)
    if final or not follows or number not in {None, int(SIGABRT)}:
        return None
    return min(follows, key=lambda match: match.key)


def _ending(witness: Witness, number: int | None, final: Traceback | None) -> Ending:
    if number is not None:
        return SIGNALS.get(number, OTHER_SIGNAL)
    if witness.code is None:
        return LOGGED if final else NOTHING
    return CODES.get(witness.code, UNKNOWN)


def _weight(says: Signature | Ending, number: int | None, final: Traceback | None, *, first: bool) -> int:
    if isinstance(says, Signature):
        return 0 if says.kind == "root" else CASCADE
    if number in _ENDS and not first:
        return CASCADE  # whoever stopped this one did it because another had failed
    if number is not None or says.code not in {UNKNOWN.code, NOTHING.code} or final:
        return 0
    return 1 if first else 3


def _matches(
    streams: Sequence[Transcript], uncaught: Sequence[Traceback | None]
) -> tuple[list[Match], list[Match], bool]:
    """The root causes and the cascades that the output names, and whether it tells anywhere of a killed child."""
    roots: list[Match] = []
    follows: list[Match] = []
    child_killed = False
    for at, stream in enumerate(streams):
        for order, signature in enumerate(TABLE):
            for index, groups in _shown(signature, stream):
                if signature.kind == "cascade":
                    key = (order, at, -index, 0)
                    follows.append(Match(signature=signature, key=key, line=stream.lines[index], groups=groups))
                    continue
                child_killed = child_killed or signature.code in CHILD_KILLED
                zone = _zone(index, stream, uncaught[at], elsewhere=any(uncaught))
                if zone < _BEFORE or signature.early:
                    key = (zone, at, -index, order)
                    roots.append(Match(signature=signature, key=key, line=stream.lines[index], groups=groups))
    return roots, follows, child_killed


def _zone(index: int, stream: Transcript, uncaught: Traceback | None, *, elsewhere: bool) -> int:
    """0 for the exception's own line, 1 for its traceback, 2 after it or near an end without one, 3 before all that."""
    if uncaught is None:
        return _BEFORE if elsewhere or len(stream.lines) - index > NEAR else _AFTER
    if index >= uncaught.end:
        return _AFTER
    if index < uncaught.start:
        return _BEFORE
    return 0 if stream.lines[index].endswith(uncaught.final) else 1


def _shown(signature: Signature, stream: Transcript) -> Iterator[tuple[int, dict[str, str]]]:
    """The last line for each of a signature's patterns, with what its groups name."""
    for words, pattern in signature.find:
        for index in stream.last_lines_with(words, _TRIES):
            line = stream.lines[index]
            if line.startswith("    "):
                continue  # a line of code in a traceback
            found = re.search(pattern, line)
            if found:
                yield index, {k: shortened(v.strip(), _QUOTE) for k, v in found.groupdict("").items()}
                break


def _uncaught(stream: Transcript) -> Traceback | None:
    """The last traceback that does not only tell of a failure elsewhere."""
    for each in stream.tracebacks[: -_TRACEBACKS - 1 : -1]:
        if each.final and not _follows(each.final):
            return each
    return None


def _follows(line: str) -> bool:
    pairs = (pair for signature in cascades.TABLE for pair in signature.find)
    return any(words in line and re.search(pattern, line) for words, pattern in pairs)


def _evidence(
    streams: Sequence[Transcript], uncaught: Sequence[Traceback | None], match: Match | None, number: int | None
) -> tuple[str, ...]:
    """The matching line, then the last complete traceback, the stack of a crash, or the last lines."""
    shown = _crash(streams[0]) if number is not None else ()
    for stream, last in zip(streams, uncaught, strict=True):
        if last and not shown and number not in _ENDS:
            shown = cut_in_the_middle(stream.lines[last.start : last.end])
    shown = shown or (*streams[0].lines[-20:], *streams[1].lines[-10:])
    return shown if match is None or match.line in shown else (match.line, *shown)


def _crash(stderr: Transcript) -> tuple[str, ...]:
    """What faulthandler writes."""
    at = stderr.last_lines_with("Fatal Python error: ", 1)
    return cut_in_the_middle(stderr.lines[at[0] :], 40) if at else ()
