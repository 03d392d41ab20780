from __future__ import annotations

import hashlib
import itertools
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fake_store import FakeClock, FakeRecord, FakeStore, broken, make_output, make_plan, never, refused
from patience import Hasty, Once

from launcher.core.errors import StoreError
from launcher.core.manifest import Entry, parse_manifest
from launcher.core.plan import Patterns, Transfers
from launcher.core.urls import Location
from launcher.disk import CHUNK, Stamp, stamp_of
from launcher.retry import Retries
from launcher.stage import stage
from launcher.sync import Sync
from launcher.sync.journal import Past, begin, load
from launcher.sync.turns import Turn
from launcher.sync.upload import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from launcher.core.plan import Plan
    from launcher.core.record import Moving, Synced

MANIFEST = "train_url/.launcher/manifest-worker-0.json"
LOGS = Location("b", "logs/")


class Bench:
    """One output folder on disk, a store, and a Sync between them."""

    def __init__(self, tmp_path: Path, plan: Plan | None = None) -> None:
        self.top = tmp_path
        self.plan = plan or make_plan(str(tmp_path), outputs=(make_output(str(tmp_path)),), transfers=4)
        self.store = FakeStore()
        self.record = FakeRecord()
        self.folder = tmp_path / "outputs/train_url_0"
        self.folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "log").mkdir(exist_ok=True)
        self.sync = self.make()

    def make(
        self,
        baseline: Mapping[str, Mapping[str, Stamp]] | None = None,
        secrets: tuple[bytes, ...] = (),
        **more: Any,
    ) -> Sync:
        more.setdefault("retries", Once)
        self.sync = Sync(self.plan, self.store, self.record, FakeClock(), baseline or {}, secrets=secrets, **more)
        return self.sync

    def write(self, path: str, content: bytes = b"x", age: float = 0) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        changed = time.time() - age
        os.utime(file, (changed, changed))
        return file

    def finish(self, stopped: Callable[[], bool] = never) -> Synced:
        return self.sync.finish(stopped)[0]

    @contextmanager
    def running(self, stopped: Callable[[], bool] = never) -> Iterator[None]:
        worker = threading.Thread(target=self.sync.periodic, args=(stopped,))
        worker.start()
        try:
            yield
        finally:
            self.sync.halt()
            worker.join(30)
            assert not worker.is_alive()

    def failed(self, entry: Synced) -> dict[str, str]:
        return {one.key: one.error for one in entry.failed}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def with_log(tmp_path: Path) -> Bench:
    outputs = (make_output(str(tmp_path)),)
    return Bench(tmp_path, make_plan(str(tmp_path), outputs=outputs, log_target=LOGS))


# the end of a run


def test_everything_is_in_its_place_at_the_end(bench: Bench) -> None:
    bench.write("a/ckpt.pt", b"123")
    bench.write("b.txt", b"")
    entry = bench.finish()
    assert bench.store.objects["train_url/a/ckpt.pt"] == b"123"
    assert bench.store.objects["train_url/b.txt"] == b""
    assert (entry.channel, entry.target) == ("train_url", "obs://b/train_url/")
    assert (entry.objects, entry.bytes, entry.failed) == (2, 3, ())
    assert entry.manifest == f"obs://b/{MANIFEST}"
    assert bench.record.syncs == [entry]


def test_the_manifest_says_what_was_put(bench: Bench) -> None:
    bench.write("a/ckpt.pt", b"123")
    bench.finish()
    manifest = parse_manifest(bench.store.objects[MANIFEST])
    assert (manifest.job, manifest.worker, manifest.workers) == ("id1", 0, 2)
    (entry,) = manifest.objects
    assert (entry.key, entry.size, entry.time) == ("a/ckpt.pt", 3, "2024-05-06T07:08:09.000+00:00")
    assert entry.sha256 == hashlib.sha256(b"123").hexdigest()


def test_the_old_manifest_goes_first_and_the_new_one_comes_last(bench: Bench) -> None:
    bench.store.objects[MANIFEST] = b"{}"
    for number in range(20):
        bench.write(str(number))
    bench.finish()
    changes = [call for call in bench.store.journal if call[0] != "put"]
    assert changes[0] == ("remove", MANIFEST)
    assert changes[-1] == ("stored", MANIFEST)
    assert len(changes) == 22


def test_an_output_with_nothing_new_is_whole_too(bench: Bench) -> None:
    entry = bench.finish()
    assert parse_manifest(bench.store.objects[MANIFEST]).objects == ()
    assert (entry.objects, entry.failed) == (0, ())


def test_the_newest_file_goes_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_plan(str(tmp_path), outputs=(make_output(str(tmp_path)),), transfers=1))
    for age in (30, 10, 20):
        bench.write(f"{age}", age=age)
    bench.finish()
    assert bench.store.keys_of("put") == ["train_url/10", "train_url/20", "train_url/30", MANIFEST]


def test_outputs_are_taken_together_and_each_has_its_result(tmp_path: Path) -> None:
    root = str(tmp_path)
    outputs = (make_output(root, name="one"), make_output(root, name="two"))
    bench = Bench(tmp_path, make_plan(root, outputs=outputs))
    (tmp_path / "outputs/one_0").mkdir()
    (tmp_path / "outputs/two_0").mkdir()
    (tmp_path / "outputs/one_0/x").write_bytes(b"1")
    (tmp_path / "outputs/two_0/x").write_bytes(b"22")
    bench.store.always["put", "two/x"] = broken()
    one, two = bench.sync.finish(never)
    assert (one.channel, one.objects, one.failed) == ("one", 1, ())
    assert (two.channel, two.objects) == ("two", 0)
    assert bench.failed(two) == {"x": "503 SlowDown"}
    assert one.manifest
    assert two.manifest is None


