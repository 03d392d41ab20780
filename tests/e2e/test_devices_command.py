"""`launcher devices` as a user meets it: on this machine, with a stub for NVML, with tools that misbehave."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ends import compiled, until
from rig import LAUNCHER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rig import Rig

MIB = 1 << 20
CPUS = len(os.sched_getaffinity(0))
LISTED = "echo 'GPU 0: Tesla T4 (UUID: GPU-aa)'"

_numbers = itertools.count()


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The test's own, without what chooses devices."""
    own = {name: value for name, value in os.environ.items() if not name.endswith("_VISIBLE_DEVICES")}
    return {**own, **(more or {})}


def devices(
    *arguments: str, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        (*before, *LAUNCHER, "devices", *arguments),
        env=environment() if env is None else env,
        capture_output=True,
        check=False,
        timeout=100,
    )


def document(env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()) -> Any:
    done = devices("--json", env=env, before=before)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which NVML is the stub."""
    folder = tmp_path_factory.mktemp("nvml")
    os.rename(compiled(folder, "nvml_stub", "-shared", "-fPIC"), folder / "libnvidia-ml.so.1")
    return environment({"LD_LIBRARY_PATH": str(folder)})


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """A node with a tool and nothing else of NVIDIA's."""
    if document()["type"] != "CPU":
        pytest.skip("this machine has devices of its own")
    return Tool(tmp_path)


