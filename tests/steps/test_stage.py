from __future__ import annotations

import errno
import hashlib
import os
import stat as stat_module
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, ClassVar

import pytest
from fake_store import (
    FakeRecord,
    FakeStore,
    make_code,
    make_input,
    make_output,
    make_plan,
    missing,
    never,
    refused,
)
from msgspec.structs import replace

from launcher.core.errors import Cancelled, Exit, PlanError, StageError, StoreError
from launcher.core.plan import Code, CodeLimits, Patterns, Plan, Transfers
from launcher.core.stored import StoredObject
from launcher.core.urls import Location
from launcher.pool import each
from launcher.retry import Retries
from launcher.stage import StageResult, stage
from launcher.stage.channel import Channel
from launcher.stage.room import Room
from launcher.stage.wanted import Present, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def run(
    plan: Plan, store: FakeStore, record: FakeRecord | None = None, stopped: Callable[[], bool] = never
) -> StageResult:
    return stage(plan, store, record or FakeRecord(), stopped)


def tree(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def parts(top: Path) -> list[str]:
    return [str(path) for path in top.rglob(".launcher-part-*")]


def test_code_and_inputs_land_in_their_folders(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"code/train.py": b"print()", "code/pkg/m.py": b"x", "data/a/1.bin": b"1", "data/2.bin": b"22"})
    record = FakeRecord()
    plan = make_plan(root, code=make_code(root, "train.py"), inputs=(make_input(root),))
    result = run(plan, store, record)
    assert tree(tmp_path / "job/code") == {"train.py": b"print()", "pkg/m.py": b"x"}
    assert tree(tmp_path / "inputs/data_url_0") == {"a/1.bin": b"1", "2.bin": b"22"}
    assert result == StageResult(baseline={}, warnings=(), listed=result.listed)
    assert [(one.channel, one.kind, one.objects, one.bytes) for one in record.stagings] == [
        ("code", "code", 2, 8),
        ("data_url", "input", 2, 3),
    ]
    assert record.stagings[1].source == "obs://b/data/"
    assert not parts(tmp_path)


def test_the_events_are_the_services_own(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    plan = make_plan(root, code=make_code(root), inputs=(make_input(root),))
    run(plan, FakeStore({"code/x.py": b"", "data/y": b""}), record)
    assert [level for level, _ in record.events] == ["Info"] * 4
    assert record.events[0][1] == "[worker-0] The training code is being downloaded."
    assert record.events[1][1] == "[worker-0] The training input is being downloaded."
    assert any("(parameter: data_url) downloaded." in message for _, message in record.events[2:])


def test_nothing_moves_before_everything_is_listed(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"code/x.py": b"", "data/y": b"", "train_url/z": b""})
    outputs = (make_output(root, predownload=True),)
    run(make_plan(root, code=make_code(root), inputs=(make_input(root),), outputs=outputs), store)
    verbs = [verb for verb, _ in store.journal]
    assert verbs == ["walk"] * 3 + ["read"] * 3
    assert store.keys_of("walk") == ["code/", "data/", "train_url/"]


def test_a_thousand_files_come_in_parallel(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({f"data/{n % 7}/{n}": str(n).encode() for n in range(1000)})
    run(make_plan(root, inputs=(make_input(root),), transfers=8), store)
    assert tree(tmp_path / "inputs/data_url_0") == {f"{n % 7}/{n}": str(n).encode() for n in range(1000)}


def test_shell_files_of_the_code_can_be_run_and_nothing_else(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"code/run.sh": b"", "code/x.py": b"", "data/run.sh": b""})
    run(make_plan(root, code=make_code(root), inputs=(make_input(root),)), store)
    assert (tmp_path / "job/code/run.sh").stat().st_mode & 0o111
    assert not (tmp_path / "job/code/x.py").stat().st_mode & 0o111
    assert not (tmp_path / "inputs/data_url_0/run.sh").stat().st_mode & 0o111