def test_the_events_are_the_services_own(bench: Bench) -> None:
    bench.write("x")
    bench.finish()
    messages = bench.record.messages("Info")
    assert messages[0] == "[worker-0] Training output(parameter name: train_url) Uploading."
    assert messages[1].startswith("[worker-0][time used: ")
    assert messages[1].endswith("Upload training output(parameter name: train_url) finished.")


def test_empty_folders_are_no_objects(bench: Bench) -> None:
    (bench.folder / "empty/deep").mkdir(parents=True)
    assert bench.finish().objects == 0


def test_a_failing_upload_is_named_and_there_is_no_manifest(bench: Bench) -> None:
    bench.write("good")
    bench.write("bad")
    bench.store.objects[MANIFEST] = b"old"
    bench.store.always["put", "train_url/bad"] = broken()
    entry = bench.finish()
    assert bench.failed(entry) == {"bad": "503 SlowDown"}
    assert entry.manifest is None
    assert MANIFEST not in bench.store.objects
    assert entry.objects == 1
    assert "the first is 'bad': 503 SlowDown" in bench.record.messages("Error")[0]


def test_a_manifest_that_cannot_be_written_is_a_failure(bench: Bench) -> None:
    bench.write("x")
    bench.store.faults["put", MANIFEST] = [broken()]
    entry = bench.finish()
    assert bench.failed(entry) == {
        ".launcher/manifest-worker-0.json": "the manifest could not be written: 503 SlowDown"
    }
    assert entry.objects == 1


def test_nothing_is_uploaded_under_an_old_manifest(bench: Bench) -> None:
    bench.write("x")
    bench.store.objects[MANIFEST] = b"old"
    bench.store.always["remove", MANIFEST] = broken()
    entry = bench.finish()
    why = "the old manifest could not be removed: 503 SlowDown"
    assert bench.failed(entry) == {"x": why, ".launcher/manifest-worker-0.json": why}
    assert not bench.store.keys_of("put")


def test_who_may_write_but_not_delete_makes_the_old_manifest_worthless(bench: Bench) -> None:
    bench.write("x")
    bench.store.objects[MANIFEST] = b"old"
    bench.store.always["remove", MANIFEST] = refused()
    entry = bench.finish()
    assert entry.failed == ()
    assert bench.store.keys_of("put") == [MANIFEST, "train_url/x", MANIFEST]
    assert len(parse_manifest(bench.store.objects[MANIFEST]).objects) == 1


def test_a_target_that_refuses_is_not_hammered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_plan(str(tmp_path), outputs=(make_output(str(tmp_path)),), transfers=1))
    for number in range(20):
        bench.write(f"{number:02}")
    bench.store.always["put", "train_url/"] = refused()
    entry = bench.finish()
    assert len(bench.store.keys_of("put")) == 3
    assert len(entry.failed) == 20
    assert sorted(set(bench.failed(entry).values())) == ["403 AccessDenied", "not tried again after 403 AccessDenied"]


def test_a_defect_in_the_store_is_no_failed_key(bench: Bench) -> None:
    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [KeyError("defect")]
    with pytest.raises(KeyError):
        bench.finish()


# what may not leave


