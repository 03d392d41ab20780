"""The expressions of a search's metrics: made ready to run on every line of a log, with a limit of time.

`re` checks them when a job is read, but knows no limit; `regex` does. What it would understand otherwise than `re` is
put in the form that both understand. Nothing here looks at a log.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from launcher.core.errors import Problem
from launcher.core.search.policy import PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.core.search import Metric, Policy

MOST_PARTS = 250_000
"""`regex` writes a repeated part out as often as it must come: memory without end, were there no limit."""
_SHORTEST_LITERAL = 2

_REPEAT = re.compile(r"\{([0-9]{1,20})[,}]")
# A brace that opens no repeat is a brace to re; to regex it may be a fuzzy match: loss{e<=1}.
_BRACE = re.compile(r"(\\N\{[^}]*\}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[0-9]+(?:,[0-9]*)?\}|\{,[0-9]*\})|\{", re.DOTALL)


class Expression:
    """One metric's expression. `literal` is in every line that it can match, where such a text could be found."""

    def __init__(self, metric: Metric, pattern: Any) -> None:
        self.metric = metric
        self.literal = literal_of(metric.regex)
        self._pattern = pattern

    def found(self, line: str, limit: float) -> Iterator[str]:
        """What it finds in a line, one after the other: group 1 of each match, or all of one without groups.

        Of alternatives with a group each it is the one that took part. Raises TimeoutError after `limit` seconds.
        """
        for match in self._pattern.finditer(line, timeout=limit):
            yield match.group(1 if match.re.groups and match.group(1) is not None else match.lastindex or 0)


def compile_metric(metric: Metric) -> Expression:
    """An expression, ready. Raises ValueError with a sentence where it cannot be run on every line of a log."""
    import regex  # noqa: PLC0415 - milliseconds, and only a search needs it

    parts = len(metric.regex)
    for count in _REPEAT.findall(metric.regex):
        parts *= max(int(count), 1)
    if parts > MOST_PARTS:
        raise ValueError(
            f"the expression of {metric.name} repeats its parts up to {parts} times, "
            f"more than {MOST_PARTS} are not looked for in every line"
        )
    try:
        pattern = regex.compile(_BRACE.sub(lambda found: found[1] or r"\{", metric.regex))
    except (regex.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"the expression of {metric.name} cannot be run with a limit of time: {str(error) or 'it is too large'}; "
            f"found {metric.regex!r}"
        ) from error
    return Expression(metric, pattern)


def wrong_expressions(policy: Policy) -> list[Problem]:
    """What is wrong with the expressions of a search, each with its path."""
    metrics = (policy.reward, *policy.others)
    return [
        Problem(path=f"{PATH}.reward_attrs[{index}].regex", message=wrong)
        for index, metric in enumerate(metrics)
        if (wrong := _wrong(metric)) is not None
    ]


def _wrong(metric: Metric) -> str | None:
    try:
        compile_metric(metric)
    except ValueError as error:
        return str(error)
    return None


def literal_of(expression: str) -> bytes:
    """The longest text that is in every line which an expression matches, as ASCII; empty where none is known.

    Python's own parser tells what must be there. It is not public, so that whatever it does unexpectedly means: none.
    """
    try:
        if sys.version_info >= (3, 11):
            from re import _parser  # type: ignore[attr-defined] # noqa: PLC0415
        else:  # pragma: no cover - another Python
            import sre_parse as _parser  # noqa: PLC0415
        tree = _parser.parse(expression)
        if tree.state.flags & re.IGNORECASE:
            return b""
        longest = max("".join(_required(tree)).split("\n"), key=len)
    except Exception:  # noqa: BLE001 - without it every line is looked at, which is only slower
        return b""
    return longest.encode("ascii") if len(longest) >= _SHORTEST_LITERAL else b""


def _required(parts: Any) -> Iterator[str]:
    """The characters that must come, and a line end wherever something else may come between."""
    for operator, value in parts:
        name = str(operator)
        if name == "LITERAL" and 0x20 <= value < 0x7F:  # noqa: PLR2004 - printable ASCII
            yield chr(value)
            continue
        yield "\n"
        yield from _inside(name, value)
        yield "\n"


def _inside(name: str, value: Any) -> Iterator[str]:
    """What must come of a part that has parts itself."""
    if name == "SUBPATTERN" and not value[1] & re.IGNORECASE:
        yield from _required(value[3])
    elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") and value[0] > 0:
        yield from _required(value[2])
    elif name == "ATOMIC_GROUP":
        yield from _required(value)
    elif name == "ASSERT":
        yield from _required(value[1])
