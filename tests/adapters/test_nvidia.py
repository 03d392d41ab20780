from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ends import compiled

from launcher.adapters.nvidia import nvidia
from launcher.adapters.nvidia.nvml import program
from launcher.adapters.nvidia.signs import signs
from launcher.core.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATA = Path(__file__).parent.parent / "data" / "devices"
GIB = 1 << 30
# The loader reads LD_LIBRARY_PATH when a process begins, so that the stub is met by a process of its own.
ASK = """
import os, sys
import msgspec
from launcher.adapters.nvidia import nvidia
from launcher.core.answer import Answer
def ask(argv, limit_s=5.0, env=None):
    print("asked", *argv, file=sys.stderr)
    return Answer(code=127)
told = nvidia(dict(os.environ), ask, limit_s=float(sys.argv[1]))
print(msgspec.json.encode(told).decode(), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libnvidia-ml.so.1 that says what it is told to."""
    folder = tmp_path_factory.mktemp("nvml")
    library = compiled(folder, "nvml_stub", "-shared", "-fPIC")
    os.rename(library, folder / "libnvidia-ml.so.1")
    return folder


def ask_stub(stub: Path, limit: str = "60", **settings: str) -> Any:
    """What the adapter tells with the stub as its NVML; nobody may ask a tool then."""
    own = {name: value for name, value in os.environ.items() if not name.endswith("_VISIBLE_DEVICES")}
    done = subprocess.run(
        (sys.executable, "-c", ASK, limit),
        env={**own, "LD_LIBRARY_PATH": str(stub), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_gpus_by_an_unmodified_nvidia_ml_py(stub: Path) -> None:
    told = ask_stub(stub, NVML_STUB_GPUS="2")
    assert (told["type"], told["count"], told["present"], told["notes"]) == ("GPU", 2, 2, [])
    assert (told["driver"], told["runtime"]) == ("550.54.15", "12.4")
    assert [(each["index"], each["id"], each["name"], each["memory_bytes"]) for each in told["devices"]] == [
        (0, "GPU-00000000-0000-0000-0000-000000000000", "NVIDIA Stub 100", 80 * GIB),
        (1, "GPU-00000001-0000-0000-0000-000000000000", "NVIDIA Stub 100", 80 * GIB),
    ]


def test_a_driver_without_gpus(stub: Path) -> None:
    told = ask_stub(stub, NVML_STUB_GPUS="0")
    assert (told["count"], told["devices"], told["notes"]) == (0, [], [])


@pytest.mark.parametrize(
    ("variables", "left"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [2, 0]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-00000001"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "\U0001f4a5,0"}, []),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, []),
        ({"NVIDIA_VISIBLE_DEVICES": "7"}, [0, 1, 2]),
    ],
)
def test_the_variables_are_honoured(stub: Path, variables: dict[str, str], left: list[int]) -> None:
    told = ask_stub(stub, NVML_STUB_GPUS="3", **variables)
    assert (told["count"], [each["physical"] for each in told["devices"]]) == (len(left), left)


def test_mig_instances_are_parts_of_their_gpu(stub: Path) -> None:
    told = ask_stub(stub, NVML_STUB_GPUS="2", NVML_STUB_MIG="20")
    assert (told["count"], told["present"]) == (1, 2)
    assert [(part["id"], part["name"], part["memory_bytes"]) for part in told["devices"][0]["partitions"]] == [
        ("MIG-00000000-0000-0000-0000-000000000001", "NVIDIA Stub 100 MIG 1g.10gb", 10 * GIB),
        ("MIG-00000000-0000-0000-0000-000000000002", "NVIDIA Stub 100 MIG 1g.10gb", 10 * GIB),
    ]
    assert told["devices"][1]["partitions"] == []
    assert "GPU 1 is in MIG mode and has no instance" in told["notes"][0]


def test_who_holds_a_gpu_is_named(stub: Path) -> None:
    told = ask_stub(stub, NVML_STUB_GPUS="2", NVML_STUB_PID=str(2**31))
    assert told["held"] == [{"device": 0, "pid": 2**31, "name": None, "memory_bytes": GIB}]


@pytest.mark.parametrize(
    ("fault", "count", "says", "does"),
    [
        ("not-loaded", 0, "Driver Not Loaded", "--gpus all"),
        ("mismatch", None, "version mismatch", "start the node anew"),
        ("unknown", None, "Unknown Error", "make it again"),
        ("lost", None, "GPU 1 does not answer", "Xid 79"),
        ("nonsense", None, "4000000000 GPUs", "nvidia-smi"),
    ],
)
def test_a_broken_driver_is_a_sentence_that_says_what_to_do_and_no_wrong_count(
    stub: Path, fault: str, count: int | None, says: str, does: str
) -> None:
    told = ask_stub(stub, NVML_STUB_GPUS="2", NVML_STUB_FAULT=fault)
    assert told["count"] == count
    (note,) = told["notes"]
    assert says in note
    assert does in note


def test_a_name_that_is_no_text_takes_no_gpu_away(stub: Path) -> None:
    told = ask_stub(stub, NVML_STUB_GPUS="1", NVML_STUB_FAULT="binary")
    assert (told["count"], told["devices"][0]["name"]) == (1, "NVIDIA GPU")


def test_a_driver_that_hangs_is_given_up_and_the_tool_is_not_asked(stub: Path, tmp_path: Path) -> None:
    fake_tool(tmp_path)
    told = ask_stub(stub, limit="0.1", NVML_STUB_FAULT="hang", PATH=str(tmp_path))
    assert (told["count"], told["devices"]) == (None, [])
    assert "gave no answer in 0.1 s" in told["notes"][0]


def test_a_library_that_is_none_leaves_it_to_the_tool(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library at all")
    fake_tool(tmp_path)
    tool = Tool({"-L": "GPU 0: Tesla T4 (UUID: GPU-aa)\n"})
    told = nvidia({"LD_LIBRARY_PATH": str(tmp_path), "PATH": str(tmp_path)}, tool)
    if real_library():
        pytest.skip("this machine has an NVML of its own")
    assert told is not None
    assert told.count == 1
    assert tool.asked[0] == (f"{tmp_path}/nvidia-smi", "-L")


class Tool:
    """An `nvidia-smi` that says the same each time it is asked the same; what it does not know ends with 2."""

    def __init__(self, says: Mapping[str, str | Answer]) -> None:
        self.says = says
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        self.asked.append(tuple(argv))
        for option, said in self.says.items():
            if argv[1].startswith(option):
                return said if isinstance(said, Answer) else Answer(code=0, stdout=said)
        return Answer(code=2, stdout="Field is not a valid field to query.\n")


def fake_tool(folder: Path) -> None:
    """A program of the name; it is never started here."""
    (folder / "nvidia-smi").write_text("#!/bin/false\n")
    (folder / "nvidia-smi").chmod(0o755)


def real_library() -> bool:
    return signs({}).library


@pytest.fixture
def by_tool(tmp_path: Path) -> dict[str, str]:
    """An environment with the tool and without the library."""
    if real_library():
        pytest.skip("this machine has an NVML of its own")
    fake_tool(tmp_path)
    return {"PATH": f"relative::{tmp_path}"}


LISTED = "GPU 0: H100 (UUID: GPU-aa)\nGPU 1: H100 (UUID: GPU-bb)\n"


def test_all_that_the_tool_tells(by_tool: dict[str, str]) -> None:
    tool = Tool(
        {
            "-L": LISTED,
            "--query-gpu=index": "0, GPU-aa, H100, 81559, 550.54.15\n1, GPU-bb, H100, [N/A], 550.54.15\n",
            "--query-compute-apps": "GPU-bb, 42, python, 1024\nGPU-other, 43, python, 1\n",
            "--version": "CUDA Version        : 12.4\n",
        }
    )
    told = nvidia(by_tool, tool)
    assert told is not None
    assert (told.count, told.driver, told.runtime, told.notes) == (2, "550.54.15", "12.4", ())
    assert [device.memory_bytes for device in told.devices] == [81559 << 20, None]
    assert [(each.device, each.pid, each.name) for each in told.held] == [(1, 42, "python")]


@pytest.mark.parametrize("name", ["nvidia-smi-L.mig.txt", "nvidia-smi-L.mig-before-470.txt"])
def test_instances_by_the_tool(by_tool: dict[str, str], name: str) -> None:
    told = nvidia(by_tool, Tool({"-L": (DATA / name).read_text()}))
    assert told is not None
    assert told.count == 1
    assert told.devices[0].partitions


def test_a_gpu_in_mig_mode_without_an_instance_by_the_tool(by_tool: dict[str, str]) -> None:
    told = nvidia(by_tool, Tool({"-L": LISTED, "--query-gpu=uuid": "GPU-aa, Enabled\nGPU-bb, Disabled\n"}))
    assert told is not None
    assert told.count == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(code=None, fault="gave no answer in 5 s"), "gave no answer in 5 s"),
        (Answer(code=None, fault="cannot be started (no such file)"), "cannot be started"),
        (Answer(code=9, stdout="NVIDIA-SMI has failed because it couldn't communicate"), "couldn't communicate"),
        (Answer(code=18, stdout="Failed to initialize NVML: Driver/library version mismatch"), "version mismatch"),
        (Answer(code=0, stdout=""), "said 'nothing'"),
        (Answer(code=0, stdout="\x00\x1b[2J" * 20_000), "GPUs are not counted"),
        (Answer(code=0, stdout=f"{LISTED}Unable to determine the device handle for GPU 2"), "Unable to determine"),
        (Answer(code=139, stdout=LISTED), "ended with 139"),
    ],
)
def test_a_tool_that_fails_is_a_sentence_and_is_not_asked_on(
    by_tool: dict[str, str], answer: Answer, says: str
) -> None:
    tool = Tool({"-L": answer})
    told = nvidia(by_tool, tool)
    assert told is not None
    assert told.count is None
    (note,) = told.notes
    assert says in note
    assert len(note) < 1000
    assert len(tool.asked) == 1


