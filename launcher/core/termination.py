"""The termination message of a pod: how a job ended, as JSON of at most 4,096 bytes, the most useful first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_BYTES = 4096
"""What Kubernetes keeps of a termination message."""
MOST_FOR_NAMES = 3072
"""Where the names of what was not saved end: the rest is for the evidence, which says more."""
LONGEST = 400
"""Characters of one name or one line of evidence."""


def termination_message(outcome: Mapping[str, Any], unsaved: Sequence[str] = ()) -> bytes:
    """Phase, exit code, cause, and what is not in its place. Of the evidence the last lines are kept.

    `outcome` is one as run.json has it; `unsaved` names files, the ones to look for first in front.
    """
    said = outcome["cause"]
    cause = {**said, "evidence": []} if said else None
    message: dict[str, Any] = {"phase": outcome["phase"], "exit_code": outcome["exit_code"], "cause": cause}
    if cause:
        _shorten(message, cause)
    if unsaved:
        message["unsaved"] = {"count": len(unsaved), "first": []}
        _fill(message, message["unsaved"]["first"], unsaved, MOST_FOR_NAMES)
    if cause:
        _fill(message, cause["evidence"], said["evidence"][::-1], MOST_BYTES)
        cause["evidence"].reverse()
    return _encoded(message)


def _shorten(message: dict[str, Any], cause: dict[str, Any]) -> None:
    """Cut the longest of the texts by half until the whole leaves room for more."""
    texts = [name for name, value in cause.items() if isinstance(value, str)]
    while len(_encoded(message)) > MOST_FOR_NAMES:
        longest = max(texts, key=lambda name: len(cause[name]))
        cause[longest] = cause[longest][: len(cause[longest]) // 2]


def _fill(message: dict[str, Any], place: list[str], lines: Sequence[str], most: int) -> None:
    """Add lines as long as the whole message has no more than so many bytes."""
    for line in lines:
        place.append(line if len(line) <= LONGEST else f"{line[:LONGEST]}…")
        if len(_encoded(message)) > most:
            place.pop()
            return


def _encoded(message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode(errors="backslashreplace")
