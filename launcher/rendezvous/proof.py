"""That both sides know the nonce of a job, shown without saying it: each answers the other's random text by an HMAC."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.core.plan import Rendezvous


def fresh() -> str:
    """A text that nobody can know beforehand."""
    return secrets.token_hex(16)


def guest(known: Rendezvous, asked: str, own: str, session: str) -> str:
    """What a node answers to number 0's random text `asked`, with one of its `own`."""
    return expected(known, (known.number, own), asked, session)


def expected(known: Rendezvous, caller: tuple[int, str], asked: str, session: str) -> str:
    """What a caller of this number and random text has to answer to `asked`."""
    return _proof(known.nonce, "guest", str(caller[0]), asked, caller[1], session)


def host(known: Rendezvous, caller: tuple[int, str], own: str, session: str) -> str:
    """What number 0 answers to a caller's random text, with the `own` that it had asked by."""
    return _proof(known.nonce, "host", str(caller[0]), caller[1], own, session)


def same(one: str, other: str) -> bool:
    """Whether two proofs are the same, in a time that says nothing of where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def _proof(nonce: str, *said: str) -> str:
    """Answer by what only one who knows the nonce can: the role is part of it, so that nobody answers for the other."""
    text = "".join(f"{len(part)}:{part}" for part in ("launcher rendezvous 1", *said))
    return hmac.new(nonce.encode(), text.encode(errors="replace"), "sha256").hexdigest()
