"""What a job asks of the platform: flavor, volumes, log place, limits of time and queueing, as the user wrote them."""

from __future__ import annotations

from typing import Literal

from launcher.core.frozen import Opaque, Record
from launcher.core.layout import Layout


class FlavorSize(Record, frozen=True, kw_only=True):
    """Memory or disk of a flavor."""

    size: int | None = None
    unit: str | None = None


class FlavorCpu(Record, frozen=True, kw_only=True):
    """The processor of a flavor."""

    arch: str | None = None
    core_num: int | None = None


class FlavorCards(Record, frozen=True, kw_only=True):
    """The accelerators of a flavor."""

    unit_num: int | None = None
    product_name: str | None = None
    memory: str | None = None


class FlavorInfo(Record, frozen=True, kw_only=True):
    """What a flavor has."""

    max_num: int | None = None
    cpu: FlavorCpu | None = None
    gpu: FlavorCards | None = None
    npu: FlavorCards | None = None
    memory: FlavorSize | None = None
    disk: FlavorSize | None = None


class FlavorDetail(Record, frozen=True, kw_only=True):
    """A flavor as the service describes it."""

    flavor_type: str | None = None
    billing: Opaque | None = None
    attributes: Opaque | None = None
    flavor_info: FlavorInfo | None = None


class Resource(Record, frozen=True, kw_only=True):
    """What the job runs on."""

    flavor_id: str | None = None
    flavor_name: str | None = None
    node_count: int | None = None
    pool_id: str | None = None
    policy: str | None = None
    flavor_detail: FlavorDetail | None = None
    main_container_customized_flavor: Opaque | None = None


class NfsVolume(Record, frozen=True, kw_only=True):
    """A shared file system."""

    nfs_server_path: str
    local_path: str
    read_only: bool | None = None


class PfsVolume(Record, frozen=True, kw_only=True):
    """A parallel file system."""

    pfs_path: str
    local_path: str


class ObsVolume(Record, frozen=True, kw_only=True):
    """A mounted bucket."""

    obs_path: str
    local_path: str


class Volume(Record, frozen=True, kw_only=True):
    """One mount; the platform makes it."""

    nfs: NfsVolume | None = None
    pfs: PfsVolume | None = None
    obs: ObsVolume | None = None

    @property
    def path(self) -> str:
        """Where it lies in the container; each has one of its three forms."""
        return Layout().at(next(each.local_path for each in (self.nfs, self.pfs, self.obs) if each))


class LogExportPath(Record, frozen=True, kw_only=True):
    """Where logs go; an empty URL is nowhere."""

    obs_url: str | None = None
    host_path: str | None = None


class AutoStop(Record, frozen=True, kw_only=True):
    """The longest that a job may run."""

    time_unit: Literal["HOURS"] = "HOURS"
    duration: int


class Affinity(Record, frozen=True, kw_only=True):
    """How close nodes must lie."""

    affinity_type: str | None = None
    affinity_group_size: int | None = None


class SchedulePolicy(Record, frozen=True, kw_only=True):
    """How the service queues the job."""

    priority: int | None = None
    preemptible: bool | None = None
    required_affinity: Affinity | None = None


class Notification(Record, frozen=True, kw_only=True):
    """Who is told what."""

    topic_urn: str | None = None
    events: tuple[str, ...] = ()


class JobSpec(Record, frozen=True, kw_only=True):
    """The job's resources and where its logs go."""

    resource: Resource | None = None
    volumes: tuple[Volume, ...] = ()
    log_export_path: LogExportPath | None = None
    is_hosted_log: bool | None = None
    auto_stop: AutoStop | None = None
    schedule_policy: SchedulePolicy | None = None
    notification: Notification | None = None
    runtime_type: str | None = None
    log_export_config: Opaque | None = None
    custom_metrics: Opaque | None = None
    output_model: Opaque | None = None
    asset_model: Opaque | None = None
    asset_id: str | None = None
