"""What an expression found in a log line, as a number, in the forms that training scripts print numbers in.

It guesses nothing: what may be one number or another is none, and says why. It never fails.
"""

from __future__ import annotations

import math
import re

from launcher.core.frozen import Record

LONGEST = 256
"""What is longer is no number that anybody printed."""

# A number by itself may have commas between its thousands; in a list a comma parts two numbers.
_PLAIN = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_THOUSANDS = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?"
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_NO_NUMBER = r"nan|inf(?:inity)?"
# tensor(…, np.float64(…, array([[…, <tf.Tensor: shape=(), dtype=float32, numpy=…
_OPEN = re.compile(r"\s*(?:<tf\.[^<>]*\bnumpy=|[A-Za-z_][A-Za-z0-9_.]*\()?[\s(\[]*")
_INSIDE = re.compile(rf"[+-]?(?:(?P<none>{_NO_NUMBER})|(?:{_PLAIN}){_EXPONENT})(?![A-Za-z0-9_])", re.IGNORECASE)
_ALONE = re.compile(
    rf"[+-]?(?:(?P<none>{_NO_NUMBER})|(?:{_THOUSANDS}|{_PLAIN}){_EXPONENT})(?![A-Za-z0-9_])", re.IGNORECASE
)
_QUOTES = "\"'` \t\r\n\f\v"
_AFTER = _QUOTES + "%,;:.()[]>"
_ARGUMENTS = re.compile(r"[\s)\]]*,\s*[A-Za-z_]\w*\s*=")
"""What may follow inside of brackets: device='cuda:0', dtype=float32."""


class Reading(Record, frozen=True, kw_only=True):
    """A number, or why there is none: words that go on after "found …, which is"."""

    value: float | None = None
    why: str | None = None


def reading(text: str) -> Reading:
    """What a text says: 0.9694, 1e-05, 1,234.5, tensor(0.0754, device='cuda:0'), np.float64(0.5), [0.5].

    A percent sign changes nothing, 12% is 12.0: of one expression all matches are in the same unit, and are compared
    with each other only.
    """
    if len(text) > LONGEST:
        return Reading(why=f"longer than the {LONGEST} characters of any number")
    plain = _plain(text)
    if plain is not None:
        return Reading(value=plain)
    text = text.strip(_QUOTES)
    if not text:
        return Reading(why="empty")
    opened = _OPEN.match(text)
    start = opened.end() if opened else 0  # it always matches; an empty one opens nothing
    found = (_INSIDE if start else _ALONE).match(text, start)
    if not found:
        return Reading(why="no number")
    wrong = _wrong_rest(text, found.end(), inside=start > 0)
    if wrong:
        return Reading(why=wrong)
    if found["none"]:
        return Reading(why=f"{found[0].lower()}, which cannot be compared")
    value = float(found[0].replace(",", ""))
    return Reading(value=value) if math.isfinite(value) else Reading(why="too large for a number")


def _plain(text: str) -> float | None:
    """What nearly every text is, at once: Python's own form, but for the underscores and digits of other scripts."""
    if "_" in text or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _wrong_rest(text: str, at: int, *, inside: bool) -> str | None:
    """Why what follows a number makes it none, or None."""
    if inside and _ARGUMENTS.match(text, at):
        return None
    rest = text[at:].lstrip(_AFTER)
    if not rest:
        return None
    return "more than one number" if _INSIDE.match(rest) else "no number"