class Tool:
    """An `nvidia-smi` that is a shell script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.env = environment({"PATH": f"{self.folder}:{os.environ['PATH']}"})

    def does(self, script: str) -> Tool:
        """What it does when it is asked anything."""
        (self.folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "nvidia-smi").chmod(0o755)
        return self


def test_the_document_has_the_fields_that_are_published() -> None:
    told = document()
    assert list(told)[:6] == ["type", "count", "devices", "cpus", "memory_bytes", "limits_from"]
    assert told["type"] in {"CPU", "GPU", "Ascend"}
    assert 0 < told["cpus"] <= CPUS


def test_a_person_is_told_of_the_same(stub: dict[str, str]) -> None:
    env = {**stub, "NVML_STUB_GPUS": "3", "NVML_STUB_PID": str(2**31), "CUDA_VISIBLE_DEVICES": "2,0"}
    done = devices(env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines()[:4] == [
        "GPU 0: NVIDIA Stub 100, 80.0 GB, number 2 of all, GPU-00000002-0000-0000-0000-000000000000",
        "GPU 1: NVIDIA Stub 100, 80.0 GB, number 0 of all, GPU-00000000-0000-0000-0000-000000000000",
        "  held by process 2147483648, 1.0 GB",
        "2 GPU devices, CUDA_VISIBLE_DEVICES=2,0 chose of 3, driver 550.54.15, CUDA 12.4",
    ]


def test_what_could_not_be_found_out_is_a_warning_and_no_failure(stub: dict[str, str]) -> None:
    done = devices(env={**stub, "NVML_STUB_FAULT": "mismatch"})
    assert done.returncode == 0
    assert done.stderr.startswith(b"warning: NVIDIA's driver says ")
    assert b"could not be counted" in done.stdout


def test_help_has_an_example() -> None:
    done = devices("--help")
    assert done.returncode == 0
    assert b"launcher devices --json" in done.stdout


def test_an_option_that_is_none_is_a_matter_of_usage() -> None:
    assert devices("--jsno").returncode == 2


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"PATH": ""},
        {"PATH": "/nowhere:\x7f", "LD_LIBRARY_PATH": "::/nowhere"},
        {"CUDA_VISIBLE_DEVICES": "x" * 100_000, "ASCEND_RT_VISIBLE_DEVICES": "\x1b[2J", "NVIDIA_VISIBLE_DEVICES": ","},
        {"CUDA_VISIBLE_DEVICES": os.fsdecode(b"\xff\xfe"), "HIP_VISIBLE_DEVICES": "\n\n"},
    ],
)
def test_an_odd_environment_is_no_failure(env: dict[str, str]) -> None:
    done = devices("--json", env=env)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert json.loads(done.stdout)["cpus"] > 0


@pytest.mark.parametrize("value", ["0,x\x1b[2J", os.fsdecode(b"0,\xff")])
def test_what_a_variable_says_steers_no_terminal(stub: dict[str, str], value: str) -> None:
    env = {**stub, "NVML_STUB_GPUS": "2", "CUDA_VISIBLE_DEVICES": value}
    done = devices(env=env)
    assert done.returncode == 0
    assert b"1 GPU device" in done.stdout
    assert b"\x1b" not in done.stdout + done.stderr
    assert json.loads(devices("--json", env=env).stdout)["count"] == 1


def test_a_tool_that_answers(tool: Tool) -> None:
    told = document(tool.does(LISTED).env)
    assert (told["type"], told["count"], told["notes"]) == ("GPU", 1, [])


@pytest.mark.parametrize(
    "script",
    [
        "head -c 10000000 /dev/zero | tr '\\0' x",
        "yes 'GPU 0: Tesla T4 (UUID: GPU-aa)' | head -c 10000000",
        "head -c 100000 /dev/urandom",
        "echo no good >&2; exit 9",
        f"{LISTED}; kill -SEGV $$",
        "exit 0",
    ],
)
def test_a_tool_that_talks_nonsense_is_a_sentence_and_no_count(tool: Tool, script: str) -> None:
    told = document(tool.does(script).env)
    assert (told["type"], told["count"]) == ("GPU", None)
    (note,) = told["notes"]
    assert "not counted" in note
    assert len(note) < 1000


def test_a_tool_that_is_no_program(tool: Tool) -> None:
    tool.does("")
    (tool.folder / "nvidia-smi").write_bytes(b"\x7fELF and no more")
    told = document(tool.env)
    assert told["count"] is None
    assert "cannot be started" in told["notes"][0]


def test_a_tool_that_hangs_is_ended_and_asked_nothing_more(tool: Tool, tmp_path: Path) -> None:
    told = document(tool.does(f'echo $$ >> "{tmp_path}/pids"\nexec sleep 1000').env)
    assert told["count"] is None
    assert "gave no answer in 5 s" in told["notes"][0]
    (pid,) = (tmp_path / "pids").read_text().split()
    assert not os.path.exists(f"/proc/{pid}")


def test_a_tool_whose_child_keeps_the_pipe_is_not_waited_for(tool: Tool, tmp_path: Path) -> None:
    told = document(tool.does(f'setsid sleep 1000 &\necho $! >> "{tmp_path}/pids"\n{LISTED}').env)
    assert told["count"] == 1
    pids = (tmp_path / "pids").read_text().split()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_tool_hangs_ends_both(tool: Tool, tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "asked")
    tool.does(f'echo $$ > "{tmp_path}/asked"\nexec sleep 1000')
    with subprocess.Popen(
        (*LAUNCHER, "devices"), env=tool.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            pid = (tmp_path / "asked").read_text().strip()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (128 + number, b"", b"")
    assert not os.path.exists(f"/proc/{pid}")


def test_a_run_that_is_ended_while_a_tool_hangs_ends_as_terminated(tool: Tool, tmp_path: Path, local_rig: Rig) -> None:
    local_rig.code("print('never')")
    os.mkfifo(tmp_path / "asked")
    tool.does(f'echo $$ > "{tmp_path}/asked"\nexec sleep 1000')
    with local_rig.running(env={"PATH": tool.env["PATH"]}) as process:
        pid = (tmp_path / "asked").read_text().strip()
        process.send_signal(signal.SIGTERM)
        result = local_rig.finish(process)
    assert (result.code, result.out) == (143, ""), result.err
    assert result.run_json is None or result.run_json["phase"] == "Terminated"
    assert not os.path.exists(f"/proc/{pid}")


# A private mount namespace, in which a real group of version 2 shows files with limits that this kernel may not have
# in that version; the program itself is told nothing of it.
SHOW = r"""
set -eu
name=$1 outer_cpu=$2 inner_cpu=$3 outer_memory=$4 inner_memory=$5
shift 5
mount --make-rprivate /
mount -t tmpfs none /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
group=/sys/fs/cgroup/$name
mkdir -p "$group/inner"
trap 'umount "$group"; rmdir "$group/inner" "$group"' EXIT
sh -c '
    set -eu
    group=$1 outer_cpu=$2 inner_cpu=$3 outer_memory=$4 inner_memory=$5
    shift 5
    echo $$ > "$group/inner/cgroup.procs"
    mount -t tmpfs none "$group"
    mkdir "$group/inner"
    echo "$outer_cpu 100000" > "$group/cpu.max"
    echo "$outer_memory" > "$group/memory.max"
    echo "$inner_cpu 100000" > "$group/inner/cpu.max"
    echo "$inner_memory" > "$group/inner/memory.max"
    exec "$@"
