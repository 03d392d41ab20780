"""The check of a node as a step: every item told whatever becomes of another, and what of the store is touched."""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fake_store import (
    BUCKET,
    FakeClock,
    FakeRecord,
    FakeStore,
    broken,
    make_input,
    make_output,
    make_plan,
    missing,
    never,
    refused,
)
from threadless import no_threads

from launcher.core.devices import ONE_CPU
from launcher.core.errors import Cancelled, LauncherError
from launcher.core.interpreter import Interpreter
from launcher.core.occupancy import seconds
from launcher.core.plan import Checks, Code, Meeting, Plan, Process, Rendezvous
from launcher.core.precheck import Item, Room
from launcher.core.urls import Location
from launcher.precheck import check, job_items, node_items
from launcher.precheck.probes import WIDTH, Probe, examine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

NOW = seconds(FakeClock().now())
GIB = 1024**3
PYTHON = Interpreter(path="/p", python="3.7.1", machine="x86_64", tags=frozenset({"py3-none-any"}))
GOOD = "foo-1.0-py3-none-any.whl"


class FakeNode:
    """A node with room for everything, whose peers are the names given; `unknown` do not resolve."""

    def __init__(self, *peers: str, unknown: Sequence[str] = ()) -> None:
        self.names = peers
        self.unknown = unknown
        self.asked: list[str] = []

    def room(self, path: str) -> Room | None:
        return None if path.endswith("/cache") else Room(free_bytes=100 * GIB, whole_bytes=100 * GIB)

    def limits(self) -> Mapping[str, int | None]:
        return {"nofile": 1024}

    def infiniband(self) -> bool:
        return False

    def peers(self) -> Sequence[str]:
        return self.names

    def resolve(self, name: str) -> str | None:
        self.asked.append(name)
        return "Name or service not known" if name in self.unknown else None


class DatedStore(FakeStore):
    """A store whose clock is `ahead` seconds ahead of the node's."""

    ahead = 0.0

    def modified(self, at: Location) -> float:
        self._meet("modified", at.key)
        return NOW + self.ahead


def plan_for(root: Path, **more: Any) -> Plan:
    code = Code(source=Location(BUCKET, "code/"), path=f"{root}/job/code", boot_file=f"{root}/job/code/train.py")
    made = make_plan(str(root), code=code, inputs=(make_input(str(root)),), outputs=(make_output(str(root)),))
    return msgspec.structs.replace(made, **more)


def a_store(**more: bytes) -> DatedStore:
    return DatedStore({"code/train.py": b"print()", "data/a.csv": b"1", **more})


def items_of(
    plan: Plan,
    store: FakeStore,
    node: FakeNode | None = None,
    interpreter: Interpreter | None = PYTHON,
    said: str | None = None,
) -> dict[str, Item]:
    found = job_items(
        plan,
        store,
        surroundings=node or FakeNode(),
        clock=FakeClock(),
        stopped=never,
        interpreter=interpreter,
        said=said,
    )
    return {item.name: item for item in found}


def test_every_item_is_told_in_one_order(tmp_path: Path) -> None:
    told = items_of(plan_for(tmp_path, log_target=Location(BUCKET, "log/")), a_store())
    assert {name: item.state for name, item in told.items()} == {
        "dns": "skipped",
        "disk-size root": "ok",
        "disk-size shm": "ok",
        "disk-size cache": "skipped",
        "ulimit": "skipped",
        "gpu-check": "skipped",
        "npu-check": "skipped",
        "engine-check": "skipped",
        "wheel-tags": "skipped",
        "store-read code_dir": "ok",
        "store-read data_url": "ok",
        "store-write train_url": "ok",
        "store-write log": "ok",
        "clock": "ok",
    }
    assert list(told)[-1] == "clock"


def test_a_node_without_a_job_has_the_items_of_the_node() -> None:
    found = node_items(Checks(), ONE_CPU, surroundings=FakeNode("a", "b"), clock=FakeClock(), stopped=never, said="2")
    assert [(item.name, item.state) for item in found] == [
        ("dns", "ok"),
        ("disk-size root", "ok"),
        ("disk-size shm", "ok"),
        ("disk-size cache", "skipped"),
        ("ulimit", "skipped"),
        ("gpu-check", "failed"),
        ("npu-check", "skipped"),
    ]


