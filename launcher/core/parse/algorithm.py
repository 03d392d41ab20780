"""Algorithm bodies: what the service is asked to create, and what it answers."""

from __future__ import annotations

from launcher.core.errors import SpecError
from launcher.core.parse.channels import INPUTS, OUTPUTS
from launcher.core.parse.cursor import At, Json, Log
from launcher.core.parse.forms import Form, flag, listing, opaque, text, whole
from launcher.core.parse.parameters import DUPLICATE, NAME, NAME_MEANING, PARAMETERS
from launcher.core.parse.places import store_url
from launcher.core.parse.records import Field, record
from launcher.core.parse.search import AUTO_SEARCH
from launcher.core.spec import (
    AdvancedConfig,
    Algorithm,
    AlgorithmMetadata,
    Engine,
    JobAlgorithm,
    JobConfig,
    Requirement,
    Tag,
)
from launcher.core.urls import parse_location

BAD_CODE_DIR = "ModelArts.2757"
BAD_BOOT_FILE = "ModelArts.2758"
OUTSIDE_CODE_DIR = "ModelArts.2792"
NEEDS_COMMAND = "ModelArts.2806"
LONGEST_DESCRIPTION = 256

_MODES = {
    "flavor_type": ("CPU", "GPU", "Ascend"),
    "device_distributed_mode": ("multiple", "singular"),
    "host_distributed_mode": ("multiple", "singular"),
}


def _one_line(value: str) -> str | None:
    return "a command stands on one line; join its parts with ';' or '&&'" if "\n" in value or "\r" in value else None


def _check_requirement(at: At, made: Requirement) -> None:
    allowed = _MODES[made.key]
    for value in made.values:
        if value not in allowed:
            at.key("values").wrong(f"expected one of {', '.join(allowed)}, found {value!r}")


def check_code(at: At, made: JobConfig | JobAlgorithm) -> None:
    """Code directory and boot file go together, and the boot file is Python inside the directory."""
    if made.command and not made.boot_file:
        if not (made.engine and (made.engine.image_url or made.engine.engine_name or made.engine.engine_id)):
            at.key("engine.image_url").wrong("a command needs an image to run in", NEEDS_COMMAND)
        return
    if made.boot_file and not made.code_dir:
        at.key("code_dir").wrong("is missing; a boot file lies in a code directory", BAD_CODE_DIR)
    if made.code_dir and not made.boot_file:
        at.key("boot_file").wrong("is missing; name the Python file to start (or a command)", BAD_BOOT_FILE)
    if made.code_dir and made.boot_file:
        _check_boot_file(at.key("boot_file"), made.code_dir, made.boot_file)


def check_names(at: At, made: JobConfig | JobAlgorithm) -> None:
    """No two arguments of one name: the boot file could tell neither from the other."""
    named = [(f"inputs[{index}]", each.name) for index, each in enumerate(made.inputs)]
    named += [(f"outputs[{index}]", each.name) for index, each in enumerate(made.outputs)]
    named += [(f"parameters[{index}]", each.name) for index, each in enumerate(made.parameters)]
    seen: dict[str, str] = {}
    for path, name in named:
        if name in seen and seen[name].partition("[")[0] != path.partition("[")[0]:
            at.key(f"{path}.name").wrong(f"{name!r} is also the name of {seen[name]}; rename one of them", DUPLICATE)
        seen.setdefault(name, path)


def _check_config(at: At, made: JobConfig) -> None:
    check_code(at, made)
    check_names(at, made)


def _check_boot_file(at: At, code_dir: str, boot_file: str) -> None:
    if not boot_file.endswith((".py", ".pyc")):
        at.wrong(f"expected a .py or .pyc file, found {boot_file!r}; start anything else by command", BAD_BOOT_FILE)
    if code_below(code_dir, boot_file) is None:
        at.wrong(f"expected a file below {code_dir}, found {boot_file!r}", OUTSIDE_CODE_DIR)


def code_below(code_dir: str, boot_file: str) -> str | None:
    """The boot file's path relative to the code directory; None when it lies outside."""
    if code_dir.startswith("file://") or boot_file.startswith("file://"):
        prefix = code_dir.rstrip("/") + "/"
        return boot_file.removeprefix(prefix) if boot_file.startswith(prefix) and boot_file != prefix else None
    root, file = parse_location(code_dir).folder, parse_location(boot_file)
    inside = file.bucket == root.bucket and file.key.startswith(root.key) and not file.is_folder
    return file.key.removeprefix(root.key) if inside else None


ENGINE = record(
    Engine,
    Field("engine_id", text()),
    Field("engine_name", text()),
    Field("engine_version", text()),
    Field("image_url", text()),
    Field("install_sys_packages", flag()),
    Field("usage", text()),
    Field("support_groups", text()),
    Field("tags", listing(record(Tag, Field("key", text()), Field("value", text())))),
    Field("v1_compatible", flag()),
    Field("run_user", text()),
    Field("image_info", opaque()),
)

CODE_FIELDS = (
    Field("code_dir", store_url(BAD_CODE_DIR, local=True)),
    Field("boot_file", store_url(BAD_BOOT_FILE, local=True)),
    Field("command", text(rule=_one_line)),
    Field("parameters", PARAMETERS),
    Field("parameters_customization", flag()),
    Field("inputs", INPUTS),
    Field("outputs", OUTPUTS),
    Field("engine", ENGINE),
)

_METADATA = record(
    AlgorithmMetadata,
    Field("id", text()),
    Field("name", text(pattern=NAME, meaning=NAME_MEANING)),
    Field("description", text(most=LONGEST_DESCRIPTION)),
    Field("workspace_id", text()),
    Field("ai_project", text()),
    Field("create_time", whole()),
    Field("user_name", text()),
    Field("domain_id", text()),
    Field("source", text()),
    Field("api_version", text()),
    Field("is_valid", flag()),
    Field("state", text()),
    Field("size", whole()),
    Field("tags", opaque()),
    Field("attr_list", opaque()),
    Field("version_num", whole()),
    Field("update_time", whole()),
)

_REQUIREMENT = record(
    Requirement,
    Field("key", text(one_of=tuple(_MODES)), required="ModelArts.2807"),
    Field("values", listing(text(code="ModelArts.2809")), also=("value",)),
    Field("operator", text(one_of=("in",), code="ModelArts.2808")),
    rule=_check_requirement,
)

ALGORITHM: Form[Algorithm] = record(
    Algorithm,
    Field("metadata", _METADATA, required="ModelArts.2788", hint="it holds the algorithm's name"),
    Field(
        "job_config",
        record(JobConfig, *CODE_FIELDS, Field("code_tree", opaque()), rule=_check_config),
        required="ModelArts.2788",
        hint="it says what to run",
    ),
    Field("resource_requirements", listing(_REQUIREMENT)),
    Field("advanced_config", record(AdvancedConfig, Field("auto_search", AUTO_SEARCH))),
    Field("share_info", opaque()),
)


def parse_algorithm(document: Json, log: Log) -> Algorithm:
    """The algorithm of a plain document; warnings go to the log. Raises SpecError with every problem."""
    algorithm = ALGORITHM.read(At(document, "", log))
    if algorithm is None or log.problems:
        raise SpecError(log.problems)
    return algorithm
