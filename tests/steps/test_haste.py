"""Uploads in haste: what stands still is in the store at once, what is being written never half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_store import FakeClock, FakeRecord, FakeStore, broken, make_output, make_plan, never
from msgspec.structs import replace
from patience import Once
from talking import becomes
from test_restless_files import WRITER, Looked
from threadless import no_threads

from launcher.core.plan import Transfers
from launcher.core.urls import Location
from launcher.disk import stamp_of
from launcher.sync import Sync
from launcher.sync.haste import is_written, stands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.core.plan import Plan

HOUR = 3600.0
MANIFEST = "train_url/.launcher/manifest-worker-0.json"


class Clock(FakeClock):
    """The time that there is: what is told waits for it."""

    def monotonic(self) -> float:
        return time.monotonic()


class Bench:
    """One output with a period of an hour, and what uploads it."""

    def __init__(
        self, top: Path, plan: Plan | None = None, *, period: float = HOUR, store: FakeStore | None = None
    ) -> None:
        outputs = (make_output(str(top), period=period),)
        self.plan = plan or make_plan(str(top), outputs=outputs, transfers=4)
        self.store = FakeStore()
        self.folder = top / "outputs/train_url_0"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sync = Sync(self.plan, self.store, FakeRecord(), Clock(), {}, retries=Once)

    def write(self, path: str, content: bytes = b"x", age: float = 0) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (time.time() - age, time.time() - age))
        return file

    @contextmanager
    def running(self) -> Iterator[None]:
        worker = threading.Thread(target=self.sync.periodic, args=(never,))
        worker.start()
        try:
            yield
        finally:
            self.sync.halt()
            worker.join(30)
            assert not worker.is_alive()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_stands_still_does_not_wait_for_its_period(bench: Bench) -> None:
    bench.write("model-1.ckpt", b"123")
    with bench.running():
        bench.sync.hasten()
        bench.store.wait_for_puts("train_url/model-1.ckpt")
    assert bench.store.objects["train_url/model-1.ckpt"] == b"123"


def test_what_is_written_afterwards_comes_as_well(bench: Bench) -> None:
    with bench.running():
        bench.sync.hasten()
        bench.write("a")
        bench.store.wait_for_puts("train_url/a")
        bench.write("last.ckpt")
        bench.store.wait_for_puts("train_url/last.ckpt")
    assert bench.store.keys_of("stored") == ["train_url/a", "train_url/last.ckpt"], "and each of them once"


def test_haste_that_is_asked_for_again_looks_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.running():
        bench.sync.hasten()
        bench.write("a")
        bench.store.wait_for_puts("train_url/a")
        for name in ("b", "c"):
            bench.write(name)
            bench.sync.hasten()
            bench.store.wait_for_puts(f"train_url/{name}")


def test_it_begins_before_the_uploads_of_the_training_do(bench: Bench) -> None:
    bench.write("x")
    bench.sync.hasten()
    with bench.running():
        bench.store.wait_for_puts("train_url/x")


def test_the_old_manifest_goes_first(bench: Bench) -> None:
    bench.store.objects[MANIFEST] = b"{}"
    bench.write("x")
    with bench.running():
        bench.sync.hasten()
        bench.store.wait_for_puts("train_url/x")
    assert bench.store.journal[0] == ("remove", MANIFEST)
    assert MANIFEST not in bench.store.objects


def test_the_newest_checkpoint_goes_first_and_whole_before_the_next(tmp_path: Path) -> None:
    outputs = (make_output(str(tmp_path), period=HOUR),)
    bench = Bench(tmp_path, make_plan(str(tmp_path), outputs=outputs, transfers=1))
    bench.write("step-10/a.pt", age=50)
    bench.write("step-10/b.pt", age=40)
    bench.write("step-20/a.pt", age=30)
    bench.write("step-20/b.pt", age=10)
    bench.write("notes.txt", age=20)
    bench.write("events.out", age=0)
    with bench.running():
        bench.sync.hasten()
        bench.store.wait_for_puts("train_url/notes.txt")
    order = [key.removeprefix("train_url/") for key in bench.store.keys_of("stored")]
    assert order == ["step-20/b.pt", "step-20/a.pt", "step-10/b.pt", "step-10/a.pt", "events.out", "notes.txt"]


def test_an_older_file_that_is_on_its_way_holds_nothing_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, period=0.05)
    started, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        go_on.wait(30)

    bench.write("old", age=100)
    bench.store.faults["put", "train_url/old"] = [slow]
    with bench.running():
        assert started.wait(30)
        bench.write("new.ckpt")
        bench.sync.hasten()
        bench.store.wait_for_puts("train_url/new.ckpt")
        assert "train_url/old" not in bench.store.objects
        go_on.set()
        bench.store.wait_for_puts("train_url/old")
    assert bench.store.keys_of("put").count("train_url/old") == 1


def test_what_is_on_its_way_at_the_end_is_not_sent_twice(bench: Bench) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        go_on.wait(30)

    bench.write("x", b"123")
    bench.store.faults["put", "train_url/x"] = [slow]
    with bench.running():
        bench.sync.hasten()
        assert started.wait(30)
        threading.Timer(0.05, go_on.set).start()
        (entry,) = bench.sync.finish(never)
    assert (entry.objects, entry.failed) == (1, ())
    assert bench.store.keys_of("stored") == ["train_url/x", MANIFEST]


def test_what_fails_is_tried_again_and_not_forgotten(bench: Bench) -> None:
    bench.write("x")
    bench.store.faults["put", "train_url/x"] = [broken()]
    with bench.running():
        bench.sync.hasten()
        bench.store.wait_for_puts("train_url/x")
    assert bench.sync.finish(never)[0].failed == ()


def test_the_log_goes_at_once_too(tmp_path: Path) -> None:
    outputs = (make_output(str(tmp_path), period=HOUR),)
    bench = Bench(tmp_path, make_plan(str(tmp_path), outputs=outputs, log_target=Location("b", "logs/")))
    log, key = tmp_path / "log/run.log", "logs/modelarts-job-id1-worker-0.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("one\n")
    with bench.running():
        bench.store.wait_for_puts(key)
        log.write_text("one\ntwo\n")
        bench.sync.hasten()
        becomes(lambda: bench.store.objects[key] == b"one\ntwo\n")


def test_without_outputs_there_is_nothing_to_hasten(tmp_path: Path) -> None:
    bench = Bench(tmp_path, make_plan(str(tmp_path)))
    bench.sync.hasten()
    bench.sync.periodic(never)
    assert bench.sync.finish(never) == ()


def test_when_it_is_over_nothing_begins(bench: Bench) -> None:
    bench.write("x")
    bench.sync.halt()
    bench.sync.hasten()
    assert bench.sync.finish(never)[0].objects == 1
    assert bench.store.keys_of("put").count("train_url/x") == 1


def test_where_no_thread_can_be_had_the_end_makes_up_for_it(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.write("x")
    with no_threads():
        bench.sync.hasten()
    assert "allows no more threads" in caplog.text
    assert bench.sync.finish(never)[0].objects == 1


def test_one_thread_is_enough(bench: Bench) -> None:
    bench.write("x")
    bench.write("y")
    with bench.running():
        bench.sync.hasten()
        with no_threads():
            bench.store.wait_for_puts("train_url/x")
            bench.store.wait_for_puts("train_url/y")


def test_memory_is_shared_with_all_other_uploads(tmp_path: Path) -> None:
    outputs = (make_output(str(tmp_path), period=HOUR),)
    plan = make_plan(str(tmp_path), outputs=outputs)
    bench = Bench(tmp_path, replace(plan, transfers=Transfers(most=8, memory_bytes=1)))
    for number in range(6):
        bench.write(f"{number}.ckpt", b"x" * 1000)
    most = Counting(bench.store)
    with bench.running():
        bench.sync.hasten()
        for number in range(6):
            bench.store.wait_for_puts(f"train_url/{number}.ckpt")
    assert most.most == 1


# what is being written


def test_a_file_that_somebody_writes_is_left_until_it_is_closed(bench: Bench) -> None:
    with bench.running():
        with bench.write("big.ckpt", b"").open("wb") as file:
            file.write(b"half")
            file.flush()
            bench.sync.hasten()
            for name in ("a", "b", "c"):  # one look after the other finds it as it was
                bench.write(name)
                bench.store.wait_for_puts(f"train_url/{name}")
            assert "train_url/big.ckpt" not in bench.store.keys_of("put")
            file.write(b" and half")
        bench.store.wait_for_puts("train_url/big.ckpt")
    assert bench.store.objects["train_url/big.ckpt"] == b"half and half"


def test_a_file_that_is_held_open_has_its_usual_period(tmp_path: Path) -> None:
    bench = Bench(tmp_path, period=0.5)
    with bench.running(), bench.write("log.txt", b"").open("wb") as file:
        file.write(b"a line")
        file.flush()
        bench.sync.hasten()
        bench.store.wait_for_puts("train_url/log.txt")


def test_only_what_is_as_it_was_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    stamp = stamp_of(path.stat())
    assert not stands(str(tmp_path), str(path), stamp, HOUR), "what comes in the same tick would not show"
    becomes(lambda: stands(str(tmp_path), str(path), stamp, HOUR))
    path.write_bytes(b"22")
    assert not stands(str(tmp_path), str(path), stamp, HOUR)
    path.unlink()
    assert not stands(str(tmp_path), str(path), stamp, HOUR)
    path.symlink_to("/etc/passwd")
    assert not stands(str(tmp_path), str(path), stamp_of(path.stat()), HOUR)


def test_the_kernel_tells_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as writer, path.open("rb") as reader:
        assert is_written(reader.fileno()) is True
        writer.close()
        assert is_written(reader.fileno()) is False


def test_whoever_opens_it_meanwhile_is_not_disturbed(tmp_path: Path) -> None:
    path, over = tmp_path / "x", threading.Event()
    path.write_bytes(b"1")

    def opens() -> None:
        while not over.is_set():
            with path.open("r+b"):
                pass

    others = [threading.Thread(target=opens) for _ in range(2)]
    for each in others:
        each.start()
    answers = set()
    with path.open("rb") as reader:
        for _ in range(2000):
            answers.add(is_written(reader.fileno()))
    over.set()
    for each in others:
        each.join()
    assert answers <= {True, False}


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder into which everybody may look: pytest's own are this user's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if not all(each.stat().st_mode & 0o001 for each in folder.parents):
            pytest.skip(f"nobody else may look into {folder.parent}")
        yield folder


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("age", "whole"), [("0", "False"), ("2", "True")])
def test_where_the_kernel_does_not_tell_time_does(everybodys: Path, age: str, whole: str) -> None:
    path = everybodys / "x"
    path.write_bytes(b"1")
    asked = (
        "import os, sys, time\n"
        "from launcher.disk import stamp_of\n"
        "from launcher.sync import haste\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "path = sys.argv[1]\n"
        "haste.STILL_S = 3600.0 - 3600.0 * bool(int(sys.argv[2]))\n"
        "assert haste.is_written(os.open(path, os.O_RDONLY)) is None\n"
        "time.sleep(0.1)\n"
        "print(haste.stands(os.path.dirname(path), path, stamp_of(os.stat(path)), 1e9))\n"
    )
    said = subprocess.run((sys.executable, "-c", asked, str(path), age), capture_output=True, text=True, check=True)
    assert said.stdout.strip() == whole


def test_no_object_is_ever_of_two_states_in_haste_either(tmp_path: Path) -> None:
    plan = make_plan(str(tmp_path), outputs=(make_output(str(tmp_path), period=HOUR),), transfers=8)
    folder = tmp_path / "outputs/train_url_0"
    folder.mkdir(parents=True)
    (tmp_path / "store/b").mkdir(parents=True)
    store = Looked(str(tmp_path / "store"))
    sync = Sync(plan, store, FakeRecord(), Clock(), {})
    writer = subprocess.Popen([sys.executable, WRITER, str(folder), "4", "11"])
    try:
        sync.hasten()
        with suppress(subprocess.TimeoutExpired):
            writer.wait(30)
    finally:
        writer.kill()
        writer.wait()
    (entry,) = sync.finish(never)
    assert store.mixed == []
    assert entry.failed == ()
    assert len(store.seen) == 8


class Counting:
    """Counts how many puts of a store are under way at once."""

    def __init__(self, store: FakeStore) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()
        self._put = store.put
        store.put = self.put  # type: ignore[method-assign]

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        signal.sigtimedwait([], 0.02)
        with self._lock:
            self.now -= 1
        self._put(at, chunks, size)