def test_what_is_put_is_taken_away_and_nothing_else_is_touched(tmp_path: Path) -> None:
    store = a_store()
    before = dict(store.objects)
    items_of(plan_for(tmp_path), store)
    assert store.objects == before
    assert store.keys_of("stored") == store.keys_of("remove") == ["train_url/.launcher/precheck-worker-0"]


def test_outputs_of_one_place_are_looked_at_once(tmp_path: Path) -> None:
    store = a_store()
    one = make_output(str(tmp_path))
    twin = msgspec.structs.replace(one, name="other", path=f"{tmp_path}/other")
    told = items_of(plan_for(tmp_path, outputs=(one, twin), log_target=one.target), store)
    assert told["store-write train_url, other, log"].state == "ok"
    assert len(store.keys_of("stored")) == 1


def test_one_store_fault_hides_no_other_item(tmp_path: Path) -> None:
    store = a_store()
    store.always["read", "data/"] = refused()
    store.always["put", "train_url/"] = refused("403 no writing")
    told = items_of(plan_for(tmp_path), store)
    assert (told["store-read data_url"].state, told["store-read data_url"].action) == ("failed", "Check the keys.")
    assert (told["store-write train_url"].state, told["store-write train_url"].said) == ("failed", "403 no writing")
    assert told["store-read code_dir"].state == "ok"
    assert (told["clock"].state, told["clock"].said) == ("skipped", "the job writes nothing into its store")


def test_a_store_that_stumbles_is_asked_again(tmp_path: Path) -> None:
    store = a_store()
    store.faults["stat", "code/train.py"] = [broken()]
    assert items_of(plan_for(tmp_path), store)["store-read code_dir"].state == "ok"


def test_what_is_not_there_is_told_with_the_service_s_number(tmp_path: Path) -> None:
    store = DatedStore({"empty/": b"", "empty/below/": b""})
    inputs = (make_input(str(tmp_path), "data/"), make_input(str(tmp_path), "empty/", "empty_url"))
    single = make_input(str(tmp_path), "one.zip", "one_url")
    told = items_of(plan_for(tmp_path, inputs=(*inputs, single)), store)
    assert told["store-read code_dir"].said == "no object at obs://b/code/train.py (ModelArts.2758)"
    assert told["store-read data_url"].said == "no object under obs://b/data/ (ModelArts.2791)"
    assert told["store-read one_url"].state == "failed"
    assert (told["store-read empty_url"].state, told["store-read empty_url"].said) == (
        "warned",
        "obs://b/empty/ holds no files",
    )


def test_a_single_object_and_a_command_s_code_are_read_as_they_are(tmp_path: Path) -> None:
    store = DatedStore({"one.zip": b"1" * 100, "code/": b"", "code/a.sh": b"x"})
    code = Code(source=Location(BUCKET, "code/"), path=f"{tmp_path}/job/code", boot_file=None)
    told = items_of(plan_for(tmp_path, code=code, inputs=(make_input(str(tmp_path), "one.zip"),)), store)
    assert told["store-read code_dir"].said == "obs://b/code/a.sh can be read"
    assert told["store-read data_url"].said == "obs://b/one.zip can be read"


def test_a_job_that_needs_no_store_says_so(tmp_path: Path) -> None:
    told = items_of(plan_for(tmp_path, code=None, inputs=(), outputs=()), FakeStore())
    assert (told["store-read"].said, told["store-write"].said) == (
        "the job reads nothing from its store",
        "the job writes nothing into its store",
    )
    assert told["wheel-tags"].said == "the code has no pip file"
    assert told["clock"].state == "skipped"


