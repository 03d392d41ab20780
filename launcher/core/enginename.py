"""What the name of a preset engine says of itself: framework, Python, CUDA or CANN, architecture; a name, never a fact.

The service's list has names of several ages: `pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64`,
`horovod_0.20.0-tensorflow_2.1.0-cuda_10.1-…`, `TF-1.13.1-python3.6-v2`, `pytorch-cp36-1.3.0`. Any other says nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launcher.core.frozen import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

FRAMEWORKS: Mapping[str, tuple[str, ...]] = {
    "pytorch": ("torch", "torch-npu"),
    "tensorflow": ("tensorflow", "tensorflow-gpu", "tensorflow-cpu", "tensorflow-ascend"),
    "tf": ("tensorflow", "tensorflow-gpu", "tensorflow-cpu", "tensorflow-ascend"),
    "mindspore": ("mindspore", "mindspore-ascend", "mindspore-gpu"),
    "horovod": ("horovod",),
    "mxnet": ("mxnet", "mxnet-cu101", "mxnet-cu100"),
    "ray": ("ray",),
    "xgboost": ("xgboost",),
    "sklearn": ("scikit-learn",),
    "scikit_learn": ("scikit-learn",),
    "mpi": (),
}
"""The frameworks of the service's list, by the names that it has for them, and the packages that bring each."""

_SAME = {"tf": "tensorflow", "scikit_learn": "sklearn"}
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "x86": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_VERSION = r"[0-9][0-9a-z.+]{0,31}"
_TOKEN = re.compile(rf"(py|python|cuda|cann)_?({_VERSION})")
_TAG = re.compile(r"cp([0-9])([0-9]{1,2})m?")
_NUMBERS = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,5}")
LONGEST = 256
"""Characters of an engine's name that is looked at; the list's longest has 60."""


class EngineName(Record, frozen=True, kw_only=True):
    """What an engine's name says. `also` is a framework that the first one drives, with its version."""

    framework: str | None = None
    version: str | None = None
    also: tuple[str, str | None] | None = None
    python: str | None = None
    cuda: str | None = None
    cann: str | None = None
    architecture: str | None = None

    @property
    def frameworks(self) -> tuple[tuple[str, str | None], ...]:
        """Every framework that is named, with its version."""
        first = ((self.framework, self.version),) if self.framework else ()
        return (*first, self.also) if self.also else first


def engine_name(text: str | None) -> EngineName:
    """Read an engine's name or version; one that is not of the list's form says nothing."""
    if not text or len(text) > LONGEST:
        return EngineName()
    found: dict[str, str] = {}
    frameworks: list[tuple[str, str | None]] = []
    for token in text.lower().split("-"):
        _read(token, found, frameworks)
    if not frameworks:
        return EngineName()
    (framework, version), *rest = frameworks
    return EngineName(
        framework=framework,
        version=version,
        also=rest[0] if rest else None,
        python=found.get("py"),
        cuda=found.get("cuda"),
        cann=found.get("cann"),
        architecture=found.get("architecture"),
    )


def agrees(wanted: str, found: str) -> bool:
    """Whether a version is the wanted one, as far as that one tells: `3.7.10` agrees with `3.7`, `1.8.0+cu1` with 1.8.

    What has no number agrees with anything: nothing can be said of it.
    """
    want, have = _compared(wanted, found)
    return want == have


def is_older(found: str, wanted: str) -> bool:
    """Whether a version comes before the wanted one, as far as that one tells."""
    want, have = _compared(wanted, found)
    return have < want


def _compared(wanted: str, found: str) -> tuple[list[int], list[int]]:
    """The numbers of two versions, as many of each as the wanted one has; none where one of them has none."""
    want, have = _NUMBERS.search(wanted), _NUMBERS.search(found)
    if want is None or have is None:
        return [], []
    numbers, others = ([int(part) for part in each[0].split(".")] for each in (want, have))
    others += [0] * (len(numbers) - len(others))
    return numbers, others[: len(numbers)]


def _read(token: str, found: dict[str, str], frameworks: list[tuple[str, str | None]]) -> None:
    """Take in one part of a name; a part that says nothing known (`ubuntu_18.04`, `v2`) is passed over."""
    if token in _ARCHITECTURES:
        found.setdefault("architecture", _ARCHITECTURES[token])
    elif (told := _TOKEN.fullmatch(token)) is not None:
        found.setdefault("py" if told[1] == "python" else told[1], told[2])
    elif (tag := _TAG.fullmatch(token)) is not None:
        found.setdefault("py", f"{tag[1]}.{tag[2]}")
    elif re.fullmatch(_VERSION, token):
        if frameworks and frameworks[-1][1] is None:
            frameworks[-1] = (frameworks[-1][0], token)
    else:
        _read_framework(token, frameworks)


def _read_framework(token: str, frameworks: list[tuple[str, str | None]]) -> None:
    name, version = token, None
    if name not in FRAMEWORKS:
        name, _, after = token.rpartition("_")
        version = after if re.fullmatch(_VERSION, after) else None
    if name in FRAMEWORKS and (version or name == token):
        frameworks.append((_SAME.get(name, name), version))
