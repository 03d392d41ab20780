"""What a setting is: its name, what it may be, what it is when unset, and what it does."""

from __future__ import annotations

from typing import Literal

from launcher.core.frozen import Record

Kind = Literal[
    "number", "seconds", "share", "text", "encryption", "en|zh", "path|virtual", "refuse|warn", "0|1", "auto|on|off"
]


class Setting(Record, frozen=True, kw_only=True):
    """One variable: its name, what it may be, what it is when unset, what it does."""

    name: str
    kind: Kind
    default: str
    meaning: str


WANTED: dict[Kind, tuple[str, str]] = {
    "number": (r"[1-9][0-9]{0,17}", "a whole number above 0"),
    "seconds": (r"[0-9]{1,6}(\.[0-9]{1,6})?", "seconds, such as 25 (a grace is 86400 at most)"),
    "share": (r"0?\.[0-9]{1,9}|0|1|1\.0{1,9}", "a share from 0 to 1, such as 0.01"),
    "text": (r"(?s)[^\0]*", "text"),
    "encryption": (r"AES256|aws:kms(:[A-Za-z0-9:/_.-]{1,255})?|", "AES256, aws:kms or aws:kms:KEY-ID"),
    "en|zh": (r"en|zh", "en or zh"),
    "path|virtual": (r"path|virtual|", "path or virtual"),
    "refuse|warn": (r"refuse|warn", "refuse or warn"),
    "0|1": (r"[01]", "0 or 1"),
    "auto|on|off": (r"auto|on|off", "auto, on or off"),
}
