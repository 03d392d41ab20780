"""What a signature is: the words by which a known failure shows itself, and what a person is told of it."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["root", "cascade"]


class Words(msgspec.Struct, frozen=True):
    """One sentence and the next action; `{name}` stands for a group of the pattern or a fact (uid, memory)."""

    message: str
    action: str


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One known failure.

    `find` are pairs: words that must stand in a line as they are, and the pattern of that line (empty: the words are
    enough). The words are looked for first, by a plain search, so a pattern is compiled only when it may match.
    Every quantifier of a pattern is bounded. A `cascade` follows from a failure elsewhere. What is `early` counts also
    when it stands before the last traceback: nobody logs it and goes on.
    """

    code: str
    find: tuple[tuple[str, str], ...]
    en: Words
    zh: Words
    kind: Kind = "root"
    early: bool = False
