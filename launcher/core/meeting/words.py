"""What launchers say to each other: one JSON object a line, typed and bounded; anything else is nobody's word."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

VERSION = 1
LONGEST = 64 * 1024
"""Bytes of one line, with its end."""
LONGEST_GREETING = 1024
"""Bytes of a line as long as nobody knows whose it is."""
LONGEST_OFFER = 16 * 1024
"""Bytes of the text that a node may have for all others."""
LONGEST_TEXT = 2000
"""Characters of a sentence; an end needs no more to be known by."""

Code = Annotated[int, msgspec.Meta(ge=0, le=255)]
Number = Annotated[int, msgspec.Meta(ge=0, le=99_999)]
During = Literal["checking", "staging", "installing", "waiting", "starting", "training"]


class Word(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag=str.lower):
    """The root of all words; each says which it is."""


class Challenge(Word, frozen=True, kw_only=True):
    """Number 0, to whoever calls: show that you know the nonce."""

    version: Code
    random: str


class Hello(Word, frozen=True, kw_only=True):
    """The answer: who calls, the proof, and what number 0 has to show in turn. `session` is that launcher's own."""

    version: Code
    number: Number
    session: str
    random: str
    proof: str


class Welcome(Word, frozen=True, kw_only=True):
    """Number 0 knows the nonce too."""

    session: str
    proof: str


class Refused(Word, frozen=True, kw_only=True):
    """Number 0 does not let a caller in; the sentence is the caller's own, for nobody knows yet who says this."""

    why: Literal["version", "nonce", "taken"]


class Ping(Word, frozen=True, kw_only=True):
    """I am here."""


class Ready(Word, frozen=True, kw_only=True):
    """This node could start now. `offer` is its text for all others; `serves` as in Plan."""

    offer: str = ""
    serves: bool = False


class Parting(Word, frozen=True, kw_only=True):
    """How a node's part in the training has ended; told again, it is better known why.

    `done`: its boot processes ended well. `failed`, `stopped`: by its own words. `lost`: by number 0's. `apart`: the
    nodes did not come together, and `message` says all.
    """

    how: Literal["done", "failed", "stopped", "lost", "apart"]
    during: During = "training"
    exit_code: Code = 0
    code: str = ""
    message: str = ""
    action: str = ""


class Noted(Word, frozen=True, kw_only=True):
    """Number 0 has heard how a node's part ended."""


class Waiting(Word, frozen=True, kw_only=True):
    """For whom those that are ready wait."""

    text: str


class Offers(Word, frozen=True, kw_only=True):
    """Texts of nodes by their numbers, some of all."""

    offers: dict[Number, str]


class Released(Word, frozen=True, kw_only=True):
    """All are ready."""


class Ended(Word, frozen=True, kw_only=True):
    """A node has ended before its training was done: everybody ends."""

    number: Number
    parting: Parting


class Over(Word, frozen=True, kw_only=True):
    """The nodes that train are done."""


class Farewell(Word, frozen=True, kw_only=True):
    """Number 0 leaves, and nobody is to wait for it any more."""


FromGuest = Ping | Ready | Parting
FromHost = (
    Challenge | Welcome | Refused | Ping | Noted | Waiting | Offers | Released | Ended | Over | Farewell
)  # fmt: skip

W = TypeVar("W")

GREETING: msgspec.json.Decoder[Hello] = msgspec.json.Decoder(Hello)
GUEST: msgspec.json.Decoder[FromGuest] = msgspec.json.Decoder(FromGuest)
HOST: msgspec.json.Decoder[FromHost] = msgspec.json.Decoder(FromHost)


def line(word: Word) -> bytes:
    """A word as it is sent."""
    return msgspec.json.encode(word) + b"\n"


def heard(text: bytes, decoder: msgspec.json.Decoder[W]) -> W | None:
    """The word of a line; None where it is none."""
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def sendable(text: str) -> str:
    """A text of any origin (an odd file name) as JSON can hold it."""
    return text.encode(errors="backslashreplace").decode()


def shortened(parting: Parting) -> Parting:
    """The same, short enough for a line whatever is in it."""
    cut: dict[str, Any] = {
        name: sendable(getattr(parting, name))[:LONGEST_TEXT] for name in ("code", "message", "action")
    }
    return msgspec.structs.replace(parting, **cut)


def bundled(offers: dict[int, str]) -> tuple[Offers, ...]:
    """The texts of all nodes in as many words as lines can hold."""
    found: list[Offers] = []
    part: dict[int, str] = {}
    size = 0
    for number, text in offers.items():
        more = len(msgspec.json.encode(text)) + 8
        if size + more > LONGEST - LONGEST_GREETING:
            found.append(Offers(offers=part))
            part, size = {}, 0
        part[number] = text
        size += more
    return (*found, Offers(offers=part)) if part else ()


def fits(offer: str) -> bool:
    """Whether a text may be a node's offer."""
    return len(msgspec.json.encode(sendable(offer))) <= LONGEST_OFFER
