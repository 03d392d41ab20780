"""The settings that belong to one job, `metadata.annotations["launcher/…"]`: one table, read and documented from it.

Annotations of other names are the platform's and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from launcher.core.frozen import Record
from launcher.core.keys import nearest
from launcher.core.parse.cursor import At, shown
from launcher.core.patterns import MOST, wrong_pattern
from launcher.core.plan import Patterns
from launcher.core.settings import SWITCH, Switch, names, wrong_step_pattern
from launcher.core.urls import BUCKET

if TYPE_CHECKING:
    from collections.abc import Collection

    from launcher.core.parse.cursor import Log

OURS = "launcher/"
CHANNEL = "<channel>"
LONGEST_LIST = 4096
"""Characters of a list of patterns: they are asked of each of a million files."""
_SHARE = re.compile(r"0?\.[0-9]{1,9}|0|1|1\.0{1,9}")

Kind = Literal["patterns", "true|false", "share", "buckets", "auto|on|off", "expression"]
Of = Literal["any channel", "an input", "the job"]


class Annotation(Record, frozen=True, kw_only=True):
    """One annotation: its name, what its text may be, what it is of, what it does."""

    name: str
    kind: Kind
    of: Of
    meaning: str


TABLE = (
    Annotation(
        name=f"{OURS}include.{CHANNEL}",
        kind="patterns",
        of="any channel",
        meaning="Patterns of the only files of a channel that are brought or put: `*.pt`, `ckpt/**`, `logs/`.",
    ),
    Annotation(
        name=f"{OURS}exclude.{CHANNEL}",
        kind="patterns",
        of="any channel",
        meaning="Patterns of files of a channel that are left where they are, also of those that are included.",
    ),
    Annotation(
        name=f"{OURS}extract.{CHANNEL}",
        kind="true|false",
        of="an input",
        meaning="`true` unpacks an input that is one .tar, .tar.gz, .tar.zst or .zip while it streams.",
    ),
    Annotation(
        name=f"{OURS}dataset-missing",
        kind="share",
        of="the job",
        meaning="As `LAUNCHER_DATASET_MISSING`, for this job.",
    ),
    Annotation(
        name=f"{OURS}dataset-buckets",
        kind="buckets",
        of="the job",
        meaning="As `LAUNCHER_DATASET_BUCKETS`, for this job.",
    ),
    Annotation(name=f"{OURS}hang", kind="auto|on|off", of="the job", meaning="As `LAUNCHER_HANG`, for this job."),
    Annotation(
        name=f"{OURS}checkpoints",
        kind="patterns",
        of="the job",
        meaning="Patterns of those files of the outputs that are checkpoints [their usual names: `*.pt`, `*.ckpt` …].",
    ),
    Annotation(
        name=f"{OURS}step-pattern",
        kind="expression",
        of="the job",
        meaning="As `LAUNCHER_STEP_PATTERN`, for this job.",
    ),
    Annotation(
        name=f"{OURS}preemption-notice",
        kind="true|false",
        of="the job",
        meaning="As `LAUNCHER_PREEMPTION_NOTICE`, for this job.",
    ),
)

FORMS: dict[Kind, str] = {
    "patterns": "patterns, separated by commas",
    "true|false": "`true` or `false`",
    "share": "a share from 0 to 1",
    "buckets": "names of buckets, separated by commas",
    "auto|on|off": "`auto`, `on` or `off`",
    "expression": "a regular expression with a group",
}
"""What the text of an annotation may be, in words."""


class JobSettings(Record, frozen=True, kw_only=True):
    """What a job's annotations say. None where they say nothing and the setting of the node decides."""

    patterns: Mapping[str, Patterns] = {}
    extract: frozenset[str] = frozenset()
    dataset_missing: float | None = None
    dataset_buckets: tuple[str, ...] | None = None
    hang: Switch | None = None
    checkpoints: tuple[str, ...] = ()
    step: str | None = None
    notice: bool | None = None

    def patterns_of(self, channel: str) -> Patterns:
        """Which files of a channel count."""
        return self.patterns.get(channel, Patterns())


class _Said:
    """One annotation of a job: what it is of, and its text."""

    __slots__ = ("at", "channel", "setting")

    def __init__(self, setting: Annotation, channel: str, at: At) -> None:
        self.setting = setting
        self.channel = channel
        self.at = at


