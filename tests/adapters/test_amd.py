from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from launcher.adapters.amd import amd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from launcher.core.answer import Answer
    from launcher.core.devices import Accelerators

NODES = "sys/class/kfd/kfd/topology/nodes"
GIB = 1 << 30


def ask(argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
    raise AssertionError("no tool is needed")


def lay(top: Path, *gpus: str) -> Path:
    """A node with one processor and these GPUs; `-` is one that this container may not use."""
    (top / "dev").mkdir()
    (top / "dev/kfd").touch()
    for number, name in enumerate(("", *gpus)):
        node = top / NODES / str(number)
        (node / "mem_banks/0").mkdir(parents=True)
        (node / "name").write_text(f"{name}\n")
        simds = 0 if number == 0 else 440
        properties = f"cpu_cores_count 0\nsimd_count {simds}\nunique_id {number + 10}\nvendor_id 4098\n"
        (node / "properties").write_text("" if name == "-" else properties)
        (node / "mem_banks/0/properties").write_text(f"heap_type 1\nsize_in_bytes {64 * GIB}\nflags 0\n")
    return top


def told(top: Path, environ: Mapping[str, str] | None = None) -> Accelerators:
    found = amd(environ or {}, ask, top=str(top))
    assert found is not None
    return found


def test_a_node_without_amd(tmp_path: Path) -> None:
    assert amd({}, ask, top=str(tmp_path)) is None


def test_gpus_as_the_kernel_lists_them(tmp_path: Path) -> None:
    found = told(lay(tmp_path, "aldebaran", "aldebaran"))
    assert (found.type, found.count, found.present, found.visible) == ("GPU", 2, 2, None)
    assert [(each.index, each.name, each.id, each.memory_bytes) for each in found.devices] == [
        (0, "AMD aldebaran", "GPU-000000000000000b", 64 * GIB),
        (1, "AMD aldebaran", "GPU-000000000000000c", 64 * GIB),
    ]


def test_a_gpu_of_the_machine_that_is_not_ours_is_not_counted(tmp_path: Path) -> None:
    assert told(lay(tmp_path, "aldebaran", "-")).count == 1


def test_a_driver_with_processors_alone(tmp_path: Path) -> None:
    assert amd({}, ask, top=str(lay(tmp_path))) is None


def test_a_driver_that_does_not_list_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    found = told(tmp_path)
    assert (found.count, len(found.notes)) == (None, 1)


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        ({"ROCR_VISIBLE_DEVICES": "1"}, [1]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-000000000000000d,0"}, [2]),
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}, [2]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, [0]),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"HIP_VISIBLE_DEVICES": "garbage"}, []),
    ],
)
def test_the_variables_are_honoured_one_after_the_other(
    tmp_path: Path, environ: dict[str, str], left: list[int]
) -> None:
    found = told(lay(tmp_path, "a", "b", "c"), environ)
    assert (found.count, found.present) == (len(left), 3)
    assert [each.physical for each in found.devices] == left
    assert [each.index for each in found.devices] == list(range(len(left)))
    assert found.visible is not None


@pytest.mark.parametrize(
    "text", ["", "\x00", "simd_count", "simd_count x", "simd_count -1", "simd_count 1 2", "9" * 70_000]
)
def test_garbage_makes_no_gpu(tmp_path: Path, text: str) -> None:
    lay(tmp_path, "a")
    (tmp_path / NODES / "1/properties").write_text(text)
    assert amd({}, ask, top=str(tmp_path)) is None
