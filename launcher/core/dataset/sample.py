"""One line of a manifest as a sample: an object of JSON, every key that the service knows checked, the others let be.

After the vendor's specifications for importing a manifest file and the spellings that its SDK accepts.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, field

from launcher.core.dataset.faults import SampleError, WrongError, expected, not_text, undecodable
from launcher.core.dataset.kinds import OBJECT_DETECTION, SAMPLE_TYPES, TABLE, TEXT_TRIPLET, VIDEO, label_kind
from launcher.core.dataset.labels import Annotation, check_annotations, check_hard, fields_of, value_of

BOM = b"\xef\xbb\xbf"
CONTENT = "content://"
"""How a source begins that is the text itself."""
USAGES = ("TRAIN", "EVAL", "TEST", "INFERENCE")
PARENT = "@modelarts:parent_source"
"""The property of a frame that names its video."""
SCHEMAS = ("@modelarts:schema", "schema")
"""The properties of a table's part that tell its columns."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is looked at of a sample; the line has the rest."""

    source: str
    source_type: str | None = field(name="source-type", default=None)
    usage: str | None = None
    annotation: tuple[Annotation, ...] | None = None
    sample_type: int | str | None = field(name="sample-type", default=None)
    hard: bool | str | None = None
    hard_coefficient: float | str | None = field(name="hard-coefficient", default=None)
    properties: Raw = field(name="property", default=Raw(b""))

    @property
    def is_content(self) -> bool:
        """Whether the source is a text and names no object."""
        return self.source.startswith(CONTENT)

    @property
    def is_carbon(self) -> bool:
        """Whether it is a part of a table in CarbonData's format."""
        return self.source_type is not None and self.source_type.lower() == "carbondata"

    @property
    def used_for(self) -> str:
        """The usage in capitals; empty where the sample leaves it to its reader."""
        return self.usage.upper() if self.usage else ""

    @property
    def parent(self) -> str | None:
        """The video that a frame was taken from."""
        if not self.properties:
            return None
        found = fields_of(self.properties)
        value = value_of(found.get(PARENT)) if found else None
        return value if isinstance(value, str) else None

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it is labelled for; empty for one without labels and for labels of somebody else's own."""
        found = dict.fromkeys(label_kind(each.type) or "" for each in self.annotation or ())
        found.pop("", None)
        if OBJECT_DETECTION in found and self.parent is not None:
            return (VIDEO,)
        if TEXT_TRIPLET in found:
            return (TEXT_TRIPLET,)  # its entities are there for the relations
        return (TABLE,) if self.is_carbon else tuple(found)

    @property
    def medium(self) -> str | None:
        """What the sample itself is, as far as it says."""
        if self.is_content:
            return "text"
        return SAMPLE_TYPES.get(str(self.sample_type))


_DECODER = msgspec.json.Decoder(Sample)


def read_sample(line: bytes, number: int) -> Sample:
    """Read a line; raises `SampleError` with its number, the place in it, what was expected and what was found."""
    try:
        return _read(line[len(BOM) :] if number == 1 and line.startswith(BOM) else line)
    except WrongError as wrong:
        raise SampleError(number, wrong) from None


def _read(line: bytes) -> Sample:
    try:
        if not line.isascii():
            line.decode()  # what is not looked at is not decoded, and is delivered too
        sample = _DECODER.decode(line)
    except UnicodeDecodeError as error:
        raise not_text(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise undecodable(line.decode(), error) from None
    _check(sample)
    if sample.annotation:
        check_annotations(sample.annotation)
    return sample


def _check(sample: Sample) -> None:
    if not sample.source:
        raise WrongError("source", "empty")
    if sample.usage and sample.usage.upper() not in USAGES:
        raise expected("usage", f"one of {', '.join(USAGES)}, in any case", sample.usage)
    if sample.sample_type is not None and str(sample.sample_type) not in SAMPLE_TYPES:
        raise expected("sample-type", f"one of {', '.join(SAMPLE_TYPES)}", sample.sample_type)
    check_hard("", sample.hard, sample.hard_coefficient)
    if sample.is_carbon:
        _check_table(sample)


def _check_table(sample: Sample) -> None:
    found = fields_of(sample.properties) if sample.properties else {}
    if found is None:
        raise expected("property", "an object with the schema, or text that holds one", value_of(sample.properties))
    for key in SCHEMAS:
        if key in found and fields_of(found[key]) is None:
            raise expected(f"property.{key}", "an object of column names and types", value_of(found[key]))
    if sample.is_content:
        raise expected("source", "a part of a table", sample.source)