def test_markers_make_empty_folders(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/": b"", "data/empty/deep/": b"", "data/x": b"1"})
    run(make_plan(root, inputs=(make_input(root),)), store)
    assert (tmp_path / "inputs/data_url_0/empty/deep").is_dir()


def test_the_folders_of_the_plan_and_of_every_output_are_made(tmp_path: Path) -> None:
    root = str(tmp_path)
    run(make_plan(root, folders=(f"{root}/log", f"{root}/a/b"), outputs=(make_output(root),)), FakeStore())
    assert (tmp_path / "log").is_dir()
    assert (tmp_path / "a/b").is_dir()
    assert (tmp_path / "outputs/train_url_0").is_dir()


# one object or a folder


def test_an_input_may_be_one_object(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"models/net.onnx": b"net", "models/net.onnx.bak": b"no"})
    run(make_plan(root, inputs=(make_input(root, "models/net.onnx"),)), store)
    assert tree(tmp_path / "inputs/data_url_0") == {"net.onnx": b"net"}


def test_a_key_without_a_slash_may_be_a_folder(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b"1", "database/y": b"2"})
    run(make_plan(root, inputs=(make_input(root, "data"),)), store)
    assert tree(tmp_path / "inputs/data_url_0") == {"x": b"1"}


def test_an_input_may_be_a_whole_bucket(tmp_path: Path) -> None:
    root = str(tmp_path)
    run(make_plan(root, inputs=(make_input(root, ""),)), FakeStore({"x": b"1"}))
    assert tree(tmp_path / "inputs/data_url_0") == {"x": b"1"}


def test_an_input_with_nothing_in_it_is_named_with_what_was_probably_meant(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    with pytest.raises(StageError) as caught:
        run(make_plan(root, inputs=(make_input(root, "dta/"),)), FakeStore({"data/x": b""}), record)
    assert str(caught.value) == "inputs[0] (data_url): no object under obs://b/dta/ (ModelArts.2791)"
    assert caught.value.exit_code == Exit.MISSING
    assert caught.value.action == "Did you mean obs://b/data?"
    assert record.messages("Error")[0].startswith("[worker-0] [Duration:")
    assert "(parameter: data_url)" in record.messages("Error")[0]


def test_a_hint_that_cannot_be_had_is_left_out(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore()
    store.faults["walk", ""] = [refused()]
    with pytest.raises(StageError, match="no object under") as caught:
        run(make_plan(root, inputs=(make_input(root, "dta/"),)), store)
    assert "Did you mean" not in caught.value.action


def test_an_empty_folder_is_there_but_worth_a_warning(tmp_path: Path) -> None:
    root = str(tmp_path)
    result = run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/": b""}))
    assert result.warnings == ("inputs[0] (data_url): obs://b/data/ holds no files",)


def test_a_marker_that_the_listing_does_not_show_is_a_folder_too(tmp_path: Path) -> None:
    class Unmarked(FakeStore):
        def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
            return (item for item in super().walk(folder) if item.key != folder.key)

    root = str(tmp_path)
    result = run(make_plan(root, inputs=(make_input(root, "data"),)), Unmarked({"data/": b""}))
    assert result.warnings == ("inputs[0] (data_url): obs://b/data holds no files",)


def test_missing_code_is_66(tmp_path: Path) -> None:
    root = str(tmp_path)
    with pytest.raises(StageError, match=r"code_dir: no object under obs://b/code/ \(ModelArts.2757\)") as caught:
        run(make_plan(root, code=make_code(root)), FakeStore())
    assert caught.value.exit_code == Exit.MISSING


# what is refused


def test_code_over_a_limit_is_65_before_a_byte_moves(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    store = FakeStore({f"code/d/{n}": b"" for n in range(1024)})
    with pytest.raises(PlanError, match=r"ModelArts\.2759"):
        run(make_plan(root, code=make_code(root)), store, record)
    assert not store.keys_of("read")
    assert not (tmp_path / "job").exists()
    assert "ModelArts.2759" in record.messages("Error")[0]


def test_limits_are_of_the_plan_and_for_code_alone(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"code/a": b"", "data/a": b"", "data/b": b""})
    limits = CodeLimits(entries=1)
    run(make_plan(root, code=make_code(root), inputs=(make_input(root),), limits=limits), store)


def test_large_code_is_worth_a_warning(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"code/a": b""})
    store.sizes["code/a"] = 51 * 1024**2
    assert "over 50 MB" in run(make_plan(root, code=make_code(root)), store).warnings[0]


@pytest.mark.parametrize("key", ["data/../../etc/passwd", "data/a//b", "data/a\nb"])
def test_a_hostile_key_is_refused_by_name_and_writes_nothing(tmp_path: Path, key: str) -> None:
    root = str(tmp_path / "root")
    with pytest.raises(StageError, match=r"^inputs\[0\] \(data_url\): the key") as caught:
        run(make_plan(root, inputs=(make_input(root),)), FakeStore({key: b"evil", "data/ok": b""}))
    assert (caught.value.code, caught.value.exit_code) == ("key-refused", Exit.MISSING)
    assert not (tmp_path / "root").exists()


def test_what_does_not_fit_is_refused_before_a_byte_moves(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b""})
    store.sizes["data/x"] = 1 << 60
    with pytest.raises(StageError, match=r"no room on the file system at .*data_url.*1,059,061\.8 TB wanted") as caught:
        run(make_plan(root, inputs=(make_input(root),)), store)
    assert (caught.value.code, caught.value.exit_code) == ("no-space", Exit.NODE)
    assert not store.keys_of("read")
    assert not (tmp_path / "inputs").exists()