def test_credentials_that_may_not_delete_are_warned_of(tmp_path: Path) -> None:
    store = a_store()
    store.always["remove", "train_url/"] = refused("403 no deleting")
    item = items_of(plan_for(tmp_path), store)["store-write train_url"]
    assert (item.state, item.said) == (
        "warned",
        (
            "obs://b/train_url/ takes objects, but train_url/.launcher/precheck-worker-0 cannot be deleted: "
            "403 no deleting"
        ),
    )


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (0.0, "ok", "at most 0 s from the store's"),
        (-1.0, "ok", "at most 0 s from the store's"),
        (-401.0, "failed", "this node's clock is 400 s ahead of the store's, 300 s may be"),
        (400.0, "failed", "this node's clock is 400 s behind the store's, 300 s may be"),
    ],
)
def test_the_store_s_time_is_that_of_the_object_that_was_put(
    tmp_path: Path, ahead: float, state: str, words: str
) -> None:
    store = a_store()
    store.ahead = ahead
    item = items_of(plan_for(tmp_path), store)["clock"]
    assert (item.state, item.said) == (state, words)


def test_a_store_that_does_not_tell_its_time_is_skipped(tmp_path: Path) -> None:
    plain = FakeStore(a_store().objects)
    assert items_of(plan_for(tmp_path), plain)["clock"].said == "this store does not tell its time"
    store = a_store()
    store.always["modified", ""] = refused("403 no looking")
    told = items_of(plan_for(tmp_path), store)
    assert (told["clock"].state, told["store-write train_url"].state) == ("skipped", "ok")
    assert told["clock"].said == "the store's time could not be seen: 403 no looking"


def test_the_names_of_volcano_and_of_the_topology_are_resolved(tmp_path: Path) -> None:
    node = FakeNode("v-0", "v-1", unknown=("w-1",))
    plan = plan_for(tmp_path)
    meets = Rendezvous(host="w-0", number=1, names=("worker-0", "worker-1"), nonce="n", meeting=Meeting())
    several = msgspec.structs.replace(plan.node, count=2, hosts=("w-0", "w-1"))
    told = items_of(msgspec.structs.replace(plan, node=several, rendezvous=meets), a_store(), node)
    assert sorted(node.asked) == ["v-0", "v-1", "w-0", "w-1"]
    assert told["dns"].said == "1 of 4 names does not resolve: w-1 (Name or service not known)"
    alone = msgspec.structs.replace(plan.node, count=1, hosts=("w-0",))
    assert items_of(msgspec.structs.replace(plan, node=alone), a_store())["dns"].state == "skipped"


def test_what_the_platform_promises_of_devices_and_engine_is_looked_at(tmp_path: Path) -> None:
    env = {"MA_NUM_GPUS": "8", "MA_ENGINE_VERSION": "pytorch_1.8.0-py_3.6"}
    process = Process(rank=0, local_rank=0, argv=("p",), env=env, cwd="/")
    plan = plan_for(tmp_path, processes=(process,), precheck=True)
    _, error = checked(plan, a_store())
    assert str(error).startswith("the pre-check of this node failed: gpu-check: MA_NUM_GPUS says 8; this node has CPU")
    told = items_of(plan, a_store(), said="9")
    assert told["gpu-check"].said.startswith("MA_NUM_GPUS says 9; this node has CPU")
    assert "it has Python 3.6, /p is 3.7.1" in told["engine-check"].said


def test_the_wheels_of_the_pip_file_are_those_beside_it(tmp_path: Path) -> None:
    text = f"./{GOOD}\nbar-1.0-cp36-cp36m-linux_aarch64.whl\ngone-1.0-py3-none-any.whl\n../{GOOD}\n/opt/{GOOD}\n"
    store = a_store(
        **{
            "code/requirements.txt": b"nothing-1.0-py2-none-any.whl",
            "code/pip-requirements.txt": text.encode(),
            f"code/{GOOD}": b"",
            "code/bar-1.0-cp36-cp36m-linux_aarch64.whl": b"",
            GOOD: b"",
        }
    )
    item = items_of(plan_for(tmp_path), store)["wheel-tags"]
    assert (item.state, item.said) == (
        "failed",
        (
            "bar-1.0-cp36-cp36m-linux_aarch64.whl is for cp36-cp36m-linux_aarch64; "
            f"gone-1.0-py3-none-any.whl is not beside the pip file; {GOOD} is not beside the pip file; "
            f"{GOOD} is not beside the pip file"
        ),
    )


