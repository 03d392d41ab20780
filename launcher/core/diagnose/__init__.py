"""From evidence to cause: exit statuses, memory counters and last lines in; a code, one sentence and the next step out.

The same evidence always gives the same cause. What is not known stays unknown: nothing is called an OOM kill that the
kernel did not count, and nothing that only follows from another failure is called a cause while there is a better one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from launcher.core.diagnose.signatures import TABLE
from launcher.core.diagnose.signatures.endings import (
    CODES,
    NOTHING,
    OOM,
    OTHER_SIGNAL,
    PHRASES,
    SIGNALS,
    UNKNOWN,
    Phrases,
)
from launcher.core.diagnose.signatures.form import Signature
from launcher.core.diagnose.tracebacks import cut_in_the_middle
from launcher.core.diagnose.transcripts import shortened
from launcher.core.diagnose.verdicts import CASCADE, CHILD_KILLED, Verdict, Witness, read, signal_name
from launcher.core.record import Cause, Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.diagnose.signatures.endings import Ending

__all__ = ["CODES_OF_CAUSES", "VAGUE", "Evidence", "Witness", "diagnose"]

_ENDINGS = (OOM, *SIGNALS.values(), OTHER_SIGNAL, *CODES.values(), UNKNOWN, NOTHING)
CODES_OF_CAUSES = frozenset(each.code for each in TABLE) | frozenset(each.code for each in _ENDINGS)
"""Every code that `diagnose` may give."""
VAGUE = frozenset({UNKNOWN.code, OTHER_SIGNAL.code, NOTHING.code})
"""Those that only say how it ended."""

MOST_EVIDENCE = 60
LONGEST_EVIDENCE = 1000
_FOLLOWERS = 6
_SIGKILL = 9
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_UNIT = 1024


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a failed run: who failed (the first to fail first), and the counters around the run.

    `several` tells that the job has several processes, so that a sentence names the rank.
    """

    witnesses: tuple[Witness, ...]
    before: Memory | None = None
    after: Memory | None = None
    uid: int | None = None
    several: bool = False


def diagnose(evidence: Evidence, language: str = "en") -> Cause:
    """The cause of a failed run, in English or Chinese (`zh`)."""
    words = PHRASES["zh" if language == "zh" else "en"]
    witnesses = evidence.witnesses or (Witness(code=None),)
    verdicts = [read(each, first=index == 0) for index, each in enumerate(witnesses)]
    best = min(verdicts, key=lambda verdict: verdict.weight)  # the first of equals: it failed first
    killed = next((each for each in verdicts if each.signal == _SIGKILL or each.child_killed), None)
    kills = _kills(evidence)
    if kills and (killed or not _is_known(best)):
        best = killed or best
        says: Signature | Ending = OOM
    else:
        says = best.says
    told = says.zh if words is PHRASES["zh"] else says.en
    fields = _fields(best, evidence, words, kills)
    message = told.message.format_map(fields)
    if evidence.several and best.witness.rank is not None:
        form = words.first if best is verdicts[0] else words.ranked
        message = form.format(rank=best.witness.rank, message=message)
    others = [each for each in verdicts if each is not best and each.witness.rank is not None]
    more = [_follower(each, words) for each in others[:_FOLLOWERS]] + ([fields["memory"]] if kills else [])
    return Cause(
        code=says.code,
        message=message,
        action=told.action.format_map(fields),
        evidence=_bounded(best.evidence, more),
        rank=best.witness.rank,
    )


def human(size: int) -> str:
    """A number of bytes in words and as the number it is."""
    amount, unit = float(size), 0
    while amount >= _UNIT and unit < len(_UNITS) - 1:
        amount /= _UNIT
        unit += 1
    return f"{amount:.2f} {_UNITS[unit]} ({size:,} bytes)" if unit else f"{size} bytes"


def _kills(evidence: Evidence) -> int:
    """How many OOM kills the kernel counted during the run."""
    before, after = evidence.before, evidence.after
    if before is None or after is None or before.oom_kills is None or after.oom_kills is None:
        return 0
    return max(after.oom_kills - before.oom_kills, 0)


def _is_known(verdict: Verdict) -> bool:
    """Whether the output itself names a root cause: then a kill that nothing mentions came beside it."""
    return isinstance(verdict.says, Signature) and verdict.weight == 0 and verdict.says.code not in CHILD_KILLED


def _fields(verdict: Verdict, evidence: Evidence, words: Phrases, kills: int) -> dict[str, str]:
    """All that a sentence may name."""
    witness, after = verdict.witness, evidence.after
    quoted = words.placed if verdict.place else words.quoted
    looked = words.looked.format(
        status=words.no_status if witness.code is None else words.code.format(code=witness.code),
        memory=words.not_counted if after is None or after.oom_kills is None else words.counted,
        stderr=verdict.lines[0],
        stdout=verdict.lines[1],
        count=len(TABLE),
    )
    return {
        "uid": words.nobody if evidence.uid is None else str(evidence.uid),
        "memory": _memory(evidence, words, kills),
        "kills": words.kills.format(count=kills),
        "what": words.boot_process if verdict.signal == _SIGKILL else words.child,
        "limit": _size(after.limit_bytes if after else None, words.no_limit),
        "peak": _size(after.peak_bytes if after else None, words.not_told),
        "signal": "" if verdict.signal is None else signal_name(verdict.signal),
        "how": _how(verdict, words),
        "quoted": quoted.format(final=verdict.final, place=verdict.place) if verdict.final else "",
        "looked": looked,
        **verdict.groups,
    }


def _how(verdict: Verdict, words: Phrases) -> str:
    code = verdict.witness.code
    if code is None:
        return words.no_status
    if verdict.signal is None:
        return words.code.format(code=code)
    return words.by_code.format(code=code, signal=signal_name(verdict.signal))


def _memory(evidence: Evidence, words: Phrases, kills: int) -> str:
    """What the counters say: kills in this run, none, or nothing at all."""
    before, after = evidence.before, evidence.after
    if after is None or after.oom_kills is None or (after.oom_kills and (before is None or before.oom_kills is None)):
        return words.no_counters
    return (words.grown if kills else words.uncounted).format(
        kills=words.kills.format(count=kills),
        peak=_size(after.peak_bytes, words.not_told),
        limit=_size(after.limit_bytes, words.no_limit),
    )


def _size(size: int | None, otherwise: str) -> str:
    return otherwise if size is None else human(size)


def _follower(verdict: Verdict, words: Phrases) -> str:
    form = words.follows if verdict.weight == CASCADE else words.beside
    return form.format(rank=verdict.witness.rank, how=_how(verdict, words), code=verdict.says.code)


def _bounded(lines: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    shown = cut_in_the_middle(lines, MOST_EVIDENCE - len(more))
    return tuple(shortened(line, LONGEST_EVIDENCE) for line in (*shown, *more))