@pytest.mark.parametrize("link", ["inputs", "inputs/data_url_0", "inputs/data_url_0/sub"])
def test_a_link_in_the_way_is_not_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    at = tmp_path / "root" / link
    at.parent.mkdir(parents=True)
    at.symlink_to(outside)
    root = str(tmp_path / "root")
    with pytest.raises(StageError, match="is a link, a folder of the job's own was wanted") as caught:
        run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/sub/x": b"evil"}))
    assert caught.value.code == "folder-occupied"
    assert not list(outside.iterdir())


def test_a_link_where_a_file_goes_is_replaced_and_not_followed(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "root/inputs/data_url_0"
    folder.mkdir(parents=True)
    (folder / "x").symlink_to(victim)
    run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/x": b"new"}))
    assert victim.read_text() == "mine"
    assert not (folder / "x").is_symlink()
    assert (folder / "x").read_bytes() == b"new"


def test_a_folder_where_a_file_goes_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    (tmp_path / "inputs/data_url_0/x").mkdir(parents=True)
    with pytest.raises(StageError, match=r"inputs\[0\] \(data_url\): .*x is a folder"):
        run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/x": b"new"}))
    assert not parts(tmp_path)


def test_names_that_are_one_on_a_folding_file_system_are_refused(tmp_path: Path) -> None:
    want = Wanted(kind="input", name="d", label="d", source=Location("b", "data/"), path=str(tmp_path))
    items = [StoredObject("data/README", 1, ""), StoredObject("data/readme", 1, "")]
    room = Room()
    room.user("d", str(tmp_path))
    before, after = (
        Channel(want, Present(files={}, parts=()), Retries(), room=room, lock=threading.Lock(), began=0.0)
        for _ in range(2)
    )
    after.decide(folds=True)
    with pytest.raises(StageError, match="'README' and 'readme' are one name") as caught:
        list(after.ordered(items))
    assert caught.value.code == "key-clash"
    list(before.ordered(items))
    with pytest.raises(StageError, match="'README' and 'readme' are one name"):
        before.decide(folds=True)


# failures and stops


def test_a_failing_transfer_is_named_and_leaves_no_part(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    store = FakeStore({f"data/{n}": b"x" for n in range(50)})
    store.faults["read", "data/7"] = [refused()]
    with pytest.raises(StageError, match=r"^inputs\[0\] \(data_url\): 403 AccessDenied") as caught:
        run(make_plan(root, inputs=(make_input(root),)), store, record)
    assert (caught.value.exit_code, caught.value.code) == (Exit.REFUSED, "store-refused")
    assert caught.value.action == "Check the keys."
    assert isinstance(caught.value.__cause__, StoreError)
    assert len(record.messages("Error")) == 1
    assert not parts(tmp_path)
    assert not (tmp_path / "inputs/data_url_0/7").exists()


def test_a_listing_that_fails_keeps_its_exit_code(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"code/x": b""})
    store.faults["walk", "code/"] = [refused()]
    with pytest.raises(StageError, match="code_dir: 403") as caught:
        run(make_plan(root, code=make_code(root)), store)
    assert caught.value.exit_code == Exit.REFUSED


@pytest.mark.parametrize(
    ("number", "code", "exit_code"),
    [
        (errno.ENOSPC, "file-no-space", Exit.NODE),
        (errno.EDQUOT, "file-no-space", Exit.NODE),
        (errno.EROFS, "file-refused", Exit.REFUSED),
        (errno.EACCES, "file-refused", Exit.REFUSED),
        (errno.EIO, "file-broken", Exit.NODE),
    ],
)
def test_a_disk_that_refuses_says_so(tmp_path: Path, number: int, code: str, exit_code: Exit) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b"1"})
    store.faults["read", "data/x"] = [OSError(number, os.strerror(number))]
    with pytest.raises(StageError, match=r"^inputs\[0\] \(data_url\): could not write in ") as caught:
        run(make_plan(root, inputs=(make_input(root),)), store)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert not parts(tmp_path)


