"""Objects with known members: one table of fields gives the parser, the dump and the JSON Schema of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from launcher.core.parse.forms import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.parse.cursor import At, Json

T = TypeVar("T")


class Field:
    """A member of a record: its key, its form, its attribute, other spellings of the key."""

    __slots__ = ("also", "attr", "form", "hint", "keep_null", "key", "required")

    def __init__(
        self,
        key: str,
        form: Form[Any],
        *,
        attr: str | None = None,
        also: tuple[str, ...] = (),
        required: str | None = None,
        hint: str = "",
        keep_null: bool = False,
    ) -> None:
        self.key = key
        self.form = form
        self.attr = attr or key
        self.also = also
        self.required = required
        self.hint = hint
        self.keep_null = keep_null


def record(
    make: Callable[..., T],
    *fields: Field,
    rule: Callable[[At, T], None] | None = None,
) -> Form[T]:
    """An object with known members; unknown ones are warnings with a did-you-mean."""
    known = tuple(key for field in fields for key in (field.key, *field.also))

    def read(at: At) -> T | None:
        if not isinstance(at.value, dict):
            at.expected("an object")
            return None
        for key in at.value:
            if key not in known:
                at.key(key).warn(_unknown(key, known))
        values: dict[str, Any] = {}
        read_well = [_read_field(at, field, values) for field in fields]
        if any(field.required and field.attr not in values for field in fields):
            return None
        made = make(**values)
        if rule and all(read_well):  # a rule about a field that could not be read would only say it twice
            rule(at, made)
        return made

    schema = {
        "type": "object",
        "properties": {
            key: {"anyOf": [field.form.schema, {"type": "null"}]} for field in fields for key in _keys(field)
        },
        "required": [field.key for field in fields if field.required and not field.also],
    }
    return Form(read, lambda made: _dump_fields(made, fields), schema)


def _keys(field: Field) -> tuple[str, ...]:
    return (field.key, *field.also)


def _read_field(at: At, field: Field, values: dict[str, Any]) -> bool:
    """Put one member among the values; False when it is wrong or missing."""
    present = [key for key in _keys(field) if key in at.value]
    if len(present) > 1:
        at.key(present[1]).wrong(f"means the same as {present[0]}; keep one of them")
    if not present or at.value[present[0]] is None:
        if field.required:
            at.key(field.key).wrong(f"is missing{field.hint and '; '}{field.hint}", field.required)
        elif field.keep_null and present:
            values[field.attr] = None
        return not field.required
    value = field.form.read(at.key(present[0]))
    if value is not None:
        values[field.attr] = value
    return value is not None


def _dump_fields(made: Any, fields: Sequence[Field]) -> dict[str, Json]:
    defaults = _defaults(type(made))
    out: dict[str, Json] = {}
    for field in fields:
        value = getattr(made, field.attr)
        if field.attr in defaults and value == defaults[field.attr]:
            continue
        out[field.key] = None if value is None else field.form.dump(value)
    return out


def _defaults(kind: Any) -> Mapping[str, Any]:
    """What each field of a record is when the document does not say."""
    names = kind.__struct_fields__
    values = kind.__struct_defaults__
    return dict(zip(names[len(names) - len(values) :], values, strict=True))


def _unknown(key: str, known: Sequence[str]) -> str:
    import difflib  # noqa: PLC0415 - only a document with an unknown key pays for it

    near = difflib.get_close_matches(key, known, n=1)
    return "is not a field of this document and is left alone" + (f"; did you mean {near[0]}?" if near else "")
