"""Why boot processes failed: what is known of their ends, laid before the diagnosis. A good run never gets here."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from launcher.core.redact import mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.children import Attended
    from launcher.core.diagnose import Witness
    from launcher.core.record import Cause, Memory


def why(
    ended: Sequence[Attended],
    first: int | None,
    memory: tuple[Memory | None, Memory | None],
    language: str,
    secrets: Sequence[str] = (),
) -> Cause | None:
    """The cause, None when none has failed. `first` is the rank that failed first, `memory` before and after.

    Secrets are masked before anything is quoted: a quotation is cut, and half a secret is not known again.
    """
    failed = sorted(
        (each for each in ended if each.code),
        key=lambda each: (each.ended.rank != first, each.ended.ended or "~", each.ended.rank),
    )
    if not failed:
        return None
    from launcher.core.diagnose import Evidence, diagnose  # noqa: PLC0415 - tables of patterns

    before, after = memory
    witnesses = tuple(_witness(each, secrets) for each in failed)
    evidence = Evidence(witnesses=witnesses, before=before, after=after, uid=os.geteuid(), several=len(ended) > 1)
    cause = diagnose(evidence, language)
    if cause.code != "permission-denied":
        return cause
    return msgspec.structs.replace(cause, evidence=(*cause.evidence, *_owners(cause.evidence)))


def _witness(each: Attended, secrets: Sequence[str]) -> Witness:
    from launcher.core.diagnose import Witness  # noqa: PLC0415 - as above

    return Witness(
        rank=each.ended.rank,
        code=each.code,
        signal=each.ended.signal,
        stderr=mask(each.stderr.decode(errors="replace"), secrets),
        stdout=mask(each.stdout.decode(errors="replace"), secrets),
    )


def _owners(lines: Sequence[str]) -> tuple[str, ...]:
    """Whose the files are that were refused, or the folders that they were to be made in; the core cannot look."""
    paths = [path for line in lines if "ermi" in line for path in line.split("'")[1::2] if path.startswith("/")]
    return tuple(found for path in dict.fromkeys(paths[:3]) if (found := _owner(path)))


def _owner(path: str) -> str | None:
    for place in (path, os.path.dirname(path)):
        try:
            at = os.lstat(place)
        except (OSError, ValueError):
            continue
        return f"{place} belongs to uid {at.st_uid}, gid {at.st_gid}, mode {stat.filemode(at.st_mode)}"
    return None