def test_a_stop_while_listing_is_cancelled(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    store = FakeStore({"data/x": b"1"})
    with pytest.raises(Cancelled):
        run(make_plan(root, inputs=(make_input(root),)), store, record, lambda: True)
    assert not record.messages("Error")


def test_a_stop_between_transfers_is_cancelled_and_leaves_whole_files_alone(tmp_path: Path) -> None:
    root = str(tmp_path)
    stop = threading.Event()
    store = FakeStore({f"data/{n:02}": b"whole" for n in range(20)})
    store.faults["read", "data/05"] = [stop.set]
    with pytest.raises(Cancelled):
        run(make_plan(root, inputs=(make_input(root),), transfers=2), store, stopped=stop.is_set)
    assert not parts(tmp_path)
    assert all(content == b"whole" for content in tree(tmp_path / "inputs/data_url_0").values())


def test_a_transfer_that_hangs_is_left_behind_without_its_part(tmp_path: Path) -> None:
    root = str(tmp_path)
    hanging, release = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        release.wait(60)

    store = FakeStore({"data/a": b"1", "data/b": b"2"})
    store.faults["read", "data/a"] = [hang]
    with pytest.raises(Cancelled):
        run(make_plan(root, inputs=(make_input(root),), transfers=2), store, stopped=hanging.is_set)
    assert not parts(tmp_path)
    release.set()


# what lies there already


def test_leftovers_are_kept_and_named(tmp_path: Path) -> None:
    root = str(tmp_path)
    folder = tmp_path / "inputs/data_url_0"
    folder.mkdir(parents=True)
    (folder / "old1").write_text("keep")
    (folder / "old2").write_text("keep")
    (folder / "x").write_text("replace")
    result = run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/x": b"new"}))
    assert tree(folder) == {"old1": b"keep", "old2": b"keep", "x": b"new"}
    assert len(result.warnings) == 1
    assert "2 files that obs://b/data/ does not have, the first is 'old1'" in result.warnings[0]


def test_unfinished_files_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    root = str(tmp_path)
    folder = tmp_path / "inputs/data_url_0/sub"
    folder.mkdir(parents=True)
    (folder / ".launcher-part-1-deadbeef").write_text("half")
    result = run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/sub/x": b"new"}))
    assert tree(tmp_path / "inputs") == {"data_url_0/sub/x": b"new"}
    assert result.warnings == ()


def test_what_is_replaced_is_not_counted_twice_against_the_disk(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b"12345"})
    plan = make_plan(root, inputs=(make_input(root),))
    run(plan, store)
    result = run(plan, store)
    assert result.warnings == ()


# outputs


def test_an_occupied_target_is_worth_a_warning(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"train_url/old": b""})
    result = run(make_plan(root, outputs=(make_output(root),)), store)
    assert result.baseline == {}
    assert result.warnings[0].startswith("outputs[0] (train_url): obs://b/train_url/ already holds objects")


def test_a_local_output_folder_that_is_not_empty_is_worth_a_warning(tmp_path: Path) -> None:
    root = str(tmp_path)
    folder = tmp_path / "outputs/train_url_0"
    folder.mkdir(parents=True)
    (folder / "x").write_text("1")
    result = run(make_plan(root, outputs=(make_output(root),)), FakeStore())
    assert result.warnings == (f"outputs[0] (train_url): {folder} already holds 1 files; they count as output",)


