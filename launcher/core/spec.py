"""The documents as the user wrote them: algorithm and training-job bodies, requests and responses, as frozen types.

Field names are the service's own; `None` or an empty tuple means that the document does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, UnsetType

from launcher.core.frozen import Opaque, Record
from launcher.core.resources import JobSpec
from launcher.core.searchspace import AutoSearch

AccessMethod = Literal["parameter", "env"]
ParameterType = Literal["String", "Integer", "Float", "Boolean"]
ValidType = Literal["None", "Choice", "Range"]
Pairs = tuple[tuple[str, str], ...]


class I18nDescription(Record, frozen=True, kw_only=True):
    """A description in one more language."""

    language: str | None = None
    description: str | None = None


class Constraint(Record, frozen=True, kw_only=True):
    """What a hyperparameter may be. A Range's `valid_range` is low and high, inclusive; empty text is an open end."""

    type: ParameterType = "String"
    editable: bool = True
    required: bool = False
    sensitive: bool = False
    valid_type: ValidType = "None"
    valid_range: tuple[str, ...] = ()


class Hyperparameter(Record, frozen=True, kw_only=True):
    """One `--name=value`. An unset value leaves the algorithm's; None (null in the job) deletes the parameter."""

    name: str
    value: str | UnsetType | None = UNSET
    description: str | None = None
    constraint: Constraint | None = None
    i18n_description: tuple[I18nDescription, ...] = ()


class RemoteConstraint(Record, frozen=True, kw_only=True):
    """What an input's data must be, where it is a dataset."""

    data_type: str | None = None
    attributes: tuple[Pairs, ...] = ()


class ObsPlace(Record, frozen=True, kw_only=True):
    """A place in the object store."""

    obs_url: str


class DatasetPlace(Record, frozen=True, kw_only=True):
    """A dataset version; only the service, its `obs_url`, or `--dataset` knows where it lies."""

    id: str | None = None
    version_id: str | None = None
    obs_url: str | None = None
    name: str | None = None
    service_type: str | None = None
    dataset_proportion: str | None = None


class InputRemote(Record, frozen=True, kw_only=True):
    """Where an input comes from: one of the two."""

    obs: ObsPlace | None = None
    dataset: DatasetPlace | None = None


class OutputRemote(Record, frozen=True, kw_only=True):
    """Where an output goes."""

    obs: ObsPlace | None = None


class Channel(Record, frozen=True, kw_only=True):
    """What inputs and outputs share: the name is an argument of the boot file, or a variable."""

    name: str
    description: str | None = None
    access_method: AccessMethod | None = None
    local_dir: str | None = None


class InputChannel(Channel, frozen=True, kw_only=True):
    """One input and its place."""

    remote: InputRemote | None = None
    remote_constraints: tuple[RemoteConstraint, ...] = ()


class OutputChannel(Channel, frozen=True, kw_only=True):
    """One output; `prefetch_to_local` is the console's Predownload, `period` is in seconds."""

    prefetch_to_local: bool | None = None
    remote: OutputRemote | None = None
    mode: str | None = None
    period: int | None = None


class Tag(Record, frozen=True, kw_only=True):
    """A mark that the service puts on an engine, such as auto_search."""

    key: str | None = None
    value: str | None = None


class Engine(Record, frozen=True, kw_only=True):
    """A preset engine by id or by name and version, or an image of the user's own."""

    engine_id: str | None = None
    engine_name: str | None = None
    engine_version: str | None = None
    image_url: str | None = None
    install_sys_packages: bool | None = None
    usage: str | None = None
    support_groups: str | None = None
    tags: tuple[Tag, ...] = ()
    v1_compatible: bool | None = None
    run_user: str | None = None
    image_info: Opaque | None = None


class Policies(Record, frozen=True, kw_only=True):
    """The job's policies."""

    auto_search: AutoSearch | None = None


class Requirement(Record, frozen=True, kw_only=True):
    """A training constraint of an algorithm: device kind, multi-card, distributed."""

    key: Literal["flavor_type", "device_distributed_mode", "host_distributed_mode"]
    values: tuple[str, ...] = ()
    operator: str | None = None


