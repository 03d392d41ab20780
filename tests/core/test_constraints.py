"""What an algorithm and a flavor ask for against what a node has: every pair of sides, and the words for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from test_planning import whole

from launcher.core.constraints import flavor_cards, flavor_detail, here, precheck_wanted, shortfalls, unmet
from launcher.core.devices import Device, Devices
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import parse_job
from launcher.core.parse.text import read_document
from launcher.core.spec import Requirement

if TYPE_CHECKING:
    from launcher.core.devices import Kind
    from launcher.core.spec import Job

GIB = 1024**3
FIXTURE = Path(__file__).parent.parent / "data" / "modelarts" / "pytorch.create-job.response.json"


def node(kind: Kind = "CPU", count: int | None = 0, **more: Any) -> Devices:
    given: dict[str, Any] = {"cpus": 2.0, "memory_bytes": 4 * GIB, "limits_from": "cgroup v2", **more}
    return Devices(type=kind, count=count, **given)


def asks(key: Literal["flavor_type", "device_distributed_mode", "host_distributed_mode"], *values: str) -> Requirement:
    return Requirement(key=key, values=values, operator="in")


def flavored(**detail: Any) -> Job:
    return whole(spec={"resource": {"flavor_id": "f", "flavor_detail": detail}})


GPUS, NPUS, CPU = node("GPU", 8), node("Ascend", 8), node()


@pytest.mark.parametrize(
    ("values", "devices", "met"),
    [
        (("CPU",), CPU, True),
        (("GPU",), CPU, False),
        (("GPU",), GPUS, True),
        (("Ascend",), GPUS, False),
        (("CPU",), GPUS, False),
        (("CPU", "Ascend"), NPUS, True),
        ((), CPU, True),
        (("GPU",), node("GPU", None), False),
    ],
)
def test_the_kind_of_device_is_one_of_those_asked_for(values: tuple[str, ...], devices: Devices, met: bool) -> None:  # noqa: FBT001
    assert (unmet([asks("flavor_type", *values)], whole(), devices, 1) == ()) is met


@pytest.mark.parametrize(
    ("values", "count", "met"),
    [
        (("multiple",), 2, True),
        (("multiple",), 1, False),
        (("multiple",), 0, False),
        (("singular",), 1, True),
        (("singular",), 0, True),
        (("singular",), 2, False),
        (("multiple", "singular"), 2, True),
        (("singular", "multiple"), None, True),
        (("singular",), None, False),
        (("multiple",), None, False),
    ],
)
def test_one_device_or_several_as_the_algorithm_can_use_them(
    values: tuple[str, ...],
    count: int | None,
    met: bool,  # noqa: FBT001
) -> None:
    devices = node("CPU" if count == 0 else "GPU", count)
    assert (unmet([asks("device_distributed_mode", *values)], whole(), devices, 1) == ()) is met


def test_one_node_or_several_as_the_algorithm_can_use_them() -> None:
    assert unmet([asks("host_distributed_mode", "singular")], whole(), CPU, 1) == ()
    assert unmet([asks("host_distributed_mode", "multiple")], whole(), CPU, 4) == ()
    assert unmet([asks("host_distributed_mode", "singular", "multiple")], whole(), CPU, 4) == ()
    assert unmet([asks("host_distributed_mode", "singular")], whole(), CPU, 4) == (
        "the algorithm asks for host_distributed_mode singular; the job runs on 4 nodes (ModelArts.2763)",
    )
    assert "runs on 1 node (" in unmet([asks("host_distributed_mode", "multiple")], whole(), CPU, 1)[0]


def test_both_sides_are_named_with_the_services_number() -> None:
    assert unmet([asks("flavor_type", "GPU", "Ascend")], whole(), CPU, 1) == (
        "the algorithm asks for flavor_type GPU or Ascend; this node has CPU (2 processors) (ModelArts.2763)",
    )
    assert unmet([asks("device_distributed_mode", "multiple")], whole(), node("GPU", 1), 1) == (
        "the algorithm asks for device_distributed_mode multiple; this node has GPU (1) (ModelArts.2763)",
    )


def test_what_could_not_be_counted_is_told_with_why() -> None:
    devices = node("GPU", None, notes=("nvidia-smi gave no answer in 5 s.", "b", "c", "d"))
    assert unmet([asks("flavor_type", "GPU")], whole(), devices, 1) == (
        (
            "the algorithm asks for flavor_type GPU; this node has GPU (how many could not be told); "
            "nvidia-smi gave no answer in 5 s; b; c (ModelArts.2763)"
        ),
    )


def test_devices_that_a_variable_hides_are_spoken_of() -> None:
    hidden = node(present=8, visible="CUDA_VISIBLE_DEVICES=", cpus=1.0)
    assert here(hidden) == "CPU (1 processor), and 8 that CUDA_VISIBLE_DEVICES= hides"
    assert here(node("GPU", 2, present=2, visible="CUDA_VISIBLE_DEVICES=0,1")) == "GPU (2)"
    assert here(node("GPU", 2, devices=(Device(index=0, name="A100"),))) == "GPU (2)"


@pytest.mark.parametrize(
    ("detail", "devices", "told"),
    [
        ({"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 8}}}, GPUS, None),
        ({"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 4}}}, GPUS, None),
        ({"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 9}}}, GPUS, "has GPU (9); this node has GPU (8)"),
        ({"flavor_info": {"gpu": {"unit_num": 1}}}, CPU, "has GPU (1); this node has CPU (2 processors)"),
        ({"flavor_info": {"gpu": {"product_name": "V100"}}}, CPU, "has GPU; this node has CPU (2 processors)"),
        ({"flavor_info": {"npu": {"unit_num": "8"}}}, NPUS, None),
        ({"flavor_info": {"npu": {"unit_num": "8"}}}, GPUS, "has Ascend (8); this node has GPU (8)"),
        ({"flavor_type": "Ascend"}, CPU, "has Ascend; this node has CPU (2 processors)"),
        ({"flavor_type": "Ascend"}, NPUS, None),
        ({"flavor_type": "GPU"}, node("GPU", None), "has GPU; this node has GPU (how many could not be told)"),
        ({"flavor_type": "GPU", "flavor_info": {"gpu": {"unit_num": 0}}}, CPU, None),
        ({"flavor_type": "CPU", "flavor_info": {"cpu": {"core_num": 8}}}, CPU, None),
        ({"flavor_type": "CPU"}, GPUS, None),
        ({}, CPU, None),
    ],
)
def test_fewer_accelerators_than_the_flavor_has_are_too_few_and_more_are_no_harm(
    detail: dict[str, Any], devices: Devices, told: str | None
) -> None:
    assert unmet([], flavored(**detail), devices, 1) == (
        () if told is None else (f"the job's flavor {told} (ModelArts.2763)",)
    )


def test_the_same_sentence_is_told_once() -> None:
    twice = [asks("flavor_type", "GPU")] * 2
    assert len(unmet(twice, whole(), CPU, 1)) == 1
    assert len(unmet(twice, flavored(flavor_type="GPU"), CPU, 1)) == 2


def test_fewer_processors_or_less_memory_is_a_shortfall_and_no_more() -> None:
    job = flavored(flavor_type="CPU", flavor_info={"cpu": {"core_num": 8}, "memory": {"size": 32, "unit": "GB"}})
    assert shortfalls(job, CPU) == (
        "the job's flavor has 8 processors; this node may use 2 (cgroup v2)",
        "the job's flavor has 32 GB of memory; this node may use 4.0 GB (cgroup v2)",
    )
    assert shortfalls(job, node(cpus=8.0, memory_bytes=30 * GIB)) == ()
    assert shortfalls(job, node(cpus=7.5, memory_bytes=None)) == (
        "the job's flavor has 8 processors; this node may use 7.5 (cgroup v2)",
    )


@pytest.mark.parametrize(
    "info",
    [
        None,
        {},
        {"cpu": {}},
        {"memory": {"size": 32}},
        {"memory": {"unit": "GB"}},
        {"memory": {"size": 32, "unit": "furlongs"}},
    ],
)
def test_a_flavor_that_tells_no_size_is_no_shortfall(info: dict[str, Any] | None) -> None:
    assert shortfalls(flavored(flavor_info=info), CPU) == ()
    assert shortfalls(whole(), CPU) == ()


def test_the_cards_of_a_flavor_are_known_where_it_tells() -> None:
    assert flavor_detail(whole()) is None
    assert flavor_cards(whole()) is None
    assert flavor_cards(flavored(flavor_type="GPU")) is None
    assert flavor_cards(flavored(flavor_info={"npu": {"unit_num": "4"}})) == 4
    assert flavor_cards(flavored(flavor_type="CPU", flavor_info={})) == 0
    assert flavor_cards(flavored(flavor_type="GPU", flavor_info={})) is None


@pytest.mark.parametrize(
    ("retries", "flag", "does"),
    [
        (None, None, False),
        ("0", None, False),
        ("1", None, True),
        ("3", None, True),
        (None, True, True),
        ("3", False, False),
    ],
)
def test_it_is_wanted_where_a_job_is_started_again_or_when_asked_for(
    retries: str | None,
    flag: bool | None,  # noqa: FBT001
    does: bool,  # noqa: FBT001
) -> None:
    annotations = {} if retries is None else {"fault-tolerance/job-retry-num": retries}
    assert precheck_wanted(whole(metadata={"name": "j", "annotations": annotations}), flag) is does
    assert precheck_wanted(whole(), flag) is bool(flag)


def test_the_services_own_job_runs_on_a_machine_with_fewer_processors() -> None:
    log = Log()
    job = parse_job(read_document(FIXTURE.read_bytes(), "job"), log)
    assert unmet([], job, node(cpus=2.0), 1) == ()
    assert len(shortfalls(job, node(cpus=2.0))) == 2


@pytest.mark.parametrize(
    ("memory", "told"),
    [
        ({"size": 10, "unit": "XB"}, "'XB' is none of KB, MB, GB, TB, KiB, MiB, GiB and TiB"),
        ({"size": 10}, "is missing"),
        ({"size": 10, "unit": ""}, "'' is none of KB"),
        ({"size": 10, "unit": "gib"}, None),
        ({"unit": "XB"}, None),
        ({}, None),
    ],
)
def test_a_flavor_s_memory_in_a_unit_that_nobody_knows_is_told(memory: dict[str, Any], told: str | None) -> None:
    detail = {"flavor_detail": {"flavor_info": {"memory": memory, "disk": {"size": 1}}}}
    run = {"command": "true", "engine": {"image_url": "i"}}
    document = {"kind": "job", "metadata": {"name": "j"}, "algorithm": run, "spec": {"resource": detail}}
    log = Log()
    parse_job(read_document(json.dumps(document).encode(), "job.json"), log)
    found = [each for each in log.warnings if each.path.startswith("spec.")]
    assert [each.path for each in found] == (
        [] if told is None else ["spec.resource.flavor_detail.flavor_info.memory.unit"]
    )
    assert all(told is not None and told in each.message and "counts as not told" in each.message for each in found)