def test_a_target_that_may_not_be_listed_is_no_reason_to_stop(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore()
    store.faults["walk", "train_url/"] = [refused()]
    result = run(make_plan(root, outputs=(make_output(root),)), store)
    assert "cannot see whether obs://b/train_url/ is in use: 403" in result.warnings[0]


def test_a_target_that_cannot_be_reached_stops_before_training(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b""})
    store.faults["walk", "train_url/"] = [missing("no bucket")]
    with pytest.raises(StageError, match=r"outputs\[0\] \(train_url\): no such object no bucket"):
        run(make_plan(root, inputs=(make_input(root),), outputs=(make_output(root),)), store)
    assert not store.keys_of("read")


def test_a_first_run_with_predownload_finds_nothing_and_goes_on(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    result = run(make_plan(root, outputs=(make_output(root, predownload=True),)), FakeStore(), record)
    assert result == StageResult(baseline={"train_url": {}}, warnings=(), listed=result.listed)
    assert [(one.channel, one.kind, one.objects) for one in record.stagings] == [("train_url", "output", 0)]


def test_predownload_brings_the_output_and_remembers_its_state(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"train_url/a/ckpt": b"123", "train_url/.launcher/manifest-worker-0.json": b"{}"})
    result = run(make_plan(root, outputs=(make_output(root, predownload=True),)), store)
    folder = tmp_path / "outputs/train_url_0"
    assert tree(folder) == {"a/ckpt": b"123"}
    status = (folder / "a/ckpt").stat()
    stamp = result.baseline["train_url"]["a/ckpt"]
    assert (stamp.size, stamp.mtime_ns, stamp.inode) == (3, status.st_mtime_ns, status.st_ino)
    assert set(result.baseline["train_url"]) == {"a/ckpt"}


@pytest.mark.parametrize(
    ("content", "etag", "fetched"),
    [
        (b"same", None, False),
        (b"sama", None, True),
        (b"longer", None, True),
        (b"same", hashlib.md5(b"same", usedforsecurity=False).hexdigest() + "-2", True),
        (b"same", "", True),
    ],
)
def test_predownload_keeps_only_what_the_checksum_proves(
    tmp_path: Path, content: bytes, etag: str | None, *, fetched: bool
) -> None:
    root = str(tmp_path)
    folder = tmp_path / "outputs/train_url_0"
    folder.mkdir(parents=True)
    (folder / "x").write_bytes(content)
    store = FakeStore({"train_url/x": b"same"})
    if etag is not None:
        store.etags["train_url/x"] = etag
    result = run(make_plan(root, outputs=(make_output(root, predownload=True),)), store)
    assert store.keys_of("read") == ["train_url/x"] * fetched
    assert tree(folder) == {"x": b"same"}
    assert "x" in result.baseline["train_url"]


# code that is here, and the boot file


def test_code_that_is_on_the_node_is_only_looked_for(tmp_path: Path) -> None:
    root = str(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/train.py").write_text("")
    record = FakeRecord()
    code = Code(source=None, path=str(tmp_path / "mine"), boot_file="train.py")
    run(make_plan(root, code=code), FakeStore(), record)
    assert record.stagings[0].source == f"file://{tmp_path}/mine"
    assert record.events == []


def test_code_that_should_be_on_the_node_and_is_not_is_66(tmp_path: Path) -> None:
    root = str(tmp_path)
    code = Code(source=None, path=str(tmp_path / "mine"), boot_file=None)
    with pytest.raises(StageError, match="code_dir: no folder") as caught:
        run(make_plan(root, code=code), FakeStore())
    assert caught.value.exit_code == Exit.MISSING


def test_a_missing_boot_file_is_told_with_what_is_there(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"code/trian.py": b"", **{f"code/m{n}.py": b"" for n in range(9)}})
    with pytest.raises(StageError) as caught:
        run(make_plan(root, code=make_code(root, "train.py")), store)
    assert str(caught.value) == (
        f"boot_file: no train.py in {root}/job/code, there is "
        "m0.py, m1.py, m2.py, m3.py, m4.py, m5.py, m6.py, m7.py and 2 more (ModelArts.2758)"
    )
    assert caught.value.action == "Did you mean trian.py?"
    assert caught.value.exit_code == Exit.MISSING


def test_a_boot_file_may_be_named_by_its_whole_path(tmp_path: Path) -> None:
    root = str(tmp_path)
    run(make_plan(root, code=make_code(root, f"{root}/job/code/a/t.py")), FakeStore({"code/a/t.py": b""}))


