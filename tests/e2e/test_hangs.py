"""Trainings that hang are told and, where that is wanted, ended; what is only slow is left alone: real launchers."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from ends import compiled
from hanging import SAYS, SETTINGS, observe, program

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Rig

# The boot file stands until somebody speaks to it.
STANDS = """
import sys
print("stands", flush=True)
open("{fifo}").read()
print("goes on", flush=True)
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libnvidia-ml.so.1 that says what it is told to."""
    folder = tmp_path_factory.mktemp("nvml")
    os.rename(compiled(folder, "nvml_stub", "-shared", "-fPIC"), folder / "libnvidia-ml.so.1")
    return folder


@pytest.mark.parametrize("name", ["two_locks", "endless_loop", "long_sleep", "stopped_child", "missing_rank"])
def test_what_hangs_is_told_as_what_it_is_and_ended(name: str, tmp_path: Path) -> None:
    seen = observe(program(name), tmp_path)
    assert seen.told is not None, seen.said
    assert seen.killed, seen.said
    manner = program(name).manner
    assert [each for each in SAYS if each != "still" and SAYS[each] in seen.told] == (
        [] if manner == "still" else [manner]
    )


def test_a_collective_that_spins_is_told_by_the_use_of_its_devices(stub: Path, tmp_path: Path) -> None:
    seen = observe(program("collective_spin"), tmp_path, stub)
    assert seen.told is not None, seen.said
    assert "the use of its devices does not change" in seen.told
    assert seen.killed


@pytest.mark.parametrize("name", ["slow_download", "device_waited_for", "heart"])
def test_what_is_only_slow_is_left_alone(name: str, stub: Path, tmp_path: Path) -> None:
    seen = observe(program(name), tmp_path, stub)
    assert (seen.told, seen.killed, seen.code) == (None, False, 0), seen.said


def test_by_default_it_is_told_and_goes_on(local_rig: Rig) -> None:
    fifo = local_rig.folder / "fifo"
    os.mkfifo(fifo)
    local_rig.code(STANDS.format(fifo=fifo))
    told = threading.Event()
    lines: list[str] = []
    with local_rig.running(env={**SETTINGS, "LAUNCHER_HANG": "on"}) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "has not moved for" in line and not told.is_set():
                told.set()
                fifo.write_text("on")
        assert process.wait(60) == 0, lines
    assert told.is_set(), lines
    events = [each for each in local_rig.events() if "has not moved" in each]
    assert len(events) >= 1
    assert "no read, no write, no output" in events[0]
