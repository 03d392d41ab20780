"""Training-job bodies: what the service is asked to create, and what it answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from launcher.core.errors import SpecError
from launcher.core.parse.algorithm import CODE_FIELDS, LONGEST_DESCRIPTION, check_code, check_names
from launcher.core.parse.cursor import At, Json, Log, shown
from launcher.core.parse.forms import Form, listing, opaque, text, whole
from launcher.core.parse.parameters import NAME, NAME_MEANING
from launcher.core.parse.places import folder
from launcher.core.parse.records import Field, record
from launcher.core.parse.resources import JOB_SPEC
from launcher.core.parse.search import AUTO_SEARCH
from launcher.core.spec import Job, JobAlgorithm, JobMetadata, Policies, RunningRecord, Status, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = (
    "job",
    "visualization_job",
    "federated_pool_job",
    "edge_job",
    "hetero_job",
    "mrs_job",
    "autosearch_job",
    "diag_job",
)
MOST_VARIABLES = 100
LONGEST_VARIABLE = 8192
LONGEST_VALUE = 4096
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
RETRIES = "fault-tolerance/job-retry-num"
ALWAYS_RETRY = "fault-tolerance/job-unconditional-retry"
HANG_RETRY = "fault-tolerance/hang-retry"
_SWITCHES = (ALWAYS_RETRY, HANG_RETRY)


def wrong_variable(name: str, value: str) -> str | None:
    """What is wrong with a variable of the job, or None."""
    if not re.fullmatch(VARIABLE, name) or len(name) > LONGEST_VARIABLE:
        return f"expected a variable name (letters, digits and '_', no digit first), found {name!r}"
    if len(value) > LONGEST_VALUE:
        return f"expected at most {LONGEST_VALUE} characters, found {len(value)}"
    if "$" in value:
        return "a value is not expanded and may hold no '$'; write it out"
    return None


def _texts(at: At) -> dict[str, str]:
    """An object of texts."""
    form = text()
    pairs = ((key, form.read(at.key(key))) for key in at.value)
    return {key: read for key, read in pairs if read is not None}


def _environments() -> Form[Mapping[str, str]]:
    """A map; or a list of maps, as the service's response table has it."""

    def read(at: At) -> Mapping[str, str] | None:
        maps = [at.item(index) for index in range(len(at.value))] if isinstance(at.value, list) else [at]
        made: dict[str, str] = {}
        for each in maps:
            if not isinstance(each.value, dict):
                each.expected("an object of variable names and texts")
                return None
            made |= _texts(each)
        if len(made) > MOST_VARIABLES:
            at.wrong(f"expected at most {MOST_VARIABLES} variables, found {len(made)}")
        for name, value in made.items():
            wrong = wrong_variable(name, value)
            if wrong:
                at.key(name).wrong(wrong)
        return made

    return Form(read, dict, {"type": ["object", "array"]})


def _annotations() -> Form[Mapping[str, str]]:
    def read(at: At) -> Mapping[str, str] | None:
        if not isinstance(at.value, dict):
            at.expected("an object of names and texts")
            return None
        made = _texts(at)
        if not re.fullmatch(r"[0-3]?", made.get(RETRIES, "")):
            at.key(RETRIES).wrong(f"expected 0 to 3 retries, found {made[RETRIES]!r}")
        for name in _SWITCHES:
            if made.get(name, "true").lower() not in ("true", "false"):
                at.key(name).wrong(f"expected true or false, found {made[name]!r}")
        return made

    return Form(read, dict, {"type": "object"})


def _check_algorithm(at: At, made: JobAlgorithm) -> None:
    if not made.id or (made.code_dir and made.boot_file):
        check_code(at, made)  # what the id names is checked once both are laid together
    check_names(at, made)
    named = made.id or made.name or (made.subscription_id and made.item_version_id)
    if not (named or made.code_dir or made.boot_file or made.command):
        at.wrong("says nothing to run; give id, or code_dir and boot_file, or command and engine.image_url")
    if bool(made.subscription_id) != bool(made.item_version_id):
        at.wrong("subscription_id and item_version_id go together; give both")