def test_an_object_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b""})
    store.extra_listing = [StoredObject("data/x", 1, "")]
    with pytest.raises(StageError, match=r"inputs\[0\] \(data_url\): the store lists 'data/x' twice"):
        run(make_plan(root, inputs=(make_input(root),)), store)


def test_a_folder_that_may_not_be_written_is_told_with_our_uid(tmp_path: Path) -> None:
    root = str(tmp_path)
    tmp_path.chmod(stat_module.S_IRUSR | stat_module.S_IXUSR)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(StageError, match=f"we are uid {os.geteuid()}") as caught:
            run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/x": b""}))
        assert caught.value.exit_code == Exit.REFUSED
    finally:
        tmp_path.chmod(stat_module.S_IRWXU)


# listing and transfers side by side


class Paged(FakeStore):
    """It lists so many keys without holding them, and asks before the second page."""

    def __init__(self, count: int, before_second: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.count = count
        self.before_second = before_second

    def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
        for number in range(self.count):
            if number == 1000:
                self.before_second()
            key = f"{folder.key}{number:07}"
            if key > after:
                yield StoredObject(key, 1, '"e-2"')

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        self._meet("read", item.key)
        yield b"x"


def test_objects_of_the_first_page_move_before_the_second_is_listed(tmp_path: Path) -> None:
    root = str(tmp_path)
    moved = threading.Event()
    store = Paged(1001, lambda: None if moved.wait(30) else pytest.fail("nothing moved before all was listed"))
    # on a machine that stands still meanwhile the first item is handed over alone, and one is enough for one transfer
    store.faults["read", "data/0000000"] = [moved.set]
    run(make_plan(root, inputs=(make_input(root),), transfers=1), store)
    assert len(list((tmp_path / "inputs/data_url_0").iterdir())) == 1001


MEMORY_OF_A_STAGING = """
import os, resource, sys, threading
sys.path[:0] = sys.argv[1:3]
from fake_store import FakeRecord, make_input, make_plan, never
from test_stage import Paged
from launcher.stage.channel import Channel
from launcher.core.errors import Cancelled
from launcher.stage.wanted import wanted, present
from launcher.stage import stage
from launcher.stage.transfer import Transfers

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

class Light(Paged):
    def read(self, bucket, item, start, end, stopped):
        yield b"x"

root, count = sys.argv[3], int(sys.argv[4])
seen = []
def first():
    seen.append(resident())
from launcher.stage.landing import Landing
Landing.place = lambda self, executable: (os.fstat(self.descriptor), self.give_up())[0]
stage(make_plan(root, inputs=(make_input(root),)), Light(count, first), FakeRecord(), never)
print(resident() - seen[0])
"""


def test_memory_does_not_grow_with_the_number_of_objects(tmp_path: Path) -> None:
    here = os.path.dirname(__file__)
    argv = (sys.executable, "-c", MEMORY_OF_A_STAGING, here, os.path.dirname(os.path.dirname(here)), str(tmp_path))
    grown = subprocess.run((*argv, "60000"), capture_output=True, text=True, check=False, timeout=100)
    assert grown.returncode == 0, grown.stderr
    assert int(grown.stdout) < 12 * 1024**2


def test_a_listing_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    class Torn(Paged):
        asked: ClassVar[list[str]] = []

        def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
            self.asked.append(after)
            for count, item in enumerate(super().walk(folder, after)):
                if count == 700 and len(self.asked) < 4:
                    raise StoreError("503", code="store-unreachable", action="Try again.")
                yield item

    root = str(tmp_path)
    store = Torn(3000)
    record = FakeRecord()
    run(make_plan(root, inputs=(make_input(root),)), store, record)
    assert store.asked == ["", "data/0000699", "data/0001399", "data/0002099"]
    assert len(list((tmp_path / "inputs/data_url_0").iterdir())) == 3000
    assert len(store.keys_of("read")) == 3000
    assert record.stagings[0].retries == 3


@pytest.mark.parametrize(("keys", "said"), [(("b", "a"), "out of order"), (("a", "a"), "twice")])
def test_a_listing_that_is_out_of_order_or_repeats_itself_is_refused(
    tmp_path: Path, keys: tuple[str, ...], said: str
) -> None:
    class Disordered(FakeStore):
        def walk(self, folder: Location, after: str = "") -> Iterator[StoredObject]:
            return (StoredObject(folder.key + key, 0, "") for key in keys)

    root = str(tmp_path)
    store = Disordered({"data/a": b"", "data/b": b""})
    with pytest.raises(StageError, match=rf"inputs\[0\] \(data_url\): the store lists 'data/a' .*{said}") as caught:
        run(make_plan(root, inputs=(make_input(root),)), store)
    assert caught.value.exit_code == Exit.UNREACHABLE
    assert not store.keys_of("read")


def test_an_object_beside_a_folder_of_its_name_is_refused(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b"", "data/x.y": b"", "data/x/y": b""})
    with pytest.raises(StageError, match="'data/x' is an object and a folder at once"):
        run(make_plan(root, inputs=(make_input(root),)), store)
    assert not store.keys_of("read")