def test_a_pip_file_of_code_on_the_node_is_read_there(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(f"{GOOD}\n")
    code = Code(source=None, path=str(tmp_path), boot_file=f"{tmp_path}/train.py")
    told = items_of(plan_for(tmp_path, code=code), a_store())
    assert told["wheel-tags"].said == f"{GOOD} is not beside the pip file"
    (tmp_path / GOOD).touch()
    assert items_of(plan_for(tmp_path, code=code), a_store())["wheel-tags"].state == "ok"
    assert [name for name in told if name.startswith("store-read")] == ["store-read data_url"]


def test_a_pip_file_that_is_too_long_is_left_alone(tmp_path: Path) -> None:
    store = a_store(**{"code/requirements.txt": b"x.whl\n"})
    store.sizes["code/requirements.txt"] = 1 << 30
    assert items_of(plan_for(tmp_path), store)["wheel-tags"].said == "requirements.txt names no wheel"


def well(name: str) -> Probe:
    return Probe(name, lambda _: Item(name=name, state="ok", said=""))


def states(probes: Sequence[Probe], limit_s: float = 30.0) -> list[tuple[str, str]]:
    return [(item.name, item.state) for item in examine(probes, never, time.monotonic, limit_s)]


def test_looks_that_hang_are_left_behind_and_the_others_made_all_the_same() -> None:
    release = threading.Event()

    def hangs(name: str) -> Probe:
        return Probe(name, lambda _: Item(name=name, state="ok", said=str(release.wait(60))))

    probes = [*(hangs(f"h{n}") for n in range(WIDTH + 2)), well("last")]
    found = list(examine(probes, never, time.monotonic, 0.2))
    release.set()
    assert [item.state for item in found] == ["failed"] * (WIDTH + 2) + ["ok"]
    assert found[0].said == "no answer in 0.2 s"


def test_a_look_that_took_too_long_hears_that_it_may_stop() -> None:
    heard = threading.Event()

    def waits(halted: Callable[[], bool]) -> Item:
        pause = threading.Event()
        while not halted():
            pause.wait(0.01)
        heard.set()
        raise Cancelled

    assert states([Probe("a", waits), well("b")], 0.1) == [("a", "failed"), ("b", "ok")]
    assert heard.wait(30)


def test_a_defect_in_one_look_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(_: Callable[[], bool]) -> Item:
        raise ValueError("odd")

    def forbidden(_: Callable[[], bool]) -> Item:
        raise PermissionError(13, "Permission denied", "/x")

    probes = [Probe("a", breaks), Probe("b", forbidden), well("c")]
    a, b, c = examine(probes, never, time.monotonic)
    assert a.said == "a defect of the launcher: ValueError: odd"
    assert b.said == "cannot be looked at: [Errno 13] Permission denied: '/x'"
    assert [each.state for each in (a, b, c)] == ["failed", "failed", "ok"]
    assert "ValueError: odd" in caplog.text


def test_a_stop_is_heard_while_a_look_hangs() -> None:
    began, release, stop = threading.Event(), threading.Event(), threading.Event()

    def hangs(_: Callable[[], bool]) -> Item:
        began.set()
        stop.set()
        release.wait(60)
        raise Cancelled

    with pytest.raises(Cancelled):
        list(examine([Probe("a", hangs)], stop.is_set, time.monotonic))
    release.set()
    assert began.is_set()


def test_without_any_thread_all_looks_are_made_one_after_the_other() -> None:
    with no_threads():
        assert states([well("a"), well("b")]) == [("a", "ok"), ("b", "ok")]
    assert states([]) == []


def test_names_that_are_never_answered_are_named(tmp_path: Path) -> None:
    """The name server says nothing of one name: a clock that jumps ends the wait for it, and the other is well."""
    release, jumped = threading.Event(), threading.Event()

    class Silent(FakeNode):
        def resolve(self, name: str) -> str | None:
            if name == "lost":
                jumped.set()
                release.wait(60)
            return None

    class Jumps(FakeClock):
        def monotonic(self) -> float:
            return 9.0 if jumped.is_set() else 0.0

    found = node_items(Checks(), ONE_CPU, surroundings=Silent("lost"), clock=Jumps(), stopped=never)
    assert next(found).said == "1 of 1 names does not resolve: lost (no answer in 8 s)"
    release.set()


def checked(plan: Plan, store: FakeStore, node: FakeNode | None = None) -> tuple[FakeRecord, LauncherError | None]:
    record = FakeRecord()
    run = partial(check, surroundings=node or FakeNode(), record=record, clock=FakeClock(), stopped=never)
    try:
        run(plan, store, interpreter=PYTHON)
    except LauncherError as error:
        return record, error
    return record, None


def test_a_plan_without_a_pre_check_looks_at_nothing(tmp_path: Path) -> None:
    store = a_store()
    record, error = checked(plan_for(tmp_path), store)
    assert (record.events, error, store.journal) == ([], None, [])


def test_a_node_that_is_well_is_told_in_the_service_s_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "launcher")
    record, error = checked(plan_for(tmp_path, precheck=True), a_store())
    assert error is None
    first, last = record.messages("Info")
    assert first == "[worker-0] The training environment is being pre-checked."
    assert last.startswith("[worker-0] [Duration: ")
    assert last.endswith("s] Pre-check completed.")
    assert "item disk-size root: ok: " in caplog.text


