"""What launchers say to each other: one JSON object a line, typed and bounded; anything else is nobody's word."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

VERSION = 2
LONGEST = 64 * 1024
"""Bytes of one line, with its end."""
LONGEST_GREETING = 1024
"""Bytes of a line as long as nobody knows whose it is."""
LONGEST_OFFER = 16 * 1024
"""Bytes of the text that a node may have for all others."""
LONGEST_TEXT = 2000
"""Characters of a sentence; an end needs no more to be known by."""
LONGEST_SUMMARY = 8000
"""Characters of what is told of a training that stands still."""

Code = Annotated[int, msgspec.Meta(ge=0, le=255)]
Number = Annotated[int, msgspec.Meta(ge=0, le=99_999)]
Count = Annotated[int, msgspec.Meta(ge=1, le=999_999)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
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

    attempt: Count = 1
    offer: str = ""
    serves: bool = False


class Parting(Word, frozen=True, kw_only=True):
    """How a node's part in the training has ended; told again, it is better known why.

    `done`: its boot processes ended well. `failed`, `stopped`: by its own words. `lost`: by number 0's. `apart`: the
    nodes did not come together, and `message` says all. `final`: its launcher takes part in no other attempt.
    """

    attempt: Count = 1
    final: bool = False
    how: Literal["done", "failed", "stopped", "lost", "apart"]
    during: During = "training"
    exit_code: Code = 0
    code: str = ""
    message: str = ""
    action: str = ""


class Idle(Word, frozen=True, kw_only=True):
    """Nothing of this node's attempt runs any more, and its launcher waits to hear whether there is another one."""

    attempt: Count = 1


class Quiet(Word, frozen=True, kw_only=True):
    """Whether nothing has moved on this node for as long as a training may stand still."""

    attempt: Count = 1
    quiet: bool


class Stood(Word, frozen=True, kw_only=True):
    """Where the training of this node stands, as it was asked for by a `Look` of that turn."""

    attempt: Count = 1
    turn: Count
    text: str


class Noted(Word, frozen=True, kw_only=True):
    """Number 0 has heard how a node's part ended."""

    attempt: Count = 1


class Waiting(Word, frozen=True, kw_only=True):
    """For whom those that are ready wait."""

    text: str


class Offers(Word, frozen=True, kw_only=True):
    """Texts of nodes by their numbers, some of all."""

    attempt: Count = 1
    offers: dict[Number, str]


class Released(Word, frozen=True, kw_only=True):
    """All are ready."""

    attempt: Count = 1


class Ended(Word, frozen=True, kw_only=True):
    """A node has ended before its training was done: everybody ends."""

    attempt: Count = 1
    number: Number
    parting: Parting


class Over(Word, frozen=True, kw_only=True):
    """The nodes that train are done."""

    attempt: Count = 1


class Again(Word, frozen=True, kw_only=True):
    """All nodes begin this attempt: it is waited for them anew. Number 0 pauses so long before it is ready itself."""

    attempt: Count
    pause_s: Seconds = 0.0


class Final(Word, frozen=True, kw_only=True):
    """No other attempt follows this one; where `given_up` says why, for another one would lead nowhere."""

    attempt: Count = 1
    given_up: Parting | None = None


class Look(Word, frozen=True, kw_only=True):
    """Nothing moves on any node: each is to show where its training stands."""

    attempt: Count = 1
    turn: Count


class Told(Word, frozen=True, kw_only=True):
    """What number 0 found out, for the record of every node."""

    text: str


class Hung(Word, frozen=True, kw_only=True):
    """The training hangs, and is to be ended on every node for this cause."""

    attempt: Count = 1
    code: str
    message: str
    action: str


class Gathered(Word, frozen=True, kw_only=True):
    """What the nodes have shown, for number 0 itself; it is never sent."""

    attempt: Count = 1
    texts: dict[Number, str]


class Farewell(Word, frozen=True, kw_only=True):
    """Number 0 leaves, and nobody is to wait for it any more."""


FromGuest = Ping | Ready | Parting | Idle | Quiet | Stood
FromHost = (
    Challenge
    | Welcome
    | Refused
    | Ping
    | Noted
    | Waiting
    | Offers
    | Released
    | Ended
    | Over
    | Again
    | Final
    | Look
    | Told
    | Hung
    | Farewell
)
Letter = FromGuest | Again | Final | Told | Hung
"""What a launcher's own run may leave for its meeting: number 0's decides as well."""

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


def bundled(offers: dict[int, str], attempt: int = 1) -> tuple[Offers, ...]:
    """The texts of all nodes in as many words as lines can hold."""
    found: list[Offers] = []
    part: dict[int, str] = {}
    size = 0
    for number, text in offers.items():
        more = len(msgspec.json.encode(text)) + 8
        if size + more > LONGEST - LONGEST_GREETING:
            found.append(Offers(attempt=attempt, offers=part))
            part, size = {}, 0
        part[number] = text
        size += more
    return (*found, Offers(attempt=attempt, offers=part)) if part else ()


def fits(offer: str) -> bool:
    """Whether a text may be a node's offer."""
    return len(msgspec.json.encode(sendable(offer))) <= LONGEST_OFFER
