"""How much devices do: an unmodified nvidia-ml-py over a stub of NVML, and a made-up npu-smi. No device was near."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ends import compiled
from talking import exit_of, sh

from launcher.adapters.npuuse import NpuSmiUse
from launcher.adapters.process import SystemProcesses
from launcher.adapters.process.tool import Tool
from launcher.core.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATA = Path(__file__).parent.parent / "data" / "devices"
USAGE = "Aicore Usage Rate(%) : {}\nHBM Bandwidth Usage Rate(%) : 4\n"
# The loader reads LD_LIBRARY_PATH when a process begins, so that the stub is met by a process of its own.
SAMPLE = """
import json, os, sys
from launcher.adapters.nvidia.use import NvmlUse
use = NvmlUse(sys.argv[2:], float(sys.argv[1]))
told = []
for _ in range(3):
    try: told.append(use.sample())
    except OSError as error: told.append(str(error.strerror))
print(json.dumps(told), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libnvidia-ml.so.1 that says what it is told to."""
    folder = tmp_path_factory.mktemp("nvml")
    os.rename(compiled(folder, "nvml_stub", "-shared", "-fPIC"), folder / "libnvidia-ml.so.1")
    return folder


def sampled(stub: Path, *ids: str, limit: str = "60", **settings: str) -> Any:
    """Three samples in a row."""
    done = subprocess.run(
        (sys.executable, "-c", SAMPLE, limit, *ids),
        env={**os.environ, "LD_LIBRARY_PATH": str(stub), **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return json.loads(done.stdout)


def test_gpus_that_all_do_the_same(stub: Path) -> None:
    assert sampled(stub, NVML_STUB_GPUS="2", NVML_STUB_USE="constant") == [[100, 0, 100, 0]] * 3


def test_only_the_gpus_of_the_job_are_sampled(stub: Path) -> None:
    one = "GPU-00000001-0000-0000-0000-000000000000"
    assert sampled(stub, one, NVML_STUB_GPUS="2", NVML_STUB_USE="varying") == [[100, 20], [100, 25], [100, 30]]


def test_a_driver_that_tells_no_use_is_a_sentence(stub: Path) -> None:
    told = sampled(stub, NVML_STUB_GPUS="1")
    assert all(each.startswith("NVIDIA's driver says") for each in told)


def test_a_driver_that_hangs_is_asked_once(stub: Path) -> None:
    told = sampled(stub, limit="0.2", NVML_STUB_GPUS="1", NVML_STUB_FAULT="hang")
    assert told == ["NVIDIA's driver gave no answer in 0.2 s"] * 3


class Npus:
    """An npu-smi that says the next of these numbers each time."""

    def __init__(self, *rates: int, mapping: str | None = None, fault: str | None = None) -> None:
        self.rates = list(rates)
        self.mapping = (DATA / "npu-smi-info-m.910b3.txt").read_text() if mapping is None else mapping
        self.fault = fault
        self.asked: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        self.asked.append(argv[1:])
        if self.fault is not None:
            return Answer(code=None, fault=self.fault)
        text = self.mapping if "-m" in argv else USAGE.format(self.rates.pop(0)) if self.rates else "nothing"
        return Answer(code=0, stdout=text)


def test_npus_are_asked_for_by_their_cards() -> None:
    npus = Npus(80, 81, 82, 83)
    use = NpuSmiUse(npus, "/npu-smi", (0, 1))
    assert (use.sample(), use.sample()) == ([80, 4, 81, 4], [82, 4, 83, 4])
    cards = [("info", "-t", "usages", "-i", str(card)) for card in (0, 1)]
    assert npus.asked == [("info", "-m"), *cards, *cards]


@pytest.mark.parametrize(
    ("npus", "says"),
    [
        (Npus(mapping=""), "lists no NPU"),
        (Npus(), "tells no rates of NPU 0"),
        (Npus(fault="gave no answer in 5 s"), "info -m gave no answer in 5 s"),
    ],
)
def test_an_npu_smi_that_tells_nothing_is_a_sentence(npus: Npus, says: str) -> None:
    use = NpuSmiUse(npus, "/npu-smi", (0,))
    with pytest.raises(OSError, match=says):
        use.sample()


def test_an_npu_smi_that_gives_no_answer_is_asked_once() -> None:
    npus = Npus(fault="gave no answer in 5 s")
    use = NpuSmiUse(npus, "/npu-smi", (0,))
    for _ in range(2):
        with pytest.raises(OSError, match="gave no answer"):
            use.sample()
    assert len(npus.asked) == 1


def test_a_tool_beside_the_reaper_keeps_its_own_end() -> None:
    """The reaper takes what it started, and leaves the tool to who asked it."""
    with SystemProcesses() as processes:
        tool = Tool({"PATH": os.environ["PATH"], "A": "b"})
        for _ in range(20):
            with open(os.devnull, "w") as null:
                pid = sh(processes, "exit 3", null.fileno())
            answer = tool(("sh", "-c", "echo $A $C; echo oh >&2; exit 5"), env={"C": "d"})
            assert (answer.code, answer.stdout, answer.stderr) == (5, "b d\n", "oh\n")
            assert exit_of(processes, pid).code == 3


def test_a_tool_that_is_not_there_or_does_not_answer() -> None:
    tool = Tool({"PATH": os.environ["PATH"]})
    assert tool(("/no/such/tool",)).fault == "cannot be started (No such file or directory)"
    assert tool(("sleep", "100"), 0.05).fault == "gave no answer in 0.05 s"
