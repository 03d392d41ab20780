"""What a job asks of the platform: flavor, volumes, log place, time limit, queueing, notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.parse.cursor import shown
from launcher.core.parse.forms import flag, listing, opaque, text, whole
from launcher.core.parse.places import BAD_URL, folder, store_url
from launcher.core.parse.records import Field, record
from launcher.core.resources import (
    Affinity,
    AutoStop,
    FlavorCards,
    FlavorCpu,
    FlavorDetail,
    FlavorInfo,
    FlavorSize,
    JobSpec,
    LogExportPath,
    NfsVolume,
    Notification,
    ObsVolume,
    PfsVolume,
    Resource,
    SchedulePolicy,
    Volume,
)

if TYPE_CHECKING:
    from launcher.core.parse.cursor import At

MOST_VOLUMES = 8
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
"""A vendor's GB is taken for the smaller of its two meanings: what a kernel keeps for itself is no shortfall."""
_UNIT_NAMES = ("KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB")
_KEPT = ("/cache", "/home/ma-user/modelarts")
_NOTICES = ("JobStarted", "JobCompleted", "JobFailed", "JobTerminated", "JobRestarted", "JobHanged", "JobPreempted")


def _check_volumes(at: At, items: tuple[Volume | None, ...]) -> None:
    if len(items) > MOST_VOLUMES:
        at.wrong(f"expected at most {MOST_VOLUMES} volumes, found {len(items)}")
    seen: dict[str, int] = {}
    for index, volume in enumerate(items):
        mounts = [each for each in (volume.nfs, volume.pfs, volume.obs) if each] if volume else []
        if volume and sum(at.item(index).value.get(kind) is not None for kind in ("nfs", "pfs", "obs")) != 1:
            at.item(index).wrong("expected one of nfs, pfs and obs")
        if volume and mounts:
            path = volume.path
            if path in _KEPT:
                at.item(index).wrong(f"nothing can be mounted at {path}; choose another local_path")
            if path in seen:
                at.item(index).wrong(f"{path} is mounted already by [{seen[path]}]; choose another local_path")
            seen.setdefault(path, index)


def _check_memory(at: At, memory: FlavorSize) -> None:
    if memory.size is None or (memory.unit or "").upper() in UNITS:
        return
    known = f"{', '.join(_UNIT_NAMES[:-1])} and {_UNIT_NAMES[-1]}"
    wrong = "is missing" if memory.unit is None else f"{shown(memory.unit)} is none of {known}"
    at.key("unit").warn(f"{wrong}; the flavor's memory counts as not told, until a unit such as GB stands there")


_SIZE_FIELDS = (Field("size", whole(least=0)), Field("unit", text()))
_CARDS = record(FlavorCards, Field("unit_num", whole(least=0)), Field("product_name", text()), Field("memory", text()))
_FLAVOR = record(
    FlavorDetail,
    Field("flavor_type", text(one_of=("CPU", "GPU", "Ascend"))),
    Field("billing", opaque()),
    Field("attributes", opaque()),
    Field(
        "flavor_info",
        record(
            FlavorInfo,
            Field("max_num", whole()),
            Field("cpu", record(FlavorCpu, Field("arch", text()), Field("core_num", whole(least=0)))),
            Field("gpu", _CARDS),
            Field("npu", _CARDS),
            Field("memory", record(FlavorSize, *_SIZE_FIELDS, rule=_check_memory)),
            Field("disk", record(FlavorSize, *_SIZE_FIELDS)),
        ),
    ),
)
_RESOURCE = record(
    Resource,
    Field("flavor_id", text()),
    Field("flavor_name", text()),
    Field("node_count", whole(least=1, most=100_000, code="ModelArts.2793")),
    Field("pool_id", text()),
    Field("policy", text()),
    Field("flavor_detail", _FLAVOR),
    Field("main_container_customized_flavor", opaque()),
)
_LOCAL_PATH = Field("local_path", folder("ModelArts.2788", system=False), required="ModelArts.2788")
_VOLUME = record(
    Volume,
    Field(
        "nfs",
        record(
            NfsVolume,
            Field("nfs_server_path", text(), required="ModelArts.2788"),
            _LOCAL_PATH,
            Field("read_only", flag()),
        ),
    ),
    Field("pfs", record(PfsVolume, Field("pfs_path", text(), required="ModelArts.2788"), _LOCAL_PATH)),
    Field("obs", record(ObsVolume, Field("obs_path", text(), required="ModelArts.2788"), _LOCAL_PATH)),
)
_SCHEDULE = record(
    SchedulePolicy,
    Field("priority", whole(least=1, most=3)),
    Field("preemptible", flag()),
    Field(
        "required_affinity",
        record(
            Affinity,
            Field("affinity_type", text(one_of=("cabinet", "hyperinstance"))),
            Field("affinity_group_size", whole(least=1)),
        ),
    ),
)

JOB_SPEC = record(
    JobSpec,
    Field("resource", _RESOURCE),
    Field("volumes", listing(_VOLUME, rule=_check_volumes)),
    Field(
        "log_export_path",
        record(LogExportPath, Field("obs_url", store_url(BAD_URL, empty=True)), Field("host_path", text())),
    ),
    Field("is_hosted_log", flag()),
    Field(
        "auto_stop",
        record(
            AutoStop,
            Field("time_unit", text(one_of=("HOURS",))),
            Field("duration", whole(least=1, most=8760), required="ModelArts.2788"),
        ),
    ),
    Field("schedule_policy", _SCHEDULE),
    Field(
        "notification",
        record(Notification, Field("topic_urn", text()), Field("events", listing(text(one_of=_NOTICES)))),
    ),
    Field("runtime_type", text()),
    Field("log_export_config", opaque()),
    Field("custom_metrics", opaque()),
    Field("output_model", opaque()),
    Field("asset_model", opaque()),
    Field("asset_id", text()),
)
