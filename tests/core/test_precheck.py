"""The pre-check's judgements: what is seen, what is wanted, and the line that comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from test_constraints import node

from launcher.core import precheck as judge
from launcher.core.devices import Device, Holder
from launcher.core.interpreter import Interpreter
from launcher.core.plan import Checks
from launcher.core.precheck import Item, Room
from launcher.core.wheels import Wheel

GIB = 1024**3
CHECKS = Checks()
ENGINE = "pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64"
PYTHON = Interpreter(
    path="/bin/python",
    python="3.7.10",
    machine="x86_64",
    packages={"torch": "1.8.0+cu102"},
    cuda="10.2",
    tags=frozenset({"cp37-cp37m-linux_x86_64", "py3-none-any"}),
)


def cards(count: int | None = 2, kind: Any = "GPU", **more: Any) -> Any:
    named = tuple(Device(index=n, name="V100") for n in range(count or 0))
    return node(kind, count, **{"devices": named, **more})


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (Item(name="dns", state="ok", said="2 names resolve", action="x"), "item dns: ok: 2 names resolve"),
        (Item(name="a", state="failed", said="b", action="C."), "item a: error,exiting: b. C."),
        (Item(name="a", state="warned", said="b", action="C."), "item a: warning: b. C."),
        (Item(name="a", state="skipped", said="b"), "item a: skipped: b"),
        (Item(name="a", state="failed", said="b"), "item a: error,exiting: b"),
    ],
)
def test_a_line_has_the_service_s_words(item: Item, line: str) -> None:
    assert judge.line(item) == line


def test_names_that_do_not_resolve_are_named() -> None:
    assert judge.dns({}).state == "skipped"
    assert judge.dns({"a": None}).said == "1 name resolves"
    assert judge.dns({"a": None, "b": None}).state == "ok"
    item = judge.dns({"a": None, **{f"w-{n}": "Name or service not known" for n in range(7)}})
    assert (item.state, item.said[:70]) == (
        "failed",
        "7 of 8 names do not resolve: w-0 (Name or service not known), w-1 (Nam",
    )
    assert item.said.endswith(" and 2 more")


def test_a_disk_with_enough_room_is_well() -> None:
    room = Room(free_bytes=40 * GIB, whole_bytes=50 * GIB)
    assert judge.disk_size("root", "/", room, 32 * GIB) == Item(
        name="disk-size root", state="ok", said="/ has 40.0 GB free"
    )
    assert judge.disk_size("root", "/", room, 40 * GIB).state == "ok"
    assert judge.disk_size("cache", "/cache", None, 1) == Item(
        name="disk-size cache", state="skipped", said="this node has no /cache"
    )


def test_a_disk_without_room_says_what_is_wanted_and_which_setting_says_so() -> None:
    item = judge.disk_size("root", "/", Room(free_bytes=GIB, whole_bytes=50 * GIB), 32 * GIB)
    assert (item.state, item.said) == ("failed", "/ has 1.0 GB free, 32.0 GB wanted")
    assert "LAUNCHER_CHECK_ROOT" in item.action
    item = judge.disk_size("shm", "/dev/shm", Room(free_bytes=0, whole_bytes=64 * 1024**2), GIB, whole=True)
    assert (item.state, item.said) == ("failed", "/dev/shm has 64.0 MB, 1.0 GB wanted")
    assert "--shm-size" in item.action
    assert judge.disk_size("shm", "/dev/shm", Room(free_bytes=0, whole_bytes=GIB), GIB, whole=True).state == "ok"


def test_a_disk_without_inodes_is_warned_of() -> None:
    item = judge.disk_size("root", "/", Room(free_bytes=GIB, whole_bytes=GIB, inodes=7), 1)
    assert (item.state, item.said) == ("warned", "/ has 1.0 GB free, but room for 7 more files only")
    assert judge.disk_size("root", "/", Room(free_bytes=GIB, whole_bytes=GIB, inodes=10**6), 1).state == "ok"


def test_limits_matter_where_there_is_infiniband() -> None:
    good = {"memlock": None, "nofile": 1048576, "stack": 8192, "nproc": None}
    assert judge.ulimit({}, CHECKS, infiniband=False).state == "skipped"
    assert judge.ulimit(good, CHECKS, infiniband=True).state == "ok"
    item = judge.ulimit({**good, "memlock": 64, "nofile": 1024}, CHECKS, infiniband=True)
    assert (item.state, item.said) == (
        "failed",
        "max locked memory (ulimit -l) is 64 KiB, 16,000 KiB wanted; open files (ulimit -n) is 1,024, 1,000,000 wanted",
    )


@pytest.mark.parametrize(
    ("devices", "said", "state", "words"),
    [
        (node(), None, "skipped", "no GPU is wanted; this node has CPU (2 processors)"),
        (node(), "0", "skipped", "no GPU is wanted; this node has CPU (2 processors)"),
        (node(), " ", "skipped", "no GPU is wanted; this node has CPU (2 processors)"),
        (node(), "8", "failed", "MA_NUM_GPUS says 8; this node has CPU (2 processors)"),
        (node(), "x", "warned", "MA_NUM_GPUS is 'x', a number of devices was expected"),
        (cards(), None, "ok", "2 GPU (V100)"),
        (cards(devices=()), None, "ok", "2 GPU"),
        (cards(), "2", "ok", "2 GPU (V100)"),
        (cards(), "4", "failed", "MA_NUM_GPUS says 4; this node has GPU (2)"),
        (cards(), "1", "warned", "MA_NUM_GPUS says 1; this node has GPU (2)"),
        (cards(None), "4", "failed", "this node has GPU (how many could not be told)"),
        (cards(kind="Ascend"), "9", "skipped", "this node has Ascend devices, and no GPU is looked for"),
    ],
)
def test_gpus_are_found_as_many_as_the_platform_says(devices: Any, said: str | None, state: str, words: str) -> None:
    item = judge.gpu_check(devices, said)
    assert (item.name, item.state, item.said) == ("gpu-check", state, words)


def test_ascend_devices_are_looked_at_by_an_item_of_their_own() -> None:
    assert judge.npu_check(cards(), "2").state == "skipped"
    assert judge.npu_check(cards(8, "Ascend"), "8").said == "8 Ascend (V100)"
    assert judge.npu_check(cards(4, "Ascend"), "8").state == "failed"


def test_a_sick_device_fails_and_one_that_is_in_doubt_is_warned_of() -> None:
    def with_health(*words: str | None) -> Item:
        named = tuple(Device(index=n, name="910B3", health=word) for n, word in enumerate(words))
        return judge.npu_check(cards(len(words), "Ascend", devices=named), None)

    assert with_health("OK", None, "Normal").state == "ok"
    item = with_health("OK", "Warning", "Alarm", "")
    assert item.state == "failed"
    assert item.said == (
        "device 1 (910B3): its health is Warning; device 2 (910B3): its health is Alarm; "
        "device 3 (910B3): its health is not told"
    )
    assert with_health("UNKNOWN").state == "warned"


def test_who_holds_a_device_already_is_named() -> None:
    held = (Holder(device=0, pid=7, name="python", memory_bytes=GIB), Holder(device=1, pid=8))
    item = judge.gpu_check(cards(held=held), None)
    assert (item.state, item.said) == (
        "warned",
        "held already: device 0 by python (pid 7, 1.0 GB), device 1 by a process (pid 8)",
    )


def test_an_engine_whose_promises_are_kept_is_well() -> None:
    item = judge.engine_check(ENGINE, PYTHON, cards(runtime="11.4"))
    assert (item.state, item.said) == ("ok", f"what {ENGINE} promises is here")
    assert judge.engine_check("mpi_3.0-py_3.7", PYTHON, node()).state == "ok"
    assert judge.engine_check("pytorch-cp37", PYTHON, node()).state == "ok"


def test_an_engine_of_which_nothing_is_known_is_skipped() -> None:
    assert judge.engine_check(None, PYTHON, node()).said == "the job names no version of an engine"
    item = judge.engine_check("fastseq:1.2", PYTHON, node())
    assert (item.state, item.said) == ("skipped", "the name 'fastseq:1.2' says nothing of it")


@pytest.mark.parametrize(
    ("version", "changes", "devices", "words"),
    [
        (ENGINE, {"machine": "aarch64"}, node(), "it is for x86_64, this node is aarch64"),
        (ENGINE, {"python": "3.11.2"}, node(), "it has Python 3.7, /bin/python is 3.11.2"),
        (ENGINE, {"packages": {}}, node(), "torch is not installed"),
        (ENGINE, {"packages": {"torch": "2.0"}}, node(), "it has pytorch 1.8.0, installed is torch 2.0"),
        (ENGINE, {"cuda": "11.3"}, node(), "it has CUDA 10.2, torch was built for 11.3"),
        (ENGINE, {}, cards(kind="Ascend"), "it is for CUDA 10.2, this node has Ascend (2)"),
        (ENGINE, {}, cards(runtime="10.1"), "it has CUDA 10.2, the driver of this node goes up to 10.1"),
        ("pytorch_1.8.0-cann_7.0.1", {}, cards(), "it is for CANN 7.0.1, this node has GPU (2)"),
        ("pytorch_1.8.0-cann_7.0.1", {}, cards(kind="Ascend", runtime="8.0.0"), "it has CANN 7.0.1, here is 8.0.0"),
    ],
)
def test_an_engine_that_does_not_fit_is_warned_of(
    version: str, changes: dict[str, Any], devices: Any, words: str
) -> None:
    told = {name: getattr(PYTHON, name) for name in PYTHON.__struct_fields__} | changes
    item = judge.engine_check(version, Interpreter(**told), devices)
    assert (item.state, item.said) == ("warned", f"{version}: {words}")
    assert judge.engine_check("pytorch_1.8.0-cann_7.0.1", PYTHON, cards(kind="Ascend", runtime="7.0.1")).state == "ok"
    assert judge.engine_check("pytorch_1.8.0-cann_7.0.1", PYTHON, cards(kind="Ascend")).state == "ok"


def test_an_interpreter_that_says_nothing_is_told() -> None:
    item = judge.engine_check(ENGINE, Interpreter(path="/p", fault="is not there"), node())
    assert item.said.endswith("the interpreter could not be asked: /p is not there")
    assert judge.engine_check(ENGINE, None, node()).said.endswith("asked: which Python will run is not known")
    assert judge.engine_check(ENGINE, Interpreter(path="/p", packages=PYTHON.packages), node()).state == "ok"


GOOD, FOREIGN = Wheel(file="a-1-py3-none-any.whl", path="a"), Wheel(file="b-1-cp39-cp39-linux_x86_64.whl", path="b")


def test_wheels_that_pip_will_not_take_fail() -> None:
    assert judge.wheel_check(None, (), (), PYTHON).said == "the code has no pip file"
    assert judge.wheel_check("r.txt", (), (), PYTHON).said == "r.txt names no wheel"
    assert judge.wheel_check("r.txt", (GOOD,), (), PYTHON).said == "1 wheel of r.txt fits Python 3.7.10 on x86_64"
    item = judge.wheel_check("r.txt", (GOOD, FOREIGN), (), PYTHON)
    assert (item.state, item.said) == ("failed", "b-1-cp39-cp39-linux_x86_64.whl is for cp39-cp39-linux_x86_64")
    assert item.action == "Put wheels for Python 3.7.10 on x86_64 into the code directory, and name these in r.txt."
    item = judge.wheel_check("r.txt", (GOOD,), ("a",), PYTHON)
    assert (item.state, item.said) == ("failed", "a-1-py3-none-any.whl is not beside the pip file")


def test_a_wheel_under_a_condition_is_only_warned_of() -> None:
    maybe = Wheel(file=FOREIGN.file, path="b", maybe=True)
    assert judge.wheel_check("r.txt", (maybe,), (), PYTHON).state == "warned"
    assert judge.wheel_check("r.txt", (maybe,), ("b",), PYTHON).state == "warned"


def test_without_an_interpreter_only_what_is_missing_is_known() -> None:
    for nobody in (None, Interpreter(path="p", fault="is not there")):
        assert judge.wheel_check("r.txt", (GOOD, FOREIGN), (), nobody).state == "skipped"
        assert judge.wheel_check("r.txt", (GOOD, FOREIGN), ("b",), nobody).state == "failed"
    tagless = Interpreter(path="p", python="3.7.1", machine="m")
    assert judge.wheel_check("r.txt", (GOOD,), (), tagless).said == (
        "which wheels Python 3.7.1 on m takes could not be asked of its pip"
    )


@pytest.mark.parametrize(
    ("skew", "state", "words"),
    [
        (None, "skipped", "nobody told"),
        (0.0, "ok", "at most 0 s from the store's"),
        (-12.4, "ok", "at most 12 s from the store's"),
        (400.0, "failed", "this node's clock is 400 s ahead of the store's, 300 s may be"),
        (-400.0, "failed", "this node's clock is 400 s behind the store's, 300 s may be"),
    ],
)
def test_a_clock_may_differ_by_so_much(skew: float | None, state: str, words: str) -> None:
    item = judge.clock(skew, "nobody told", 300.0)
    assert (item.name, item.state, item.said) == ("clock", state, words)
