from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.devices import Device, Partition
from launcher.core.visible import ascend_visible, cuda_hides_all, cuda_visible, toolkit_hides_all

FOUR = tuple(Device(index=number, id=f"GPU-{number}a{number}b-cdef", name="H100") for number in range(4))
PARTS = (Partition(id="MIG-11aa", name="1g"), Partition(id="MIG-11bb", name="1g"))
OLD = (Partition(id="MIG-GPU-old/1/0", name="1g"),)
DIVIDED = (
    Device(index=0, id="GPU-new", name="H100", partitions=PARTS),
    Device(index=1, id="GPU-old", name="A100", partitions=OLD),
    Device(index=2, id="GPU-whole", name="A100"),
)


def seen(text: str | None, present: tuple[Device, ...] = FOUR) -> list[int | None]:
    return [device.physical for device in cuda_visible(text, present).devices]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("  ", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("0", [0]),
        ("2,1", [2, 1]),
        ("0,2,-1,1", [0, 2]),
        ("0,,1", [0]),
        ("0,1,", [0, 1]),
        (" 1 , 3", [1, 3]),
        ("+1", [1]),
        ("1gpu2,2ampere", [1, 2]),
        ("00001", [1]),
        ("0,4,1", [0]),
        ("0x1", [0]),
        ("0,99999999999999999999999", [0]),
        ("9" * 100_000, []),
        ("\u0661", []),
        ("0;1", [0]),
        ("1,2,1", []),
        ("0,0", []),
        ("GPU-0a0b-cdef", [0]),
        ("GPU-3,GPU-1a1b", [3, 1]),
        ("GPU-", []),
        ("GPU-9", []),
        ("GPU-1,2", [1]),
        ("GPU-1,GPU-1a", []),
        ("1,GPU-2", [1]),
        ("gpu-1", []),
        ("GPU-1, GPU-2", [1]),
        ("MIG-1", []),
        ("\x00", []),
    ],
)
def test_cuda_visible_devices(text: str | None, left: list[int]) -> None:
    assert seen(text) == left


def test_what_is_left_is_numbered_from_0_in_the_order_of_the_variable() -> None:
    found = cuda_visible("3,1", FOUR).devices
    assert [(device.index, device.physical, device.id) for device in found] == [
        (0, 3, "GPU-3a3b-cdef"),
        (1, 1, "GPU-1a1b-cdef"),
    ]


def test_a_number_that_a_device_had_before_stays_its_own() -> None:
    once = cuda_visible("3,1", FOUR).devices
    assert [device.physical for device in cuda_visible("1", once).devices] == [1]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("MIG-11aa", [("GPU-new", ["MIG-11aa"])]),
        ("MIG-11b", [("GPU-new", ["MIG-11bb"])]),
        ("MIG-11bb,MIG-11aa", [("GPU-new", ["MIG-11bb"]), ("GPU-new", ["MIG-11aa"])]),
        ("MIG-11", []),
        ("MIG-11aa,MIG-11aa", []),
        ("MIG-11aa,0", [("GPU-new", ["MIG-11aa"])]),
        ("MIG-GPU-old/1/0", [("GPU-old", ["MIG-GPU-old/1/0"])]),
        ("MIG-GPU-new/5/0", [("GPU-new", ["MIG-11aa", "MIG-11bb"])]),
        ("MIG-GPU-whole/1/0", []),
        ("MIG-GPU-new/5", []),
        ("GPU-new", [("GPU-new", ["MIG-11aa", "MIG-11bb"])]),
        ("2", [("GPU-whole", [])]),
    ],
)
def test_parts_of_a_gpu(text: str, parts: list[tuple[str, list[str]]]) -> None:
    found = cuda_visible(text, DIVIDED).devices
    assert [(device.id, [part.id for part in device.partitions]) for device in found] == parts


def test_a_part_whose_name_begins_as_another_s_is_named_by_the_whole_of_it() -> None:
    parts = (Partition(id="MIG-1", name="1g"), Partition(id="MIG-10", name="1g"))
    device = Device(index=0, name="H100", partitions=parts)
    assert cuda_visible("MIG-1", (device,)).devices[0].partitions == parts[:1]


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        (None, None),
        ("", None),
        ("-1", None),
        ("0,1", None),
        ("0,-1", None),
        ("0,", None),
        ("0,7", "'7' is none of the 4 here, so the list ends"),
        ("all", "'all' is none of the 4 here, so the list ends"),
        ("0,1,0", "'0' comes twice, and then CUDA shows no GPU at all"),
        ("x" * 70, "'" + "x" * 60 + "...' is none of the 4 here, so the list ends"),
    ],
)
def test_what_is_odd_about_the_variable_is_said(text: str | None, odd: str | None) -> None:
    assert cuda_visible(text, FOUR).odd == odd


@pytest.mark.parametrize(
    ("text", "hides"), [(None, False), ("", True), ("-1", True), ("-1,0", True), ("0", False), ("GPU-1", False)]
)
def test_nothing_is_left_whatever_is_present(text: str | None, hides: bool) -> None:  # noqa: FBT001 - of the table
    assert cuda_hides_all(text) is hides


@pytest.mark.parametrize(
    ("text", "hides"),
    [
        (None, False),
        ("", False),
        ("all", False),
        ("0,1", False),
        ("GPU-9de3d0e8", False),
        ("void", False),
        ("none", True),
        ("NONE ", True),
    ],
)
def test_of_the_container_toolkit_s_variable_only_none_says_something_here(
    text: str | None,
    hides: bool,  # noqa: FBT001 - of the table
) -> None:
    assert toolkit_hides_all(text) is hides


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (None, None),
        ("", ()),
        ("0", (0,)),
        ("0,1,2", (0, 1, 2)),
        ("1, 2,3", (1,)),
        (" 1", ()),
        (",0", ()),
        ("1,,", (1,)),
        ("1,", (1,)),
        ("1*", (1,)),
        ("0#1,", (0,)),
        ("0,1$0,", (0, 1)),
        ("-1,3", ()),
        ("1,-1", (1,)),
        ("0,1,5,7", (0, 1)),
        ("10", ()),
        ("10#", ()),
        ("0,1,1", ()),
        ("1,0,1", ()),
        ("1,0", ()),
        ("0,1,2,0", (0, 1, 2)),
        ("1234567891012345678910123456789", ()),
        ("\u0661", ()),
        ("0," * 500, ()),
    ],
)
def test_ascend_rt_visible_devices_with_three_devices(text: str | None, left: tuple[int, ...] | None) -> None:
    assert ascend_visible(text, 3) == left


def test_a_very_long_number_is_of_no_device() -> None:
    assert ascend_visible("0," + "1" * 5000, 3) == (0,)


@given(st.text(st.sampled_from("0123456789,-+ GPUMIGabc*\t\x00"), max_size=40), st.integers(0, 9))
def test_no_text_shows_more_devices_than_there_are(text: str, present: int) -> None:
    devices = tuple(Device(index=number, id=f"GPU-{number}", name="H100") for number in range(present))
    found = cuda_visible(text, devices).devices
    assert len({device.physical for device in found}) == len(found) <= present
    assert [device.index for device in found] == list(range(len(found)))
    left = ascend_visible(text, present)
    assert left is not None
    assert all(0 <= number < present for number in left)
