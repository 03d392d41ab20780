"""What an attempt at a training has gained, judged by checkpoints and steps; three that gained nothing are enough.

An attempt that goes on from a checkpoint is worth something if it leaves a later one. It looks at nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from launcher.core.checkpoints import Checkpoint, is_further, newest
from launcher.core.frozen import Record
from launcher.core.keys import readable
from launcher.core.record import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ENOUGH = 3
"""So many attempts in a row that ended no further than they began are the last."""
_SHOWN = 200
"""Characters of a checkpoint's name."""


class Reached(Record, frozen=True, kw_only=True):
    """How far an output is: its newest checkpoint of those with a number, and of those that are written again."""

    output: str
    numbered: Checkpoint | None = None
    renewed: Checkpoint | None = None


class Mark(Record, frozen=True, kw_only=True):
    """How far a training is at one moment.

    `step` is the highest that was seen up to now, `latest` the highest since the mark before. `unknown`: not everything
    could be looked at, and why.
    """

    outputs: tuple[Reached, ...] = ()
    step: float | None = None
    latest: float | None = None
    unknown: str | None = None


class Gained(Record, frozen=True, kw_only=True):
    """What an attempt has gained, None where nobody can tell; from where to where, and all of it in a sentence."""

    gained: bool | None
    before: str
    after: str
    words: str


UNBEGUN = Gained(gained=None, before="", after="", words="the training had not begun")
"""What an attempt was worth that ended before its training: nothing is known of the training by it."""


def reached(output: str, found: Iterable[Checkpoint]) -> Reached:
    """How far an output with these checkpoints is; one whose name says that it is not whole yet is none."""
    whole = [one for one in found if not one.making]
    numbered = newest(one for one in whole if one.number is not None)
    # beside checkpoints that are counted, a best or a final model tells nothing of how far the training is
    renewed = newest(one for one in whole if one.number is None and (one.lasting or numbered is None))
    return Reached(output=output, numbered=_bare(numbered), renewed=_bare(renewed))


def compare(before: Mark, after: Mark) -> Gained:
    """What came of an attempt between two marks.

    A checkpoint with a higher number is a gain, and so is a higher step than any attempt before had. What has no
    number, or one of which no word says what it counts, is a gain when it was written, unless steps tell better.
    """
    stepped = _stepped(before, after)
    earlier = {one.output: one for one in before.outputs}
    found = [stepped]
    for one in after.outputs:
        then = earlier.get(one.output, Reached(output=one.output))
        found.append(_gained(then, one, by_time=stepped is None))
    known = before.unknown is None and after.unknown is None
    gained = True if True in found else False if False in found and known else None
    return Gained(
        gained=gained, before=described(before), after=described(after), words=_words(before, after, gained=gained)
    )


def no_progress(history: Sequence[bool | None]) -> bool:
    """Whether the last three attempts all ended no further than they began; what nobody can tell is no reason."""
    return len(history) >= ENOUGH and all(gained is False for gained in history[-ENOUGH:])


def stuck(last: Gained) -> Cause:
    """Why a training is not started again that never gets further."""
    return Cause(
        code="no-progress",
        message=f"Three attempts ended no further than they began: {last.words}.",
        action=(
            "It fails before it has written anything new, and would again: see in the log what happens after the last "
            "checkpoint, write checkpoints more often, and load the newest one at the start. Where other files are its "
            "checkpoints, name them in the annotation launcher/checkpoints."
        ),
    )


def described(mark: Mark) -> str:
    """How far a training is, in a few words; nothing where nothing is known."""
    return ", ".join([*_names(mark), *([] if mark.step is None else [f"step {mark.step:.15g}"])])


def _bare(found: Checkpoint | None) -> Checkpoint | None:
    """A checkpoint without its files, of which there may be thousands."""
    return None if found is None else replace(found, files=())


def _state(one: Checkpoint | None) -> tuple[str, int, int] | None:
    """What changes when a checkpoint is written again."""
    return None if one is None else (one.name, one.size, one.mtime_ns)


def _stepped(before: Mark, after: Mark) -> bool | None:
    """Whether the log shows a higher step than before; None where it has never shown one."""
    if after.latest is None:
        return None if before.step is None else False
    return before.step is None or after.latest > before.step


def _gained(before: Reached, after: Reached, *, by_time: bool) -> bool | None:
    if not any((before.numbered, before.renewed, after.numbered, after.renewed)):
        return None
    return any(_gains(before, after, by_time=by_time))


def _gains(before: Reached, after: Reached, *, by_time: bool) -> Iterator[bool]:
    one, than = after.numbered, before.numbered
    if one is not None:
        yield than is None or is_further(one, than)
        # model_50.pt may be the fiftieth, or a model of fifty layers that is written again and again
        yield by_time and not one.said and _state(one) != _state(than)
    if after.renewed is not None:
        yield by_time and _state(after.renewed) != _state(before.renewed)


def _names(mark: Mark) -> list[str]:
    found = [readable(one.name) for each in mark.outputs if (one := each.numbered or each.renewed) is not None]
    return [name if len(name) <= _SHOWN else f"…{name[-_SHOWN:]}" for name in found]


def _words(before: Mark, after: Mark, *, gained: bool | None) -> str:
    if gained is None:
        return before.unknown or after.unknown or "no checkpoint and no step tells how far it came"
    start, end = described(before), described(after)
    if gained:
        return f"it came from {start} to {end}" if start and start != end else f"it came to {end}"
    return " and ".join(_stood(before, after))


def _stood(before: Mark, after: Mark) -> Iterator[str]:
    """What has not moved on."""
    was, now = ", ".join(_names(before)), ", ".join(_names(after))
    if was and was == now:
        yield f"the newest checkpoint is still {now}"
    elif was or now:
        yield (
            f"the newest checkpoint is {now}, and was {was}"
            if now
            else f"there is no checkpoint any more, it was {was}"
        )
    if after.step is not None:
        yield f"the highest step in the log is still {after.step:.15g}"
