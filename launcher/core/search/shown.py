"""A search as people see it on a terminal or in a log: a line for each trial that ended, a table, the end as a block.

Names and values are users', metrics are what a boot file printed: none of them can steer the terminal.
"""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

from launcher.core.search.documents import elapsed, iteration, typed
from launcher.core.search.slots import standing as standing_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.search import Dimension, Policy, Scalar, Trial
    from launcher.core.search.slots import Standing

_LONGEST = 40
"""Characters of one value; a choice may be a whole sentence."""
_PASTED = 4000
"""Characters of what a person pastes into a shell."""
_VERDICTS = {"boot": "failed", "no-reward": "no reward", "lost": "lost", "superseded": "superseded", None: "lost"}
_STATES = {"COMPLETE": "done", "PRUNED": "ended early"}
_LEAST = 20


def event_line(policy: Policy, trial: Trial, standing: Standing) -> str:
    """How a trial ended, in one line."""
    head = f"trial {trial.id} ({trial.slot + 1} of {policy.num_samples})"
    end = "" if standing.best is None else f"; best so far {_best_words(standing.best, trial)}"
    took = elapsed(trial, trial.ended or 0.0)
    facts = [_values(policy, trial)] + ([] if took is None else [duration(took)])
    if not trial.finished:
        why = f": {safe(trial.why, 400)}" if trial.why else ""
        return f"{head}: {_VERDICTS[trial.verdict]}{why}; {', '.join(filter(None, facts))}{end}"
    early = " (ended early)" if trial.state == "PRUNED" else ""
    steps = iteration(len(trial.steps) - 1)
    after = f" after {steps} iteration{'' if steps == 1 else 's'}" if steps else ""
    unread = f"; {_matches(trial.unread)} no number" if trial.unread else ""
    unread += f"; {safe(trial.why, 400)}" if trial.why else ""
    named = f"{safe(policy.reward.name)}={number(trial.reward)}"
    return f"{head}: {named}{after}{early}, {', '.join(filter(None, facts))}{unread}{end}"


def _matches(many: int) -> str:
    return "1 match is" if many == 1 else f"{many} matches are"


def table(
    policy: Policy, trials: Sequence[Trial], standing: Standing, *, now: float, size: tuple[int, int], ascii_only: bool
) -> Sequence[str]:
    """The search as lines for a terminal of so many columns and rows, none of them longer.

    Where not all have room, those that run go before those that ended, of which the last ones are shown.
    """
    columns, rows = max(size[0], _LEAST), max(size[1] - 1, 1)
    kept = [trial for trial in trials if trial.verdict != "superseded"]
    running = sorted((trial for trial in kept if trial.state == "RUNNING"), key=lambda each: each.number)
    ended = [trial for trial in kept if trial.state != "RUNNING"]
    ended.sort(key=lambda each: (each.ended or 0.0, each.number))
    lines = [_progress(policy, standing, columns, ascii_only=ascii_only)]
    if standing.best is not None:
        best = standing.best
        lines.append(f"best  {best.id}  {safe(policy.reward.name)}={number(best.reward)}  {_values(policy, best)}")
    room = max(rows - len(lines), 0)
    more = len(running) - room
    running = running[: room - 1] if more > 0 and room else running[:room]
    lines += [_table_row(policy, trial, now) for trial in running]
    if more > 0 and room:
        lines.append(f"      and {more + 1} more that run")
    room = rows - len(lines)
    lines += [_table_row(policy, trial, now) for trial in ended[-room:]] if room > 0 else []
    return [fitted(line, columns, ascii_only=ascii_only) for line in lines[:rows]]


def final_block(policy: Policy, trials: Sequence[Trial], arguments: str, command: str) -> Sequence[str]:
    """The last lines of a search: what was best, of how many, its arguments, and the command that runs it again."""
    standing = standing_of(policy, trials)
    finished, best = sum(trial.finished for trial in trials), standing.best
    end = f", {standing.failed} failed" if standing.failed else ""
    head = f"search      {finished} trial{'' if finished == 1 else 's'} finished{end}"
    if best is None:
        return (head, f"best trial  none: no trial gave a value of {safe(policy.reward.name)}")
    return (
        head,
        f"best trial  {best.id} ({best.slot + 1} of {policy.num_samples})",
        f"best reward {safe(policy.reward.name)}={number(best.reward)} ({_WORDS[policy.reward.mode]} is better)",
        *(f"            {safe(each.name)} = {value(best.values[each.name])}" for each in _drawn(policy, best)),
        f"arguments   {safe(arguments, _PASTED)}",
        f"run it      {safe(command, _PASTED)}",
    )