def test_all_that_failed_is_one_error_and_each_was_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_for(tmp_path, precheck=True, unmet=("the algorithm asks for GPU; this node has CPU",))
    store = a_store()
    store.always["put", ""] = refused()
    record, error = checked(plan, store, FakeNode("v", unknown=("v",)))
    assert error is not None
    assert (error.exit_code, error.code, error.action) == (71, "precheck-failed", "The log says for each what to do.")
    assert str(error).startswith("the pre-check of this node failed: constraints: the algorithm asks for GPU; this ")
    assert "; dns: 1 of 1 names does not resolve" in str(error)
    assert record.messages("Error")[0].endswith("Pre-check failed. Error: dns, store-write train_url")
    errors = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.partition(": error,exiting: ")[0] for each in errors] == [
        "item constraints",
        "item dns",
        "item store-write train_url",
    ]


def test_constraints_refuse_without_a_pre_check_too(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, unmet=("the algorithm asks for GPU; this node has CPU (ModelArts.2763)",))
    _, error = checked(plan, a_store())
    assert error is not None
    assert (error.exit_code, error.code) == (71, "constraints-unmet")
    assert str(error) == "the algorithm asks for GPU; this node has CPU (ModelArts.2763)"
    assert "--no-precheck" in error.action


def test_constraints_that_only_warn_stop_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_for(tmp_path, unmet=("the algorithm asks for GPU; this node has CPU",), constrained="warn")
    assert checked(plan, a_store())[1] is None
    assert "item constraints: warning: the algorithm asks for GPU" in caplog.text


def test_one_failure_brings_its_own_advice(tmp_path: Path) -> None:
    store = a_store()
    store.always["read", "data/"] = missing("data/a.csv")
    _, error = checked(plan_for(tmp_path, precheck=True), store)
    assert error is not None
    assert (str(error), error.action) == (
        "the pre-check of this node failed: store-read data_url: no such object data/a.csv",
        "Check it.",
    )


def test_the_root_is_the_folder_that_is_there(tmp_path: Path) -> None:
    asked: list[str] = []

    class Looked(FakeNode):
        def room(self, path: str) -> Room | None:
            asked.append(path)
            return None

    found = node_items(
        Checks(), ONE_CPU, surroundings=Looked(), clock=FakeClock(), stopped=never, root=f"{tmp_path}/not/yet"
    )
    assert all(found)
    assert sorted(asked) == sorted(["/dev/shm", str(tmp_path), os.path.join(tmp_path, "not/yet/cache")])
