"""When a training counts as hung: what moved between two looks, for how long nothing has, and what to call that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from launcher.core.frozen import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.resilience import Hanging

CHATTER_BYTES_S = 16.0
"""Bytes a second that a process may read and write and not live for it: its threads wake each other."""
OUTSIDE_BYTES_S, INSIDE_BYTES_S = 1024.0, 4096.0
"""The same by TCP, received from outside a family, and sent and received within it. The processes of a job that hangs
go on telling each other that they are there: three ranks of torchrun and their agent do so at 1 KiB a second in all."""
IDLE_SHARE = 0.01
TICK_S = 0.01
"""Below this share of a processor a process does not compute; the kernel tells of whole ticks."""
PAUSE = 2.0
"""Looks further apart than so many periods tell that the launcher itself stood still: what was then is unknown."""
LEAST_SAMPLES = 10
"""Of a device's use; fewer prove nothing."""
MEDIANS_APART = 1.0
MOST_NAMED = 4

Manner = Literal["still", "busy", "sleeps", "stopped", "stuck"]
"""How it does not move: nothing happens; it computes; a timer runs; it was stopped; it waits in the kernel."""


class Closely(Record, frozen=True, kw_only=True):
    """What is looked at only where nothing else moves: it costs more.

    By TCP, `received` counts the bytes from outside the family, `inside` those sent and received within it, `spoken`
    all of both directions. `outputs` tells one state of the outputs from another. `sleeping`, `stopped` and `stuck`
    name processes; `traced`: a debugger holds one.
    """

    received: int = 0
    inside: int = 0
    spoken: int = 0
    outputs: tuple[int, ...] = ()
    sleeping: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    traced: bool = False


class Look(Record, frozen=True, kw_only=True):
    """One look at a training, `at` a monotonic time. All counters only grow.

    `moved` bytes were read or written, of which `disk` by a disk; `cpu` seconds were computed by all, and `busiest` by
    one process since the look before; `comings` counts starts and ends of `processes`; `said` is what it printed.
    """

    at: float
    moved: int = 0
    disk: int = 0
    cpu: float = 0.0
    busiest: float = 0.0
    comings: int = 0
    processes: int = 1
    said: int = 0
    closely: Closely | None = None


class Course(Record, frozen=True, kw_only=True):
    """How a training has been, from look to look.

    Since the look `begun` nothing has moved, in `quiet` periods that count, the last `still` of which without computing
    either; `manner` is that of the last one.
    """

    begun: Look
    last: Look
    quiet: int = 0
    still: int = 0
    manner: Manner = "still"

    @property
    def lasted(self) -> float:
        """Seconds for which nothing has moved."""
        return self.last.at - self.begun.at


def beginning(look: Look) -> Course:
    """A course from the first look on, or from one after which all counts anew."""
    return Course(begun=look, last=look)


def moves(before: Look, after: Look) -> bool:
    """Whether a training is alive, as far as it can be told without a closer look."""
    # So much is either more than heartbeats or more than threads that wake each other.
    enough = (CHATTER_BYTES_S + OUTSIDE_BYTES_S + INSIDE_BYTES_S) * _process_seconds(before, after)
    return (
        after.said != before.said
        or after.comings != before.comings
        or after.disk != before.disk
        or after.moved - before.moved > enough
    )


def follow(course: Course, look: Look, rules: Hanging) -> Course:
    """The course with one more look."""
    before = course.last
    if moves(before, look):
        return beginning(look)
    if before.closely is None or look.closely is None:
        return replace(course, last=look)  # not known well enough to count
    if _lives(before, look, before.closely, look.closely):
        return beginning(look)
    seconds = look.at - before.at
    if seconds > PAUSE * rules.period_s:
        return replace(course, last=look)
    busy = look.busiest > IDLE_SHARE * seconds + TICK_S
    manner = "busy" if busy else _manner(look.closely)
    still = course.still + 1 if manner in ("still", "stopped", "stuck") else 0
    return replace(course, last=look, quiet=course.quiet + 1, still=still, manner=manner)


def suspected(course: Course, rules: Hanging, *, devices: bool) -> bool:
    """Whether it is time to look at the devices, where their use can be read, and else to say that it hangs.

    Who waits for the other ranks of an accelerator's job computes all the while: there, that is no sign of life.
    """
    if course.still >= rules.periods or course.quiet >= max(rules.long_periods, rules.periods):
        return True
    return devices and course.manner == "busy" and course.quiet >= rules.periods


def unchanged(samples: Sequence[Sequence[int]], variance: float) -> bool | None:
    """Whether the use of every device stayed the same; each sample has the same numbers in percent.

    None where it could not be told. The variance is the measure, and the medians of the halves tell of a slow change.
    """
    series = list(zip(*samples, strict=False))
    if len(samples) < LEAST_SAMPLES or not series:
        return None
    return all(_is_flat(each, variance) for each in series)


def words(course: Course, *, devices: bool | None) -> str:
    """One sentence on a training that does not move. `devices`: their use did not change; None: it was not asked."""
    closely = course.last.closely or Closely()
    share = (course.last.cpu - course.begun.cpu) / max(course.lasted, TICK_S) * 100
    facts = f"no read, no write, no output, {share:.1f} % CPU in {_counted(course.last.processes)}"
    use = ", and the use of its devices does not change" if devices else ""
    how = {
        "still": "",
        "busy": "; it computes without a trace, and may be at work",
        "sleeps": f"; it sleeps and will most likely wake by itself: {_named(closely.sleeping)}",
        "stopped": f"; somebody has stopped it: {_named(closely.stopped)}",
        "stuck": f"; it waits in the kernel and cannot be killed: {_named(closely.stuck)}",
    }
    return f"The training has not moved for {span(course.lasted)}: {facts}{use}{how[course.manner]}."


def span(seconds: float) -> str:
    """A time in words: `5 m 00 s`."""
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds:.3g} s"
    hours, minutes = divmod(whole // 60, 60)
    return (f"{hours} h {minutes:02} m " if hours else f"{minutes} m ") + f"{whole % 60:02} s"


def _lives(before: Look, after: Look, then: Closely, now: Closely) -> bool:
    """Whether a closer look tells that it is alive. Of what was read and written, a part may have gone by TCP."""
    times = _process_seconds(before, after)
    return (
        now.traced
        or now.outputs != then.outputs
        or now.received - then.received > OUTSIDE_BYTES_S * times
        or now.inside - then.inside > INSIDE_BYTES_S * times
        or (after.moved - before.moved) - (now.spoken - then.spoken) > CHATTER_BYTES_S * times
    )


def _process_seconds(before: Look, after: Look) -> float:
    return (after.at - before.at) * max(1, after.processes)


def _manner(closely: Closely) -> Manner:
    if closely.stopped:
        return "stopped"
    if closely.stuck:
        return "stuck"
    return "sleeps" if closely.sleeping else "still"


def _is_flat(series: Sequence[int], variance: float) -> bool:
    mean = sum(series) / len(series)
    half = len(series) // 2
    varies = sum((each - mean) ** 2 for each in series) / len(series)
    return varies <= variance and abs(_median(series[:half]) - _median(series[half:])) <= MEDIANS_APART


def _median(series: Sequence[int]) -> float:
    ordered, middle = sorted(series), len(series) // 2
    return float(ordered[middle]) if len(series) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
