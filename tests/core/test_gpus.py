from __future__ import annotations

import pytest

from launcher.core.devices import Device, Holder, Partition
from launcher.core.gpus import Found, accelerators

TWO = (Device(index=0, id="GPU-a", name="H100"), Device(index=1, id="GPU-b", name="H100"))
MIXED = (TWO[0], Device(index=1, id="GPU-b", name="T4"))


def part(number: int) -> Partition:
    return Partition(id=f"MIG-{number}", name="1g.10gb")


def divided(index: int, *parts: Partition) -> Device:
    return Device(index=index, id=f"GPU-mig{index}", name="H100", partitions=parts)


def test_without_a_variable_all_are_there() -> None:
    told = accelerators(Found(devices=TWO, driver="550.54", runtime="12.4"), {})
    assert (told.type, told.count, told.present, told.visible, told.notes) == ("GPU", 2, 2, None, ())
    assert [device.id for device in told.devices] == ["GPU-a", "GPU-b"]
    assert (told.driver, told.runtime) == ("550.54", "12.4")


def test_the_variable_chooses_and_is_told() -> None:
    told = accelerators(Found(devices=TWO), {"CUDA_VISIBLE_DEVICES": "1"})
    assert (told.count, told.present, told.visible) == (1, 2, "CUDA_VISIBLE_DEVICES=1")
    assert [(device.index, device.physical) for device in told.devices] == [(0, 1)]


def test_a_variable_that_is_odd_makes_a_note() -> None:
    told = accelerators(Found(devices=TWO, notes=("first",)), {"CUDA_VISIBLE_DEVICES": "0,5"})
    assert told.count == 1
    assert told.notes == ("first", "CUDA_VISIBLE_DEVICES=0,5: '5' is none of the 2 here, so the list ends")


def test_a_long_variable_is_cut_in_what_is_told() -> None:
    told = accelerators(Found(devices=TWO), {"CUDA_VISIBLE_DEVICES": "," + "x" * 1000})
    assert told.count == 0
    assert told.visible == "CUDA_VISIBLE_DEVICES=," + "x" * 199 + "..."


def test_what_the_container_toolkit_hid_is_none() -> None:
    told = accelerators(Found(devices=TWO), {"NVIDIA_VISIBLE_DEVICES": "none", "CUDA_VISIBLE_DEVICES": "0"})
    assert (told.count, told.devices, told.visible) == (0, (), "NVIDIA_VISIBLE_DEVICES=none")


@pytest.mark.parametrize("text", ["all", "void", "", "3", "GPU-b", "0,1,2,3"])
def test_what_the_container_toolkit_has_done_is_not_done_again(text: str) -> None:
    told = accelerators(Found(devices=TWO), {"NVIDIA_VISIBLE_DEVICES": text})
    assert (told.count, told.visible) == (2, None)


def test_half_a_list_is_not_counted_and_nothing_is_chosen_of_it() -> None:
    told = accelerators(Found(devices=TWO[1:], whole=False, notes=("GPU 0 is lost",)), {"CUDA_VISIBLE_DEVICES": "0"})
    assert (told.count, told.present, told.notes) == (None, None, ("GPU 0 is lost",))
    assert [device.id for device in told.devices] == ["GPU-b"]


@pytest.mark.parametrize("environ", [{"CUDA_VISIBLE_DEVICES": "-1"}, {"NVIDIA_VISIBLE_DEVICES": "none"}])
def test_what_hides_all_needs_no_list(environ: dict[str, str]) -> None:
    assert accelerators(Found(whole=False), environ).count == 0


def test_nobody_knows_how_many_there_are_without_a_list() -> None:
    assert accelerators(Found(whole=False), {}).count is None


def test_a_process_gets_one_instance_whatever_their_number() -> None:
    found = Found(devices=(divided(0, part(1), part(2)), divided(1, part(3))), divided=frozenset({0, 1}))
    told = accelerators(found, {})
    assert (told.count, told.present, len(told.devices)) == (1, 2, 2)
    assert told.notes == ("a process gets 1 of the 3 MIG instances here: choose it by CUDA_VISIBLE_DEVICES=MIG-1",)


def test_an_instance_that_is_chosen_is_one_device() -> None:
    found = Found(devices=(divided(0, part(1), part(2)), TWO[1]), divided=frozenset({0}))
    told = accelerators(found, {"CUDA_VISIBLE_DEVICES": "MIG-2"})
    assert (told.count, told.notes) == (1, ())
    assert told.devices[0].partitions == (part(2),)


def test_one_instance_beside_one_whole_gpu_is_one_device_either_way() -> None:
    told = accelerators(Found(devices=(divided(0, part(1)), TWO[1]), divided=frozenset({0})), {})
    assert (told.count, told.notes) == (1, ())


def test_an_instance_beside_several_whole_gpus_is_not_guessed() -> None:
    devices = (divided(0, part(1)), TWO[1], Device(index=2, id="GPU-c", name="H100"))
    told = accelerators(Found(devices=devices, divided=frozenset({0})), {})
    assert told.count is None
    assert [note.partition(", and")[0] for note in told.notes] == [
        "GPUs in MIG mode and 2 that are not are visible together"
    ]


def test_a_gpu_in_mig_mode_without_an_instance_is_none() -> None:
    told = accelerators(Found(devices=(divided(0), TWO[1]), divided=frozenset({0})), {})
    assert told.count == 1
    assert told.notes[0].startswith("GPU 0 is in MIG mode and has no instance")


@pytest.mark.parametrize(
    ("environ", "open_order"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, False),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b"}, False),
        ({"CUDA_VISIBLE_DEVICES": ""}, False),
        ({}, False),
    ],
)
def test_numbers_of_unlike_gpus_are_not_certain(
    environ: dict[str, str],
    open_order: bool,  # noqa: FBT001 - of the table
) -> None:
    notes = accelerators(Found(devices=MIXED), environ).notes
    assert any("CUDA_DEVICE_ORDER=PCI_BUS_ID" in note for note in notes) is open_order
    assert accelerators(Found(devices=TWO), environ).notes == ()


def test_who_holds_a_device_that_is_not_visible_is_not_told() -> None:
    held = (Holder(device=0, pid=7), Holder(device=1, pid=8, name="python", memory_bytes=5))
    told = accelerators(Found(devices=TWO, held=held), {"CUDA_VISIBLE_DEVICES": "1"})
    assert told.held == (Holder(device=0, pid=8, name="python", memory_bytes=5),)
