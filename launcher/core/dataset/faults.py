"""What is wrong with a sample, in words: where in the line, what was expected, what was found.

Only lines that have failed come here, so it is thorough and slow.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN_MOST = 60
"""Characters of a value that an error shows."""

WHOLE = "a JSON object, whole on one line"

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_WORDS: Mapping[str, str] = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class WrongError(ValueError):
    """Something is wrong at a place in a sample; who reads the sample adds its line."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where
        self.message = message


class SampleError(ValueError):
    """A line of a manifest is no sample that can be used."""

    def __init__(self, number: int, wrong: WrongError) -> None:
        path = f"line {number}: {wrong.where}" if wrong.where else f"line {number}"
        self.problem = Problem(path=path, message=wrong.message)
        super().__init__(str(self.problem))


def shown(value: object) -> str:
    """Write a found value for an error: short, on one line, and always encodable."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > SHOWN_MOST:
        text = text[: SHOWN_MOST - 1] + "…"
    return _SURROGATE.sub("\ufffd", text)


def expected(where: str, wanted: str, found: object) -> WrongError:
    """Say what was expected at a place and what was found."""
    return WrongError(where, f"expected {wanted}, found {shown(found)}")


def not_text(error: UnicodeDecodeError) -> WrongError:
    """Say that a line is no UTF-8."""
    return WrongError("", f"expected UTF-8, found the byte 0x{error.object[error.start]:02x} at byte {error.start + 1}")


def undecodable(text: str, error: Exception) -> WrongError:
    """Say why a line is no sample, from what the decoder said and a second, slower look."""
    text = text.rstrip()
    try:
        value = json.loads(text, parse_int=_whole)
    except json.JSONDecodeError as second:
        return _malformed(text, second)
    except RecursionError:
        return WrongError("", "nested too deeply")
    if not isinstance(value, dict):
        return expected("", WHOLE, value)
    if isinstance(error, msgspec.ValidationError):
        return _mistyped(value, str(error))
    if _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        return WrongError("", "a lone surrogate (\\ud800 to \\udfff), which is no Unicode text")
    return WrongError("", f"no JSON object that can be read: {error}")


def _malformed(text: str, error: json.JSONDecodeError) -> WrongError:
    if not text.lstrip().startswith("{"):
        return expected("", WHOLE, text)
    if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
        return WrongError("", "expected a whole JSON object, found the end of the line; a sample is one line")
    rest = shown(text[error.pos : error.pos + SHOWN_MOST // 2])
    message = f"not JSON at column {error.pos + 1} ({error.msg.lower()}), found {rest}"
    if error.msg.startswith("Expecting ','") and text[: error.pos].rstrip().endswith('"'):
        message += '; a quotation mark inside a text is written \\"'
    return WrongError("", message)


def _mistyped(value: object, said: str) -> WrongError:
    head, _, path = said.partition(" - at `$")
    path = path.rstrip("`")
    where = path.lstrip(".")
    missing = re.fullmatch(r"Object missing required field `(.+)`", head)
    if missing:
        return WrongError(f"{where}.{missing[1]}" if where else missing[1], "missing")
    wanted = re.match(r"Expected `([^`]+)`", head)
    if not wanted:
        return WrongError(where, head.lower())
    words = [_WORDS.get(word, word) for word in wanted[1].split(" | ")]
    return expected(where, " or ".join(words), _follow(value, path))


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < SHOWN_MOST else digits  # Python refuses thousands of them


def _follow(value: object, path: str) -> object:
    for key, index in _STEP.findall(path):
        if key and isinstance(value, dict):
            value = value.get(key)
        elif index and isinstance(value, list):
            value = value[int(index)]
    return value