' sh "$group" "$outer_cpu" "$inner_cpu" "$outer_memory" "$inner_memory" "$@"
"""


@pytest.mark.parametrize(
    ("limits", "cpus", "memory"),
    [
        (("50000", "max", "max", f"{256 * MIB}"), 0.5, 256 * MIB),
        (("75000", "25000", f"{192 * MIB}", f"{384 * MIB}"), 0.25, 192 * MIB),
        (("25000", "75000", f"{384 * MIB}", "max"), 0.25, 384 * MIB),
    ],
)
def test_the_limits_of_version_2_nested_ones_included(limits: tuple[str, ...], cpus: float, memory: int) -> None:
    tried = subprocess.run(("unshare", "-m", "true"), capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no private mount namespace can be made here: {tried.stderr.strip()}")
    name = f"launcher-devices-{os.getpid()}-{next(_numbers)}"
    told = document(before=("unshare", "-m", "sh", "-c", SHOW, "sh", name, *limits))
    assert (told["cpus"], told["memory_bytes"], told["limits_from"]) == (cpus, memory, "cgroup v2")


@contextlib.contextmanager
def nested_group() -> Iterator[tuple[list[Path], str]]:
    """Real nested groups with limits in whichever version this machine has, or a skip; the inner ones, to be in."""
    name, top = f"launcher-devices-{os.getpid()}-{next(_numbers)}", Path("/sys/fs/cgroup")
    if (top / "memory/memory.limit_in_bytes").exists():
        source, outer = "cgroup v1", [top / "cpu" / name, top / "memory" / name]
        files = [("cpu.cfs_quota_us", "50000", "25000"), ("memory.limit_in_bytes", f"{512 * MIB}", f"{1024 * MIB}")]
    elif (top / "cgroup.subtree_control").exists():
        source, outer = "cgroup v2", [top / name]
        files = [("cpu.max", "50000 100000", "25000 100000"), ("memory.max", f"{512 * MIB}", f"{1024 * MIB}")]
    else:
        pytest.skip("no controllers are mounted below /sys/fs/cgroup")
    made: list[Path] = []
    try:
        try:
            for folder in outer:
                folder.mkdir()
                made.append(folder)
                if source == "cgroup v2":
                    (folder / "cgroup.subtree_control").write_text("+cpu +memory")
                (folder / "inner").mkdir()
                made.append(folder / "inner")
            for file, above, below in files:
                folder = next(folder for folder in outer if (folder / file).exists())
                (folder / file).write_text(above)
                # a quota of version 1 may not be above that of the group that it is in, a limit of memory may
                (folder / "inner" / file).write_text(below)
        except (OSError, StopIteration) as error:
            pytest.skip(f"control groups with limits cannot be made here: {error!r}")
        yield [folder / "inner" for folder in outer], source
    finally:
        for folder in reversed(made):
            until(partial(emptied, folder))


def emptied(group: Path) -> bool:
    """Take a group away; a process that ends is a member until it is gone."""
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def test_the_limits_of_a_real_group_nested_ones_included() -> None:
    with nested_group() as (groups, source):
        join = 'for each in $0; do echo $$ > "$each/cgroup.procs"; done; exec "$@"'
        told = document(before=("sh", "-c", join, " ".join(map(str, groups))))
    assert (told["cpus"], told["memory_bytes"], told["limits_from"]) == (0.25, 512 * MIB, source)


def test_processors_by_affinity() -> None:
    one = str(min(os.sched_getaffinity(0)))
    narrow = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"
    assert document(before=(sys.executable, "-c", narrow, one))["cpus"] <= 1
