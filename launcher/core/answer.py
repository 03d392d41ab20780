"""What a tool said when it was asked something."""

from __future__ import annotations

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a tool. `code` is its exit code or 128 + n, None where it was stopped because its time was over.

    `fault` is a sentence's end for a tool that gave no answer (`is not there`, `gave no answer in 5 s`), else None.
    """

    code: int | None
    stdout: str = ""
    stderr: str = ""
    fault: str | None = None
