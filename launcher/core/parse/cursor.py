"""A value of a raw document with its path, and the log of everything wrong with that document."""

from __future__ import annotations

from typing import Any

from launcher.core.errors import Problem

Json = Any
INVALID_PARAMETER = "ModelArts.2788"

MOST_DEPTH = 100
"""Deeper than any body; a bound, so that no nesting can exhaust the stack."""


class Number(str):
    """A number of the document exactly as it was written: `1e-3` stays `1e-3`."""

    __slots__ = ()


class Log:
    """Everything that is wrong with one document, and everything that is only strange."""

    __slots__ = ("problems", "warnings")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []


class At:
    """A value with its path, and the log of its document."""

    __slots__ = ("log", "path", "value")

    def __init__(self, value: Json, path: str, log: Log) -> None:
        self.value = value
        self.path = path
        self.log = log

    def key(self, name: str) -> At:
        """The member of this name; absent and null are both None."""
        inside = self.value.get(name) if isinstance(self.value, dict) else None
        return At(inside, f"{self.path}.{name}" if self.path else name, self.log)

    def item(self, index: int) -> At:
        """The element at an index of a list."""
        return At(self.value[index], f"{self.path}[{index}]", self.log)

    def wrong(self, message: str, code: str | None = INVALID_PARAMETER) -> None:
        """Say what is wrong here."""
        self.log.problems.append(Problem(path=self.path, message=message, code=code))

    def warn(self, message: str) -> None:
        """Say what is strange here."""
        self.log.warnings.append(Problem(path=self.path, message=message))

    def expected(self, what: str, code: str | None = INVALID_PARAMETER) -> None:
        """Say what was wanted and what was found."""
        self.wrong(f"expected {what}, found {shown(self.value)}", code)


def shown(value: Json) -> str:
    """A value as a message shows it: short, on one line, control characters escaped, so that nothing moves a cursor."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = str(value) if isinstance(value, Number) or not isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - what fits a terminal's line beside a path
