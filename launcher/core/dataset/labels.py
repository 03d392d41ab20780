"""The annotations of a sample: what each kind of label must tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw, field

from launcher.core.dataset.faults import WrongError, expected
from launcher.core.dataset.kinds import (
    AUDIO_CLASSIFICATION,
    AUDIO_CONTENT,
    AUDIO_SEGMENTATION,
    IMAGE_CLASSIFICATION,
    IMAGE_SEGMENTATION,
    LABELS,
    OBJECT_DETECTION,
    TEXT_CLASSIFICATION,
    TEXT_ENTITY,
    TEXT_TRIPLET,
    label_kind,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VOC = "PASCAL VOC"
START, END = "@modelarts:start_index", "@modelarts:end_index"
START_TIME, END_TIME = "@modelarts:start_time", "@modelarts:end_time"
FROM, TO = "@modelarts:from", "@modelarts:to"
TEXT = "@modelarts:content"

_TIME = re.compile(r"\d{2,}:[0-5]\d:[0-5]\d\.\d{3}", re.ASCII)
_RELATION = re.compile(r"R\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder()


class Annotation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is looked at of an annotation; `_location` is the second spelling that the vendor's SDK accepts."""

    type: str
    name: str | None = None
    id: str | None = None
    properties: Raw = field(name="property", default=Raw(b""))
    confidence: float | str | None = None
    hard: bool | str | None = None
    hard_coefficient: float | str | None = field(name="hard-coefficient", default=None)
    location: str | None = field(name="annotation-loc", default=None)
    location_: str | None = field(name="annotation_loc", default=None)
    format: str | None = field(name="annotation-format", default=None)
    format_: str | None = field(name="annotation_format", default=None)


def fields_of(raw: Raw) -> dict[str, Raw] | None:
    """Read a property: an object, or text that holds one, as some of the service's own manifests have it."""
    text = bytes(raw)
    try:
        if text.startswith(b'"'):
            text = msgspec.json.decode(text, type=str).encode()
        return _OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def value_of(raw: Raw | None) -> object:
    """Read one value of a property; None where it is missing or cannot be held."""
    try:
        return None if raw is None else _ANY.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def check_annotations(annotations: tuple[Annotation, ...]) -> None:
    """Check the annotations of one sample; raises `WrongError` at the first thing that is wrong."""
    for index, annotation in enumerate(annotations):
        kind = label_kind(annotation.type)
        where = f"annotation[{index}]"
        if kind is None:
            raise expected(f"{where}.type", f"modelarts/ and one of {', '.join(LABELS)}", annotation.type)
        if annotation.confidence is not None and not _share(annotation.confidence):
            raise expected(f"{where}.confidence", "a number from 0 to 1", annotation.confidence)
        check_hard(where, annotation.hard, annotation.hard_coefficient)
        check = _CHECKS.get(kind)
        if check:
            check(annotation, where, annotations)


def check_hard(where: str, hard: bool | str | None, coefficient: float | str | None) -> None:  # noqa: FBT001 - as it is written there
    """Check the marks of a hard example, which a sample and an annotation may have."""
    prefix = f"{where}." if where else ""
    if isinstance(hard, str) and hard.lower() not in ("true", "false", ""):
        raise expected(f"{prefix}hard", "true or false", hard)
    if isinstance(coefficient, str) and not _NUMBER.fullmatch(coefficient):
        raise expected(f"{prefix}hard-coefficient", "a number", coefficient)


def _share(value: float | str) -> bool:
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value)) and 0 <= float(value) <= 1
    return 0 <= value <= 1


def _classified(annotation: Annotation, where: str, _all: tuple[Annotation, ...]) -> None:
    if not annotation.name:
        raise WrongError(f"{where}.name", f"missing; {label_kind(annotation.type)} needs the name of the label")


def _outlined(annotation: Annotation, where: str, _all: tuple[Annotation, ...]) -> None:
    if not (annotation.location or annotation.location_):
        needs = f"{label_kind(annotation.type)} needs the place of its {VOC} file"
        raise WrongError(f"{where}.annotation-loc", f"missing; {needs}")
    form = annotation.format or annotation.format_
    if form and form.upper() != VOC:
        raise expected(f"{where}.annotation-format", f'"{VOC}"', form)


def _entity(annotation: Annotation, where: str, _all: tuple[Annotation, ...]) -> None:
    found = _needed(annotation, where)
    start, end = (value_of(found.get(key)) for key in (START, END))
    for key, value in ((START, start), (END, end)):
        if type(value) is not int or value < 0:
            raise expected(f"{where}.property.{key}", "a whole number from 0", value)
    if not isinstance(start, int) or not isinstance(end, int) or start >= end:
        raise expected(f"{where}.property.{END}", f"more than {START}, which is {start}", end)


def _related(annotation: Annotation, where: str, annotations: tuple[Annotation, ...]) -> None:
    if not _RELATION.fullmatch(annotation.id or ""):
        raise expected(f"{where}.id", "R and a number", annotation.id)
    found = _needed(annotation, where)
    entities = {each.id for each in annotations if label_kind(each.type) == TEXT_ENTITY}
    for key in (FROM, TO):
        value = value_of(found.get(key))
        if not isinstance(value, str) or value not in entities:
            raise expected(f"{where}.property.{key}", "the id of an entity of this sample", value)


def _spoken(annotation: Annotation, where: str, _all: tuple[Annotation, ...]) -> None:
    value = value_of(_needed(annotation, where).get(TEXT))
    if not isinstance(value, str):
        raise expected(f"{where}.property.{TEXT}", "text", value)


def _timed(annotation: Annotation, where: str, _all: tuple[Annotation, ...]) -> None:
    found = _needed(annotation, where)
    times = []
    for key in (START_TIME, END_TIME):
        value = value_of(found.get(key))
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise expected(f"{where}.property.{key}", "a time as hh:mm:ss.SSS", value)
        times.append((len(value), value))
    if times[0] > times[1]:
        raise expected(f"{where}.property.{END_TIME}", f"a time after {times[0][1]}", times[1][1])


def _needed(annotation: Annotation, where: str) -> dict[str, Raw]:
    found = fields_of(annotation.properties)
    if found is None:
        raise expected(f"{where}.property", "an object", value_of(annotation.properties))
    return found


_CHECKS: Mapping[str, Callable[[Annotation, str, tuple[Annotation, ...]], None]] = {
    IMAGE_CLASSIFICATION: _classified,
    TEXT_CLASSIFICATION: _classified,
    AUDIO_CLASSIFICATION: _classified,
    OBJECT_DETECTION: _outlined,
    IMAGE_SEGMENTATION: _outlined,
    TEXT_ENTITY: _entity,
    TEXT_TRIPLET: _related,
    AUDIO_CONTENT: _spoken,
    AUDIO_SEGMENTATION: _timed,
}