def test_links_fifos_and_sockets_are_named_and_left_out(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("secret")
    (bench.folder / "link").symlink_to(secret)
    (bench.folder / "dirlink").symlink_to(tmp_path)
    os.mkfifo(bench.folder / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(bench.folder, os.O_RDONLY)
        try:
            one.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
    bench.write("x")
    entry = bench.finish()
    assert entry.failed == ()
    assert sorted(bench.store.objects) == [MANIFEST, "train_url/x"]
    (warning,) = bench.record.messages("Warning")
    assert warning == (
        "outputs[0] (train_url): left out of the upload: 'dirlink' is a link, 'fifo' is a FIFO, 'link' is a link, "
        "'socket' is a socket"
    )


def test_many_things_left_out_are_counted(bench: Bench) -> None:
    for number in range(9):
        (bench.folder / f"l{number}").symlink_to("/nowhere")
    bench.finish()
    assert bench.record.messages("Warning")[0].endswith("'l4' is a link and 4 more")


def test_a_file_that_becomes_a_link_before_it_is_opened_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("secret")
    bench.write("a")

    def swap() -> None:
        (bench.folder / "a").unlink()
        (bench.folder / "a").symlink_to(secret)

    bench.store.faults["remove", MANIFEST] = [swap]
    entry = bench.finish()
    assert "train_url/a" not in bench.store.objects
    assert entry.failed == ()
    assert "'a' is no regular file" in bench.record.messages("Warning")[0]


def test_a_folder_that_becomes_a_link_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "token").write_text("secret")
    bench.write("d/token")

    def swap() -> None:
        (bench.folder / "d/token").unlink()
        (bench.folder / "d").rmdir()
        (bench.folder / "d").symlink_to(outside)

    bench.store.faults["remove", MANIFEST] = [swap]
    bench.finish()
    assert "train_url/d/token" not in bench.store.objects
    assert "'d/token' is no regular file" in bench.record.messages("Warning")[0]


def test_a_fifo_that_takes_a_files_place_holds_nobody(bench: Bench) -> None:
    bench.write("a")

    def swap() -> None:
        (bench.folder / "a").unlink()
        os.mkfifo(bench.folder / "a")

    bench.store.faults["remove", MANIFEST] = [swap]
    assert bench.finish().failed == ()


def test_an_output_folder_that_is_a_link_now_is_a_failure(bench: Bench, tmp_path: Path) -> None:
    bench.folder.rmdir()
    bench.folder.symlink_to(tmp_path)
    entry = bench.finish()
    assert "is a link" in bench.failed(entry)[str(bench.folder)]
    assert entry.manifest is None


def test_an_output_folder_that_is_gone_is_worth_a_warning(bench: Bench) -> None:
    bench.folder.rmdir()
    assert bench.finish().failed == ()
    assert f"'{bench.folder}' is gone" in bench.record.messages("Warning")[0]


def test_an_output_folder_that_may_not_be_read_is_told_by_its_path(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.folder.chmod(0)
    try:
        if os.access(bench.folder, os.R_OK):
            pytest.skip("this user may read everything")
        assert bench.failed(bench.finish()) == {str(bench.folder): "permission denied"}
    finally:
        bench.folder.chmod(0o700)


def test_a_name_that_no_key_may_have_is_a_failure(bench: Bench) -> None:
    for name in (b"bad\xff", b"new\nline"):
        with open(os.path.join(os.fsencode(bench.folder), name), "wb"):
            pass
    entry = bench.finish()
    assert bench.failed(entry) == {
        "bad\\udcff": "its name has a character that is not Unicode text, which no key may have",
        "new\nline": "its name has a control character, which no key may have",
    }


def test_a_key_longer_than_the_store_takes_is_a_failure(bench: Bench) -> None:
    bench.write("/".join("d" * 250 for _ in range(4)) + "/" + "x" * 20)
    (reason,) = bench.failed(bench.finish()).values()
    assert reason == "its key would have 1,034 bytes (1,024 is the most)"


def test_a_file_that_may_not_be_read_is_a_failure(bench: Bench) -> None:
    file = bench.write("x")
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    assert bench.failed(bench.finish()) == {"x": "permission denied"}


def test_a_folder_that_may_not_be_read_is_a_failure(bench: Bench) -> None:
    folder = bench.write("sub/x").parent
    folder.chmod(0)
    try:
        if os.access(folder, os.R_OK):
            pytest.skip("this user may read everything")
        assert bench.failed(bench.finish()) == {"sub/": "permission denied"}
    finally:
        folder.chmod(0o700)


def test_our_own_folder_and_parts_in_an_output_are_left_out(bench: Bench) -> None:
    bench.write(".launcher/manifest-worker-0.json", b"forged")
    bench.write("sub/.launcher-part-1-ff", b"half")
    bench.write("x")
    entry = bench.finish()
    assert entry.objects == 1
    assert bench.store.objects[MANIFEST] != b"forged"
    warning = bench.record.messages("Warning")[0]
    assert "'.launcher' is the launcher's own" in warning
    assert "'sub/.launcher-part-1-ff' is the launcher's own" in warning


# files that move


def test_a_file_that_vanishes_is_no_failure(bench: Bench) -> None:
    file = bench.write("gone")
    bench.write("x")
    bench.store.faults["remove", MANIFEST] = [file.unlink]
    entry = bench.finish()
    assert (entry.objects, entry.failed) == (1, ())


def test_a_file_that_grows_while_it_is_sent_is_given_up_and_sent_whole(bench: Bench) -> None:
    file = bench.write("grows", b"123")

    def grow() -> None:
        with file.open("ab") as more:
            more.write(b"456")

    bench.store.faults["put", "train_url/grows"] = [grow]
    entry = bench.finish()
    assert bench.store.keys_of("put").count("train_url/grows") == 2
    assert bench.store.keys_of("stored").count("train_url/grows") == 1
    assert bench.store.objects["train_url/grows"] == b"123456"
    assert (entry.objects, entry.bytes, entry.failed) == (1, 6, ())


def test_a_file_that_only_grows_and_never_rests_is_sent_as_it_was_at_one_moment(bench: Bench) -> None:
    file = bench.write("grows", b"1")

    def grow() -> None:
        with file.open("ab") as more:
            more.write(b"2")

    bench.store.faults["put", "train_url/grows"] = [grow, grow, grow]
    entry = bench.finish()
    assert bench.store.keys_of("put").count("train_url/grows") == 3
    assert bench.store.keys_of("stored").count("train_url/grows") == 1
    assert bench.store.objects["train_url/grows"] == b"122"
    (put,) = parse_manifest(bench.store.objects[MANIFEST]).objects
    assert (put.size, put.sha256) == (3, hashlib.sha256(b"122").hexdigest())
    assert entry.failed == ()


def test_a_file_that_is_rewritten_and_never_rests_is_a_failure(bench: Bench) -> None:
    file = bench.write("moves", b"old" * CHUNK)
    bench.write("rests")

    class Meddled(FakeStore):
        """Whatever was read last of that file is written anew before anything more of it is read."""

        def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
            super().put(at, map(self.meddle, chunks) if at.name == "moves" else chunks, size)

        def meddle(self, chunk: bytes) -> bytes:
            with file.open("r+b") as open_file:
                open_file.write(os.urandom(8))
            return chunk

    bench.store = Meddled()
    bench.make()
    entry = bench.finish()
    assert bench.failed(entry) == {"moves": "it kept changing while it was read"}
    assert sorted(bench.store.objects) == ["train_url/rests"]
    assert bench.store.keys_of("put").count("train_url/moves") == 3


def test_a_file_whose_place_was_taken_while_it_was_sent_goes_again_as_the_new_one(bench: Bench) -> None:
    file = bench.write("ckpt", b"old")

    def replace() -> None:
        bench.write("ckpt.tmp", b"newer").rename(file)

    bench.store.faults["put", "train_url/ckpt"] = [replace]
    entry = bench.finish()
    assert bench.store.keys_of("stored").count("train_url/ckpt") == 2
    assert bench.store.objects["train_url/ckpt"] == b"newer"
    assert (entry.objects, entry.failed) == (1, ())


def test_a_file_that_shrinks_is_sent_as_it_is_then(bench: Bench) -> None:
    file = bench.write("shrinks", b"12345")
    bench.store.faults["put", "train_url/shrinks"] = [lambda: os.truncate(file, 2)]
    assert bench.finish().bytes == 2
    assert bench.store.objects["train_url/shrinks"] == b"12"


def test_only_what_changed_since_the_predownload_is_sent(tmp_path: Path) -> None:
    root = str(tmp_path)
    bench = Bench(tmp_path, make_plan(root, outputs=(make_output(root, predownload=True),)))
    bench.store.objects.update({"train_url/old": b"old", "train_url/changed": b"old"})
    result = stage(bench.plan, bench.store, bench.record, never)
    bench.make(result.baseline)
    bench.write("changed", b"newer")
    bench.write("added", b"new")
    entry = bench.finish()
    assert sorted(bench.store.keys_of("stored")) == [MANIFEST, "train_url/added", "train_url/changed"]
    assert (entry.objects, entry.bytes) == (2, 8)


# the time is over


def test_what_is_not_uploaded_in_time_is_named(bench: Bench) -> None:
    for number in range(5):
        bench.write(str(number))
    entry = bench.finish(lambda: True)
    assert bench.failed(entry) == {str(number): "not uploaded in time" for number in range(5)}
    assert entry.manifest is None


def test_a_stop_half_way_tells_what_is_in_place_from_what_is_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_plan(str(tmp_path), outputs=(make_output(str(tmp_path)),), transfers=1))
    stop = threading.Event()
    for age in (10, 20, 30):
        bench.write(str(age), age=age)
    bench.store.faults["put", "train_url/20"] = [stop.set]
    entry = bench.finish(stop.is_set)
    assert entry.objects == 1
    assert bench.failed(entry) == {"20": "not uploaded in time", "30": "not uploaded in time"}


def test_a_stop_before_the_manifest_leaves_the_output_not_whole(bench: Bench) -> None:
    stop = threading.Event()
    bench.write("x", b"")
    bench.store.faults["put", "train_url/x"] = [stop.set]
    entry = bench.finish(stop.is_set)
    assert bench.failed(entry) == {".launcher/manifest-worker-0.json": "not uploaded in time"}


def test_a_put_that_hangs_does_not_hold_the_end(bench: Bench) -> None:
    hanging, release = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        release.wait(60)

    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [hang]
    entry = bench.finish(hanging.is_set)
    assert bench.failed(entry) == {"x": "not uploaded in time"}
    release.set()


def test_an_engine_that_wraps_our_stop_is_not_believed(bench: Bench) -> None:
    stop = threading.Event()

    class Wrapping(FakeStore):
        def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
            stop.set()
            try:
                super().put(at, chunks, size)
            except Exception as error:
                raise StoreError("generic error", code="x", action="x") from error

    bench.store = Wrapping()
    bench.make()
    bench.write("x")
    assert bench.failed(bench.finish(stop.is_set)) == {"x": "not uploaded in time"}


# while the boot file runs


def test_a_file_that_stands_still_goes_while_the_boot_file_runs(bench: Bench) -> None:
    bench.write("a/ckpt", b"1")
    with bench.running():
        bench.store.wait_for_puts("train_url/a/ckpt")
    entry = bench.finish()
    assert bench.store.keys_of("stored").count("train_url/a/ckpt") == 1
    assert (entry.objects, entry.bytes) == (1, 1)
    assert [one.key for one in parse_manifest(bench.store.objects[MANIFEST]).objects] == ["a/ckpt"]


def test_the_old_manifest_is_gone_before_the_first_upload_of_the_run(bench: Bench) -> None:
    bench.store.objects[MANIFEST] = b"old"
    bench.write("x")
    with bench.running():
        bench.store.wait_for_puts("train_url/x")
        assert MANIFEST not in bench.store.objects
    bench.finish()
    assert bench.store.journal[0] == ("remove", MANIFEST)
    assert bench.store.keys_of("remove") == [MANIFEST]


def test_a_file_that_changed_goes_again(bench: Bench) -> None:
    bench.write("x", b"1", age=10)
    with bench.running():
        bench.store.wait_for_puts("train_url/x")
        bench.write("x", b"22")
        bench.store.wait_for_puts("train_url/x", 2)
    entry = bench.finish()
    assert bench.store.objects["train_url/x"] == b"22"
    assert (entry.objects, entry.bytes) == (1, 2)


def test_a_file_that_changed_while_it_was_sent_goes_again(bench: Bench) -> None:
    file = bench.write("x", b"1", age=10)

    def change() -> None:
        file.write_bytes(b"22")

    bench.store.faults["put", "train_url/x"] = [change]
    with bench.running():
        bench.store.wait_for_puts("train_url/x")
    assert bench.store.objects["train_url/x"] == b"22"


def test_a_failed_upload_is_tried_again_and_then_no_failure(bench: Bench) -> None:
    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [broken(), broken()]
    with bench.running():
        bench.store.wait_for_puts("train_url/x")
    assert bench.finish().failed == ()


def test_a_failed_upload_is_not_forgotten(bench: Bench) -> None:
    bench.write("x")
    bench.store.always["put", "train_url/x"] = broken()
    tried = threading.Event()

    class Watching(FakeStore):
        def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
            tried.set()
            super().put(at, chunks, size)

    watching = Watching()
    watching.always = bench.store.always
    bench.store = watching
    bench.make()
    with bench.running():
        assert tried.wait(30)
    assert bench.failed(bench.finish()) == {"x": "503 SlowDown"}


def test_a_stop_breaks_off_the_transfer_of_the_running_phase(bench: Bench) -> None:
    stop = threading.Event()
    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [stop.set]
    worker = threading.Thread(target=bench.sync.periodic, args=(stop.is_set,))
    worker.start()
    worker.join(30)
    assert not worker.is_alive()
    assert "train_url/x" not in bench.store.objects
    assert bench.finish().objects == 1


def test_the_end_waits_for_the_file_that_is_on_its_way(bench: Bench) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        go_on.wait(30)

    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [slow]
    with bench.running():
        assert started.wait(30)
        threading.Timer(0.05, go_on.set).start()
        entry = bench.finish()
    assert (entry.objects, entry.failed) == (1, ())
    assert bench.store.keys_of("stored").count("train_url/x") == 1


def test_the_newest_does_not_wait_for_an_older_file_that_is_on_its_way(bench: Bench) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        go_on.wait(30)

    bench.write("old", age=100)
    bench.store.faults["put", "train_url/old"] = [slow]
    bench.store.faults["put", "train_url/new"] = [go_on.set]
    with bench.running():
        assert started.wait(30)
        bench.write("new")
        entry = bench.finish()
    assert (entry.objects, entry.failed) == (2, ())
    assert bench.store.keys_of("stored")[-1] == MANIFEST


def test_a_file_that_changes_on_its_way_at_the_end_goes_again(bench: Bench) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        go_on.wait(30)

    bench.write("x", b"1", age=100)
    bench.store.faults["put", "train_url/x"] = [slow]
    with bench.running():
        assert started.wait(30)
        bench.write("x", b"22")
        threading.Timer(0.05, go_on.set).start()
        entry = bench.finish()
    assert bench.store.objects["train_url/x"] == b"22"
    assert (entry.objects, entry.bytes, entry.failed) == (1, 2, ())


def test_a_transfer_that_hangs_while_running_does_not_hold_the_end(bench: Bench) -> None:
    started, release = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        release.wait(60)

    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [hang]
    worker = threading.Thread(target=bench.sync.periodic, args=(never,), daemon=True)
    worker.start()
    assert started.wait(30)
    entry = bench.finish(lambda: True)
    assert bench.failed(entry) == {"x": "not uploaded in time"}
    release.set()
    worker.join(30)


def test_without_outputs_and_log_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_plan(str(tmp_path)))
    bench.sync.periodic(never)
    assert bench.sync.finish(never) == ()
    assert bench.sync.publish([bench.plan.files.run_json]) == ()


