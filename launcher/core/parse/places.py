"""Places: store URLs, folders in the container, and the rules of safety for both."""

from __future__ import annotations

import re

from launcher.core.parse.forms import Form, text
from launcher.core.urls import CONTROL, parse_location

BAD_URL = "ModelArts.2791"
BAD_CHANNEL = "ModelArts.2753"

LONGEST_PATH = 1024
"""A quarter of PATH_MAX: the rest is for the root and for the names below."""

_SYSTEM = r"/(bin|boot|dev|etc|lib[^/]*|proc|run|sbin|sys|usr|var)(/|$)"


def store_url(code: str = BAD_URL, *, local: bool = False, empty: bool = False) -> Form[str]:
    """A store URL in any spelling; `local` also takes file:// for what is already on the node."""

    def rule(value: str) -> str | None:
        if empty and not value:
            return None
        if local and value.startswith("file://"):
            return wrong_folder(value.removeprefix("file://"), system=False)
        try:
            parse_location(value)
        except ValueError as error:
            return str(error)
        return None

    return text(rule=rule, code=code)


def folder(code: str = BAD_CHANNEL, *, system: bool = True, below: str = "") -> Form[str]:
    """An absolute folder in the container; `system` keeps it out of the system's own."""

    def rule(value: str) -> str | None:
        if not value:
            return None
        if below and not value.rstrip("/").startswith(below):
            return f"expected a folder below {below}, found {value!r}"
        return wrong_folder(value, system=system)

    return text(rule=rule, code=code)


def wrong_folder(value: str, *, system: bool) -> str | None:
    """Why a path cannot be a folder of the job, or None."""
    if not value.startswith("/"):
        return f"expected an absolute path, found {value!r}"
    if CONTROL.search(value):
        return f"a path has no control characters, found {value!r}"
    segments = [segment for segment in value.split("/") if segment]
    if ".." in segments or "." in segments:
        return f"expected a path without '.' and '..', found {value!r}"
    if not segments:
        return "expected a folder below '/', found '/' itself"
    if any(len(segment.encode()) > 255 for segment in segments):  # noqa: PLR2004 - NAME_MAX of Linux
        return "a name in the path is longer than 255 bytes"
    if len(value.encode()) > LONGEST_PATH:
        return f"a path of {len(value.encode())} bytes leaves no room for files below it ({LONGEST_PATH} is the most)"
    if system and re.match(_SYSTEM, "/" + "/".join(segments)):
        return f"{value!r} lies in a folder of the system; choose one below /home or /cache"
    return None
