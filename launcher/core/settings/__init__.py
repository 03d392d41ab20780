"""The launcher's own settings as typed values, read from an environment by the table of all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from launcher.core.errors import PlanError
from launcher.core.frozen import Record
from launcher.core.plan import Checks, CodeLimits, LogRules, Meeting, Transfers
from launcher.core.resilience import Hanging, Preemption, Retrying
from launcher.core.settings.form import WANTED, Setting
from launcher.core.settings.table import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_GRACE = 86400.0
"""A day: whoever gives a job longer to end has written milliseconds."""

ANNOTATIONS = "launcher/"
"""How the names of a job's annotations begin that are settings of the launcher (`core.annotations`)."""

HIGHEST_PORT = 65535

Switch = Literal["auto", "on", "off"]
SWITCH: tuple[Switch, ...] = ("auto", "on", "off")

SHORTEST_PERIOD = 0.05
"""Seconds between two looks at a training; more often would cost more than it tells."""

MOST_TRANSFERS = 512
"""Threads at once that a node bears."""


class Settings(Record, frozen=True, kw_only=True):
    """The settings as typed values; `grace` and `auto_stop` in seconds."""

    limits: CodeLimits = CodeLimits()
    logs: LogRules = LogRules()
    grace: float = 25.0
    auto_stop: float | None = None
    staged: str | None = None
    parent: int | None = None
    storage: str | None = None
    study_patience: float = 600.0
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
    processes: int | None = None
    service: str | None = None
    meeting: Meeting = Meeting()
    nonce: str = ""
    ssh_port: int = 2222
    rank_table_timeout: float = 600.0
    v1_names: bool = False
    checks: Checks = Checks()
    retrying: Retrying = Retrying()
    hanging: Hanging = Hanging()
    hang: Switch = "auto"
    preemption: Preemption = Preemption()
    step: str | None = None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of an environment. Raises PlanError for a value that is none."""
    values = {setting.name: _value(setting, environ) for setting in TABLE}
    return Settings(
        limits=CodeLimits(
            entries=int(values["LAUNCHER_CODE_MAX_FILES"]),
            bytes=int(values["LAUNCHER_CODE_MAX_BYTES"]),
            depth=int(values["LAUNCHER_CODE_MAX_DEPTH"]),
        ),
        logs=_logs(values),
        grace=float(values["LAUNCHER_GRACE"]),
        auto_stop=_optional(values["LAUNCHER_AUTO_STOP"]),
        staged=_folder("LAUNCHER_STAGED", values),
        parent=int(values["LAUNCHER_PARENT"]) if values["LAUNCHER_PARENT"] else None,
        storage=values["LAUNCHER_STORAGE"] or None,
        study_patience=float(values["LAUNCHER_STUDY_PATIENCE"]),
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
        processes=int(values["LAUNCHER_PROCESSES"]) if values["LAUNCHER_PROCESSES"] else None,
        service=values["LAUNCHER_SERVICE"] or None,
        meeting=_meeting(values),
        nonce=values["LAUNCHER_NONCE"],
        ssh_port=_port("LAUNCHER_SSH_PORT", values),
        rank_table_timeout=float(values["LAUNCHER_RANK_TABLE_TIMEOUT"]),
        v1_names=values["LAUNCHER_V1_NAMES"] == "1",
        checks=_checks(values),
        retrying=_retrying(values),
        hang=next(each for each in SWITCH if each == values["LAUNCHER_HANG"]),
        hanging=_hanging(values),
        preemption=_preemption(values),
        step=_pattern("LAUNCHER_STEP_PATTERN", values),
    )


def _logs(values: Mapping[str, str]) -> LogRules:
    return LogRules(
        segment_bytes=int(values["LAUNCHER_LOG_SEGMENT"]) * 1024**2,
        bytes_per_minute=int(values["LAUNCHER_LOG_RATE"]) * 1024**2,
        rank_prefix=values["LAUNCHER_RANK_PREFIX"] == "1",
    )


def _meeting(values: Mapping[str, str]) -> Meeting:
    return Meeting(
        port=_port("LAUNCHER_RENDEZVOUS_PORT", values),
        peers_s=float(values["LAUNCHER_PEERS_TIMEOUT"]),
        ready_s=float(values["LAUNCHER_READY_TIMEOUT"]),
    )


def _retrying(values: Mapping[str, str]) -> Retrying:
    pause, wait = (float(values[name]) for name in ("LAUNCHER_RETRY_PAUSE", "LAUNCHER_DEVICE_WAIT"))
    return Retrying(pause_s=pause, device_wait_s=wait)


def _preemption(values: Mapping[str, str]) -> Preemption:
    passed = values["LAUNCHER_PREEMPTION_NOTICE"] == "1"
    return Preemption(file=_folder("LAUNCHER_PREEMPTION_FILE", values), passed=passed)


def _hanging(values: Mapping[str, str]) -> Hanging:
    return Hanging(
        period_s=max(float(values["LAUNCHER_HANG_PERIOD"]), SHORTEST_PERIOD),
        periods=int(values["LAUNCHER_HANG_PERIODS"]),
        long_periods=int(values["LAUNCHER_HANG_LONG_PERIODS"]),
        window_s=float(values["LAUNCHER_HANG_WINDOW"]),
        variance=float(values["LAUNCHER_HANG_VARIANCE"]),
        native=values["LAUNCHER_STACKS_NATIVE"] == "1",
    )


def _pattern(name: str, values: Mapping[str, str]) -> str | None:
    """A regular expression with one group. Raises PlanError."""
    text = values[name]
    wrong = wrong_step_pattern(text) if text else None
    if wrong:
        raise PlanError(f"{name}: {wrong}", code="setting-invalid", action=f"Correct or unset {name}.")
    return text or None


def wrong_step_pattern(text: str) -> str | None:
    """What is wrong with a regular expression that is to find steps; None: nothing."""
    try:
        groups = re.compile(text).groups
    except (re.error, RecursionError, OverflowError) as error:
        return f"expected a regular expression, found {text!r} ({error})"
    return None if groups else f"expected a regular expression with a group for the number, found {text!r}"


def _checks(values: Mapping[str, str]) -> Checks:
    return Checks(
        root_bytes=int(values["LAUNCHER_CHECK_ROOT"]) * 1024**3,
        shm_bytes=int(values["LAUNCHER_CHECK_SHM"]) * 1024**3,
        cache_bytes=int(values["LAUNCHER_CHECK_CACHE"]) * 1024**3,
        clock_s=float(values["LAUNCHER_CHECK_CLOCK"]),
        memlock_kib=int(values["LAUNCHER_CHECK_MEMLOCK"]),
        nofile=int(values["LAUNCHER_CHECK_NOFILE"]),
        stack_kib=int(values["LAUNCHER_CHECK_STACK"]),
        nproc=int(values["LAUNCHER_CHECK_NPROC"]),
    )


def _folder(name: str, values: Mapping[str, str]) -> str | None:
    path = values[name]
    if path and not path.startswith("/"):
        raise PlanError(
            f"{name}: expected an absolute path, found {path!r}",
            code="setting-invalid",
            action=f"Correct or unset {name}.",
        )
    return path or None


def _port(name: str, values: Mapping[str, str]) -> int:
    port = int(values[name])
    if port > HIGHEST_PORT:
        raise PlanError(
            f"{name}: expected a port from 1 to {HIGHEST_PORT}, found {port}",
            code="setting-invalid",
            action=f"Correct or unset {name}.",
        )
    return port


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _optional(seconds: str) -> float | None:
    return float(seconds) if seconds else None


def _value(setting: Setting, environ: Mapping[str, str]) -> str:
    value = environ.get(setting.name, "").strip()
    if not value:
        return setting.default
    pattern, wanted = WANTED[setting.kind]
    if not re.fullmatch(pattern, value) or (setting.name == "LAUNCHER_GRACE" and float(value) > MOST_GRACE):
        raise PlanError(
            f"{setting.name}: expected {wanted}, found {value!r}",
            code="setting-invalid",
            action=f"Correct or unset {setting.name}.",
        )
    return value
