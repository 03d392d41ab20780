"""What one worker put in an output, written last: an output that holds the manifests of all workers is whole.

Keys are relative to the output's folder, so a copy of the folder still verifies. It never reads or writes a store.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from launcher.core.keys import OWN
from launcher.core.urls import wrong_key

if TYPE_CHECKING:
    from launcher.core.urls import Location

VERSION = 1
SHA256 = re.compile(r"[0-9a-f]{64}")


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One object that was put: its key below the folder, its bytes, their SHA-256 in hex, and when (RFC 3339)."""

    key: str
    size: int
    sha256: str
    time: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What worker `worker` of `workers` put; `job` is the job's id."""

    version: int = VERSION
    job: str
    worker: int
    workers: int
    objects: tuple[Entry, ...]


def manifest_at(folder: Location, worker: int) -> Location:
    """Where the manifest of one worker lies in an output."""
    return folder.child(f"{OWN}/manifest-worker-{worker}.json")


def dump_manifest(manifest: Manifest) -> bytes:
    """Write a manifest, its objects by key, so that equal outputs have equal manifests but for the times."""
    ordered = msgspec.structs.replace(manifest, objects=tuple(sorted(manifest.objects, key=lambda entry: entry.key)))
    return msgspec.json.encode(ordered) + b"\n"


def parse_manifest(raw: bytes) -> Manifest:
    """Read a manifest; raises ValueError with a sentence about what is wrong with it."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a manifest: {error}") from error
    wrong = _wrong(manifest)
    if wrong:
        raise ValueError(f"not a manifest: {wrong}")
    return manifest


def _wrong(manifest: Manifest) -> str | None:
    if manifest.version != VERSION:
        return f"version {manifest.version} is unknown, expected {VERSION}"
    if not 0 <= manifest.worker < manifest.workers:
        return f"worker {manifest.worker} of {manifest.workers} workers"
    seen = set()
    for place, entry in enumerate(manifest.objects):
        wrong = _wrong_entry(entry) or ("the same key twice" if entry.key in seen else None)
        if wrong:
            return f"objects[{place}] ({entry.key!r}): {wrong}"
        seen.add(entry.key)
    return None


def _wrong_entry(entry: Entry) -> str | None:
    if not entry.key or entry.key.endswith("/"):
        return "a key that names no file"
    if entry.size < 0:
        return f"a size of {entry.size}"
    if not SHA256.fullmatch(entry.sha256):
        return f"{entry.sha256!r} is no SHA-256"
    return wrong_key(entry.key)