class AlgorithmMetadata(Record, frozen=True, kw_only=True):
    """Who the algorithm is."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    workspace_id: str | None = None
    ai_project: str | None = None
    create_time: int | None = None
    user_name: str | None = None
    domain_id: str | None = None
    source: str | None = None
    api_version: str | None = None
    is_valid: bool | None = None
    state: str | None = None
    size: int | None = None
    tags: Opaque | None = None
    attr_list: Opaque | None = None
    version_num: int | None = None
    update_time: int | None = None


class JobConfig(Record, frozen=True, kw_only=True):
    """What an algorithm runs, and with what by default."""

    code_dir: str | None = None
    boot_file: str | None = None
    command: str | None = None
    parameters: tuple[Hyperparameter, ...] = ()
    parameters_customization: bool | None = None
    inputs: tuple[InputChannel, ...] = ()
    outputs: tuple[OutputChannel, ...] = ()
    engine: Engine | None = None
    code_tree: Opaque | None = None


class AdvancedConfig(Record, frozen=True, kw_only=True):
    """An algorithm's search policy."""

    auto_search: AutoSearch | None = None


class Algorithm(Record, frozen=True, kw_only=True):
    """An algorithm body."""

    metadata: AlgorithmMetadata
    job_config: JobConfig
    resource_requirements: tuple[Requirement, ...] = ()
    advanced_config: AdvancedConfig | None = None
    share_info: Opaque | None = None


class JobMetadata(Record, frozen=True, kw_only=True):
    """Who the job is."""

    id: str | None = None
    name: str
    workspace_id: str | None = None
    ai_project: str | None = None
    description: str | None = None
    create_time: int | None = None
    user_name: str | None = None
    annotations: Mapping[str, str] | None = None


class TaskStatus(Record, frozen=True, kw_only=True):
    """How one task of a job ended."""

    task: str | None = None
    exit_code: int | None = None
    message: str | None = None


class RunningRecord(Record, frozen=True, kw_only=True):
    """One start and end of a job, as the service recorded it; times in seconds."""

    start_at: int | None = None
    end_at: int | None = None
    start_type: str | None = None
    end_reason: str | None = None
    end_related_task: str | None = None
    end_recover: str | None = None
    end_recover_before_downgrade: str | None = None


class Status(Record, frozen=True, kw_only=True):
    """What the service says of a job."""

    phase: str | None = None
    secondary_phase: str | None = None
    duration: int | None = None
    start_time: int | None = None
    node_count_metrics: Opaque | None = None
    tasks: tuple[str, ...] = ()
    task_statuses: tuple[TaskStatus, ...] = ()
    running_records: tuple[RunningRecord, ...] = ()


class JobAlgorithm(Record, frozen=True, kw_only=True):
    """The algorithm of a job: by id, by subscription, or written out; what is written lies over what the id names."""

    id: str | None = None
    name: str | None = None
    subscription_id: str | None = None
    item_version_id: str | None = None
    code_dir: str | None = None
    boot_file: str | None = None
    command: str | None = None
    local_code_dir: str | None = None
    working_dir: str | None = None
    autosearch_config_path: str | None = None
    autosearch_framework_path: str | None = None
    parameters: tuple[Hyperparameter, ...] = ()
    parameters_customization: bool | None = None
    policies: Policies | None = None
    inputs: tuple[InputChannel, ...] = ()
    outputs: tuple[OutputChannel, ...] = ()
    engine: Engine | None = None
    environments: Mapping[str, str] | None = None
    summary: Opaque | None = None


class Job(Record, frozen=True, kw_only=True):
    """A training-job body."""

    kind: str
    metadata: JobMetadata
    algorithm: JobAlgorithm | None = None
    spec: JobSpec | None = None
    status: Status | None = None
    tasks: Opaque | None = None
    endpoints: Opaque | None = None
    train_type: str | None = None
    ftjob_config: Opaque | None = None
