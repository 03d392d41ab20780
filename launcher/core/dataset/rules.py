"""What an input's constraints demand of its data, and whether a dataset meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from launcher.core.dataset import Rules
from launcher.core.dataset.faults import WrongError, expected
from launcher.core.dataset.kinds import FREE, MEDIA, NUMBERS, SPLIT, TEXT_ENTITY, TEXT_TRIPLET, VIDEO
from launcher.core.errors import Problem
from launcher.core.keys import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.dataset.sample import Sample
    from launcher.core.spec import RemoteConstraint

OBS, DATASET = "obs", "dataset"
DEFAULT, CARBON = "Default", "CarbonData"
SEGMENTED, WHOLE, UNLIMITED = "segmented", "not segmented", "unlimited"
CODE = "ModelArts.2753"


def read_rules(
    constraints: Sequence[RemoteConstraint], path: str, *, missing: float = 0.0, buckets: tuple[str, ...] = ()
) -> tuple[Rules, tuple[Problem, ...]]:
    """Read the constraints of the input at `path`, and tell which of their values mean nothing.

    What several constraints or attributes of one name allow is allowed together.
    """
    problems: list[Problem] = []
    found: dict[str, list[str]] = {key: [] for key in ("data_type", *_READERS)}
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        if constraint.data_type:
            _add(found["data_type"], _source, constraint.data_type, f"{at}.data_type", problems)
        for number, attributes in enumerate(constraint.attributes):
            for key, value in attributes:
                where = f"{at}.attributes[{number}].{key}"
                reader = _READERS.get(key)
                if reader:
                    _add(found[key], reader, value, where, problems)
                else:
                    problems.append(Problem(path=where, message=_unknown(key), code=CODE))
    limits = set(found["data_segmentation"])
    rules = Rules(
        sources=_once(found["data_type"]),
        formats=_once(found["data_format"]),
        segmentation=limits.pop() if len(limits) == 1 and UNLIMITED not in limits else "",
        kinds=_once(found["dataset_type"]),
        missing=missing,
        buckets=buckets,
    )
    problem = _contradiction(rules, path)
    return rules, (*problems, *([problem] if problem else []))


def wrong_source(rules: Rules, *, dataset: bool) -> str | None:
    """Say why an input may not have such a place: a dataset (its manifest counts as one), or a plain folder or file."""
    wanted = DATASET if dataset else OBS
    if not rules.sources or wanted in rules.sources:
        return None
    if dataset:
        return "a dataset, but the algorithm's constraint allows a data storage path only (data_type obs)"
    return "a data storage path, but the algorithm's constraint allows a dataset only (data_type dataset)"


def check_sample(sample: Sample, rules: Rules) -> None:
    """Check a sample against what is demanded; raises `WrongError`."""
    if rules.formats:
        found = CARBON if sample.is_carbon else DEFAULT
        if found not in rules.formats:
            raise expected("source-type", f"the data_format {' or '.join(rules.formats)}", sample.source_type)
    if rules.kinds and FREE not in rules.kinds:
        _check_kind(sample, rules.kinds)
    if rules.segmentation:
        _check_usage(sample, rules.segmentation)


def wrong_split(rules: Rules, usages: Mapping[str, int]) -> str | None:
    """Say why a whole dataset, with so many samples of each usage, is not as segmented as demanded."""
    if rules.segmentation != SEGMENTED:
        return None
    if usages.get("TRAIN") and (usages.get("EVAL") or usages.get("TEST")):
        return None
    lacking = "EVAL or TEST" if usages.get("TRAIN") else "TRAIN"
    return f"a segmented dataset was demanded (data_segmentation), and no sample has the usage {lacking}"


def _check_kind(sample: Sample, wanted: tuple[str, ...]) -> None:
    kinds = sample.kinds
    if not kinds:
        media = {MEDIA[kind] for kind in wanted} | ({"image"} if VIDEO in wanted else set())
        if sample.medium not in (None, *media):
            raise WrongError("", f"expected the dataset_type {' or '.join(wanted)}, found a sample of {sample.medium}")
    elif not any(kind in wanted or (kind == TEXT_ENTITY and TEXT_TRIPLET in wanted) for kind in kinds):
        raise WrongError("annotation", f"expected the dataset_type {' or '.join(wanted)}, found {', '.join(kinds)}")


def _check_usage(sample: Sample, segmentation: str) -> None:
    if segmentation == SEGMENTED:
        if not sample.usage:
            raise expected("usage", "one, as a segmented dataset was demanded (data_segmentation)", sample.usage)
        odd = [kind for kind in sample.kinds if kind not in SPLIT]
        if odd:
            raise WrongError(
                "annotation", f"expected a kind that can be segmented ({', '.join(SPLIT)}), found {odd[0]}"
            )
    elif sample.used_for in ("EVAL", "TEST"):
        raise expected("usage", "none but TRAIN, as a dataset not segmented was demanded", sample.usage)


def _source(text: str) -> str | None:
    return {"obs": OBS, "dataset": DATASET}.get(text.lower())


def _format(text: str) -> str | None:
    return {"default": DEFAULT, "manifest": DEFAULT, "carbondata": CARBON}.get(text.lower())


def _segmentation(text: str) -> str | None:
    bare = "".join(letter for letter in text.lower() if letter.isalpha()).replace("dataset", "")
    return {
        "segmented": SEGMENTED,
        "notsegmented": WHOLE,
        "unsegmented": WHOLE,
        "nonsegmented": WHOLE,
        "unlimited": UNLIMITED,
    }.get(bare)


def _kind(text: str) -> str | None:
    numbered = {str(number): name for number, name in NUMBERS.items()}.get(text)
    if numbered:
        return numbered
    name = text.lower().removeprefix("modelarts/").replace(" ", "_").replace("-", "_")
    name = "audio_classification" if name == "sound_classification" else name
    return name if name in NUMBERS.values() else None


_READERS: Mapping[str, Callable[[str], str | None]] = {
    "data_format": _format,
    "data_segmentation": _segmentation,
    "dataset_type": _kind,
}
_MEANINGS: Mapping[Callable[[str], str | None], str] = {
    _source: "obs or dataset",
    _format: "Default or CarbonData",
    _segmentation: "segmented, not segmented or unlimited",
    _kind: f"a dataset type: {', '.join(f'{number} ({name})' for number, name in NUMBERS.items())}",
}


def _add(found: list[str], reader: Callable[[str], str | None], value: str, path: str, problems: list[Problem]) -> None:
    """Read a value: one, several in a list of JSON, or several between commas."""
    for text in _values(value):
        meant = reader(text)
        if meant is None:
            message = f"expected {_MEANINGS[reader]}, found {text[:60]!r}"
            problems.append(Problem(path=path, message=message, code=CODE))
        else:
            found.append(meant)


def _values(value: str) -> list[str]:
    try:
        listed = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
    except (ValueError, RecursionError):
        listed = [value]
    return [text for each in listed if (text := str(each).strip())]


def _once(found: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))


def _unknown(key: str) -> str:
    near = nearest(key, tuple(_READERS))
    return (
        f"unknown constraint; did you mean {near}?" if near else f"unknown constraint; known are {', '.join(_READERS)}"
    )


def _contradiction(rules: Rules, path: str) -> Problem | None:
    odd = [kind for kind in rules.kinds if kind not in SPLIT]
    if rules.segmentation == SEGMENTED and odd:
        able = ", ".join(SPLIT)
        message = f"data_segmentation: only {able} datasets can be segmented, and dataset_type allows {odd[0]}"
        return Problem(path=path, message=message, code=CODE)
    return None
