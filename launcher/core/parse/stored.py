"""The first look at a document of the launcher's own that lay where a boot file may write: JSON, bounded, and typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

import msgspec

from launcher.core.errors import Problem, SpecError

if TYPE_CHECKING:
    from launcher.core.parse.cursor import Json

T = TypeVar("T")


def read_json(raw: bytes, name: str) -> Json:
    """The plain value of a JSON object. Raises SpecError."""
    try:
        value = json.loads(raw)
    except RecursionError:
        raise refused(name, "", "it is nested too deep") from None
    except ValueError as error:  # also bytes that are no text, and numbers of too many digits
        raise refused(name, "", f"no valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise refused(name, "", "expected an object")
    return value


def typed(value: Json, form: type[T], name: str) -> T:
    """A plain value as a record, every type as it should be. Raises SpecError with the path."""
    try:
        return msgspec.convert(value, form)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise refused(name, path.rstrip("`").lstrip("."), what[:1].lower() + what[1:]) from error


def refused(name: str, path: str, why: str) -> SpecError:
    """The error of a document that is not what the launcher writes; `path` leads to the place in it."""
    return SpecError([Problem(path=f"{name}: {path}" if path else name, message=why)])