_WORDS = {"max": "more", "min": "less"}


def number(found: float | None) -> str:
    """A number as people read it: six digits that count."""
    return "-" if found is None else f"{found:.6g}"


def value(found: Scalar) -> str:
    """A hyperparameter's value, in one word where it is one."""
    if isinstance(found, str):
        return safe(found) if found and not any(map(str.isspace, found)) else f"'{safe(found)}'"
    return number(found) if isinstance(found, float) else str(typed(found))


def duration(seconds: float) -> str:
    """How long something took, in the two largest units."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 59.95:  # noqa: PLR2004 - what would be rounded to 60.0 s
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole % 60:02d} s"


def safe(text: str, longest: int = _LONGEST) -> str:
    """A text that is one line and steers no terminal: what cannot be printed is written as Python writes it."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def fitted(line: str, columns: int, *, ascii_only: bool) -> str:
    """A line that is no wider than the terminal: a Chinese character takes two columns, an accent none."""
    if ascii_only:
        line = line.encode("ascii", "backslashreplace").decode()
    width, end = 0, 0
    for index, char in enumerate(line):
        width += _width(char)
        if width > columns:
            return line[:end].rstrip() + ("..." if ascii_only else "…")
        if width <= columns - (3 if ascii_only else 1):
            end = index + 1
    return line


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _progress(policy: Policy, standing: Standing, columns: int, *, ascii_only: bool) -> str:
    done, whole = standing.finished, max(policy.num_samples, 1)
    words = f"{done} of {policy.num_samples} done, {standing.running} running"
    words += f", {standing.failed} failed" if standing.failed else ""
    words += f", {standing.lost} lost" if standing.lost else ""
    length = min(30, columns - len(words) - 12)
    if length < _SHORTEST_BAR:
        return f"search  {words}"
    full = length * min(done, whole) // whole
    bar = ("#" * full + "." * (length - full)) if ascii_only else ("█" * full + "░" * (length - full))
    return f"search  {bar}  {words}"


_SHORTEST_BAR = 5


def _table_row(policy: Policy, trial: Trial, now: float) -> str:
    took = elapsed(trial, now)
    ended = _STATES.get(trial.state, _VERDICTS[trial.verdict])
    state = "running" if trial.state == "RUNNING" else ended
    reward = trial.steps[-1] if trial.reward is None and trial.steps else trial.reward
    time = "-" if took is None else duration(took)
    return f"{trial.slot + 1:>4}  {trial.id}  {state:<11}  {number(reward):>10}  {time:>11}  {_values(policy, trial)}"


def _best_words(best: Trial, trial: Trial) -> str:
    whose = "this one" if best.number == trial.number else best.id
    return f"{number(best.reward)} of {whose}"


def _drawn(policy: Policy, trial: Trial) -> list[Dimension]:
    return [each for each in policy.space if each.name in trial.values]


def _values(policy: Policy, trial: Trial) -> str:
    return " ".join(f"{safe(each.name)}={value(trial.values[each.name])}" for each in _drawn(policy, trial))


def sought(policy: Policy) -> Sequence[str]:
    """A search in sentences, before it begins: how many trials of what kind, and each of its dimensions."""
    aim = "most" if policy.reward.mode == "max" else "least"
    how = type(policy.algorithm).__struct_config__.tag
    head = f"the job is searched: {policy.num_samples} trials by {how}, for the {aim} of {safe(policy.reward.name)}"
    return (f"{head}; this is one of them", *map(_dimension, policy.space))


def _dimension(dimension: Dimension) -> str:
    name = safe(dimension.name)
    if dimension.kind == "choice":
        return f"{name} is one of {', '.join(map(safe, dimension.choices))}"
    ends = f"{name} from {number(dimension.low)} to {number(dimension.high)}"
    scale = ", on a log scale" if dimension.log else ""
    points = f", {dimension.points} points" if dimension.points else ""
    whole = ", whole" if dimension.kind == "int" else ""
    return f"{ends}{scale}{points}{whole}"