def test_every_thread_ends_where_the_code_is_refused(tmp_path: Path) -> None:
    root = str(tmp_path)
    before = set(threading.enumerate())
    store = FakeStore({f"code/d/{n}": b"" for n in range(1024)} | {f"data/{n:05}": b"" for n in range(30_000)})
    with pytest.raises(PlanError, match=r"ModelArts\.2759"):
        run(make_plan(root, code=make_code(root), inputs=(make_input(root),)), store)
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


# patterns


def with_patterns(root: str, **patterns: tuple[str, ...]) -> Plan:
    return make_plan(root, inputs=(replace(make_input(root), patterns=Patterns(**patterns)),))


def test_only_what_is_included_and_not_excluded_comes(tmp_path: Path) -> None:
    store = FakeStore({f"data/{key}": b"1" for key in ("a.jpg", "b.txt", "tmp/c.jpg", "d/e.jpg", "empty/")})
    run(with_patterns(str(tmp_path), include=("*.jpg",), exclude=("tmp/",)), store)
    assert tree(tmp_path / "inputs/data_url_0") == {"a.jpg": b"1", "d/e.jpg": b"1"}


def test_patterns_that_select_nothing_are_told_and_the_folder_is_not_said_to_be_missing(tmp_path: Path) -> None:
    result = run(with_patterns(str(tmp_path), include=("*.jpg",)), FakeStore({"data/b.txt": b"1"}))
    assert result.warnings == ("inputs[0] (data_url): obs://b/data/ holds no files that its patterns select",)


def test_a_folder_that_holds_only_our_own_is_there(tmp_path: Path) -> None:
    result = run(make_plan(str(tmp_path), inputs=(make_input(str(tmp_path)),)), FakeStore({"data/.launcher/x": b""}))
    assert result.warnings == ("inputs[0] (data_url): obs://b/data/ holds no files",)


# how many at once


class Crowd(FakeStore):
    """It sees how many reads are under way at once, and says that it is busy to whom it is told to."""

    def __init__(self, count: int, *, busy_above: int = 10**9) -> None:
        super().__init__({f"data/{n:05}": b"x" for n in range(count)})
        self.busy_above = busy_above
        self.inside = self.most = 0
        self.refusals = 0
        self.lock = threading.Lock()

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            busy = self.inside > self.busy_above
            self.refusals += busy
        try:
            threading.Event().wait(0.01)  # the network's time
            if busy:
                raise StoreError("503 SlowDown", code="store-busy", action="Try again.")
            yield b"x"
        finally:
            with self.lock:
                self.inside -= 1


def crowded(tmp_path: Path, store: Crowd, **transfers: int) -> Crowd:
    root = str(tmp_path)
    plan = make_plan(root, inputs=(make_input(root),))
    run(replace(plan, transfers=Transfers(**{"most": 128, **transfers})), store)
    assert len(list((tmp_path / "inputs/data_url_0").iterdir())) == len(store.objects)
    return store


def test_more_are_under_way_as_more_gets_done(tmp_path: Path) -> None:
    assert crowded(tmp_path, Crowd(2000)).most > 8


@pytest.mark.parametrize(
    ("transfers", "most"), [({"most": 3}, 3), ({"memory_bytes": 8 * 1024**2}, 3), ({"memory_bytes": 1}, 1)]
)
def test_no_more_are_under_way_than_settings_and_memory_allow(
    tmp_path: Path, transfers: dict[str, int], most: int
) -> None:
    assert crowded(tmp_path, Crowd(300), **transfers).most == most


