"""The cause of an earlier run, found again from what its run.json keeps: in another language, by newer tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from launcher.core.diagnose import CODES_OF_CAUSES, VAGUE, Evidence, Witness, diagnose

if TYPE_CHECKING:
    from launcher.core.parse.run import Ran, Run
    from launcher.core.record import Cause


def retold(run: Run, language: str) -> Cause | None:
    """The cause of a run: found again where `diagnose` had found it, as it was stored where anything else had.

    Only the evidence of one rank is kept, so the stored cause stands where less can be said now than then.
    """
    cause = run.cause
    if cause is None or cause.code not in CODES_OF_CAUSES:
        return cause
    before, after = run.limits.around() if run.limits else (None, None)
    failed = sorted(
        (each for each in run.processes if each.exit_code or each.signal), key=lambda each: each.ended or ""
    )
    found = diagnose(
        Evidence(
            witnesses=tuple(_witness(each, cause) for each in failed),
            before=before,
            after=after,
            uid=_uid(cause),
            several=len(run.processes) > 1,
        ),
        language,
    )
    if found.rank != cause.rank or (found.code in VAGUE and cause.code not in VAGUE):
        return cause
    return msgspec.structs.replace(found, evidence=cause.evidence)


def _witness(each: Ran, cause: Cause) -> Witness:
    evidence = "\n".join(cause.evidence) if each.rank == cause.rank else ""
    return Witness(rank=each.rank, code=each.exit_code, signal=each.signal, stderr=evidence)


def _uid(cause: Cause) -> int | None:
    """The one fact that only the sentence has kept."""
    found = re.search(r"\buid ([0-9]{1,10})\b", cause.message)
    return int(found[1]) if found else None
