from __future__ import annotations

import errno
import hashlib
import os
import stat as stat_module
import threading
from typing import TYPE_CHECKING

import pytest
from fake_store import (
    FakeRecord,
    FakeStore,
    broken,
    make_code,
    make_input,
    make_output,
    make_plan,
    never,
    refused,
)

from launcher.core.errors import Cancelled, Exit, PlanError, StageError, StoreError
from launcher.core.keys import arrange
from launcher.core.plan import Code, CodeLimits, Plan
from launcher.core.stored import StoredObject
from launcher.core.urls import Location
from launcher.listing import Channel, Wanted, check_folding
from launcher.stage import StageResult, stage

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
    assert result == StageResult(baseline={}, warnings=())
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
    assert verbs == ["walk"] * 3 + ["fetch"] * 3
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
        def walk(self, folder: Location) -> Iterator[StoredObject]:
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
    assert not store.keys_of("fetch")
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
    assert not store.keys_of("fetch")
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
    with pytest.raises(StageError, match=r"inputs\[0\] \(data_url\): could not write 'x'"):
        run(make_plan(root, inputs=(make_input(root),)), FakeStore({"data/x": b"new"}))
    assert not parts(tmp_path)


def test_names_that_are_one_on_a_folding_file_system_are_refused(tmp_path: Path) -> None:
    want = Wanted(kind="input", name="d", label="d", source=Location("b", "data/"), path=str(tmp_path))
    items = [StoredObject("data/README", 1, ""), StoredObject("data/readme", 1, "")]
    channel = Channel(wanted=want, arrangement=arrange(items, want.source), present={}, parts=())
    with pytest.raises(StageError, match="'README' and 'readme' are one name") as caught:
        check_folding(channel)
    assert caught.value.code == "key-clash"


# failures and stops


def test_a_failing_transfer_is_named_and_leaves_no_part(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    store = FakeStore({f"data/{n}": b"x" for n in range(50)})
    store.faults["fetch", "data/7"] = [broken()]
    with pytest.raises(StageError, match=r"^inputs\[0\] \(data_url\): 503 SlowDown") as caught:
        run(make_plan(root, inputs=(make_input(root),)), store, record)
    assert (caught.value.exit_code, caught.value.code) == (Exit.UNREACHABLE, "store-unreachable")
    assert caught.value.action == "Try again."
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
    store.faults["fetch", "data/x"] = [OSError(number, os.strerror(number))]
    with pytest.raises(StageError, match=r"^inputs\[0\] \(data_url\): could not write 'x' in ") as caught:
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
    store.faults["fetch", "data/05"] = [stop.set]
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
    store.faults["fetch", "data/a"] = [hang]
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
    store.faults["occupied", "train_url/"] = [refused()]
    result = run(make_plan(root, outputs=(make_output(root),)), store)
    assert "cannot see whether obs://b/train_url/ is in use: 403" in result.warnings[0]


def test_a_target_that_cannot_be_reached_stops_before_training(tmp_path: Path) -> None:
    root = str(tmp_path)
    store = FakeStore({"data/x": b""})
    store.faults["occupied", "train_url/"] = [broken("no bucket")]
    with pytest.raises(StageError, match=r"outputs\[0\] \(train_url\): no bucket"):
        run(make_plan(root, inputs=(make_input(root),), outputs=(make_output(root),)), store)
    assert not store.keys_of("fetch")


def test_a_first_run_with_predownload_finds_nothing_and_goes_on(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = FakeRecord()
    result = run(make_plan(root, outputs=(make_output(root, predownload=True),)), FakeStore(), record)
    assert result == StageResult(baseline={"train_url": {}}, warnings=())
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
    assert store.keys_of("fetch") == ["train_url/x"] * fetched
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
