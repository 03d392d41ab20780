"""The launcher's own settings, `LAUNCHER_*`: one table, from which they are read and documented."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from launcher.core.errors import PlanError
from launcher.core.frozen import Record
from launcher.core.plan import CodeLimits, LogRules, Transfers

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_GRACE = 86400.0
"""A day: whoever gives a job longer to end has written milliseconds."""

ANNOTATIONS = "launcher/"
"""How the names of a job's annotations begin that are settings of the launcher (`core.annotations`)."""

MOST_TRANSFERS = 512
"""Threads at once that a node bears."""

Kind = Literal["number", "seconds", "share", "text", "encryption", "en|zh", "path|virtual", "refuse|warn", "0|1"]


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
    Setting(
        name="LAUNCHER_TRANSFERS",
        kind="number",
        default="128",
        meaning="Most transfers under way at once; as many are begun as the store answers well, from 8 up to these.",
    ),
    Setting(
        name="LAUNCHER_TRANSFER_MEMORY",
        kind="number",
        default="256",
        meaning="MiB of memory for transfers; fewer are begun where more would not fit.",
    ),
    Setting(
        name="LAUNCHER_STAGE_TIMEOUT",
        kind="seconds",
        default="",
        meaning="Seconds that staging may take in all (exit code 69).",
    ),
    Setting(
        name="LAUNCHER_STORE_PATIENCE",
        kind="seconds",
        default="60",
        meaning="Seconds for which a store that has answered before is waited for when it is gone, or too busy.",
    ),
    Setting(
        name="LAUNCHER_CACHE",
        kind="text",
        default="",
        meaning="A folder of this node that keeps what was downloaded, for restarts and other jobs of this user.",
    ),
    Setting(
        name="LAUNCHER_CACHE_SIZE", kind="number", default="100", meaning="GiB that the cache of the node may grow to."
    ),
    Setting(
        name="LAUNCHER_EXTRACT_RATIO",
        kind="number",
        default="100",
        meaning="How many times its own size an archive may grow to when it is unpacked.",
    ),
    Setting(
        name="LAUNCHER_DATASET_MISSING",
        kind="share",
        default="0",
        meaning="Share of a dataset's samples, 0 to 1, that may be missing; they are left out of its manifests.",
    ),
    Setting(
        name="LAUNCHER_DATASET_BUCKETS",
        kind="text",
        default="",
        meaning="Other buckets that a dataset's samples may lie in, separated by commas.",
    ),
    Setting(
        name="LAUNCHER_OUTPUT_IN_USE",
        kind="refuse|warn",
        default="refuse",
        meaning="What to do where another run that is alive writes to the same output.",
    ),
    Setting(
        name="LAUNCHER_CA_BUNDLE",
        kind="text",
        default="",
        meaning="A file of certificates (PEM) to trust for https beside the system's.",
    ),
    Setting(
        name="LAUNCHER_SSE",
        kind="encryption",
        default="",
        meaning="How the store shall encrypt what is uploaded: `AES256`, `aws:kms`, or `aws:kms:KEY-ID`.",
    ),
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
    "share": (r"0?\.[0-9]{1,9}|0|1|1\.0{1,9}", "a share from 0 to 1, such as 0.01"),
    "text": (r"(?s)[^\0]*", "text"),
    "encryption": (r"AES256|aws:kms(:[A-Za-z0-9:/_.-]{1,255})?|", "AES256, aws:kms or aws:kms:KEY-ID"),
    "en|zh": (r"en|zh", "en or zh"),
    "path|virtual": (r"path|virtual|", "path or virtual"),
    "refuse|warn": (r"refuse|warn", "refuse or warn"),
    "0|1": (r"[01]", "0 or 1"),
}


class Settings(Record, frozen=True, kw_only=True):
    """The settings as typed values; `grace` and `auto_stop` in seconds."""

    limits: CodeLimits = CodeLimits()
    logs: LogRules = LogRules()
    grace: float = 25.0
    auto_stop: float | None = None
    transfers: Transfers = Transfers()
    cache: str | None = None
    cache_bytes: int = 100 * 1024**3
    dataset_missing: float = 0.0
    dataset_buckets: tuple[str, ...] = ()
    in_use: Literal["refuse", "warn"] = "refuse"
    ca_bundle: str | None = None
    encryption: str | None = None
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
        auto_stop=_optional(values["LAUNCHER_AUTO_STOP"]),
        transfers=Transfers(
            most=min(int(values["LAUNCHER_TRANSFERS"]), MOST_TRANSFERS),
            memory_bytes=int(values["LAUNCHER_TRANSFER_MEMORY"]) * 1024**2,
            stage_timeout=_optional(values["LAUNCHER_STAGE_TIMEOUT"]),
            patience=float(values["LAUNCHER_STORE_PATIENCE"]),
            extract_ratio=int(values["LAUNCHER_EXTRACT_RATIO"]),
        ),
        cache=values["LAUNCHER_CACHE"] or None,
        cache_bytes=int(values["LAUNCHER_CACHE_SIZE"]) * 1024**3,
        dataset_missing=float(values["LAUNCHER_DATASET_MISSING"]),
        dataset_buckets=names(values["LAUNCHER_DATASET_BUCKETS"]),
        in_use="warn" if values["LAUNCHER_OUTPUT_IN_USE"] == "warn" else "refuse",
        ca_bundle=values["LAUNCHER_CA_BUNDLE"] or None,
        encryption=values["LAUNCHER_SSE"] or None,
        language=values["LAUNCHER_LANG"],
        termination_log=environ.get("LAUNCHER_TERMINATION_LOG") or None,
        addressing=values["LAUNCHER_S3_ADDRESSING"] or None,
    )


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _optional(seconds: str) -> float | None:
    return float(seconds) if seconds else None


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