def _check_job(at: At, made: Job) -> None:
    if made.algorithm is None:
        at.key("algorithm").wrong("is missing; it says what to run")
    if made.tasks not in (None, "[]"):
        at.key("tasks").warn("are left alone: the service does not run them either; spec.resource decides")


_ALGORITHM = record(
    JobAlgorithm,
    Field("id", text()),
    Field("name", text()),
    Field("subscription_id", text()),
    Field("item_version_id", text()),
    *CODE_FIELDS,
    Field("local_code_dir", folder("ModelArts.2802", below="/home/")),
    Field("working_dir", folder("ModelArts.2788", system=False)),
    Field("autosearch_config_path", text()),
    Field("autosearch_framework_path", text()),
    Field("policies", record(Policies, Field("auto_search", AUTO_SEARCH))),
    Field("environments", _environments()),
    Field("summary", opaque()),
    rule=_check_algorithm,
)

_STATUS = record(
    Status,
    Field("phase", text()),
    Field("secondary_phase", text()),
    Field("duration", whole()),
    Field("start_time", whole()),
    Field("node_count_metrics", opaque()),
    Field("tasks", listing(text())),
    Field(
        "task_statuses",
        listing(record(TaskStatus, Field("task", text()), Field("exit_code", whole()), Field("message", text()))),
    ),
    Field(
        "running_records",
        listing(
            record(
                RunningRecord,
                Field("start_at", whole()),
                Field("end_at", whole()),
                Field("start_type", text()),
                Field("end_reason", text()),
                Field("end_related_task", text()),
                Field("end_recover", text()),
                Field("end_recover_before_downgrade", text()),
            )
        ),
    ),
)

JOB: Form[Job] = record(
    Job,
    Field("kind", text(one_of=KINDS), required="ModelArts.2788", hint='write "kind": "job"'),
    Field(
        "metadata",
        record(
            JobMetadata,
            Field(
                "id",
                text(pattern=r"[A-Za-z0-9._-]{1,128}", meaning="an id of letters, digits, '.', '_' and '-'"),
            ),
            Field("name", text(pattern=NAME, meaning=NAME_MEANING), required="ModelArts.2788", hint="name the job"),
            Field("workspace_id", text()),
            Field("ai_project", text()),
            Field("description", text(most=LONGEST_DESCRIPTION)),
            Field("create_time", whole()),
            Field("user_name", text()),
            Field("annotations", _annotations()),
        ),
        required="ModelArts.2788",
        hint="it holds at least the job's name",
    ),
    Field("algorithm", _ALGORITHM),
    Field("spec", JOB_SPEC),
    Field("status", _STATUS),
    Field("tasks", opaque()),
    Field("endpoints", opaque()),
    Field("train_type", text()),
    Field("ftjob_config", opaque()),
    rule=_check_job,
)


def parse_job(document: Json, log: Log) -> Job:
    """The job of a plain document; warnings go to the log. Raises SpecError with every problem."""
    job = JOB.read(At(document, "", log))
    if job is None or log.problems:
        raise SpecError(log.problems)
    return job


def job_document(job: Job) -> dict[str, Any]:
    """The document of a completed job, of which `parse_job` makes the same job again.

    How an earlier run went is left out. A dataset whose place is known has `obs` beside it in a completed job, and
    only one of them in a document.
    """
    document: dict[str, Any] = JOB.dump(replace(job, status=None))
    for channel in (document.get("algorithm") or {}).get("inputs", ()):
        remote = channel.get("remote") or {}
        if "dataset" in remote and "obs" in remote:
            remote["dataset"] = {**remote["dataset"], "obs_url": remote.pop("obs")["obs_url"]}
    return document


def kind_of(document: Json) -> str:
    """Whether a document is a job or an algorithm, by its own keys; text for a message when it is neither."""
    if not isinstance(document, dict):
        return f"expected a job or an algorithm, found {shown(document)}"
    if "job_config" in document:
        return "algorithm"
    if document.keys() & {"algorithm", "spec", "kind"}:
        return "job"
    return "expected a job (kind, metadata, algorithm, spec) or an algorithm (metadata, job_config)"
