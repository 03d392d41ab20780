"""Forms: small readers that compose. One table of forms per document gives its parser, its dump and its JSON Schema.

A form never raises: whatever is wrong goes to the log with its path, so that a person sees every problem at once.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from launcher.core.parse.cursor import INVALID_PARAMETER, At, Json, Number, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Form(Generic[T]):
    """How one kind of value is read, written back, and described."""

    __slots__ = ("dump", "read", "schema")

    def __init__(self, read: Callable[[At], T | None], dump: Callable[[T], Json], schema: Json) -> None:
        self.read = read
        self.dump = dump
        self.schema = schema


def text(
    *,
    pattern: str | None = None,
    meaning: str = "text",
    most: int | None = None,
    one_of: Sequence[str] = (),
    rule: Callable[[str], str | None] | None = None,
    code: str | None = INVALID_PARAMETER,
) -> Form[str]:
    """Text; a number or a truth value stands for its own spelling. `rule` returns what is wrong, or None.

    Patterns are texts: they are compiled when a document has such a field, not at every start.
    """

    def read(at: At) -> str | None:
        value = at.value
        if isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            at.expected(meaning, code)
            return None
        value = str(value)
        if one_of and value not in one_of:
            at.expected(f"one of {', '.join(one_of)}" if one_of[1:] else one_of[0], code)
            return None
        wrong = _wrong_text(value, pattern, meaning, most, rule)
        if wrong:
            at.wrong(wrong, code)
            return None
        return value

    return Form(read, str, _text_schema(pattern, most, one_of))


def _text_schema(pattern: str | None, most: int | None, one_of: Sequence[str]) -> dict[str, Json]:
    if one_of:
        return {"enum": list(one_of)}
    schema: dict[str, Json] = {"type": ["string", "number", "boolean"]}
    if pattern:
        schema["pattern"] = f"^(?:{pattern})$"
    if most is not None:
        schema["maxLength"] = most
    return schema


def _wrong_text(
    value: str,
    pattern: str | None,
    meaning: str,
    most: int | None,
    rule: Callable[[str], str | None] | None,
) -> str | None:
    wrong = no_text(value)
    if wrong:
        return wrong
    if most is not None and len(value) > most:
        return f"expected at most {most} characters, found {len(value)}"
    if pattern and not re.fullmatch(pattern, value):
        return f"expected {meaning}, found {shown(value)}"
    return rule(value) if rule else None


def no_text(value: str) -> str:
    """Why a value cannot be passed to a program as text; empty where it can."""
    if "\0" in value:
        return "a NUL character cannot be passed to a program; remove it"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "half of a surrogate pair is no text; write the whole character"
    return ""


def whole(*, least: int | None = None, most: int | None = None, unit: str = "", code: str | None = None) -> Form[int]:
    """A whole number, also as text, also with its unit behind it (`30s`)."""
    wanted = "a whole number" + (
        f" from {least} to {most}" if most is not None else f" of at least {least}" if least is not None else ""
    )
    code = code or INVALID_PARAMETER

    def read(at: At) -> int | None:
        value = at.value
        digits = value.strip().removesuffix(unit).strip() if isinstance(value, str) else ""
        if not re.fullmatch(r"-?[0-9]{1,18}", digits):
            at.expected(wanted, code)
            return None
        number = int(digits)
        if (least is not None and number < least) or (most is not None and number > most):
            at.expected(wanted, code)
            return None
        return number

    return Form(read, int, {"type": ["integer", "string"]})


def flag() -> Form[bool]:
    """A truth value, also as the text true or false in any case."""

    def read(at: At) -> bool | None:
        if isinstance(at.value, bool):
            return at.value
        word = at.value.lower() if isinstance(at.value, str) else ""
        if word not in ("true", "false"):
            at.expected("true or false")
            return None
        return word == "true"

    return Form(read, bool, {"type": ["boolean", "string"]})


def listing(form: Form[T], *, rule: Callable[[At, tuple[T | None, ...]], None] | None = None) -> Form[tuple[T, ...]]:
    """A list of one form; the rule sees all of it, with None where an element could not be read."""

    def read(at: At) -> tuple[T, ...] | None:
        if not isinstance(at.value, list):
            at.expected("a list")
            return None
        items = tuple(form.read(at.item(index)) for index in range(len(at.value)))
        if rule:
            rule(at, items)
        return tuple(item for item in items if item is not None)

    return Form(read, lambda items: [form.dump(item) for item in items], {"type": "array", "items": form.schema})


def one_or_many(form: Form[T]) -> Form[tuple[T, ...]]:
    """A list of one form, where an object alone stands for a list of it."""
    many = listing(form)

    def read(at: At) -> tuple[T, ...] | None:
        if not isinstance(at.value, dict):
            return many.read(at)
        one = form.read(at)
        return None if one is None else (one,)

    def dump(items: tuple[T, ...]) -> Json:
        return form.dump(items[0]) if len(items) == 1 else many.dump(items)

    return Form(read, dump, {"anyOf": [form.schema, many.schema]})


def unique_names(code: str, what: str) -> Callable[[At, Sequence[Any]], None]:
    """A rule for a list: no two of one name."""

    def rule(at: At, items: Sequence[Any]) -> None:
        seen: dict[str, int] = {}
        for index, item in enumerate(items):
            if item is None:
                continue
            if item.name in seen:
                at.item(index).key("name").wrong(
                    f"the {what} {item.name!r} stands already at [{seen[item.name]}]", code
                )
            seen.setdefault(item.name, index)

    return rule


def opaque() -> Form[str]:
    """Any value, kept as JSON text."""
    return Form(lambda at: json.dumps(_plain(at.value), ensure_ascii=False), json.loads, {})


def _plain(value: Json) -> Json:
    """A value whose numbers are numbers again."""
    if isinstance(value, Number):
        return _number(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _number(written: str) -> Json:
    try:
        return json.loads(written)
    except ValueError:  # YAML writes numbers that JSON does not know, and Python bounds their digits
        return str(written)