def test_a_tool_that_finds_none(by_tool: dict[str, str]) -> None:
    tool = Tool({"-L": "No devices found.\n"})
    told = nvidia(by_tool, tool)
    assert told is not None
    assert (told.count, told.notes, len(tool.asked)) == (0, (), 1)


@pytest.mark.parametrize("environ", [{}, {"PATH": "", "LD_LIBRARY_PATH": ""}, {"PATH": ":\x00:relative", "HOME": "/"}])
def test_a_node_without_nvidia_is_asked_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    tool = Tool({})
    assert nvidia(environ, tool, top=str(tmp_path)) is None
    assert tool.asked == []


@pytest.mark.parametrize("name", ["nvidiactl", "nvidia-uvm", "nvidia-caps", "nvidia", "nvidia0x", "dxg"])
def test_files_that_are_of_no_gpu(name: str, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / name).touch()
    assert nvidia({}, Tool({}), top=str(tmp_path)) is None


def test_device_files_that_nobody_can_be_asked_of_are_not_counted(tmp_path: Path) -> None:
    if real_library():
        pytest.skip("this machine has an NVML of its own")
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    told = nvidia({}, Tool({}), top=str(tmp_path))
    assert told is not None
    assert told.count is None
    assert "/dev/nvidia0, /dev/nvidia1 are here" in told.notes[0]


def test_the_name_of_a_process_is_that_of_the_one_that_has_a_gpu_open(tmp_path: Path) -> None:
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532999]")
    for pid, file in ((7, "/dev/nvidia0"), (8, "/dev/null")):
        (tmp_path / f"{pid}/fd").mkdir(parents=True)
        (tmp_path / f"{pid}/fd/3").symlink_to(file)
        (tmp_path / f"{pid}/comm").write_text("python\n")
    assert [program(pid, str(tmp_path)) for pid in (7, 8, 9)] == ["python", None, None]
    (tmp_path / "self/ns/pid").unlink()
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026531836]")
    assert [program(pid, str(tmp_path)) for pid in (7, 8, 9)] == ["python", "python", None]