def read_annotations(
    annotations: Mapping[str, str], inputs: Collection[str], outputs: Collection[str], log: Log
) -> JobSettings:
    """What the annotations say of the channels of these names; what is wrong or strange goes to the log."""
    said = [_said(name, text, log) for name, text in annotations.items() if name.startswith(OURS)]
    known = [each for each in said if each is not None and _is_of_the_job(each, inputs, outputs)]
    lists = {(each.setting.name, each.channel): _patterns(each.at) for each in known if each.setting.kind == "patterns"}
    include, exclude, extract = (setting.name for setting in TABLE[:3])
    of_job = {each.setting.name.removeprefix(OURS): each.at for each in known if each.setting.of == "the job"}
    return JobSettings(
        patterns={
            channel: Patterns(include=lists.get((include, channel), ()), exclude=lists.get((exclude, channel), ()))
            for name, channel in lists
            if name in (include, exclude)
        },
        extract=frozenset(each.channel for each in known if each.setting.name == extract and _truth(each.at)),
        dataset_missing=_share(of_job["dataset-missing"]) if "dataset-missing" in of_job else None,
        dataset_buckets=_buckets(of_job["dataset-buckets"]) if "dataset-buckets" in of_job else None,
        hang=_switch(of_job["hang"]) if "hang" in of_job else None,
        checkpoints=lists.get((f"{OURS}checkpoints", ""), ()),
        step=_expression(of_job["step-pattern"]) if "step-pattern" in of_job else None,
        notice=_truth(of_job["preemption-notice"]) if "preemption-notice" in of_job else None,
    )


def _said(name: str, text: str, log: Log) -> _Said | None:
    """The annotation of a name; a name that is none is warned of."""
    at = At(text, f'metadata.annotations["{name}"]', log)
    for setting in TABLE:
        stem = setting.name.removesuffix(CHANNEL)
        channel = name.removeprefix(stem) if stem != setting.name and name.startswith(stem) else ""
        if channel or name == setting.name:
            return _Said(setting, channel, at)
    stem, dot, channel = name.partition(".")
    meant = nearest(stem, [setting.name.partition(".")[0] for setting in TABLE])
    per_channel = meant is not None and any(setting.name == f"{meant}.{CHANNEL}" for setting in TABLE)
    hint = f"; did you mean {meant}{f'.{channel if dot and channel else CHANNEL}' if per_channel else ''}?"
    at.warn(f"is no setting of the launcher and left alone{hint if meant else ''}")
    return None


def _is_of_the_job(said: _Said, inputs: Collection[str], outputs: Collection[str]) -> bool:
    """Whether a setting's channel is there and of the right kind."""
    if said.setting.of == "the job" or said.channel in inputs:
        return True
    if said.channel in outputs:
        if said.setting.of == "any channel":
            return True
        said.at.wrong(f"{said.channel} is an output; only an input is unpacked")
        return False
    there = [*inputs, *(outputs if said.setting.of == "any channel" else ())]
    meant = nearest(said.channel, there)
    which = "input" if said.setting.of == "an input" else "input or output"
    said.at.wrong(f"the job has no {which} {said.channel!r}" + (f"; did you mean {meant}?" if meant else ""))
    return False


def _patterns(at: At) -> tuple[str, ...]:
    if len(at.value) > LONGEST_LIST:
        at.wrong(f"expected at most {LONGEST_LIST:,} characters, found {len(at.value):,}")
        return ()
    found = names(at.value)
    if len(found) > MOST:
        at.wrong(f"expected at most {MOST} patterns, found {len(found)}")
    wrongs = [wrong for wrong in map(wrong_pattern, found) if wrong]
    for wrong in wrongs:
        at.wrong(wrong)
    return () if wrongs else found


def _truth(at: At) -> bool:
    if at.value.lower() not in ("true", "false"):
        at.expected("true or false")
    return bool(at.value.lower() == "true")


def _switch(at: At) -> Switch | None:
    found = next((each for each in SWITCH if each == at.value.lower()), None)
    if found is None:
        at.expected("auto, on or off")
    return found


def _expression(at: At) -> str | None:
    wrong = wrong_step_pattern(at.value)
    if wrong:
        at.wrong(wrong)
    return None if wrong else str(at.value)


def _share(at: At) -> float | None:
    if not _SHARE.fullmatch(at.value):
        at.expected("a share from 0 to 1, such as 0.01")
        return None
    return float(at.value)


def _buckets(at: At) -> tuple[str, ...]:
    found = names(at.value)
    for bucket in found:
        if not BUCKET.fullmatch(bucket):
            at.wrong(f"{shown(bucket)} is no bucket name (3-63 lower-case letters, digits, '-' and '.')")
    return found
