"""Where the objects of a sample lie in the store, where their copies lie here, and the line that says so.

`inference-loc` names a result that somebody wrote elsewhere and no input of a training: it is let be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from launcher.core.dataset.faults import WrongError
from launcher.core.dataset.labels import fields_of
from launcher.core.dataset.names import DATA
from launcher.core.dataset.sample import BOM, PARENT
from launcher.core.keys import KEY_MOST, PART
from launcher.core.urls import BUCKET, Location, wrong_key

if TYPE_CHECKING:
    from launcher.core.dataset.sample import Sample

SCHEMES = ("s3", "s3a", "obs")
NO_OBJECT = "names no object, only a bucket or a folder"
LOCATIONS = ("annotation-loc", "annotation_loc")

_RAWS = msgspec.json.Decoder(dict[str, Raw])
_LISTS = msgspec.json.Decoder(list[dict[str, Raw]])


class Origin(msgspec.Struct, frozen=True):
    """Where a manifest lies, and which other buckets its samples may lie in."""

    manifest: Location
    buckets: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The beginning of the keys that relative references name."""
        return self.manifest.key[: self.manifest.key.rfind("/") + 1]


def place(at: Location) -> str:
    """Say where the copy of an object lies below the channel's folder: one place per object, whatever names it."""
    return f"{DATA}/{at.bucket}/{at.key}"


def locate(url: str, origin: Origin) -> Location:
    """Read a reference; raises ValueError with a sentence about what is wrong with it."""
    scheme, mark, rest = url.partition("://")
    if mark:
        if scheme not in SCHEMES and scheme.lower() not in SCHEMES:
            raise ValueError(f"expected s3://, obs:// or a path relative to the manifest, found {scheme[:20]}://")
    elif url.startswith("/"):
        rest = url[1:]
    else:
        return _checked(origin.manifest.bucket, origin.folder + url.removeprefix("./"))
    bucket, _, key = rest.partition("/")
    if not key:
        raise ValueError(NO_OBJECT)
    if bucket != origin.manifest.bucket and bucket not in origin.buckets:
        raise ValueError(_foreign(bucket, origin))
    return _checked(bucket, key)


def references(sample: Sample, origin: Origin) -> list[Location]:
    """Find the objects that a sample names; raises `WrongError` at the first that cannot be one."""
    found = [] if sample.is_content else [_located("source", sample.source, origin)]
    for index, annotation in enumerate(sample.annotation or ()):
        if annotation.location:
            found.append(_located(f"annotation[{index}].{LOCATIONS[0]}", annotation.location, origin))
        if annotation.location_:
            found.append(_located(f"annotation[{index}].{LOCATIONS[1]}", annotation.location_, origin))
    parent = sample.parent
    if parent:
        found.append(_located(f"property.{PARENT}", parent, origin))
    return found


def rewritten(line: bytes, sample: Sample, origin: Origin, folder: str) -> bytes:
    """Write a sample's line anew, its references as absolute paths below `folder`; all else stays as it was written.

    Numbers keep their digits, objects the order of their keys. The line has no line end.
    """
    fields = _RAWS.decode(line.removeprefix(BOM))
    if not sample.is_content:
        fields["source"] = _local(sample.source, origin, folder)
    if any(each.location or each.location_ for each in sample.annotation or ()):
        fields["annotation"] = Raw(msgspec.json.encode(_annotations(fields["annotation"], sample, origin, folder)))
    parent = sample.parent
    if parent:
        fields["property"] = _with_parent(fields["property"], _local(parent, origin, folder))
    # between values a carriage return is white space to JSON, but a line's end to who reads the file as text
    return msgspec.json.encode(fields).replace(b"\r", b" ")


def _annotations(raw: Raw, sample: Sample, origin: Origin, folder: str) -> list[dict[str, Raw]]:
    written = _LISTS.decode(raw)
    for annotation, read in zip(written, sample.annotation or (), strict=True):
        for key, url in zip(LOCATIONS, (read.location, read.location_), strict=True):
            if url:
                annotation[key] = _local(url, origin, folder)
    return written


def _with_parent(raw: Raw, path: Raw) -> Raw:
    written = msgspec.json.encode({**(fields_of(raw) or {}), PARENT: path})
    if bytes(raw).startswith(b'"'):
        return Raw(msgspec.json.encode(written.decode()))
    return Raw(written)


def _local(url: str, origin: Origin, folder: str) -> Raw:
    return Raw(msgspec.json.encode(f"{folder}/{place(locate(url, origin))}"))


def _located(where: str, url: str, origin: Origin) -> Location:
    try:
        return locate(url, origin)
    except ValueError as error:
        raise WrongError(where, str(error)) from None


def _foreign(bucket: str, origin: Origin) -> str:
    if not BUCKET.fullmatch(bucket):
        return f"{bucket[:80]!r} is no bucket name (3-63 lower-case letters, digits, '-' and '.')"
    return f"lies in the bucket {bucket!r}, the manifest in {origin.manifest.bucket!r}; allow it by name"


def _checked(bucket: str, key: str) -> Location:
    if key[-1] == "/":
        raise ValueError(NO_OBJECT)
    wrong = wrong_key(key)
    if wrong:
        raise ValueError(f"{wrong} cannot be part of a path")
    if len(key) * 4 > KEY_MOST and len(key.encode()) > KEY_MOST:
        raise ValueError(f"a key of {len(key.encode()):,} bytes ({KEY_MOST:,} is the most)")
    if PART in key and key.rpartition("/")[2].startswith(PART):
        raise ValueError(f"a name that begins with {PART!r}, as the launcher's own files do")
    return Location(bucket, key)
