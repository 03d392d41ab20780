"""Input and output channels: names, places, local folders, and how the boot file learns of them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from launcher.core.parse.forms import Form, flag, listing, text, unique_names, whole
from launcher.core.parse.parameters import DUPLICATE, NAME, NAME_MEANING
from launcher.core.parse.places import BAD_CHANNEL, folder, store_url
from launcher.core.parse.records import Field, record
from launcher.core.spec import (
    DatasetPlace,
    InputChannel,
    InputRemote,
    ObsPlace,
    OutputChannel,
    OutputRemote,
    Pairs,
    RemoteConstraint,
)

if TYPE_CHECKING:
    from launcher.core.parse.cursor import At, Json

_STEERING = (
    r"PATH|HOME|SHELL|USER|LOGNAME|IFS|ENV|BASH.*|SHELLOPTS|CDPATH|PS4|PROMPT_COMMAND|TMPDIR|LANG|TZ|HOSTALIASES"
    r"|GCONV_PATH|LOCPATH|NLSPATH|NODE_OPTIONS|JAVA_TOOL_OPTIONS|WORKSPACE|PYTHON.*"
    r"|(LC|LD|MALLOC|GLIBC|PERL5|RUBY|GIT|MA|VC|LAUNCHER|AWS|S3|CUDA|ASCEND|NVIDIA|NCCL|HCCL|PIP|SSL)_.*"
    r"|(?i:https?|all|no)_(?i:proxy)"
)
"""Variables that steer programs: a channel of such a name would change what runs, not where its data lies."""


def steers_programs(name: str) -> bool:
    """Whether a variable of this name changes how programs run."""
    return bool(re.fullmatch(_STEERING, name))


def _check_access(at: At, made: InputChannel | OutputChannel) -> None:
    if made.access_method == "env" and steers_programs(made.name):
        at.key("name").wrong(
            f"as a variable {made.name!r} would steer programs; rename the channel or use access_method parameter",
            BAD_CHANNEL,
        )


def _check_input(at: At, made: InputChannel) -> None:
    _check_access(at, made)
    if made.remote and made.remote.obs and made.remote.dataset:
        at.key("remote").wrong("names both obs and dataset; keep one", BAD_CHANNEL)


def _attributes() -> Form[tuple[Pairs, ...]]:
    """A list of maps; one map, or text, as some pages of the service have it."""

    def read(at: At) -> tuple[Pairs, ...] | None:
        value = at.value
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = None
        maps = [value] if isinstance(value, dict) else value
        if not isinstance(maps, list) or not all(isinstance(each, dict) for each in maps):
            at.expected("a list of objects with text values", BAD_CHANNEL)
            return None
        return tuple(tuple((key, _text(item)) for key, item in each.items()) for each in maps)

    def dump(maps: tuple[Pairs, ...]) -> Json:
        return [dict(each) for each in maps]

    return Form(read, dump, {"type": ["array", "object", "string"]})


def _text(value: Json) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_NAME = Field("name", text(pattern=NAME, meaning=NAME_MEANING, code=BAD_CHANNEL), required=BAD_CHANNEL)
_ACCESS = Field("access_method", text(one_of=("parameter", "env"), code=BAD_CHANNEL))
_DESCRIPTION = Field("description", text(most=256, code=BAD_CHANNEL))
_LOCAL_DIR = Field("local_dir", folder())
_OBS = Field("obs", record(ObsPlace, Field("obs_url", store_url(), required="ModelArts.2791")))
_DATASET = record(
    DatasetPlace,
    Field("id", text()),
    Field("version_id", text()),
    Field("obs_url", store_url(empty=True)),
    Field("name", text()),
    Field("service_type", text()),
    Field("dataset_proportion", text()),
)
_CONSTRAINT = record(RemoteConstraint, Field("data_type", text()), Field("attributes", _attributes()))

INPUTS = listing(
    record(
        InputChannel,
        _NAME,
        _DESCRIPTION,
        _ACCESS,
        _LOCAL_DIR,
        Field("remote", record(InputRemote, _OBS, Field("dataset", _DATASET))),
        Field("remote_constraints", listing(_CONSTRAINT), also=("remote_constraint",)),
        rule=_check_input,
    ),
    rule=unique_names(DUPLICATE, "input"),
)

OUTPUTS = listing(
    record(
        OutputChannel,
        _NAME,
        _DESCRIPTION,
        _ACCESS,
        _LOCAL_DIR,
        Field("prefetch_to_local", flag()),
        Field("remote", record(OutputRemote, _OBS)),
        Field("mode", text()),
        Field("period", whole(least=1, most=86400, unit="s", code=BAD_CHANNEL)),
        rule=_check_access,
    ),
    rule=unique_names(DUPLICATE, "output"),
)