def test_however_soon_items_end_no_more_are_under_way_than_may_be() -> None:
    for _ in range(30):
        inside, peaks = [0], [0]

        def work(item: int, _: object, inside: list[int] = inside, peaks: list[int] = peaks) -> None:
            inside[0] += 1
            peaks[0] = max(peaks[0], inside[0])
            threading.Event().wait(0.001 if item > 4 else 0)
            inside[0] -= 1

        each(work, range(40), lambda: 4, never)
        assert peaks[0] <= 4


def test_a_store_that_is_busy_is_asked_by_fewer_until_it_is_not(tmp_path: Path) -> None:
    store = crowded(tmp_path, Crowd(400, busy_above=4))
    assert 0 < store.refusals < 200


# time


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(root: str, seconds: float) -> Plan:
    plan = make_plan(root, inputs=(make_input(root),))
    return replace(plan, transfers=replace(plan.transfers, most=1, stage_timeout=seconds))


def test_staging_that_takes_too_long_ends_and_says_how_far_it_came(tmp_path: Path) -> None:
    root, watch, record = str(tmp_path), Watch(), FakeRecord()
    store = FakeStore({f"data/{n}": b"1" for n in range(9)})
    store.faults["read", "data/4"] = [lambda: setattr(watch, "now", 1061.0)]
    with pytest.raises(StageError) as caught:
        stage(limited(root, 60.0), store, record, never, watch)
    assert str(caught.value) == (
        "staging took more than 60 s (LAUNCHER_STAGE_TIMEOUT): data_url 4 of 9 and more objects"
    )
    assert (caught.value.code, caught.value.exit_code) == ("stage-timeout", Exit.UNREACHABLE)
    assert not parts(tmp_path)


def test_the_limit_holds_while_a_transfer_hangs(tmp_path: Path) -> None:
    root, watch = str(tmp_path), Watch()
    release = threading.Event()

    def hang() -> None:
        watch.now += 61
        release.wait(60)

    store = FakeStore({"data/a": b"1", "data/b": b"1"})
    store.faults["read", "data/a"] = [hang]
    with pytest.raises(StageError, match="LAUNCHER_STAGE_TIMEOUT"):
        stage(limited(root, 60.0), store, FakeRecord(), never, watch)
    assert not parts(tmp_path)
    release.set()


def test_the_limit_holds_while_a_listing_hangs(tmp_path: Path) -> None:
    root, watch = str(tmp_path), Watch()
    release = threading.Event()

    def hang() -> None:
        watch.now += 61
        release.wait(60)

    store = FakeStore({"data/a": b"1"})
    store.faults["walk", "data/"] = [hang]
    with pytest.raises(StageError, match=r"data_url 0 of 0 and more objects"):
        stage(limited(root, 60.0), store, FakeRecord(), never, watch)
    release.set()


def test_a_stop_that_comes_with_the_limit_is_a_stop(tmp_path: Path) -> None:
    root, watch, stop = str(tmp_path), Watch(), threading.Event()

    def both() -> None:
        watch.now += 61
        stop.set()

    store = FakeStore({f"data/{n}": b"1" for n in range(9)})
    store.faults["read", "data/4"] = [both]
    with pytest.raises(Cancelled):
        stage(limited(root, 60.0), store, FakeRecord(), stop.is_set, watch)


def test_staging_that_ends_in_time_has_no_limit_afterwards(tmp_path: Path) -> None:
    root, watch = str(tmp_path), Watch()
    plan = limited(root, 60.0)
    stage(plan, FakeStore({"data/a": b"1"}), FakeRecord(), never, watch)
    watch.now += 61
    assert tree(tmp_path / "inputs/data_url_0") == {"a": b"1"}


# room


def test_a_large_object_that_was_nearly_there_needs_no_room_for_all_of_it_again(tmp_path: Path) -> None:
    at = tmp_path / "small"
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(at)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    try:
        root, size = str(at), 40 * 1024**2
        (at / "log").mkdir()
        store = FakeStore({"data/x": bytes(size)})
        store.etags["data/x"] = '"1-3"'
        store.faults["read", "data/x"] = [None, None, refused()]
        plan = make_plan(root, inputs=(make_input(root),), transfers=1)
        with pytest.raises(StageError, match="403"):
            run(plan, store)
        run(plan, store)
        assert len(store.keys_of("read")) == 4
        assert (at / "inputs/data_url_0/x").stat().st_size == size
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)