# patience


def busy() -> StoreError:
    return StoreError("503 SlowDown", code="store-busy", action="Wait.")


def test_what_may_go_well_the_next_time_is_tried_again_and_counted(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    bench.make(retries=Hasty)
    bench.write("x", b"123")
    (tmp_path / "log/run.log").write_text("said\n")
    log = "logs/modelarts-job-id1-worker-0.log"
    for verb, key in (("remove", MANIFEST), ("put", "train_url/x"), ("put", MANIFEST), ("put", log)):
        bench.store.faults[verb, key] = [busy()]
    output, logs = bench.sync.finish(never)
    assert (output.failed, output.retries, logs.failed, logs.retries) == ((), 3, (), 1)
    assert (bench.store.objects["train_url/x"], bench.store.objects[log]) == (b"123", b"said\n")
    (entry,) = parse_manifest(bench.store.objects[MANIFEST]).objects
    assert (entry.size, entry.sha256) == (3, hashlib.sha256(b"123").hexdigest())
    (tmp_path / "log/run.json").write_text("{}")
    bench.store.faults["put", f"{STEM}.run.json"] = [busy()]
    assert bench.sync.publish([bench.plan.files.run_json], never, {bench.plan.files.run_json: b"[]"}) == ()
    assert bench.store.objects[f"{STEM}.run.json"] == b"[]"


def test_what_an_engine_took_before_it_failed_is_sent_again(bench: Bench) -> None:
    class Breaking(FakeStore):
        """A store that fails the first time, in the middle."""

        def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
            if "train_url/x" not in self.keys_of("put") and at.name == "x":
                next(chunks)
                self.journal.append(("put", at.key))
                raise busy()
            super().put(at, chunks, size)

    bench.store = Breaking()
    bench.make(retries=Hasty)
    content = os.urandom(2 * CHUNK + 1)
    bench.write("x", content)
    entry = bench.finish()
    assert (entry.failed, bench.store.objects["train_url/x"]) == ((), content)
    (listed,) = parse_manifest(bench.store.objects[MANIFEST]).objects
    assert (listed.size, listed.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_file_that_changes_between_two_tries_is_sent_as_it_is_then(bench: Bench) -> None:
    bench.make(retries=Hasty)
    file = bench.write("x", b"old")

    def change() -> None:
        file.write_bytes(b"newer")
        raise busy()

    bench.store.faults["put", "train_url/x"] = [change]
    assert (bench.finish().failed, bench.store.objects["train_url/x"]) == ((), b"newer")


def test_a_store_that_asks_for_less_is_sent_less_at_once(bench: Bench) -> None:
    bench.make(retries=Hasty)
    for number in range(9):
        bench.write(str(number))
    bench.store.faults["put", "train_url/0"] = [busy()]
    before = bench.sync._pace.width()
    bench.finish()
    assert bench.sync._pace.width() == before // 2


def test_a_pause_between_two_tries_does_not_hold_the_end(bench: Bench) -> None:
    waiting = threading.Event()

    class Patient(Hasty):
        def wait_after(self, error: StoreError, failures: int, since: float) -> float | None:
            waiting.set()
            return 3600.0

    bench.make(retries=Patient)
    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [busy()]
    with bench.running():
        assert waiting.wait(30)
        assert bench.finish().failed == ()
    assert "train_url/x" in bench.store.objects


# what the job leaves out, and what costs nothing


def test_what_the_jobs_patterns_leave_out_is_neither_sent_nor_a_failure(tmp_path: Path) -> None:
    output = msgspec.structs.replace(
        make_output(str(tmp_path)), patterns=Patterns(include=("*.pt",), exclude=("tmp/",))
    )
    bench = Bench(tmp_path, make_plan(str(tmp_path), outputs=(output,)))
    for name in ("a.pt", "sub/b.pt", "c.txt", "tmp/d.pt", "e\nf.txt"):
        bench.write(name)
    entry = bench.finish()
    assert (entry.objects, entry.failed) == (2, ())
    assert sorted(bench.store.objects) == [MANIFEST, "train_url/a.pt", "train_url/sub/b.pt"]
    said = "outputs[0] (train_url): left out by launcher/include.train_url, launcher/exclude.train_url: 3 files"
    assert bench.record.messages("Info").count(said) == 1


def settled_at_once(bench: Bench) -> list[str]:
    """What a first look finds ready."""
    output = bench.plan.outputs[0]
    folder = Folder(bench.plan, output, bench.store, FakeClock(), {}, retries=Retries())
    return folder.settled(never)


def test_a_file_that_nobody_may_write_need_not_be_seen_twice(bench: Bench) -> None:
    bench.write("open", age=3600)
    bench.write("closed", age=3600).chmod(0o444)
    until, unheard = time.monotonic() + 30, threading.Event()
    while not (ready := settled_at_once(bench)) and time.monotonic() < until:
        unheard.wait(0.01)
    assert ready == ["closed"]


def test_a_file_that_changed_since_it_was_seen_is_left_for_the_next_look(bench: Bench) -> None:
    file = bench.write("x", b"1", age=3600)
    folder = Folder(bench.plan, bench.plan.outputs[0], bench.store, FakeClock(), {}, retries=Retries())
    folder.clear(never)
    assert (folder.settled(never), folder.settled(never)) == ([], ["x"])
    file.write_bytes(b"22")
    assert folder.send("x", never)
    assert "train_url/x" not in bench.store.objects
    assert (folder.settled(never), folder.settled(never)) == ([], ["x"])
    assert folder.send("x", never)
    assert bench.store.objects["train_url/x"] == b"22"


def test_looking_costs_a_hundredth_of_a_core_and_less_at_rest(tmp_path: Path) -> None:
    root = str(tmp_path)
    outputs = tuple(make_output(root, name=name, period=30.0) for name in ("one", "two"))
    bench = Bench(tmp_path, make_plan(root, outputs=outputs))
    one = bench.sync._folders[0]
    one.cost, one.at_rest = 0.3, False
    assert bench.sync._beside._rest(one) == pytest.approx(60), "two outputs share the hundredth"
    one.at_rest = True
    assert bench.sync._beside._rest(one) == pytest.approx(210)


def test_a_turn_comes_again_after_its_pause_or_after_what_it_must_leave() -> None:
    leasts = iter((0.0, 0.5, 90.0, 0.0))
    turn = Turn(lambda _: None, 1.0, 30.0, 0.0, lambda: next(leasts))
    due = []
    for _ in range(4):
        turn.schedule(100.0)
        due.append(turn.due - 100)
    assert due == [1.0, 2.0, 90.0, 8.0]


def test_a_look_knows_its_cost_and_whether_anything_is_to_do(bench: Bench) -> None:
    folder = Folder(bench.plan, bench.plan.outputs[0], bench.store, FakeClock(), {}, retries=Retries())
    folder.settled(never)
    assert folder.at_rest
    for number in range(200):
        bench.write(str(number))
    folder.settled(never)
    assert (folder.at_rest, folder.cost > 0) == (False, True)


# how far it is, and what goes on beside it


def test_how_far_the_final_upload_is_can_be_asked_at_any_time(bench: Bench) -> None:
    seen: list[Moving] = []

    class Asked(FakeStore):
        def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
            for chunk in chunks:
                seen.extend(sync.moving())
                chunks = itertools.chain((chunk,), chunks)
                break
            super().put(at, chunks, size)

    bench.store = Asked()
    bench.plan = msgspec.structs.replace(bench.plan, transfers=Transfers(most=1))
    sync = bench.make()
    bench.write("new", b"x" * (CHUNK + 1), age=1)
    bench.write("old", b"xxx", age=2)
    bench.finish()
    first, second = seen[0], seen[1]
    assert (first.label, first.known_objects, first.known_bytes) == ("outputs[0] (train_url)", 2, CHUNK + 4)
    assert (first.objects, first.bytes, first.listed) == (0, CHUNK, True)
    assert (second.objects, second.bytes) == (1, CHUNK + 4)
    (done,) = sync.moving()
    assert (done.objects, done.bytes) == (2, CHUNK + 4)


# the log


def test_the_log_goes_after_the_outputs_with_its_segments(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    bench.write("x")
    (tmp_path / "log/run.log").write_text("now")
    (tmp_path / "log/run.log.1").write_text("before")
    (tmp_path / "log/run.log.old").write_text("not ours")
    output, log = bench.sync.finish(never)
    stem = "logs/modelarts-job-id1-worker-0"
    assert bench.store.objects[f"{stem}.log"] == b"now"
    assert bench.store.objects[f"{stem}.log.1"] == b"before"
    assert (log.channel, log.target, log.objects, log.bytes, log.failed) == ("log", "obs://b/logs/", 2, 9, ())
    assert log.manifest is None
    assert output.failed == ()
    assert sorted(bench.store.keys_of("stored")) == sorted([MANIFEST, "train_url/x", f"{stem}.log", f"{stem}.log.1"])


def test_secrets_do_not_leave_with_the_log(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    (tmp_path / "log/run.log").write_bytes(b"key=hunter2hunter2\n")
    (tmp_path / "log/run.json").write_bytes(b'{"x":"hunter2hunter2"}')
    bench.make(secrets=(b"hunter2hunter2",))
    bench.sync.finish(never)
    assert bench.sync.publish([bench.plan.files.run_json]) == ()
    assert b"hunter2" not in b"".join(bench.store.objects.values())
    assert (tmp_path / "log/run.log").read_bytes() == b"key=hunter2hunter2\n"
    assert set(json.loads(bench.store.objects["logs/modelarts-job-id1-worker-0.run.json"])) == {"x"}


def test_run_json_and_events_are_published_last(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    for name in ("run.log", "run.json", "events.jsonl"):
        (tmp_path / "log" / name).write_text("{}")
    bench.sync.finish(never)
    before = len(bench.store.journal)
    files = bench.plan.files
    assert bench.sync.publish([files.log, files.run_json, files.events]) == ()
    stem = "logs/modelarts-job-id1-worker-0"
    stored = [key for verb, key in bench.store.journal[before:] if verb == "stored"]
    assert sorted(stored) == [f"{stem}.events.jsonl", f"{stem}.run.json"]


def test_a_document_that_cannot_be_published_is_named(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    (tmp_path / "log/run.json").write_text("{}")
    bench.store.always["put", "logs/"] = refused()
    files = bench.plan.files
    (failed,) = bench.sync.publish([files.run_json])
    assert (failed.key, failed.error) == ("modelarts-job-id1-worker-0.run.json", "403 AccessDenied")
    (late,) = bench.sync.publish([files.run_json], lambda: True)
    assert late.error == "not uploaded in time"
    bench.store.always.clear()
    assert bench.sync.publish([files.run_json]) == ()


STEM = "logs/modelarts-job-id1-worker-0"


def test_documents_that_are_not_there_at_the_end_are_named(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    (tmp_path / "log/run.log").write_text("said")
    _, log = bench.sync.finish(never)
    assert log.failed == ()
    (tmp_path / "log/run.log").unlink()
    files = bench.plan.files
    failed = bench.sync.publish([files.log, files.run_json, files.events])
    assert {one.key for one in failed} == {
        f"modelarts-job-id1-worker-0.{name}" for name in ("log", "run.json", "events.jsonl")
    }
    assert {one.error for one in failed} == {"it is not there any more"}


def test_a_log_that_is_not_there_is_a_failure_of_the_end_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_plan(str(tmp_path), log_target=LOGS))
    (tmp_path / "log/run.json").write_text("{}")
    with bench.running():
        bench.store.wait_for_puts(f"{STEM}.run.json")
    (log,) = bench.sync.finish(never)
    assert bench.failed(log) == {"modelarts-job-id1-worker-0.log": "it is not there any more"}


def test_a_text_is_sent_in_place_of_its_file_and_masked(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    bench.make(secrets=(b"hunter2hunter2",))
    files = bench.plan.files
    (tmp_path / "log/run.json").write_text("{}")
    (tmp_path / "log/events.jsonl").write_text("{}")
    texts = {files.run_json: b'{"key":"hunter2hunter2"}'}
    assert bench.sync.publish([files.run_json, files.events], never, texts) == ()
    assert json.loads(bench.store.objects[f"{STEM}.run.json"]) == {"key": "******"}
    (tmp_path / "log/run.json").unlink()
    assert bench.sync.publish([files.run_json], never, texts) == ()
    assert bench.store.keys_of("stored").count(f"{STEM}.run.json") == 2


def test_a_text_that_cannot_be_put_is_named(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    bench.store.always["put", "logs/"] = refused()
    files = bench.plan.files
    (failed,) = bench.sync.publish([files.run_json], never, {files.run_json: b"{}"})
    assert (failed.key, failed.error) == ("modelarts-job-id1-worker-0.run.json", "403 AccessDenied")


def test_uploads_that_stall_leave_the_log_and_its_segments_to_the_report(tmp_path: Path) -> None:
    outputs = (make_output(str(tmp_path)),)
    bench = Bench(tmp_path, make_plan(str(tmp_path), outputs=outputs, log_target=LOGS, transfers=1))
    hanging, release = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        release.wait(60)

    bench.write("x")
    for name in ("run.log", "run.log.1", "run.json", "events.jsonl"):
        (tmp_path / "log" / name).write_text(name)
    bench.store.faults["put", "train_url/x"] = [hang]
    started = time.monotonic()
    output, log = bench.sync.finish(hanging.is_set)
    assert time.monotonic() - started < 10
    assert bench.failed(output) == {"x": "not uploaded in time"}
    assert log.failed == (), "the report has its own time for it"
    files = bench.plan.files
    assert bench.sync.publish([files.log, files.run_json, files.events]) == ()
    names = ("log", "log.1", "run.json", "events.jsonl")
    assert set(bench.store.keys_of("stored")) == {f"{STEM}.{name}" for name in names}
    release.set()


def test_a_log_that_cannot_be_put_is_a_failure_of_the_log(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    (tmp_path / "log/run.log").write_text("x")
    bench.store.always["put", "logs/"] = broken()
    output, log = bench.sync.finish(never)
    assert output.failed == ()
    assert bench.failed(log) == {"modelarts-job-id1-worker-0.log": "503 SlowDown"}


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    (tmp_path / "token").write_text("secret")
    (tmp_path / "log/run.log").symlink_to(tmp_path / "token")
    _, log = bench.sync.finish(never)
    assert len(log.failed) == 1
    assert b"secret" not in b"".join(bench.store.objects.values())


def test_the_log_goes_while_the_boot_file_runs_only_when_it_grew(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_plan(str(tmp_path), log_target=LOGS))
    log = tmp_path / "log/run.log"
    log.write_text("one\n")
    key = "logs/modelarts-job-id1-worker-0.log"
    with bench.running():
        bench.store.wait_for_puts(key)
        with log.open("a") as more:
            more.write("two\n")
        bench.store.wait_for_puts(key, 2)
    bench.sync.finish(never)
    assert bench.store.objects[key] == b"one\ntwo\n"
    assert bench.store.keys_of("stored").count(key) == 2


def test_the_logs_first_upload_begins_at_once(tmp_path: Path) -> None:
    class Standing(FakeClock):
        """Time that does not pass: what is due later never comes."""

        def monotonic(self) -> float:
            return 0.0

    bench = Bench(tmp_path, make_plan(str(tmp_path), log_target=LOGS))
    (tmp_path / "log/run.log").write_text("one\n")
    bench.sync = Sync(bench.plan, bench.store, bench.record, Standing(), {})
    with bench.running():
        bench.store.wait_for_puts("logs/modelarts-job-id1-worker-0.log")


# the journal, and going on where an earlier run ended


def stamp(file: Path) -> Stamp:
    return stamp_of(file.stat())


def test_what_the_store_acknowledged_is_noted(bench: Bench) -> None:
    journal = begin(bench.plan.files.uploads)
    bench.make(journal=journal)
    good = bench.write("a/good", b"123")
    bench.write("bad")
    bench.store.always["put", "train_url/bad"] = broken()
    bench.finish()
    (one,) = load(bench.plan.files.uploads)
    assert (one.channel, one.target, one.key) == ("train_url", "obs://b/train_url/", "a/good")
    assert (one.stamp, one.sha256) == (stamp(good), hashlib.sha256(b"123").hexdigest())
    journal.close()


def test_a_file_that_never_rests_is_not_noted(bench: Bench) -> None:
    journal = begin(bench.plan.files.uploads)
    bench.make(journal=journal)
    file = bench.write("log.txt", b"1")

    def grow() -> None:
        with file.open("ab") as more:
            more.write(b"x")

    bench.store.faults["put", "train_url/log.txt"] = [grow, grow, grow]
    assert bench.finish().failed == ()
    assert tuple(load(bench.plan.files.uploads)) == ()
    journal.close()


def test_what_was_there_before_the_run_is_noted_without_a_sum(bench: Bench) -> None:
    file = bench.write("old")
    journal = begin(bench.plan.files.uploads)
    bench.make({"train_url": {"old": stamp(file)}}, journal=journal)
    (one,) = load(bench.plan.files.uploads)
    assert (one.key, one.stamp, one.entry) == ("old", stamp(file), None)
    journal.close()


def past(*keys: str, lost: Mapping[str, str] | None = None) -> dict[str, Past]:
    entries = {key: Entry(key=key, size=1, sha256="0" * 64, time="then") for key in keys}
    return {"train_url": Past(done=entries, lost=lost or {})}


def test_what_an_earlier_run_put_is_counted_and_not_sent_again(bench: Bench) -> None:
    old = bench.write("old")
    bench.write("new")
    bench.make({"train_url": {"old": stamp(old)}}, past=past("old", "removed"))
    entry = bench.finish()
    assert bench.store.keys_of("put") == ["train_url/new", MANIFEST]
    assert (entry.objects, entry.bytes) == (3, 3)
    assert [each.key for each in parse_manifest(bench.store.objects[MANIFEST]).objects] == ["new", "old", "removed"]


def test_what_is_lost_for_good_leaves_the_output_not_whole(bench: Bench) -> None:
    bench.write("new")
    bench.make(past=past(lost={"old": "gone"}))
    entry = bench.finish()
    assert (bench.failed(entry), entry.manifest) == ({"old": "gone"}, None)
    assert "train_url/new" in bench.store.objects


def test_a_folder_that_is_gone_is_a_failure_for_who_goes_on(bench: Bench) -> None:
    bench.folder.rmdir()
    bench.make(past=past())
    entry = bench.finish()
    assert (bench.failed(entry), entry.manifest) == ({str(bench.folder): "gone"}, None)


def test_an_output_that_is_whole_is_left_alone(bench: Bench) -> None:
    old = bench.write("old")
    before = {"train_url": {"old": stamp(old)}}
    bench.make(before, past=past("old"))
    assert bench.sync.whole() is False
    bench.finish()
    bench.store.journal.clear()
    bench.make(before, past=past("old"))
    assert bench.sync.whole() is True
    entry = bench.finish()
    assert (entry.manifest, entry.failed) == (f"obs://b/{MANIFEST}", ())
    assert bench.store.journal == [("stat", MANIFEST)]


@pytest.mark.parametrize("change", ["new", "spoilt", "lost"])
def test_an_output_with_anything_else_than_its_manifest_says_is_not_whole(bench: Bench, change: str) -> None:
    old = bench.write("old")
    before = {"train_url": {"old": stamp(old)}}
    bench.make(before, past=past("old"))
    bench.finish()
    if change == "new":
        bench.write("new")
    elif change == "spoilt":
        bench.store.objects[MANIFEST] = bench.store.objects[MANIFEST].replace(b"then", b"them")
    bench.make(before, past=past("old", lost={"x": "gone"} if change == "lost" else None))
    assert bench.sync.whole() is False


def test_a_manifest_that_may_not_be_read_is_put_anew_and_a_store_that_is_away_is_told(bench: Bench) -> None:
    bench.make(past=past())
    bench.store.always["stat", ""] = refused()
    assert bench.sync.whole() is False
    bench.store.always["stat", ""] = broken()
    with pytest.raises(StoreError, match="503"):
        bench.sync.whole()


def test_a_log_that_may_not_leave_stays(tmp_path: Path) -> None:
    bench = with_log(tmp_path)
    (tmp_path / "log/run.log").write_text("secret\n")
    (tmp_path / "log/run.json").write_text("{}")
    bench.write("x")
    bench.make(with_log=False)
    bench.sync.finish(never)
    assert bench.sync.publish([bench.plan.files.run_json]) == ()
    assert sorted(bench.store.objects) == [
        "logs/modelarts-job-id1-worker-0.run.json",
        MANIFEST,
        "train_url/x",
    ]
