"""The spellings of a place in the store: `/bucket/key/`, `obs://bucket/key/` and `s3://bucket/key/`."""

from __future__ import annotations

import re

import msgspec

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""OBS bucket names: 3 to 63 of lower-case letters, digits, `-` and `.`."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""ASCII's control characters: they move cursors, and no path needs them."""

LONGEST_NAME = 255
"""NAME_MAX of Linux, in bytes."""

_SUSPECT = re.compile(r"[\x00-\x1f\x7f]|//|(?:^|/)\.{1,2}(?:/|$)|^/")


class Location(msgspec.Struct, frozen=True, order=True):
    """A bucket and a key in it; a key that is empty or ends in `/` is a folder."""

    bucket: str
    key: str = ""

    @property
    def url(self) -> str:
        """The place as a person reads it."""
        return f"obs://{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        """Whether the place is a prefix, by its own spelling."""
        return not self.key or self.key.endswith("/")

    @property
    def folder(self) -> Location:
        """The same place, spelled as a folder."""
        return self if self.is_folder else Location(self.bucket, self.key + "/")

    @property
    def name(self) -> str:
        """The last component; a bucket's root is named as the bucket."""
        return self.key.rstrip("/").rpartition("/")[2] or self.bucket

    def child(self, relative: str) -> Location:
        """The place `relative` below this folder."""
        return Location(self.bucket, self.folder.key + relative)


def parse_location(text: str) -> Location:
    """Read a store URL; raises ValueError with a sentence about what was wrong."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        if not text.startswith("/"):
            raise ValueError(f"expected /bucket/key/, obs://bucket/key/ or s3://bucket/key/, got {text!r}")
        rest = text[1:]
    elif scheme not in ("obs", "s3"):
        raise ValueError(f"expected obs:// or s3://, got {scheme}://")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise ValueError(f"no bucket in {text!r}; write obs://bucket/key/")
    if not BUCKET.fullmatch(bucket):
        raise ValueError(f"{bucket!r} is no bucket name (3-63 lower-case letters, digits, '-' and '.')")
    wrong = wrong_key(key)
    if wrong:
        raise ValueError(f"{wrong} in {text!r}")
    return Location(bucket, key)


def wrong_key(key: str) -> str | None:
    """Why a key cannot stand for a path, or None: empty and dotted segments, control characters, length."""
    if not key or (len(key) <= LONGEST_NAME and key.isascii() and not _SUSPECT.search(key)):
        return None  # nearly every key, and this is asked for each of a million
    if key.startswith("/"):
        return "a key that starts with '/'"
    if CONTROL.search(key):
        return "a control character"
    try:
        segments = key.encode().removesuffix(b"/").split(b"/")
    except UnicodeEncodeError:
        return "a character that is not Unicode text"
    for segment in segments:
        if segment in (b"", b".", b".."):
            return f"the segment {segment.decode()!r}"
        if len(segment) > LONGEST_NAME:
            return f"a segment of {len(segment)} bytes (255 is the most)"
    return None
