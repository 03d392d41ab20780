"""Names of objects in a cluster, made from a job's name and id: the same job has the same name, another job another."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.spec import JobMetadata

MOST = 40
"""Characters of a name: `<name>-node-0-<index>-<5 letters>` must be a label of 63, with an index of five digits."""
_DIGEST = 8

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""A label of RFC 1123: the name of a namespace."""
SUBDOMAIN = r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
"""A subdomain of RFC 1123: the name of a secret, a claim, a priority class."""
KEY = r"[A-Za-z0-9._-]{1,253}"
"""A key of a secret or of a config map."""
QUALIFIED = rf"({SUBDOMAIN}/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?"
"""The name of a label, of a taint, of a device: with or without a domain before it."""
VALUE = r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
"""The value of a label."""


def object_name(metadata: JobMetadata) -> str:
    """The name of a job's objects: lower-case letters, digits and `-`, a letter first, at most MOST characters.

    A digest follows where the job has an id, which tells jobs of one name apart, and where its name had to be changed.
    """
    stem = re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]", "-", metadata.name.lower())).strip("-")
    if not stem[:1].isalpha():
        stem = f"job-{stem}".rstrip("-")
    if metadata.id is None and stem == metadata.name and len(stem) <= MOST:
        return stem
    digest = hashlib.sha256(f"{metadata.name}\0{metadata.id or ''}".encode()).hexdigest()[:_DIGEST]
    return f"{stem[: MOST - _DIGEST - 1].rstrip('-')}-{digest}"
