"""The launcher's own settings, `LAUNCHER_*`: one table, from which they are read and documented."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from launcher.core.errors import PlanError
from launcher.core.frozen import Record
from launcher.core.plan import CodeLimits, LogRules

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_GRACE = 86400.0
"""A day: whoever gives a job longer to end has written milliseconds."""

Kind = Literal["number", "seconds", "text", "en|zh", "path|virtual", "0|1"]


class Setting(Record, frozen=True, kw_only=True):
    """One variable: its name, what it may be, what it is when unset, what it does."""

    name: str
    kind: Kind
    default: str
    meaning: str


TABLE = (
    Setting(
        name="LAUNCHER_JOB",
        kind="text",
        default="",
        meaning="The job when the command line names none: a file, an `obs://` URL, or the JSON itself.",
    ),
    Setting(
        name="LAUNCHER_ALGORITHMS",
        kind="text",
        default="",
        meaning="An algorithm body or a folder of them, as `--algorithm`.",
    ),
    Setting(
        name="LAUNCHER_CODE_MAX_FILES",
        kind="number",
        default="1024",
        meaning="Most files and folders in a code directory.",
    ),
    Setting(
        name="LAUNCHER_CODE_MAX_BYTES",
        kind="number",
        default=str(5 * 1024**3),
        meaning="Most bytes in a code directory.",
    ),
    Setting(name="LAUNCHER_CODE_MAX_DEPTH", kind="number", default="32", meaning="Deepest level in a code directory."),
    Setting(
        name="LAUNCHER_GRACE",
        kind="seconds",
        default="25",
        meaning="Seconds from SIGTERM to the end, as `--grace`; boot process and last uploads share them.",
    ),
    Setting(
        name="LAUNCHER_AUTO_STOP",
        kind="seconds",
        default="",
        meaning="Seconds that the whole job may take (exit code 124), in place of the hours of its `spec.auto_stop`.",
    ),
    Setting(
        name="LAUNCHER_LOG_SEGMENT",
        kind="number",
        default="64",
        meaning="MiB after which the log file goes on in a new one; the full ones are `….log.1`, `….log.2` and on.",
    ),
    Setting(
        name="LAUNCHER_LOG_RATE",
        kind="number",
        default="2048",
        meaning="MiB of output that the log file takes in a minute; what is more is dropped there and counted.",
    ),
    Setting(
        name="LAUNCHER_RANK_PREFIX",
        kind="0|1",
        default="1",
        meaning="1 begins each line with its rank where a node runs several processes.",
    ),
    Setting(name="LAUNCHER_TRANSFERS", kind="number", default="16", meaning="Transfers under way at once."),
    Setting(name="LAUNCHER_LANG", kind="en|zh", default="en", meaning="Language of diagnosis and default texts."),
    Setting(
        name="LAUNCHER_TERMINATION_LOG",
        kind="text",
        default="/dev/termination-log",
        meaning="Where the termination message goes; by default only if the file is there.",
    ),
    Setting(
        name="LAUNCHER_S3_ADDRESSING",
        kind="path|virtual",
        default="",
        meaning="How a bucket is addressed; unset: path style for an IP address, localhost or a host without a dot.",
    ),
    Setting(
        name="LAUNCHER_DEBUG",
        kind="0|1",
        default="0",
        meaning="1 shows the traceback behind every error.",
    ),
)

_WANTED: dict[Kind, tuple[str, str]] = {
    "number": (r"[1-9][0-9]{0,17}", "a whole number above 0"),
    "seconds": (r"[0-9]{1,6}(\.[0-9]{1,6})?", "seconds, such as 25 (a grace is 86400 at most)"),
    "text": (r"(?s)[^\0]*", "text"),
    "en|zh": (r"en|zh", "en or zh"),
    "path|virtual": (r"path|virtual|", "path or virtual"),
    "0|1": (r"[01]", "0 or 1"),
}


class Settings(Record, frozen=True, kw_only=True):
    """The settings as typed values; `grace` and `auto_stop` in seconds."""

    limits: CodeLimits = CodeLimits()
    logs: LogRules = LogRules()
    grace: float = 25.0
    auto_stop: float | None = None
    transfers: int = 16
    language: str = "en"
    termination_log: str | None = None
    addressing: str | None = None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of an environment. Raises PlanError for a value that is none."""
    values = {setting.name: _value(setting, environ) for setting in TABLE}
    return Settings(
        limits=CodeLimits(
            entries=int(values["LAUNCHER_CODE_MAX_FILES"]),
            bytes=int(values["LAUNCHER_CODE_MAX_BYTES"]),
            depth=int(values["LAUNCHER_CODE_MAX_DEPTH"]),
        ),
        logs=LogRules(
            segment_bytes=int(values["LAUNCHER_LOG_SEGMENT"]) * 1024**2,
            bytes_per_minute=int(values["LAUNCHER_LOG_RATE"]) * 1024**2,
            rank_prefix=values["LAUNCHER_RANK_PREFIX"] == "1",
        ),
        grace=float(values["LAUNCHER_GRACE"]),
        auto_stop=float(values["LAUNCHER_AUTO_STOP"]) if values["LAUNCHER_AUTO_STOP"] else None,
        transfers=min(int(values["LAUNCHER_TRANSFERS"]), 512),
        language=values["LAUNCHER_LANG"],
        termination_log=environ.get("LAUNCHER_TERMINATION_LOG") or None,
        addressing=values["LAUNCHER_S3_ADDRESSING"] or None,
    )


def _value(setting: Setting, environ: Mapping[str, str]) -> str:
    value = environ.get(setting.name, "").strip()
    if not value:
        return setting.default
    pattern, wanted = _WANTED[setting.kind]
    if not re.fullmatch(pattern, value) or (setting.name == "LAUNCHER_GRACE" and float(value) > MOST_GRACE):
        raise PlanError(
            f"{setting.name}: expected {wanted}, found {value!r}",
            code="setting-invalid",
            action=f"Correct or unset {setting.name}.",
        )
    return value
