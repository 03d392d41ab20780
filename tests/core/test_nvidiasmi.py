from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.parse.nvidiasmi import Queried, Used, cuda_version, divided, listed, queried, used

DATA = Path(__file__).parent.parent / "data" / "devices"
MIG = (DATA / "nvidia-smi-L.mig.txt").read_text()
OLD_MIG = (DATA / "nvidia-smi-L.mig-before-470.txt").read_text()
TWO = "GPU 0: Tesla T4 (UUID: GPU-aa)\nGPU 1: Tesla T4 (UUID: GPU-bb)\n"
QUERY = "0, GPU-aa, NVIDIA H100 80GB HBM3, 81559, 550.54.15\n1, GPU-bb, NVIDIA H100 80GB HBM3, 81559, 550.54.15\n"
APPS = "GPU-aa, 4242, /usr/bin/python3, 1024\n"


def test_a_list_of_gpus() -> None:
    found = listed(TWO)
    assert [(device.index, device.id, device.name) for device in found.devices] == [
        (0, "GPU-aa", "Tesla T4"),
        (1, "GPU-bb", "Tesla T4"),
    ]
    assert found.unread is None


def test_instances_as_they_are_named_since_driver_470() -> None:
    found = listed(MIG)
    assert found.unread is None
    assert [device.id for device in found.devices] == ["GPU-81495ec7-da36-8ea5-9f7d-5804aa3fef20"]
    assert [(part.id, part.name) for part in found.devices[0].partitions] == [
        ("MIG-7839bf6f-ba33-59f0-89eb-01c8d8c4134d", "NVIDIA H100 NVL MIG 2g.24gb"),
        ("MIG-dbf12406-b888-52e8-80ee-025b6412f6e4", "NVIDIA H100 NVL MIG 1g.12gb"),
    ]


def test_instances_as_they_were_named_before() -> None:
    found = listed(OLD_MIG)
    assert found.unread is None
    assert [part.id for part in found.devices[0].partitions] == ["MIG-GPU-9de3d0e8-33f5-10dc-0c79-2c88a7ab0a23/2/0"]


@pytest.mark.parametrize("text", ["No devices found.\n", "No devices were found\n", "\nNo devices were found"])
def test_no_devices_is_an_answer(text: str) -> None:
    assert (listed(text).devices, listed(text).unread) == ((), None)


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_nothing_is_no_answer(text: str) -> None:
    assert (listed(text).devices, listed(text).unread) == ((), "")


@pytest.mark.parametrize(
    ("line", "devices"),
    [
        ("Unable to determine the device handle for GPU 0000:3B:00.0: Unknown Error", 2),
        ("GPU 2: Tesla T4 (UUID: GPU-aa)", 2),
        ("GPU 1: Tesla T4 (UUID: GPU-cc)", 2),
        ("GPU 3: Tesla T4 (UUID: GPU-cc)", 2),
        ("GPU 2: Tesla T4 (UUID: GPU-", 2),
        ("GPU 2: Tesla T4", 2),
        ("No devices were found", 2),
        ("\x00\ufffd", 2),
    ],
)
def test_a_line_that_is_no_gpu_is_told_and_makes_none(line: str, devices: int) -> None:
    found = listed(f"{TWO}{line}\n")
    assert (len(found.devices), found.unread) == (devices, line)


def test_an_instance_of_no_gpu_is_told() -> None:
    line = "MIG 1g.5gb Device 0: (UUID: MIG-aa)"
    assert listed(f"  {line}\n{TWO}").unread == line


def test_the_first_line_that_is_odd_is_told() -> None:
    assert listed(f"one\n{TWO}two\n").unread == "one"


def test_the_facts_of_gpus() -> None:
    assert queried(QUERY)[0] == Queried(
        index=0, id="GPU-aa", name="NVIDIA H100 80GB HBM3", memory_bytes=81559 << 20, driver="550.54.15"
    )
    assert [row.id for row in queried(QUERY)] == ["GPU-aa", "GPU-bb"]


@pytest.mark.parametrize(
    ("row", "memory", "driver"),
    [
        ("0, GPU-aa, GB10, [N/A], 580.65.06", None, "580.65.06"),
        ("0, GPU-aa, T4, 15360, [Unknown Error]", 15360 << 20, None),
        ("0, GPU-aa, T4, 9999999999999999, \x1b[2J", None, None),
    ],
)
def test_what_the_tool_could_not_tell_is_none(row: str, memory: int | None, driver: str | None) -> None:
    (found,) = queried(row)
    assert (found.memory_bytes, found.driver) == (memory, driver)


def test_a_name_may_hold_a_comma() -> None:
    assert queried("0, GPU-aa, Quadro, big, 1, 1.2")[0].name == "Quadro, big"
    assert used("GPU-aa, 7, python train.py, really, 5")[0].name == "python train.py, really"


@pytest.mark.parametrize(
    "text",
    ["", "\n", "0, GPU-aa, T4", "x, GPU-aa, T4, 1, 1", "0, aa, T4, 1, 1", "Field is not a valid field to query."],
)
def test_rows_that_are_none(text: str) -> None:
    assert queried(text) == ()


def test_a_gpu_that_comes_twice_is_one() -> None:
    assert len(queried(QUERY + QUERY)) == 2


def test_processes_that_hold_a_gpu() -> None:
    assert used(APPS) == (Used(gpu="GPU-aa", pid=4242, name="/usr/bin/python3", memory_bytes=1 << 30),)
    assert used("GPU-aa, 7, [Not Found], [N/A]") == (Used(gpu="GPU-aa", pid=7),)
    assert used("GPU-aa, 7, , 1")[0].name is None


@pytest.mark.parametrize(
    "text", ["", "No running processes found", "GPU-aa, -, python, 1", "aa, 7, python, 1", "GPU-aa, 7, 1"]
)
def test_processes_that_are_none(text: str) -> None:
    assert used(text) == ()


def test_gpus_in_mig_mode() -> None:
    text = "GPU-aa, Enabled\nGPU-bb, Disabled\nGPU-cc, [N/A]\nField is not valid\n"
    assert divided(text) == {"GPU-aa"}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVIDIA-SMI version  : 550.54.15\nDRIVER version      : 550.54.15\nCUDA Version        : 12.4\n", "12.4"),
        ("CUDA UMD Version : 13.1", "13.1"),
        ("CUDA Version : N/A", None),
        ("Invalid combination of input arguments.", None),
        ("", None),
    ],
)
def test_the_cuda_version(text: str, version: str | None) -> None:
    assert cuda_version(text) == version


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """One of the real outputs with lines left out, doubled and swapped, and characters changed."""
    lines = draw(st.sampled_from([MIG, OLD_MIG, TWO, QUERY, APPS])).splitlines()
    lines = draw(st.lists(st.sampled_from(lines), max_size=8))
    text = "\n".join(lines)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 3)) :]
    return text[: draw(st.integers(0, len(text) + 1))]


@given(mutated())
def test_no_output_makes_more_devices_than_it_has_rows(text: str) -> None:
    rows = sum(bool(line.strip()) for line in text.split("\n"))
    found = listed(text)
    parts = [part for device in found.devices for part in device.partitions]
    assert len(found.devices) + len(parts) <= rows
    assert len({device.id for device in found.devices}) == len(found.devices)
    assert len(queried(text)) <= rows
    assert len(used(text)) <= rows
    assert len(divided(text)) <= rows
    cuda_version(text)


@given(st.text(max_size=200))
def test_no_text_is_read_as_anything_by_accident(text: str) -> None:
    found = listed(text)
    assert found.devices == ()
    assert found.unread is not None or "no devices" in text.lower()
