"""Which devices each lane of a search gives its trials: what a trial's own launcher then counts is asked each time."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from launcher.core import gpus, npus
from launcher.core.devices import Device, Devices, Limits, Partition, node_devices
from launcher.core.search.lanes import Lane, lanes
from launcher.core.visible import cuda_visible

LIMITS = Limits(cpus=8.0, memory_bytes=None, limits_from="host")
CPU = node_devices((), LIMITS)
EIGHT = tuple(Device(index=number, id=f"GPU-{number}", name="H100") for number in range(8))
NAMELESS = tuple(replace(each, id=None) for each in EIGHT)


def nvidia(present: tuple[Device, ...], environ: dict[str, str]) -> Devices:
    return node_devices((gpus.accelerators(gpus.Found(devices=present), environ),), LIMITS)


def ascend(nodes: tuple[int, ...], environ: dict[str, str]) -> Devices:
    return node_devices((npus.accelerators(npus.Found(nodes=nodes), environ),), LIMITS)


def amd(count: int, environ: dict[str, str]) -> Devices:
    """As the adapter finds them: what the first variable leaves, of that what the second does."""
    seen = cuda_visible(
        environ.get("ROCR_VISIBLE_DEVICES"),
        tuple(Device(index=number, id=f"GPU-{number:016x}", name="AMD gfx942") for number in range(count)),
    )
    seen = cuda_visible(environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES")), seen.devices)
    return replace(CPU, type="GPU", count=len(seen.devices), devices=seen.devices, present=count)


def physical(devices: Devices) -> list[int | None]:
    return [each.index if each.physical is None else each.physical for each in devices.devices]


def of_nvidia(present: tuple[Device, ...], jobs: int | None, **environ: str) -> list[list[int | None]]:
    made = lanes(nvidia(present, environ), jobs, environ, own={})
    return [physical(nvidia(present, {**environ, **lane.env})) for lane in made]


def labels(made: tuple[Lane, ...]) -> list[str]:
    return [lane.label for lane in made]


def test_a_node_without_devices_has_one_lane() -> None:
    assert lanes(CPU, None, {}, own={}) == (Lane(label="cpu"),)


def test_lanes_without_devices_share_the_processors() -> None:
    assert lanes(CPU, 3, {}, own={}) == tuple(
        Lane(label=f"cpu:{number}", env={"OMP_NUM_THREADS": "2"}) for number in (1, 2, 3)
    )


@pytest.mark.parametrize("cpus", [0.5, 1.9])
def test_a_lane_has_one_thread_at_least(cpus: float) -> None:
    made = lanes(replace(CPU, cpus=cpus), 2, {"OMP_NUM_THREADS": ""}, own={})
    assert [lane.env for lane in made] == [{"OMP_NUM_THREADS": "1"}] * 2


@pytest.mark.parametrize(("environ", "own"), [({"OMP_NUM_THREADS": "5"}, {}), ({}, {"OMP_NUM_THREADS": "5"})])
def test_threads_that_somebody_has_set_stay(environ: dict[str, str], own: dict[str, str]) -> None:
    assert [lane.env for lane in lanes(CPU, 2, environ, own=own)] == [{}, {}]


def test_each_gpu_is_a_lane_by_its_identity() -> None:
    made = lanes(nvidia(EIGHT[:2], {}), None, {}, own={})
    assert made == (
        Lane(label="gpu0", env={"CUDA_VISIBLE_DEVICES": "GPU-0", "OMP_NUM_THREADS": "4"}),
        Lane(label="gpu1", env={"CUDA_VISIBLE_DEVICES": "GPU-1", "OMP_NUM_THREADS": "4"}),
    )


@pytest.mark.parametrize("present", [EIGHT, NAMELESS])
@pytest.mark.parametrize(
    ("jobs", "visible", "wanted"),
    [
        (None, "6,2", [[6], [2]]),
        (None, " 6 , 2", [[6], [2]]),
        (1, "6,2", [[6, 2]]),
        (3, None, [[0, 1], [2, 3, 4], [5, 6, 7]]),
        (3, "1,2,3,4,5,9", [[1], [2, 3], [4, 5]]),
        (5, "1,3", [[1], [3], [1], [3], [1]]),
    ],
)
def test_a_trial_counts_the_gpus_of_its_lane(
    present: tuple[Device, ...], jobs: int | None, visible: str | None, wanted: list[list[int]]
) -> None:
    assert of_nvidia(present, jobs, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})) == wanted


def test_gpus_that_are_chosen_by_identity_stay_so() -> None:
    assert of_nvidia(EIGHT, None, CUDA_VISIBLE_DEVICES="GPU-7,GPU-0") == [[7], [0]]


def test_lanes_are_named_by_their_devices() -> None:
    four = nvidia(EIGHT[:4], {})
    assert labels(lanes(four, 3, {}, own={})) == ["gpu0", "gpu1", "gpu2-3"]
    assert labels(lanes(four, 6, {}, own={})) == ["gpu0:1", "gpu1:1", "gpu2:1", "gpu3:1", "gpu0:2", "gpu1:2"]


def divided(index: int, *parts: str) -> Device:
    made = tuple(Partition(id=part, name="1g.10gb") for part in parts)
    return Device(index=index, id=f"GPU-{index}", name="H100", partitions=made)


@pytest.mark.parametrize(
    ("jobs", "visible", "wanted"),
    [
        (None, None, ["MIG-a", "MIG-b", "MIG-c"]),
        (2, None, ["MIG-a", "MIG-b"]),
        (4, None, ["MIG-a", "MIG-b", "MIG-c", "MIG-a"]),
        (None, "MIG-c,MIG-a", ["MIG-c", "MIG-a"]),
        (None, "MIG-GPU-1/0/0", ["MIG-GPU-1/0/0"]),
        (None, "1", ["MIG-c"]),
    ],
)
def test_each_mig_instance_is_a_lane(jobs: int | None, visible: str | None, wanted: list[str]) -> None:
    present = (divided(0, "MIG-a", "MIG-b"), divided(1, "MIG-c"))
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    made = lanes(nvidia(present, environ), jobs, environ, own={})
    assert [lane.env["CUDA_VISIBLE_DEVICES"] for lane in made] == wanted
    for lane in made:
        assert nvidia(present, {**environ, **lane.env}).count == 1


def test_a_whole_gpu_beside_instances_is_left_to_others() -> None:
    made = lanes(nvidia((EIGHT[0], divided(1, "MIG-a")), {}), None, {}, own={})
    assert [lane.env for lane in made] == [{"CUDA_VISIBLE_DEVICES": "MIG-a"}]


def test_where_one_of_the_gpus_has_no_instance_nothing_is_given() -> None:
    found = gpus.accelerators(gpus.Found(devices=EIGHT[:3], divided=frozenset((1,))), {})
    made = lanes(node_devices((found,), LIMITS), None, {}, own={})
    assert labels(made) == ["gpu"]
    assert made[0].env == {}
    assert made[0].note == (
        "only 2 of the 3 GPUs can be used, and which is not known here, so that every trial sees all of them; name"
        " those that are meant in CUDA_VISIBLE_DEVICES"
    )


def test_devices_that_nobody_could_count_are_given_to_nobody() -> None:
    found = node_devices((gpus.accelerators(gpus.Found(whole=False), {}),), LIMITS)
    note = "how many devices there are is not known, so that every trial sees all of them"
    assert lanes(found, None, {}, own={}) == (Lane(label="gpu", note=note),)
    assert [(lane.label, lane.note) for lane in lanes(found, 2, {}, own={})] == [("gpu:1", note), ("gpu:2", note)]


@pytest.mark.parametrize(
    ("devices", "name"),
    [
        (nvidia(EIGHT, {}), "CUDA_VISIBLE_DEVICES"),
        (ascend((0, 1), {}), "ASCEND_RT_VISIBLE_DEVICES"),
        (amd(2, {}), "HIP_VISIBLE_DEVICES"),
        (amd(2, {}), "ROCR_VISIBLE_DEVICES"),
    ],
)
def test_the_job_that_names_devices_itself_has_the_last_word(devices: Devices, name: str) -> None:
    (lane,) = lanes(devices, None, {}, own={name: "0"})
    assert lane.env == {}
    assert lane.note == (
        f"the job sets {name} itself, so that every trial sees the devices which that names; leave it out and each"
        " trial has its own"
    )


def test_devices_of_which_the_number_alone_is_known_are_given_by_number() -> None:
    assert [
        lane.env["CUDA_VISIBLE_DEVICES"] for lane in lanes(replace(CPU, type="GPU", count=2), None, {}, own={})
    ] == [
        "0",
        "1",
    ]


@pytest.mark.parametrize(
    ("jobs", "environ", "wanted"),
    [
        (None, {}, [[4], [5], [6], [7]]),
        (None, {"ASCEND_RT_VISIBLE_DEVICES": "1,3"}, [[5], [7]]),
        (2, {}, [[4, 5], [6, 7]]),
        (3, {"ASCEND_RT_VISIBLE_DEVICES": "1,3"}, [[5], [7], [5]]),
    ],
)
def test_a_trial_counts_the_npus_of_its_lane(
    jobs: int | None, environ: dict[str, str], wanted: list[list[int]]
) -> None:
    nodes = (4, 5, 6, 7)
    made = lanes(ascend(nodes, environ), jobs, environ, own={})
    assert made[0].label.startswith("npu0")
    assert [physical(ascend(nodes, {**environ, **lane.env})) for lane in made] == wanted


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, [[0], [1], [2], [3]]),
        ({"CUDA_VISIBLE_DEVICES": "3,1"}, [[3], [1]]),
        ({"HIP_VISIBLE_DEVICES": "3,1", "CUDA_VISIBLE_DEVICES": "0"}, [[3], [1]]),
        ({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "1"}, [[1]]),
        ({"ROCR_VISIBLE_DEVICES": "3,2"}, [[3], [2]]),
    ],
)
def test_a_trial_counts_the_amd_gpus_of_its_lane(environ: dict[str, str], wanted: Any) -> None:
    made = lanes(amd(4, environ), None, environ, own={})
    assert [physical(amd(4, {**environ, **lane.env})) for lane in made] == wanted
