"""How many NPUs a training can use, and which row of the tool is which of them."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.core.devices import Device, Holder
from launcher.core.npus import Found, accelerators
from launcher.core.parse.npusmi import Held, Npu


def npu(npu: int, chip: int = 0, **more: Any) -> Npu:
    told = {"name": "Ascend 910B3", "bus": f"0000:{npu:02X}:0{chip}.0", "health": "OK", "memory_bytes": 64}
    return Npu(npu=npu, chip=chip, **{**told, **more})


def rows(count: int, **more: Any) -> tuple[Npu, ...]:
    return tuple(npu(index, logical=index, **more) for index in range(count))


def test_each_file_is_a_device_with_what_the_tool_says_of_it() -> None:
    held = (
        Held(npu=1, chip=0, pid=17, name="python", memory_bytes=5),
        Held(npu=9, chip=0, pid=18, name="of no device here", memory_bytes=5),
    )
    found = Found(nodes=(0, 1), npus=rows(2), counted=True, held=held, driver="25.5.1", runtime="8.0.RC1")
    told = accelerators(found, {})
    assert (told.type, told.count, told.present, told.visible, told.notes) == ("Ascend", 2, 2, None, ())
    assert (told.driver, told.runtime) == ("25.5.1", "8.0.RC1")
    assert told.devices[1] == Device(
        index=1, physical=1, id="0000:01:00.0", name="Ascend 910B3", memory_bytes=64, health="OK"
    )
    assert told.held == (Holder(device=1, pid=17, name="python", memory_bytes=5),)


def test_rows_belong_to_files_by_their_physical_ids() -> None:
    npus = (npu(2, 0, physical=4, name="a"), npu(2, 1, physical=5, name="b"), npu(3, 0, physical=6, name="c"))
    told = accelerators(Found(nodes=(5, 6), npus=npus, counted=True), {})
    assert [(each.index, each.physical, each.name) for each in told.devices] == [(0, 5, "b"), (1, 6, "c")]
    assert told.notes == (
        "npu-smi lists 3 NPUs, and 2 can be opened here (davinci5, davinci6): the tool may tell of the whole host",
    )


def test_a_container_numbers_its_own_from_0() -> None:
    npus = (npu(5, logical=1, name="b"), npu(4, logical=0, name="a"))
    told = accelerators(Found(nodes=(4, 5), npus=npus, counted=True), {})
    assert [(each.physical, each.name) for each in told.devices] == [(4, "a"), (5, "b")]
    unnumbered = (npu(4, name="a"), npu(5, name="b"))
    told = accelerators(Found(nodes=(4, 5), npus=unnumbered, counted=True), {})
    assert [(each.physical, each.name) for each in told.devices] == [(4, "a"), (5, "b")]


def test_of_a_host_s_rows_those_of_the_files_are_taken() -> None:
    npus = tuple(npu(index, logical=index, name=f"n{index}") for index in range(8))
    told = accelerators(Found(nodes=(6, 7), npus=npus, counted=True), {})
    assert [(each.index, each.physical, each.name) for each in told.devices] == [(0, 6, "n6"), (1, 7, "n7")]


def test_rows_that_fit_no_file_say_nothing_of_a_device() -> None:
    many = tuple(range(10))
    told = accelerators(Found(nodes=many, npus=(npu(0), npu(64)), counted=True), {})
    assert {(each.name, each.id) for each in told.devices} == {("Ascend", None)}
    assert told.count == 10
    named = ", ".join(f"davinci{index}" for index in range(8))
    assert told.notes == (
        f"npu-smi lists 2 NPUs, and 10 can be opened here ({named} and 2 more): the tool may tell of the whole host",
        "which of the rows of npu-smi is which device here cannot be told, so that names and memory are unknown",
    )


def test_half_a_table_is_not_laid_row_by_row_over_the_files() -> None:
    told = accelerators(Found(nodes=(0, 1), npus=(npu(0), npu(1)), counted=False), {})
    assert [each.name for each in told.devices] == ["Ascend", "Ascend"]
    assert told.count == 2


def test_chips_that_share_a_bus_id_have_no_id_by_it() -> None:
    told = accelerators(Found(nodes=(0, 1), npus=rows(2, bus="0000:01:00.0"), counted=True), {})
    assert [each.id for each in told.devices] == [None, None]


def test_files_without_a_tool_are_counted_all_the_same() -> None:
    told = accelerators(Found(nodes=(0, 3), notes=("npu-smi is not there",)), {})
    assert (told.count, [each.physical for each in told.devices]) == (2, [0, 3])
    assert told.notes == ("npu-smi is not there",)


def test_rows_without_files_are_no_count() -> None:
    told = accelerators(Found(npus=rows(8), counted=True, notes=("a",)), {"ASCEND_RT_VISIBLE_DEVICES": "0"})
    assert (told.count, told.present, told.devices) == (None, None, ())
    assert told.notes[1].startswith("npu-smi lists 8 NPUs, and /dev has the file of none")
    none = accelerators(Found(notes=("a",)), {})
    assert (none.count, none.present, none.notes) == (0, 0, ("a",))


def test_the_visible_ones_are_numbered_anew() -> None:
    held = (
        Held(npu=3, chip=0, pid=17, name=None, memory_bytes=None),
        Held(npu=0, chip=0, pid=1, name="x", memory_bytes=0),
    )
    found = Found(nodes=(0, 1, 2, 3), npus=rows(4), counted=True, held=held)
    told = accelerators(found, {"ASCEND_RT_VISIBLE_DEVICES": "1,3"})
    assert [(each.index, each.physical) for each in told.devices] == [(0, 1), (1, 3)]
    assert (told.count, told.present, told.visible) == (2, 4, "ASCEND_RT_VISIBLE_DEVICES=1,3")
    assert told.held == (Holder(device=1, pid=17),)
    assert told.notes == ()


@pytest.mark.parametrize(
    ("text", "count", "taken"),
    [("1, 2,3", 1, "1"), ("0,9", 1, "0"), ("", 0, None), ("3,1", 0, "nothing"), ("a\nb", 0, "nothing")],
)
def test_what_cann_takes_of_an_odd_list_is_said(text: str, count: int, taken: str | None) -> None:
    told = accelerators(Found(nodes=(0, 1, 2, 3)), {"ASCEND_RT_VISIBLE_DEVICES": text})
    assert told.count == count
    assert (told.visible or "").isprintable()
    assert told.notes == (
        ()
        if taken is None
        else (f"ASCEND_RT_VISIBLE_DEVICES is {text!r}, of which CANN takes {taken} of the 4 devices here",)
    )


@pytest.mark.parametrize(
    ("text", "agrees"),
    [
        ("4,5", True),
        ("4-5", True),
        ("Ascend910-4, Ascend910-5", True),
        ("", True),
        ("all", True),
        ("0,1", False),
        ("4-7", False),
    ],
)
def test_the_container_runtime_s_variable_is_only_mentioned_where_it_contradicts(text: str, agrees: bool) -> None:  # noqa: FBT001
    told = accelerators(Found(nodes=(4, 5)), {"ASCEND_VISIBLE_DEVICES": text})
    assert told.count == 2
    said = f"ASCEND_VISIBLE_DEVICES is {text!r} for the container runtime"
    assert told.notes == (() if agrees else (f"{said}, and here are davinci4, davinci5: what is here counts",))
